"""Features to notes: where they sound, where one note ends and the next begins, and in which key.

Pitch is in fractional MIDI numbers (69 is A4 at 440 Hz, 1 is a semitone), NaN where there is none.
"""

from dataclasses import dataclass

import librosa
import numpy as np
from scipy.ndimage import binary_closing, binary_propagation, label, median_filter

from helpers.analysis import keys, pitch
from helpers.analysis.features import Features
from helpers.errors import InputError

SHORTEST_SECONDS = 0.05  # of a pitch between leaps that is a note and not the tracker's error
BRIDGED_SECONDS = 0.08  # a gap in the pitch up to this long is a change of note and not a rest
FASTEST_SLIDE = 125.0  # semitones a second; what is faster is a leap
STEADY_SECONDS = 0.06  # of pitch that is tested for steadiness
UNSTEADY = 0.5  # semitones that a frame lies off its neighbours, at which it is half as certain
FULL_RANGE_DB, NO_RANGE_DB = 30.0, 60.0  # below loud notes: certainty is kept, and is zero
SUREST = 0.85  # certainty that a threshold of 1 asks for
STEP_COST = 0.08  # semitones off pitch x seconds, for which a melody takes a step

# How well pitch classes fit a key, from its tonic upwards: the probe tone ratings of Krumhansl and
# Kessler (Psychological Review 89, 1982).
RATINGS = {
    "major": (6.35, 2.23, 3.48, 2.33, 4.38, 4.09, 2.52, 5.19, 2.39, 3.66, 2.29, 2.88),
    "minor": (6.33, 2.68, 3.52, 5.38, 2.60, 3.53, 2.54, 4.75, 3.98, 2.69, 3.34, 3.17),
}


@dataclass(frozen=True)
class Notes:
    """The notes of a recording, frame by frame, all of shape [n_frames].

    Attributes:
      sounding: True in the frames of notes, gaps of up to 80 ms between slurred notes included.
      pitched: True in those of these frames whose measured pitch is reliable.
      f0_midi: Pitch in fractional MIDI numbers: as measured where `pitched`, filled as by
        `pitch.fill_unvoiced` in the other frames that are `sounding`, NaN outside of notes.
    """

    sounding: np.ndarray
    pitched: np.ndarray
    f0_midi: np.ndarray


def find(features: Features, threshold: float = 0.5) -> Notes:
    """Finds the notes in a recording.

    The certainty of a frame is CREPE's confidence, lowered where the pitch is unsteady and where
    the frame is far softer than loud notes: breath and consonants are unsteady and, mostly,
    uncertain. Leaps to a pitch that lasts less than 50 ms are errors of the tracker.

    Args:
      features: Of the recording.
      threshold: From 0, where every steady pitch is a note, to 1, where only the most certain are.
    """
    measured_midi = librosa.hz_to_midi(features.f0_hz.astype(np.float64))
    certain = _is_certain(features, measured_midi, threshold)
    bridged = _bridged(certain, features.frame_rate)
    pitched = certain & _lasts(interpolated(measured_midi, certain), bridged, features.frame_rate)
    sounding = binary_propagation(pitched, mask=bridged)
    filled_hz = pitch.fill_unvoiced(np.where(pitched, features.f0_hz, np.nan))
    f0_midi = np.where(sounding, librosa.hz_to_midi(filled_hz.astype(np.float64)), np.nan)
    return Notes(sounding, pitched, f0_midi)


def interpolated(curve: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """A curve where a mask is true, and a straight line from each such frame to the next."""
    kept = np.flatnonzero(mask)
    return np.interp(np.arange(len(curve)), kept, curve[kept]) if len(kept) else curve


def detect_key(f0_midi: np.ndarray, frame_rate: int) -> str:
    """The key whose profile the durations of the pitch classes correlate with best.

    The method of Krumhansl and Schmuckler (Krumhansl, Cognitive Foundations of Musical Pitch, 1990,
    chapter 4).

    Args:
      f0_midi: Pitch, NaN between notes. Shape [n_frames].
      frame_rate: Frames a second.

    Returns:
      Its name, such as "D minor", one of `keys.KEYS`.

    Raises:
      InputError: There is no note.

    Example:
      >>> scale = np.repeat([62.0, 64, 66, 67, 69, 71, 73, 74], 50)
      >>> detect_key(scale, 125)
      'D major'
    """
    played = [f0_midi[note] for note in split(f0_midi, frame_rate)]
    if not played:
        raise InputError("No note was found: lower the note threshold, or sing or play louder.")
    centres = np.array([np.round(np.median(note)) for note in played]).astype(int)
    durations = np.bincount(centres % 12, [len(note) for note in played], minlength=12)
    fits = {
        f"{keys.PITCH_CLASSES[tonic]} {mode}": np.corrcoef(np.roll(ratings, tonic), durations)[0, 1]
        for mode, ratings in RATINGS.items()
        for tonic in range(12)
    }
    return max(fits, key=fits.__getitem__)


def nearest_midi(f0_midi: np.ndarray | float, key: str) -> np.ndarray:
    """The nearest notes of a key, or with "chromatic" of all semitones. Shape as given.

    Minor is the natural minor. NaN stays NaN.

    Raises:
      InputError: There is no such key.
    """
    f0_midi = np.asarray(f0_midi, float)
    around = np.floor(f0_midi)[..., np.newaxis] + np.arange(-1, 3)
    distance = np.abs(around - f0_midi[..., np.newaxis])
    distance[~np.isin(around % 12, keys.pitch_classes(key))] = np.inf
    nearest = distance.argmin(axis=-1)[..., np.newaxis]
    return np.take_along_axis(around, nearest, axis=-1)[..., 0]


def split(f0_midi: np.ndarray, frame_rate: int, key: str = keys.CHROMATIC) -> list[slice]:
    """Slices of single notes: where the pitch stays near one note of a key.

    Each stretch without NaN is followed by the path over the notes of the key that is least off
    pitch, where every step from note to note costs something: vibrato and slides make no notes.

    Args:
      f0_midi: Shape [n_frames].
      frame_rate: Frames a second.
      key: Whose notes.

    Returns:
      A list of slices of frames, in order.
    """
    found = []
    for run in runs(np.isfinite(f0_midi)):
        path = _path(f0_midi[run], frame_rate, key)
        edges = [0, *np.flatnonzero(np.diff(path)) + 1, len(path)]
        found += [
            slice(run.start + start, run.start + stop)
            for start, stop in zip(edges, edges[1:], strict=False)
        ]
    return found


def runs(mask: np.ndarray) -> list[slice]:
    """Slices where a mask is true, or where labels other than 0 stay the same."""
    edges = np.flatnonzero(np.diff(np.pad(np.asarray(mask, int), 1)))
    return [
        slice(start, stop) for start, stop in zip(edges, edges[1:], strict=False) if mask[start]
    ]


def _is_certain(features, f0_midi, threshold):
    """True where the certainty of pitch and note reaches the threshold. Shape [n_frames]."""
    if not features.voiced.any():
        return features.voiced
    off = np.zeros(len(f0_midi))
    off[1:-1] = np.abs(f0_midi[1:-1] - (f0_midi[:-2] + f0_midi[2:]) / 2)
    n_frames = _odd(STEADY_SECONDS * features.frame_rate)
    steady = 1.0 / (1.0 + (median_filter(np.nan_to_num(off), n_frames) / UNSTEADY) ** 2)
    below_loud_db = features.loud_db - features.loudness_db
    audible = np.interp(below_loud_db, [FULL_RANGE_DB, NO_RANGE_DB], [1.0, 0.0])
    certainty = np.where(features.voiced, features.confidence, 0.0) * steady * audible
    return features.voiced & (median_filter(certainty, n_frames) >= SUREST * threshold)


def _bridged(mask, frame_rate):
    """A mask [n_frames] with its short gaps closed."""
    gap = round(BRIDGED_SECONDS * frame_rate)
    closed = binary_closing(np.pad(mask, gap + 1), np.ones(gap + 1))[gap + 1 : -gap - 1]
    return closed | mask


def _lasts(f0_midi, mask, frame_rate):
    """True where a mask is true and the pitch between leaps lasts long enough for a note."""
    leaps = np.abs(np.diff(f0_midi, prepend=f0_midi[:1])) > FASTEST_SLIDE / frame_rate
    labels, _ = label(mask)
    lasting = np.zeros_like(mask)
    for piece in runs(np.where(labels, labels + np.cumsum(leaps), 0)):
        lasting[piece] = piece.stop - piece.start >= SHORTEST_SECONDS * frame_rate
    return lasting


def _path(f0_midi, frame_rate, key):
    """The note of the key in each frame [n_frames] that costs least; see `split`."""
    midi = np.arange(np.floor(f0_midi.min()) - 2, np.ceil(f0_midi.max()) + 3)
    midi = midi[np.isin(midi % 12, keys.pitch_classes(key))]
    # Costs are negative logarithms of probabilities, up to a constant.
    near = np.exp(-np.abs(f0_midi - midi[:, np.newaxis]) / frame_rate)
    steps = np.full((len(midi), len(midi)), np.exp(-STEP_COST))
    np.fill_diagonal(steps, 1.0)
    return midi[librosa.sequence.viterbi(near, steps / steps.sum(axis=1, keepdims=True))]


def _odd(n):
    """The nearest odd whole number."""
    return 2 * int(n / 2) + 1
