"""Measures in a recording what decides whether a model can learn from it.

Levels are in dB relative to full scale (RMS), loudness is that of `features.loudness`.
"""

from dataclasses import dataclass
from pathlib import Path

import librosa
import numpy as np
from scipy.ndimage import maximum_filter1d, minimum_filter1d, uniform_filter1d
from scipy.signal import find_peaks

from helpers.analysis import audio as sound
from helpers.analysis.features import Features, hop_size

# Edges of the histogram of notes and loudness.
NOTE_EDGES, LOUDNESS_EDGES_DB = np.arange(129) - 0.5, np.arange(-80.0, 21.0)
HISTOGRAM_SHAPE = (len(NOTE_EDGES) - 1, len(LOUDNESS_EDGES_DB) - 1)
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
LOUD_DB = 20.0  # below the loud notes of a file: what is softer is not examined for chords
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


def measure(
    name: str, path: Path, audio: np.ndarray, features: Features, sample_rate: int
) -> FileReport:
    """Measures one file.

    Args:
      name: How the report calls it.
      path: Of the file.
      audio: Its sound at the model's rate. Shape [n_samples].
      features: Those of the audio.
      sample_rate: Hz, of the audio.
    """
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
        clipped=clipped(sound.load_to_disk(path)[0]),  # before resampling rounds the edges
        rt60_s=_rt60_s(power, features.frame_rate),
    )


def _power(audio, hop_size):
    """Mean square of each hop of audio, without a copy of it. Shape [n_samples // hop_size]."""
    frames = audio[: len(audio) // hop_size * hop_size].reshape(-1, hop_size)
    return np.einsum("ij,ij->i", frames, frames) / hop_size


def _db(power):
    return 10.0 * np.log10(np.maximum(power, 10 ** (LEVEL_FLOOR_DB / 10)))


def seconds_played(features: Features) -> np.ndarray:
    """How long each note sounds at each loudness [128, 100]."""
    midi = librosa.hz_to_midi(features.f0_hz[features.voiced])
    low_db, high_db = LOUDNESS_EDGES_DB[[0, -1]]
    loudness_db = features.loudness_db[features.voiced].clip(low_db, high_db)
    n_frames, *_ = np.histogram2d(midi, loudness_db, (NOTE_EDGES, LOUDNESS_EDGES_DB))
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


def clipped(audio: np.ndarray) -> float:
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
            n_clipped += int(np.count_nonzero(flat[lead : lead + block]))
    return float(n_clipped / len(audio))


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
    found = [_others_db(audio[start : start + n_fft], sample_rate) for start in starts]
    others_db = np.array([db for db in found if db is not None])
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
    least_db = np.maximum(around_db + 8.0, level_db[low:high].max() - 30.0)
    bins, _ = find_peaks(level_db, height=least_db, distance=3)
    bins = bins[(bins >= low) & (bins < high)]
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
