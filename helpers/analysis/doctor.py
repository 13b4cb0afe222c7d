"""Listens to recordings before a model is trained on them, and says what it heard.

It measures, warns, and recommends what to record next; it changes and deletes nothing. Levels are
in dB relative to full scale (RMS), loudness is that of `features.loudness`.
"""

from dataclasses import dataclass

import librosa
import numpy as np
from scipy.ndimage import maximum_filter1d, minimum_filter1d, uniform_filter1d
from tqdm.auto import tqdm

from helpers.analysis import audio as sound
from helpers.analysis.features import extract_files, hop_size
from helpers.config import FRAME_RATE, SAMPLE_RATE
from helpers.errors import InputError

# What is enough, and from where on something is said.
LEAST_MINUTES, GOOD_MINUTES = 3.0, 10.0  # of notes; ddsp's own violin was trained on 13
LEAST_HEARD_S = 1.0  # of notes, to say anything of them
MOST_POLYPHONY = 0.15  # of the frames; solo music has some double stops, and notes that ring on
MOST_UNPITCHED = 0.3  # of what is about as loud as the notes
LEAST_SNR_DB = 35.0  # of the notes above the noise; from there on the model learns to hiss
MOST_CLIPPED = 1e-4  # of the samples: one or two peaks a second are hardly heard
QUIETEST_NOTES_DB = -40.0  # full scale; below, 16 bits and a microphone's own noise are near
LONGEST_RT60_S = 0.8  # of a living room; the model's own reverberation lasts 1 s
LEAST_SEMITONES = 7  # of range, that a melody has
LEAST_RANGE_DB = 10.0  # from soft to loud, about from p to f on one note
LEAST_SECONDS = 3.0  # of a note, its two neighbours counted in, at each of three loudnesses
MOST_ADVICES = 3  # of what to record next: more is not read

# How it is measured.
NOTES, LOUDNESS_EDGES_DB = np.arange(129) - 0.5, np.arange(-80.0, 21.0)  # edges of the histogram
DYNAMICS = ("softly", "at medium loudness", "loudly")
LEVEL_FLOOR_DB = -100.0  # digital silence
FLAT_SAMPLES = 3  # of one value in a row, where the wave would be round
PAUSE_MARGIN_S = 0.25  # from a note's end on, so that it has died away
NOISE_WINDOW_S = 0.1
DECAY_FROM_DB, DECAY_TO_DB = -5.0, -20.0  # where a line is fitted, below the start of a fall
DECAY_DEPTH_DB = 32.0  # that a fall has at least: its end bends the integral
MOST_HURRY = 1.6  # steeper at its end than at its start
DECAY_RISE_DB = 10.0  # and its ripple at most: the partials of a note fade at random in a room
DECAY_WINDOW_S = 0.05
WINDOW_S = 0.128  # of a spectrum: parts the harmonics of a bass, and fits into short notes
SPECTRUM_EVERY_S = 0.1
STEADY_SEMITONES = 0.8  # within such a window, vibrato included
LOUD_DB = 20.0  # how far below its loud notes a file is asked whether there is one at a time
SECOND_NOTE_DB = -10.0  # the partials of other notes together, below all that there are


@dataclass(frozen=True)
class FileReport:
    """What was measured in one file; NaN where there was nothing to measure it by.

    Attributes:
      name: Path from the folder on.
      minutes: Its length.
      usable_minutes: Of it, how much has one clear pitch.
      polyphony: Share of the steady loud notes that do not sound alone. An octave, or a twelfth,
        melts into its lower note and is not found.
      unpitched: Share without a clear pitch of what is about as loud as the notes.
      note_level_db: Level of the notes, their median.
      noise_floor_db: Level of the noise in the pauses, at most down to -100 dB.
      clipped: Share of samples that are cut off at the top of the wave.
      rt60_s: Time in which sound falls by 60 dB after a note, the median of what can be measured:
        of the room and the instrument together.
    """

    name: str
    minutes: float
    usable_minutes: float
    polyphony: float
    unpitched: float
    note_level_db: float
    noise_floor_db: float
    clipped: float
    rt60_s: float


@dataclass(frozen=True)
class Report:
    """What was measured in a folder of recordings; `print` it to read the findings.

    Attributes:
      files: A `FileReport` for each file that can be read.
      passed_over: File, from the folder on, to the sentence that says why it cannot be read.
      seconds_played: How long each note sounds at each loudness [128 MIDI notes, 100 dB]; the
        loudness in column k is from k - 80 to k - 79 dB.
      findings: Sentences for the player.
    """

    files: tuple
    passed_over: dict
    seconds_played: np.ndarray
    findings: tuple

    def __str__(self):
        return "\n".join(f"• {finding}" for finding in self.findings)

    @property
    def usable_minutes(self):
        """Of all files."""
        return float(sum(file.usable_minutes for file in self.files))

    @property
    def polyphony(self):
        """Mean over the files, weighted by what they play."""
        return self._mean("polyphony")

    @property
    def clipped(self):
        """Share of the samples of all files."""
        return self._mean("clipped")

    @property
    def noise_floor_db(self):
        """Median of the files that have pauses."""
        return self._median("noise_floor_db")

    @property
    def rt60_s(self):
        """Median of the files in which notes are heard to die away."""
        return self._median("rt60_s")

    @property
    def pitch_seconds(self):
        """How long each MIDI note sounds. Shape [128]."""
        return self.seconds_played.sum(axis=1)

    @property
    def loudness_seconds(self):
        """How long each dB of loudness sounds. Shape [100]."""
        return self.seconds_played.sum(axis=0)

    def _mean(self, name):
        values = np.array([getattr(file, name) for file in self.files])
        weights = np.array([file.minutes for file in self.files])
        known = np.isfinite(values)
        return float(np.average(values[known], weights=weights[known])) if known.any() else np.nan

    def _median(self, name):
        values = np.array([getattr(file, name) for file in self.files])
        known = np.isfinite(values)
        return float(np.median(values[known])) if known.any() else np.nan


def examine(folder, sample_rate=SAMPLE_RATE, frame_rate=FRAME_RATE, crepe_model="tiny", workers=2):
    """Listens to all recordings in a folder as `dataset.prepare` does, which is then quick.

    Args:
      folder: Where the recordings are.
      sample_rate: Of the model, in Hz: noise is measured as far as the model hears.
      frame_rate: Feature frames a second.
      crepe_model: CREPE's size for the pitch.
      workers: Files that are listened to at a time.

    Returns:
      A `Report`. A file that cannot be used is named in it, and stays where it is.

    Raises:
      InputError: There is no sound file in the folder, or the rates do not fit.
    """
    paths = sound.find(folder)
    files, passed_over = [], {}
    seconds_played = np.zeros((len(NOTES) - 1, len(LOUDNESS_EDGES_DB) - 1))
    analysed = extract_files(
        paths, sample_rate, frame_rate, crepe_model=crepe_model, workers=workers
    )
    for path, file in analysed:
        name = path.relative_to(folder).as_posix()
        try:
            audio, features = file.result()
        except InputError as error:
            passed_over[name] = str(error)
            tqdm.write(f"Passed over: {error}")
            continue
        files.append(_examine(name, path, audio, features, sample_rate))
        seconds_played += _seconds_played(features)
    findings = _findings(files, passed_over, seconds_played)
    return Report(tuple(files), passed_over, seconds_played, tuple(findings))


def _examine(name, path, audio, features, sample_rate):
    hop = hop_size(sample_rate, features.frame_rate)
    power = _power(audio, hop)
    voiced = features.voiced[: len(power)]
    polyphony = _polyphony(audio, features, sample_rate)
    alone = 1.0 if np.isnan(polyphony) else 1.0 - polyphony
    return FileReport(
        name=name,
        minutes=len(audio) / sample_rate / 60,
        usable_minutes=alone * int(np.count_nonzero(voiced)) / features.frame_rate / 60,
        polyphony=polyphony,
        unpitched=_unpitched(features),
        note_level_db=float(np.median(_db(power[voiced]))) if voiced.any() else np.nan,
        noise_floor_db=_noise_floor_db(power, voiced, features.frame_rate),
        clipped=_clipped(sound.load_to_disk(path)[0]),  # before resampling rounds the edges
        rt60_s=_rt60_s(power, features.frame_rate),
    )


def _power(audio, hop_size):
    """Mean square of each hop of audio, without a copy of it. Shape [n_samples // hop_size]."""
    frames = audio[: len(audio) // hop_size * hop_size].reshape(-1, hop_size)
    return np.einsum("ij,ij->i", frames, frames) / hop_size


def _db(power):
    return 10.0 * np.log10(np.maximum(power, 10 ** (LEVEL_FLOOR_DB / 10)))


def _seconds_played(features):
    """How long each note sounds at each loudness [128, 100]."""
    midi = librosa.hz_to_midi(features.f0_hz[features.voiced])
    low_db, high_db = LOUDNESS_EDGES_DB[[0, -1]]
    loudness_db = features.loudness_db[features.voiced].clip(low_db, high_db)
    n_frames, *_ = np.histogram2d(midi, loudness_db, (NOTES, LOUDNESS_EDGES_DB))
    return n_frames / features.frame_rate


def _unpitched(features):
    """Share without a pitch of the frames that are within 20 dB of the loud ones with one."""
    if not features.voiced.any():
        return 1.0
    loud = features.loudness_db > features.loud_db - LOUD_DB
    return float(np.mean(~features.voiced[loud]))


def _noise_floor_db(power, voiced, frame_rate):
    """Level of the quietest tenth of the pauses, so that a breath in the others does not count."""
    margin, window = int(PAUSE_MARGIN_S * frame_rate), int(NOISE_WINDOW_S * frame_rate)
    pause = ~maximum_filter1d(voiced, 2 * margin + 1)
    mean_power = uniform_filter1d(power, window)
    inside = minimum_filter1d(pause, window)  # the whole window is in a pause
    level_db = _db(mean_power[inside])
    sounds = level_db > LEVEL_FLOOR_DB  # what was put before or between is not the room
    if not sounds.any():
        return LEVEL_FLOOR_DB if inside.any() else np.nan
    return float(np.percentile(level_db[sounds], 10))


def _clipped(audio):
    """Share of samples in rows of at least three of the same value near the highest or lowest."""
    n_clipped, block, overlap = 0, 2**20, FLAT_SAMPLES
    for end, sign in ((audio.max(), 1), (audio.min(), -1)):
        for start in range(0, len(audio), block):
            part = np.asarray(audio[max(0, start - overlap) : start + block + overlap])
            high = sign * part >= 0.98 * abs(end)
            same = np.diff(part) == 0
            row = high[:-1] & same  # sample i and i + 1
            core = minimum_filter1d(row, FLAT_SAMPLES - 1, origin=-1, mode="constant")
            flat = np.zeros(len(part), bool)
            for k in range(FLAT_SAMPLES):
                flat[k : len(core) + k] |= core[: len(flat) - k]
            lead = min(start, overlap)
            n_clipped += np.count_nonzero(flat[lead : lead + block])
    return n_clipped / len(audio)


def _rt60_s(power, frame_rate):
    """The median of the times in which levels fall by 60 dB, from straight falls."""
    level_db = _db(uniform_filter1d(power, int(DECAY_WINDOW_S * frame_rate)))
    times_s = [_decay_s(power[start:end], frame_rate) for start, end in _falls(level_db)]
    times_s = [time_s for time_s in times_s if time_s is not None]
    return float(np.median(times_s)) if times_s else np.nan


def _falls(level_db):
    """Yields from where to where levels fall, by enough and with no great rise on the way."""
    top = bottom = 0
    for i, db in enumerate([*level_db, np.inf]):
        if db > level_db[bottom] + DECAY_RISE_DB:
            if level_db[top] - level_db[bottom] >= DECAY_DEPTH_DB:
                # A note is held before it falls, and where it ends there is noise as well.
                below_db = level_db[top : bottom + 1] - level_db[top]
                held = np.flatnonzero(below_db > -3.0)[-1]
                yield top + held, top + int(np.argmax(below_db < max(below_db[-1] + 6.0, -60.0)))
            top = bottom = i
        elif db >= level_db[top]:
            top = bottom = i
        elif db < level_db[bottom]:
            bottom = i


def _decay_s(power, frame_rate):
    """Seconds for 60 dB, by Schroeder's integral (1965) of a fall.

    Returns:
      None where the fall is no straight line, or steeper at its end: then it is the player who
      fades, for a room does not hurry.
    """
    remaining = np.cumsum(power[::-1])[::-1]
    remaining_db = _db(remaining / remaining[0])
    fitted = np.flatnonzero((remaining_db <= DECAY_FROM_DB) & (remaining_db >= DECAY_TO_DB))
    if len(fitted) < 4:
        return None
    slope, _ = np.polyfit(fitted, remaining_db[fitted], 1)
    half = len(fitted) // 2
    early, late = (remaining_db[k + half - 1] - remaining_db[k] for k in fitted[[0, -half]])
    straight = np.corrcoef(fitted, remaining_db[fitted])[0, 1] < -0.98
    return -60.0 / (slope * frame_rate) if straight and late > MOST_HURRY * early else None


def _polyphony(audio, features, sample_rate):
    """Share of the steady loud frames in which no single note explains the partials."""
    frames = _steady_frames(features)
    hop = hop_size(sample_rate, features.frame_rate)
    n_fft = 2 ** round(np.log2(WINDOW_S * sample_rate))
    starts = frames * hop - n_fft // 2
    starts = starts[(starts >= 0) & (starts + n_fft <= len(audio))]
    others_db = [_others_db(audio[start : start + n_fft], sample_rate) for start in starts]
    others_db = np.array([db for db in others_db if db is not None])
    return float(np.mean(others_db > SECOND_NOTE_DB)) if len(others_db) else np.nan


def _steady_frames(features):
    """Ten frames a second, of those around which one pitch is held, or none is found, loudly."""
    midi = librosa.hz_to_midi(np.where(features.voiced, features.f0_hz, 1.0))
    width = int(WINDOW_S * features.frame_rate) | 1
    steady = maximum_filter1d(midi, width) - minimum_filter1d(midi, width) < STEADY_SEMITONES
    if not features.voiced.any():
        return np.zeros(0, int)
    loud = minimum_filter1d(features.loudness_db, width) > features.loud_db - LOUD_DB
    every = np.arange(len(midi)) % max(1, int(SPECTRUM_EVERY_S * features.frame_rate)) == 0
    return np.flatnonzero(steady & loud & every)


def _others_db(window, sample_rate):
    """Power of partials that are no harmonics of the likeliest note among them, relative to all.

    Args:
      window: Audio [n_fft].
      sample_rate: Hz.

    Returns:
      A level in dB; None where there are hardly any partials, but noise.
    """
    power = np.abs(np.fft.rfft(window * np.hanning(len(window)))) ** 2 + 1e-12
    bin_hz = sample_rate / len(window)
    low, high = int(60 / bin_hz), int(min(5000, 0.45 * sample_rate) / bin_hz)
    level_db = 10.0 * np.log10(power)
    around_db = uniform_filter1d(level_db, int(250 / bin_hz) | 1)
    peak = (level_db == maximum_filter1d(level_db, 5)) & (level_db > around_db + 8.0)
    peak &= level_db > level_db[low:high].max() - 30.0
    bins = low + np.flatnonzero(peak[low:high])
    power_of = power[bins - 1] + power[bins] + power[bins + 1]
    if not len(bins) or power_of.sum() < 0.5 * power[low:high].sum():
        return None
    # The top of a parabola through the three levels around a peak.
    left, top, right = (level_db[bins + k] for k in (-1, 0, 1))
    partials_hz = bin_hz * (bins + 0.5 * (left - right) / (left - 2 * top + right))
    number = np.maximum(1, np.round(partials_hz / partials_hz[:, None]))  # [candidate, partial]
    off_hz = np.abs(partials_hz - number * partials_hz[:, None])
    allowed_hz = np.minimum(0.02 * partials_hz + bin_hz, 0.3 * partials_hz[:, None])
    others = ((off_hz > allowed_hz) * power_of).sum(axis=1).min()
    return 10.0 * np.log10(others / power_of.sum() + 1e-12)


def _findings(files, passed_over, seconds_played):
    """Sentences for the player: how much there is, what is wrong, what is fine, what to record."""
    findings = [f"{name} was passed over: {reason}" for name, reason in passed_over.items()]
    if seconds_played.sum() < LEAST_HEARD_S:
        return [
            *findings,
            "There is hardly a note in these recordings: record one instrument or voice.",
        ]
    problems, fine = _problems(files)
    findings = [_amount(files), *findings, *problems]
    if fine:
        findings.append(f"Fine as it is: {', '.join(fine)}.")
    return findings + _coverage(seconds_played)


def _amount(files):
    minutes = sum(file.usable_minutes for file in files)
    found = f"There are {minutes:.1f} minutes of single notes in {_count(len(files), 'file')}"
    if minutes < LEAST_MINUTES:
        return f"{found}: too little, record at least {LEAST_MINUTES:g}, better {GOOD_MINUTES:g}."
    if minutes < GOOD_MINUTES:
        return f"{found}: enough to try, {GOOD_MINUTES:g} make a better model."
    return f"{found}: enough."


def _problems(files):
    """What is wrong with which files and what to do about it, and what is wrong with none."""
    checks = [
        (
            "one note at a time",
            [file for file in files if file.polyphony > MOST_POLYPHONY],
            "polyphony",
            "More than one note sounds at a time in {names} ({worst:.0%} of the notes): a model "
            "learns single notes, leave chords, drones and other players out, and in a church "
            "play slower.",
        ),
        (
            "clear pitch",
            [file for file in files if file.unpitched > MOST_UNPITCHED],
            "unpitched",
            "Much of {names} has no clear pitch ({worst:.0%} of what is loud): take out chords, "
            "talking and noises.",
        ),
        (
            "no clipping",
            [file for file in files if file.clipped > MOST_CLIPPED],
            "clipped",
            "The loudest parts of {names} are cut off ({worst:.2%} of the samples): turn the "
            "input down and record them again.",
        ),
        (
            "loud enough",
            [file for file in files if file.note_level_db < QUIETEST_NOTES_DB],
            "note_level_db",
            "The notes in {names} are very quiet ({worst:.0f} dB below full scale at their "
            "middle): turn the input up or go nearer to the microphone.",
        ),
    ]
    sentences, fine = [], []
    for praise, found, name, sentence in checks:
        if found:
            values = [abs(getattr(file, name)) for file in found]
            sentences.append(sentence.format(names=_named(found), worst=max(values)))
        else:
            fine.append(praise)
    for sentence, praise in (_noise(files), _reverberation(files)):
        sentences += [sentence] if sentence else []
        fine += [praise] if praise else []
    return sentences, fine


def _noise(files):
    """What is wrong with the noise, or what is fine about it."""
    known = [file for file in files if np.isfinite(file.note_level_db - file.noise_floor_db)]
    if not known:
        return (
            "There is no pause to hear the noise in: leave two seconds of silence after a take.",
            None,
        )
    snr_db = {file: file.note_level_db - file.noise_floor_db for file in known}
    noisy = [file for file in known if snr_db[file] < LEAST_SNR_DB]
    if not noisy:
        return None, f"little noise ({min(snr_db.values()):.0f} dB or more below the notes)"
    least_db = min(snr_db[file] for file in noisy)
    return (
        f"There is noise in the pauses of {_named(noisy)}, only {least_db:.0f} dB softer than the "
        "notes: the model will learn it, so switch off what hums and blows, and go nearer to the "
        "microphone.",
        None,
    )


def _reverberation(files):
    """What is wrong with the reverberation, or what is fine about it."""
    known = [file for file in files if np.isfinite(file.rt60_s)]
    if not known:
        return (
            "No note is heard to die away, so the room cannot be judged: let one ring until it is "
            "silent.",
            None,
        )
    typical_s = float(np.median([file.rt60_s for file in known]))
    long = [file for file in known if file.rt60_s > LONGEST_RT60_S]
    if typical_s <= LONGEST_RT60_S or not long:
        return None, f"little reverberation ({typical_s:.1f} s)"
    return (
        f"Notes take {typical_s:.1f} s to die away, as in {_named(long)}: unless that is the "
        "instrument itself, record in a room with carpets and curtains, near the microphone.",
        None,
    )


def _coverage(seconds_played):
    """What pitches and dynamics there are, and the largest gaps between them."""
    low, high = _between(seconds_played.sum(axis=1), 0.01, 0.99)
    soft, loud = _between(seconds_played.sum(axis=0), 0.1, 0.9)  # fades left out
    soft_db, loud_db = LOUDNESS_EDGES_DB[[soft, loud + 1]]
    span = f"The notes go from {_note(low)} to {_note(high)}"
    gaps = list(_gaps(seconds_played.sum(axis=1), low, high, ""))
    sentences = []
    if high - low < LEAST_SEMITONES:
        sentences.append(f"{span} only: record a scale over all that the instrument plays.")
    else:
        sentences.append(f"{span}: the model will be at home there, not above or below.")
    if loud_db - soft_db < LEAST_RANGE_DB:
        sentences.append(
            f"All is about equally loud (within {loud_db - soft_db:.0f} dB): record the same notes "
            "softly and loudly too."
        )
    else:
        for how, seconds in _by_dynamics(seconds_played, soft, loud):
            gaps += [gap for gap in _gaps(seconds, low, high, how) if not _is_within(gap, gaps)]
        sentences.append(f"From soft to loud there are {loud_db - soft_db:.0f} dB.")
    gaps.sort(key=lambda gap: gap[0] - gap[1])  # the widest first
    for first, last, how, seconds in gaps[:MOST_ADVICES]:
        notes = _note(first) if first == last else f"{_note(first)} to {_note(last)}"
        sentences.append(f"Record {notes}{how}: so far you have {seconds:.0f} s of it.")
    if not gaps:
        sentences.append("All notes between are there, at every loudness.")
    return sentences


def _by_dynamics(seconds_played, soft, loud):
    """Yields how loud each third of the columns from soft to loud is, and seconds a note [128]."""
    edges = np.linspace(soft, loud + 1, len(DYNAMICS) + 1).round().astype(int)
    edges[0], edges[-1] = 0, seconds_played.shape[1]
    for how, start, end in zip(DYNAMICS, edges[:-1], edges[1:], strict=True):
        yield f" {how}", seconds_played[:, start:end].sum(axis=1)


def _gaps(seconds, low, high, how):
    """Yields rows of notes that hardly sound: first, last, `how`, and how many seconds they do."""
    rare = np.flatnonzero(np.convolve(seconds, np.ones(3), "same") < LEAST_SECONDS)
    rare = rare[(rare >= low) & (rare <= high)]
    for row in np.split(rare, np.flatnonzero(np.diff(rare) > 1) + 1):
        if len(row):
            yield int(row[0]), int(row[-1]), how, seconds[row].sum()


def _is_within(gap, others):
    """Whether the same notes are missing at any loudness."""
    return any(first <= gap[0] and gap[1] <= last for first, last, how, _ in others if not how)


def _between(seconds, first, last):
    """The columns of a histogram between which that share of it lies."""
    share = np.cumsum(seconds) / seconds.sum()
    return int(np.searchsorted(share, first)), int(np.searchsorted(share, last))


def _note(midi):
    return str(librosa.midi_to_note(midi))


def _named(files):
    names = [file.name for file in files]
    if len(names) <= 3:
        return " and ".join(filter(None, [", ".join(names[:-1]), names[-1]]))
    return f"{', '.join(names[:2])} and {len(names) - 2} other files"


def _count(n, noun):
    return f"{n} {noun}{'s' if n != 1 else ''}"
