"""Compose, render and annotate the clips that ship in this folder.

    python data/render.py                 # writes the clips beside this file
    python data/render.py /tmp/clips      # or into another folder

Needs the `fluidsynth` command, the sound bank FluidR3 GM, mido, numpy, soundfile and soxr. Every
note is drawn as MIDI (pitch bends and expression included) and sampled notes are played from it,
so the f0 of each clip is known from its score and not measured from its sound.
"""

import argparse
import csv
import os
import re
import shutil
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path

import mido
import numpy as np
import soundfile
import soxr

SAMPLE_RATE = 44100  # Hz
FRAME_RATE = 125  # f0 frames a second; frame i is centred at i / FRAME_RATE
CONTROL_RATE = 500  # pitch bends and expression changes a second
TICKS_PER_BEAT = 500  # with MIDI's default of 0.5 s a beat, a tick is one millisecond
PLAYER_DELAY_S = 0.0033  # fluidsynth acts on a bend this much late (measured at the vibrato)
PEAK_DBFS = -3.0
LEAD_S, TAIL_S = 0.3, 0.35  # silence before the first and after the last note

N_CHANNELS = 4  # notes take turns, so that one can fade out while the next is made ready
BEND_RANGE = 12  # semitones, set by RPN 0
MAX_SLUR_BEND = 4  # semitones; a sample that is stretched further stops sounding like itself
VIBRATO_HZ = 5.5
VIBRATO_DELAY_S, VIBRATO_RISE_S, VIBRATO_FALL_S = 0.18, 0.25, 0.06
LEGATO_FADE_S, PHRASE_END_FADE_S = 0.03, 0.15
SHORT_SHARE = 0.6  # how much of its time a short note sounds
SOUNDING_DB = -24.0  # a note counts as sounding where its opening and closing fades are above this

SOUND_BANK = "/usr/share/sounds/sf2/FluidR3_GM.sf2"
DYNAMICS_DB = {"pp": -24.0, "p": -18.0, "mp": -13.0, "mf": -8.0, "f": -4.0, "ff": 0.0}


@dataclass(frozen=True)
class Instrument:
    """A General MIDI program (counted from 0) and how it is played."""

    program: int
    vibrato_cents: float
    slide_s: float  # time that a slur takes from one pitch to the next
    onset_s: float  # opening fade, on top of the attack that the sample has
    skip_s: float = 0  # how much of the sample's beginning is passed over in silence


# The violin and flute samples bring a vibrato of about 20 and 10 cents of their own, so little
# is added. The voice samples bring none, but start with a hard accent that slides down a semitone.
VIOLIN = Instrument(program=40, vibrato_cents=10, slide_s=0.05, onset_s=0.01)
FLUTE = Instrument(program=73, vibrato_cents=10, slide_s=0.04, onset_s=0.01)
VOICE = Instrument(program=53, vibrato_cents=30, slide_s=0.09, onset_s=0.08, skip_s=0.3)


@dataclass(frozen=True)
class Clip:
    """A score and who plays it.

    The score is a line of tokens. `A4:1.5` is a note of 1.5 beats and `r:1` a rest; `~` after a
    note slurs it into the next one, `'` makes it short. `pp` to `ff` say how loud it is at that
    point, and loudness glides from each mark to the next. `|` only helps the eye.
    """

    name: str
    instrument: Instrument
    beats_per_minute: float
    score: str
    transpose: int = 0  # semitones


CLIPS = (
    Clip(  # J. S. Bach, Cello Suite 1 (BWV 1007), bars 1-7 of the prelude, here in D major
        "violin/violin_1",
        VIOLIN,
        69,
        """mf G2:.25 D3:.25 B3:.25~ A3:.25~ B3:.25 D3:.25 B3:.25 D3:.25
        p G2:.25 D3:.25 B3:.25~ A3:.25~ B3:.25 D3:.25 B3:.25 D3:.25
        | mf G2:.25 E3:.25 C4:.25~ B3:.25~ C4:.25 E3:.25 C4:.25 E3:.25
        p G2:.25 E3:.25 C4:.25~ B3:.25~ C4:.25 E3:.25 C4:.25 E3:.25
        | mf G2:.25 F#3:.25 C4:.25~ B3:.25~ C4:.25 F#3:.25 C4:.25 F#3:.25
        mp G2:.25 F#3:.25 C4:.25~ B3:.25~ C4:.25 F#3:.25 C4:.25 F#3:.25
        | mf G2:.25 G3:.25 B3:.25~ A3:.25~ B3:.25 G3:.25 B3:.25 G3:.25
        p G2:.25 G3:.25 B3:.25~ A3:.25~ B3:.25 G3:.25 B3:.25 F#3:.25
        | mp G2:.25 E3:.25 B3:.25~ A3:.25~ B3:.25 G3:.25~ F#3:.25~ G3:.25
        E3:.25 G3:.25~ F#3:.25~ G3:.25 B2:.25 D3:.25~ C#3:.25~ B2:.25
        | mf C#3:.25 G3:.25~ A3:.25~ G3:.25 A3:.25~ G3:.25 A3:.25~ G3:.25
        f C#3:.25 G3:.25~ A3:.25~ G3:.25 A3:.25~ G3:.25 A3:.25~ G3:.25
        | ff F#3:.25 A3:.25 D4:.25~ C#4:.25~ D4:.25 A3:.25~ G3:.25~ A3:.25
        F#3:.25 A3:.25~ G3:.25~ A3:.25 mp D3:.25 F#3:.25~ E3:.25~ D3:.25
        | p D3:3 pp""",
        transpose=19,
    ),
    Clip(  # Londonderry Air (traditional, printed 1855), first half, here in B flat major
        "violin/violin_2",
        VIOLIN,
        63,
        """pp B3:.5~ C4:.5~ D4:.5 | mp E4:1.5~ D4:.5~ E4:.5 A4:.5 mf G4:.5~ E4:.5
        | D4:.5~ C4:.5 p A3:1.25 r:.25 p C4:.5 E4:.5~ F4:.5
        | mf G4:1.5~ A4:.5~ G4:.5 E4:.5 C4:.5 E4:.5 | D4:2 p r:.5 B3:.5~ C4:.5~ D4:.5
        | mf E4:1.5~ D4:.5~ E4:.5 A4:.5 f G4:.5~ E4:.5
        | D4:.5~ C4:.5 mp A3:1.25 r:.25 B3:.5~ C4:.5~ D4:.5
        | ff E4:1.5~ F4:.5 f E4:.5~ D4:.5~ C4:.5 D4:.5 | mp C4:3.5 pp""",
        transpose=-2,
    ),
    Clip(  # The Irish Washerwoman (traditional jig), here in A major, eighths = one third of a beat
        "violin/violin_3",
        VIOLIN,
        318,
        """f D5:.5~ C5:.5 | B4:1 G4:1' G4:1' D4:1 G4:1' G4:1' | B4:1 G4:1 B4:1 D5:1~ C5:1~ B4:1
        | C5:1 A4:1' A4:1' E4:1 A4:1' A4:1' | C5:1 A4:1 C5:1 E5:1~ D5:1~ C5:1
        | p B4:1 G4:1' G4:1' D4:1 G4:1' G4:1' | B4:1 G4:1 B4:1 D5:1~ C5:1~ B4:1
        | mf C5:1~ B4:1~ C5:1 A4:1 D5:1 C5:1 | f B4:1 G4:1' G4:1' G4:2 r:1
        | ff G5:1 D5:1 G5:1 G5:1 D5:1 G5:1 | G5:1 D5:1 G5:1 B5:1~ A5:1~ G5:1
        | mf F#5:1 D5:1 F#5:1 F#5:1 D5:1 F#5:1 | F#5:1 D5:1 F#5:1 A5:1~ G5:1~ F#5:1
        | mp E5:1 G5:1' G5:1' D5:1 G5:1' G5:1' | p C5:1 G5:1' G5:1' B4:1 G5:1' G5:1'
        | mf C5:1~ B4:1~ C5:1 A4:1 D5:1 C5:1 | f B4:1 G4:1' G4:1' G4:4 mp""",
        transpose=2,
    ),
    Clip(  # our own study: a scale, slurred pairs, an arpeggio and long notes, in G minor
        "violin/violin_4",
        VIOLIN,
        96,
        """pp G3:.5 A3:.5 Bb3:.5 C4:.5 D4:.5 Eb4:.5 F4:.5 G4:.5 A4:.5 Bb4:.5 C5:.5 D5:.5
        Eb5:.5 F5:.5 G5:.5 A5:.5 Bb5:.5 C6:.5 ff D6:1.5 r:.5
        | f C6:.5~ Bb5:.5 A5:.5~ G5:.5 F5:.5~ Eb5:.5 mf D5:.5~ C5:.5 Bb4:.5~ A4:.5 G4:.5~ F#4:.5
        p G4:1.5 r:.5
        | mf G3:.5' Bb3:.5' D4:.5' G4:.5' Bb4:.5' D5:.5' f G5:.5' Bb5:.5' D6:1 r:.5
        | mf Eb6:.5~ D6:.5 Bb5:.5 G5:.5 mp D5:.5 Bb4:.5 G4:.5 D4:.5 p Bb3:1.5 r:.5
        | pp A3:2 f A3:2 pp r:.5 pp D4:2 r:.5 ff C5:2 r:.5 mp F#5:2 pp r:.5
        mf G3:3 pp""",
    ),
    Clip(  # our own air in E minor
        "violin/violin_5",
        VIOLIN,
        66,
        """p B4:1~ mf E5:1.5~ F#5:.5 G5:1~ F#5:.5~ E5:.5 f B5:2 mp A5:.5~ G5:.5 r:.5
        | mp F#5:.75~ G5:.25 mf A5:1.5 F#5:.5~ D5:.5 E5:.5 p B4:2 r:.5
        | mp E5:.5 G5:.5 mf B5:1.5~ C6:.5 B5:.5 f D6:.5~ ff E6:2.5 mf D6:.5~ B5:.5 r:.5
        | mp C6:1~ B5:.5~ A5:.5 p G5:.5~ F#5:.5 D#5:.5 F#5:.5 pp E5:3 r:.5 pp E4:2""",
    ),
    Clip(  # our own vocalise in A minor
        "voice/oohs_melody",
        VOICE,
        80,
        """mp A3:.75 C4:.25~ mf E4:1.5~ D4:.5~ C4:.5 B3:.5~ p A3:1.5 r:.75
        | mp C4:.5 E4:.5 mf A4:1.5~ G4:.5~ F4:.5 E4:.5~ D4:.5~ mp E4:1.5 r:.75
        | mf E4:.5 A4:.5 f C5:1~ D5:.5 ff E5:2~ D5:.5~ f C5:.5 B4:.5~ G4:.5 mf A4:1.5 r:.75
        | mp A4:.75~ G4:.25~ F4:.5 E4:.5~ p D4:.5~ C4:.5 B3:.5~ A3:2.5 pp""",
    ),
    Clip(  # our own phrase in D major
        "flute/flute_phrase",
        FLUTE,
        84,
        """mp A4:.5 mf D5:1.5~ E5:.25~ F#5:.25 f A5:1~ G5:.5~ F#5:.5 E5:.5~ F#5:.25~ E5:.25
        mp D5:1.25 r:.25
        | mf F#5:.5' G5:.5' A5:.5' f B5:1 D6:.75~ C#6:.25 B5:.5~ A5:.5
        mf G5:.25~ F#5:.25~ E5:.25~ F#5:.25 mp E5:.5 p D5:2.25 pp""",
    ),
)


@dataclass(frozen=True)
class Note:
    """One attack and all pitches slurred to it: `pitches` are MIDI numbers, `edges_s` the times
    at which they begin, and last the time at which the note has faded out."""

    pitches: tuple
    edges_s: tuple
    fade_s: float

    @property
    def key(self):
        """The MIDI key that is struck, in the middle of what the bends have to reach."""
        return round((min(self.pitches) + max(self.pitches)) / 2)


def midi_number(name):
    """`A4` -> 69, `Bb3` -> 58, `F#5` -> 78."""
    letter, accidental, octave = re.fullmatch(r"([A-G])([#b]?)(\d)", name).groups()
    step = {"C": 0, "D": 2, "E": 4, "F": 5, "G": 7, "A": 9, "B": 11}[letter]
    return 12 * (int(octave) + 1) + step + {"#": 1, "b": -1, "": 0}[accidental]


def read_score(clip):
    """Returns the notes, the (time_s, level_db) of every dynamic mark, and the length in s."""
    beat_s = 60 / clip.beats_per_minute
    time_s, slurs, marks, pitches, edges = LEAD_S, [], [], [], []
    for token in clip.score.replace("|", "").split():
        if token in DYNAMICS_DB:
            marks.append((time_s, DYNAMICS_DB[token]))
            continue
        name, beats = token.rstrip("~'").split(":")
        start_s, time_s = time_s, time_s + float(beats) * beat_s
        if name == "r":
            continue
        pitches.append(midi_number(name) + clip.transpose)
        edges.append(start_s)
        if not token.endswith("~"):
            share = SHORT_SHARE if token.endswith("'") else 1
            slurs.append((pitches, [*edges, start_s + share * (time_s - start_s)]))
            pitches, edges = [], []
    return faded_notes(slurs), marks, time_s + TAIL_S


def faded_notes(slurs):
    """Makes notes of (pitches, edges_s): those before a silence fade longer than the others."""
    notes = []
    next_starts_s = [edges_s[0] for _, edges_s in slurs[1:]] + [np.inf]
    for (pitches, edges_s), next_start_s in zip(slurs, next_starts_s, strict=True):
        if max(pitches) - min(pitches) > 2 * MAX_SLUR_BEND:
            raise ValueError(f"The slur over {pitches} is too wide to be bent.")
        last_s = edges_s[-1] - edges_s[-2]
        then_silent = next_start_s > edges_s[-1] + 1e-6
        longest_fade_s = PHRASE_END_FADE_S if then_silent else LEGATO_FADE_S
        notes.append(Note(tuple(pitches), tuple(edges_s), min(0.3 * last_s, longest_fade_s)))
    return notes


def pitch_curve(note, instrument, times_s):
    """MIDI pitch (float) at each of `times_s`: slides between slurred pitches, late vibrato."""
    pitch = np.full(len(times_s), float(note.pitches[0]))
    for previous, following, edge_s in zip(
        note.pitches[:-1], note.pitches[1:], note.edges_s[1:-1], strict=True
    ):
        position = np.clip((times_s - edge_s) / instrument.slide_s + 0.5, 0, 1)
        pitch += (following - previous) * (1 - np.cos(np.pi * position)) / 2
    for start_s, end_s in zip(note.edges_s[:-1], note.edges_s[1:], strict=True):
        since_s = times_s - start_s - VIBRATO_DELAY_S
        rise = np.clip(since_s / VIBRATO_RISE_S, 0, 1)
        fall = np.clip((end_s - times_s) / VIBRATO_FALL_S, 0, 1)
        depth = instrument.vibrato_cents / 100 * np.minimum(rise, fall)
        pitch += depth * np.sin(2 * np.pi * VIBRATO_HZ * since_s)
    return pitch


def fade_curve(note, instrument, times_s):
    """Opening and closing fades as a gain in 0..1; MIDI expression squares its value to a gain."""
    opening = (times_s - note.edges_s[0]) / instrument.onset_s
    closing = (note.edges_s[-1] - times_s) / note.fade_s
    return np.clip(np.minimum(opening, closing), 0, 1) ** 2


def true_f0(notes, instrument, n_frames):
    """f0 in Hz [n_frames] at FRAME_RATE; 0 where no note sounds."""
    times_s = np.arange(n_frames) / FRAME_RATE
    f0_hz = np.zeros(n_frames)
    for note in notes:
        sounding = fade_curve(note, instrument, times_s) >= 10 ** (SOUNDING_DB / 20)
        pitch = pitch_curve(note, instrument, times_s[sounding])
        f0_hz[sounding] = 440 * 2 ** ((pitch - 69) / 12)
    return f0_hz


def to_7_bits(level_db):
    """Velocity or expression whose gain, (value / 127) squared, is `level_db`."""
    return np.clip(np.round(127 * 10 ** (np.asarray(level_db) / 40)), 0, 127).astype(int)


def note_events(note, instrument, marks, channel):
    """(time_s, mido message) of one note: half of its level is velocity, which also brightens
    the samples, and the rest is expression, which follows the dynamics while it sounds."""
    start_s, end_s = note.edges_s[0] - instrument.skip_s, note.edges_s[-1]
    times_s = start_s + np.arange(int((end_s - start_s) * CONTROL_RATE) + 1) / CONTROL_RATE
    levels_db = np.interp(times_s, *zip(*marks, strict=True))
    fades_db = 20 * np.log10(fade_curve(note, instrument, times_s) + 1e-6)
    expression = to_7_bits(levels_db - levels_db[0] / 2 + fades_db)
    bends = (pitch_curve(note, instrument, times_s) - note.key) / BEND_RANGE * 8192
    events = []
    for time_s, value, bend in zip(times_s, expression, np.round(bends).astype(int), strict=True):
        events.append((time_s, mido.Message("pitchwheel", pitch=int(bend))))
        events.append((time_s, mido.Message("control_change", control=11, value=int(value))))
    velocity = int(to_7_bits(levels_db[0] / 2))
    events.insert(2, (start_s, mido.Message("note_on", note=note.key, velocity=velocity)))
    # Faded out by now: cut the rest off, so that no release rings into the next note.
    events.append((end_s, mido.Message("note_off", note=note.key)))
    events.append((end_s, mido.Message("control_change", control=120, value=0)))
    return [(time_s, message.copy(channel=channel)) for time_s, message in events]


def write_midi(path, notes, marks, instrument, seconds):
    """One track, one tick a millisecond."""
    set_up = [mido.Message("program_change", program=instrument.program)]
    for control, value in ((101, 0), (100, 0), (6, BEND_RANGE), (38, 0)):
        set_up.append(mido.Message("control_change", control=control, value=value))
    events = [(0.0, m.copy(channel=channel)) for channel in range(N_CHANNELS) for m in set_up]
    for i, note in enumerate(notes):
        events += note_events(note, instrument, marks, i % N_CHANNELS)
    events.append((seconds, mido.MetaMessage("end_of_track")))
    track, last_tick = mido.MidiTrack(), 0
    for time_s, message in sorted(events, key=lambda event: event[0]):
        tick = round(1000 * time_s)
        track.append(message.copy(time=tick - last_tick))
        last_tick = tick
    mido.MidiFile(ticks_per_beat=TICKS_PER_BEAT, tracks=[track]).save(path)


def play_midi(midi_path, sound_bank, n_samples):
    """Plays a MIDI file without reverb and chorus: float audio [n_samples], peak at PEAK_DBFS."""
    wav_path = midi_path.with_suffix(".wav")
    options = ["-ni", "-q", "-R", "0", "-C", "0", "-g", "0.6", "-r", str(SAMPLE_RATE)]
    options += ["-T", "wav", "-O", "float", "-F", str(wav_path)]
    # Without this, fluidsynth takes its default bank in place of one that it cannot read.
    options += ["-o", "synth.default-soundfont="]
    command = ["fluidsynth", *options, str(sound_bank), str(midi_path)]
    played = subprocess.run(command, capture_output=True, text=True)
    if played.returncode or "error" in played.stderr:
        reason = (played.stderr.strip() or "no reason given").splitlines()[0]
        raise SystemExit(f"fluidsynth could not play from {sound_bank}: {reason}")
    stereo, _ = soundfile.read(wav_path, dtype="float64", always_2d=True)
    # The samples are stereo pairs whose sides partly cancel when they are added: take one side.
    first = round(PLAYER_DELAY_S * SAMPLE_RATE)
    audio = stereo[first : first + n_samples, 0]
    audio = np.pad(audio, (0, n_samples - len(audio)))
    return audio * 10 ** (PEAK_DBFS / 20) / np.abs(audio).max()


def write_f0(path, f0_hz):
    """Columns times_s and f0_hz; 0 where no note sounds."""
    with open(path, "w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(("times_s", "f0_hz"))
        for i, value in enumerate(f0_hz):
            writer.writerow((f"{i / FRAME_RATE:.3f}", f"{value:.2f}" if value else "0"))


def render_clip(clip, folder, sound_bank, sample_rate=SAMPLE_RATE):
    """Writes `<name>.flac` and `<name>.f0.csv` below `folder`; neither is ever half written."""
    notes, marks, seconds = read_score(clip)
    target = folder / f"{clip.name}.flac"
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".rendering-", dir=target.parent) as temporary:
        midi_path, flac_path, f0_path = (Path(temporary) / name for name in ("mid", "flac", "csv"))
        write_midi(midi_path, notes, marks, clip.instrument, seconds)
        audio = play_midi(midi_path, sound_bank, round(seconds * SAMPLE_RATE))
        # fluidsynth itself would let the samples alias at a lower rate.
        audio = soxr.resample(audio, SAMPLE_RATE, sample_rate)
        soundfile.write(flac_path, audio, sample_rate, format="FLAC", subtype="PCM_16")
        write_f0(f0_path, true_f0(notes, clip.instrument, int(seconds * FRAME_RATE) + 1))
        os.replace(flac_path, target)
        os.replace(f0_path, target.with_suffix(".f0.csv"))


def check_player(sound_bank):
    """Says in one sentence what is not installed."""
    if shutil.which("fluidsynth") is None:
        raise SystemExit("There is no `fluidsynth` command: install it (apt install fluidsynth).")
    if not sound_bank.is_file():
        raise SystemExit(
            f"There is no sound bank at {sound_bank}: install FluidR3 GM "
            "(apt install fluid-soundfont-gm) or name it with --sound-bank."
        )


def main():
    """Command line: where the clips go, and the sound bank."""
    parser = argparse.ArgumentParser(description="Render the clips that ship in data/.")
    parser.add_argument("folder", nargs="?", type=Path, default=Path(__file__).parent)
    parser.add_argument("--sound-bank", type=Path, default=Path(SOUND_BANK))
    arguments = parser.parse_args()
    check_player(arguments.sound_bank)
    for clip in CLIPS:
        render_clip(clip, arguments.folder, arguments.sound_bank)
        print(f"{clip.name}.flac")


if __name__ == "__main__":
    main()
