"""Compose and render what models are trained on beside real recordings, and clips to test them.

    python data/render_corpus.py                     # all, into data/corpus/
    python data/render_corpus.py /tmp/corpus         # or into another folder
    python data/render_corpus.py --only instruments/oboe
    python data/render_corpus.py --heldout           # the clips of data/instruments/

`trumpet/`, `cello/`, `clarinet/` and `voice/` are four minutes of one instrument's practice each,
`instruments/` an NSynth (Engel et al. 2017) in miniature: eight minutes of twenty instruments and
voices. All are played by `render.py` from FluidR3's sampled notes, with what it needs, at 44.1 kHz.
The practice is drawn at random from a fixed seed: the same fluidsynth gives the same files, bit
for bit.
"""

import argparse
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from render import (
    DYNAMICS_DB,
    FLUTE,
    LEAD_S,
    MAX_SLUR_BEND,
    SAMPLE_RATE,
    SOUND_BANK,
    TAIL_S,
    VIOLIN,
    VOICE,
    Clip,
    Instrument,
    check_player,
    midi_number,
    render_clip,
)

DATA = Path(__file__).parent
SOLO_FILES, SOLO_SECONDS = 5, 40  # beside the one of long notes
INSTRUMENT_SECONDS = 21.5
HELDOUT_SECONDS = 4  # the length of an example that a model is trained on
HELDOUT_RATE = 16000  # Hz; small enough to ship

REGISTER = 14  # semitones that a study moves in
N_REGISTERS = 5
SCALES = {"major": (0, 2, 4, 5, 7, 9, 11), "minor": (0, 2, 3, 5, 7, 8, 11), "chromatic": range(12)}
REST_S = (0.25, 0.7)  # after a study, from ... to
NAMES = ("C", "C#", "D", "D#", "E", "F", "F#", "G", "G#", "A", "A#", "B")


@dataclass(frozen=True)
class Part:
    """Who practises: from its lowest note to its highest, and whether it can hold them."""

    name: str
    instrument: Instrument
    low: str
    high: str
    holds: bool = True  # if not, it is struck or plucked: no slurs and no swells


def _wind(program, vibrato_cents=8):
    return Instrument(program, vibrato_cents, slide_s=0.03, onset_s=0.01)


def _struck(program):
    return Instrument(program, vibrato_cents=0, slide_s=0.03, onset_s=0.002)


PARTS = (
    Part("electric_piano", _struck(4), "E2", "C6", holds=False),
    Part("vibraphone", _struck(11), "F3", "F6", holds=False),
    Part("marimba", _struck(12), "C3", "C6", holds=False),
    Part("nylon_guitar", _struck(24), "E2", "E5", holds=False),
    Part("harp", _struck(46), "E2", "E6", holds=False),
    Part("violin", VIOLIN, "G3", "A6"),
    Part("viola", Instrument(41, vibrato_cents=10, slide_s=0.05, onset_s=0.01), "C3", "A5"),
    Part("cello", Instrument(42, vibrato_cents=10, slide_s=0.06, onset_s=0.01), "C2", "C5"),
    Part("trumpet", _wind(56), "F#3", "C6"),
    Part("trombone", _wind(57), "E2", "A#4"),
    Part("muted_trumpet", _wind(59), "F#3", "A5"),
    Part("french_horn", _wind(60), "F2", "D5"),
    Part("alto_saxophone", _wind(65, 15), "C#3", "G#5"),
    Part("oboe", _wind(68), "A#3", "E6"),
    Part("bassoon", _wind(70), "E2", "A#4"),
    Part("clarinet", _wind(71, 0), "D3", "E6"),
    Part("flute", FLUTE, "C4", "A#6"),
    Part("recorder", _wind(74), "F4", "A6"),
    Part("choir_aahs", Instrument(52, 10, slide_s=0.09, onset_s=0.05), "C3", "G5"),
    Part("voice_oohs", VOICE, "C3", "G5"),
)
# Those that an instrument of their own learns from: the name of a folder to the name of a part.
SOLOISTS = {"trumpet": "trumpet", "cello": "cello", "clarinet": "clarinet", "voice": "voice_oohs"}


def practice(part, seconds, seed):
    """A score of about that many seconds: all studies, registers, keys and dynamics in turn."""
    random = np.random.default_rng([part.instrument.program, seed])
    low, high = midi_number(part.low), midi_number(part.high)
    registers = _in_turn(random, np.linspace(low, high - REGISTER, N_REGISTERS).round().astype(int))
    roots, scales = _in_turn(random, range(12)), _in_turn(random, SCALES.values())
    starts, ends = _in_turn(random, DYNAMICS_DB), _in_turn(random, DYNAMICS_DB)
    studies, score = _in_turn(random, STUDIES), []
    while _seconds(score) < seconds:
        lowest, root, scale = next(registers), next(roots), next(scales)
        pitches = range(lowest, lowest + REGISTER + 1)
        pitches = [pitch for pitch in pitches if (pitch - root) % 12 in scale]
        study = next(studies)(random, pitches, part.holds, next(ends))
        score += [next(starts), *study, f"r:{random.uniform(*REST_S):.3f}"]
    return " ".join(score)


def long_notes(part, seed):
    """A score of every note there is, from one dynamic to another, in a random order."""
    random = np.random.default_rng([part.instrument.program, seed])
    starts, ends = _in_turn(random, DYNAMICS_DB), _in_turn(random, DYNAMICS_DB)
    score = []
    for pitch in random.permutation(range(midi_number(part.low), midi_number(part.high) + 1)):
        score += [next(starts), *_line([pitch], [random.uniform(0.9, 1.4)]), next(ends), "r:0.2"]
    return " ".join(score)


def _in_turn(random, items):
    """Yields all items again and again, each time in another order."""
    items = list(items)
    while True:
        for i in random.permutation(len(items)):
            yield items[i]


def _seconds(score):
    """How long a list of tokens takes at a beat a second."""
    return sum(float(token.rstrip("~'").split(":")[1]) for token in score if ":" in token)


def _line(pitches, lengths_s, slurred=1, short=False):
    """Tokens of notes, up to `slurred` of which are bound, where bends reach that far."""
    score, bound = [], []
    for pitch, length_s, after in zip(pitches, lengths_s, [*pitches[1:], None], strict=True):
        bound.append(pitch)
        reached = bound if after is None else [*bound, after]
        is_bound = after is not None and len(bound) < slurred
        is_bound = is_bound and max(reached) - min(reached) <= 2 * MAX_SLUR_BEND
        bound = bound if is_bound else []
        name = f"{NAMES[pitch % 12]}{pitch // 12 - 1}"
        score.append(f"{name}:{length_s:.3f}{'~' if is_bound else chr(39) * short}")
    return score


# The studies: from the pitches of a scale in one register, and the dynamic they end in, to tokens.


def _long_note(random, pitches, holds, end):
    """One note, that swells to `end` and falls where it can."""
    pitch, length_s = random.choice(pitches), random.uniform(1.6, 2.6)
    if not holds:
        return [*_line([pitch], [length_s]), end]
    peak = random.uniform(0.3, 0.7)
    rise, fall = _line([pitch] * 2, [peak * length_s, (1 - peak) * length_s], slurred=2)
    return [rise, end, fall, random.choice(["pp", "p", "mp"])]


def _scale(random, pitches, holds, end):
    """Up and down, or down and up."""
    pitches = [*pitches, *pitches[-2::-1]] if random.random() < 0.5 else pitches[::-1]
    lengths_s = [random.uniform(0.11, 0.32)] * len(pitches)
    lengths_s[-1] = 0.6
    return [*_line(pitches, lengths_s, _bow(random, holds)), end]


def _arpeggio(random, pitches, holds, end):
    pitches = pitches[:: 2 if len(pitches) < 12 else 4]
    pitches = [*pitches, *pitches[-2::-1]]
    lengths_s = [random.uniform(0.15, 0.4)] * len(pitches)
    return [*_line(pitches, lengths_s, _bow(random, holds), random.random() < 0.4), end]


def _melody(random, pitches, holds, end):
    """Steps and small leaps in a mixed rhythm, to a longer note."""
    pace_s, at, places = random.uniform(0.22, 0.42), random.integers(len(pitches)), []
    for _ in range(random.integers(6, 11)):
        at += random.choice([-3, -2, -1, -1, 1, 1, 2, 3])
        at = len(pitches) - 1 - abs(len(pitches) - 1 - abs(at))  # turns back at both ends
        places.append(at)
    lengths_s = pace_s * random.choice([0.5, 1, 1, 1.5, 2], len(places))
    lengths_s[-1] = random.uniform(0.8, 1.4)
    return [*_line([pitches[i] for i in places], lengths_s, _bow(random, holds)), end]


def _repeated(random, pitches, holds, end):
    """A few notes, each several times, short."""
    chosen = np.repeat(random.choice(pitches, 3, replace=False), random.integers(2, 5))
    return [*_line(chosen, [random.uniform(0.14, 0.3)] * len(chosen), short=True), end]


def _leaps(random, pitches, holds, end):
    """From one note to others further and further away."""
    rooted = [pitch for leap in pitches[2::2] for pitch in (pitches[0], leap)][:10]
    lengths_s = [random.uniform(0.2, 0.45)] * len(rooted)
    return [*_line(rooted, lengths_s, _bow(random, holds, most=2)), end]


def _single_notes(random, pitches, holds, end):
    """Notes with silence between, each steady, each of another loudness."""
    dynamics, score = _in_turn(random, DYNAMICS_DB), []
    for pitch in random.choice(pitches, 3, replace=False):
        dynamic, length_s = next(dynamics), random.uniform(0.5, 1.1)
        rest = f"r:{random.uniform(0.12, 0.3):.3f}"
        score += [dynamic, *_line([pitch], [length_s]), dynamic, rest]
    return score[:-1]


def _bow(random, holds, most=4):
    """How many notes are bound."""
    return int(random.integers(1, most + 1)) if holds else 1


STUDIES = (_long_note, _scale, _arpeggio, _melody, _repeated, _leaps, _single_notes)


def corpus():
    """Yields the clips to train on."""
    parts = {part.name: part for part in PARTS}
    for folder, name in SOLOISTS.items():
        part = parts[name]
        scores = [practice(part, SOLO_SECONDS, seed) for seed in range(1, SOLO_FILES + 1)]
        for i, score in enumerate([long_notes(part, 0), *scores], 1):
            yield Clip(f"{folder}/{folder}_{i}", part.instrument, 60, score)
    for part in PARTS:
        score = practice(part, INSTRUMENT_SECONDS, 0)
        yield Clip(f"instruments/{part.name}", part.instrument, 60, score)


# Our own phrases, one an instrument, on which no model is trained.
HELDOUT = {
    "violin": "mp D5:.5~ F#5:.5 f A5:1~ G5:.5~ F#5:.5 E5:.5 mp F#5:.5~ D5:1.5 pp",
    "cello": "p G2:1 mf D3:1~ B2:.5~ C3:.5 f E3:1.5~ D3:.5 mp C3:.5~ B2:.5 p G2:1.5 pp",
    "trumpet": "f C4:.5' F4:.5' A4:.5' ff C5:1.5 r:.25 mf Bb4:.5~ A4:.5 G4:.5' mf F4:2 pp",
    "french_horn": "p F3:1~ C4:1 mf A3:.5~ Bb3:.5~ C4:1 r:.25 f D4:1~ C4:1 mp F3:1.5 pp",
    "alto_saxophone": "mf E4:.5~ G4:.5 f B4:.75~ A4:.25 G4:.5' E4:.5' r:.25 mp F#4:.5~ E4:2 pp",
    "oboe": "p B4:.5~ C5:.5 mf E5:1.5~ D5:.5 C5:.5~ B4:.5 mp A4:.5~ G#4:.5 A4:2 pp",
    "clarinet": "pp D3:.5~ F3:.5~ A3:.5 mf D4:.5~ F4:.5~ A4:.5 f D5:1~ C#5:.5 p A4:2 pp",
    "flute": "mf G5:.5' B5:.5' f D6:1~ C6:.5~ B5:.5 mp A5:.5~ G5:.5 r:.25 p E5:.5~ G5:1.5 pp",
    "voice_oohs": "mp F3:1~ G3:.5~ mf A3:1.5~ C4:1 r:.5 mf Bb3:.5~ A3:.5~ p G3:.5~ F3:1.5 pp",
    "marimba": "mf A3:.5 E4:.5 C4:.5 f A4:.5 p G4:.5 mp D4:.5 mf B3:.5 G3:.5 ff C4:1 mp E4:1.5 p",
}


def heldout():
    """Yields the clips that ship, of four seconds each."""
    instruments = {part.name: part.instrument for part in PARTS}
    for name, score in HELDOUT.items():
        beats_per_minute = 60 * _seconds(score.split()) / (HELDOUT_SECONDS - LEAD_S - TAIL_S)
        yield Clip(f"instruments/{name}", instruments[name], beats_per_minute, score)


def main():
    """Command line: what is rendered, where to, and from which sound bank."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    add = parser.add_argument
    add("folder", nargs="?", type=Path, help="where to (data/corpus, or data with --heldout)")
    add("--heldout", action="store_true", help="the clips that ship, instead of the corpus")
    add("--only", nargs="+", metavar="CLIP", help="names such as trumpet/trumpet_1")
    add("--sound-bank", type=Path, default=Path(SOUND_BANK))
    arguments = parser.parse_args()
    folder = arguments.folder or (DATA if arguments.heldout else DATA / "corpus")
    clips = {clip.name: clip for clip in (heldout if arguments.heldout else corpus)()}
    rate = HELDOUT_RATE if arguments.heldout else SAMPLE_RATE
    unknown = set(arguments.only or ()) - set(clips)
    if unknown:
        raise SystemExit(f"There is no clip {min(unknown)}: choose of {', '.join(clips)}.")
    check_player(arguments.sound_bank)
    for name in arguments.only or clips:
        render_clip(clips[name], folder, arguments.sound_bank, rate)
        print(f"{name}.flac")


if __name__ == "__main__":
    main()
