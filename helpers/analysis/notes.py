"""Curves to notes: where they sound, which steps of the scale they stand on, and in which key.

Pitch is in fractional MIDI numbers (69 is A4 at 440 Hz, 1 is a semitone), NaN where there is none.
"""

import librosa
import numpy as np
from scipy.ndimage import binary_closing, binary_propagation, label, median_filter

from helpers.errors import InputError

PITCH_CLASSES = ("C", "C#", "D", "D#", "E", "F", "F#", "G", "G#", "A", "A#", "B")
KEYS = (
    "detected",
    "chromatic",
    *(f"{tonic} {mode}" for mode in ("major", "minor") for tonic in PITCH_CLASSES),
)
SHORTEST_SECONDS = 0.07  # of a pitch between leaps that is a note and not the tracker's error
BRIDGED_SECONDS = 0.08  # a gap in the pitch up to this long is a change of note and not a rest
FASTEST_SLIDE = 125.0  # semitones a second; what is faster is a leap
STEADY_SECONDS = 0.06  # over which a pitch is looked at
UNSTEADY = 0.5  # semitones that a frame lies off its neighbours, at which it is half as sure
FULL_RANGE_DB, NO_RANGE_DB = 30.0, 60.0  # below the loud notes: as sure as they are, and not at all
SUREST = 0.85  # certainty that a threshold of 1 asks for
STEP_COST = 0.08  # semitones off pitch x seconds, for which a melody takes a step

# How well pitch classes fit a key, from its tonic upwards: the probe tone ratings of Krumhansl and
# Kessler (Psychological Review 89, 1982).
RATINGS = {
    "major": (6.35, 2.23, 3.48, 2.33, 4.38, 4.09, 2.52, 5.19, 2.39, 3.66, 2.29, 2.88),
    "minor": (6.33, 2.68, 3.52, 5.38, 2.60, 3.53, 2.54, 4.75, 3.98, 2.69, 3.34, 3.17),
}
SCALES = {"major": (0, 2, 4, 5, 7, 9, 11), "minor": (0, 2, 3, 5, 7, 8, 10)}


def detect(curves, threshold=0.5):
    """True in the frames of notes. Shape [n_frames].

    What `is_pitched`, with gaps of up to 80 ms bridged, so that slurred notes are not parted, and
    with what sounds right beside it though its pitch is not to be believed.

    Args:
      curves: `Features`.
      threshold: From 0, where all counts that has a steady pitch, to 1, where only the surest does.
    """
    sounding = _bridged(_is_sure(curves, threshold), curves.frame_rate)
    return binary_propagation(is_pitched(curves, threshold), mask=sounding)


def is_pitched(curves, threshold=0.5):
    """True in the frames whose f0 is to be believed. Shape [n_frames].

    A frame is as sure as CREPE is of its pitch, as the pitch is steady around it, and as it is not
    far softer than the loud notes: breath and consonants are neither steady nor, mostly, sure.
    Leaps to a pitch that lasts less than 70 ms are the tracker's.

    Args:
      curves: `Features`.
      threshold: From 0 to 1, as in `detect`.
    """
    sure = _is_sure(curves, threshold)
    f0_midi = interpolated(to_midi(curves.f0_hz), sure)
    leaps = np.abs(np.diff(f0_midi, prepend=f0_midi[:1])) > FASTEST_SLIDE / curves.frame_rate
    labels, _ = label(_bridged(sure, curves.frame_rate))
    believed = np.zeros_like(sure)
    for piece in runs(np.where(labels, labels + np.cumsum(leaps), 0)):
        believed[piece] = piece.stop - piece.start >= SHORTEST_SECONDS * curves.frame_rate
    return believed & sure


def interpolated(curve, mask):
    """A curve where a mask is true, and a straight line from each such frame to the next."""
    kept = np.flatnonzero(mask)
    return np.interp(np.arange(len(curve)), kept, curve[kept]) if len(kept) else curve


def detect_key(curves, mask):
    """The key whose profile the durations of the pitch classes correlate with best.

    The method of Krumhansl and Schmuckler (Krumhansl, Cognitive Foundations of Musical Pitch, 1990,
    chapter 4).

    Args:
      curves: `Features`.
      mask: Which frames are notes. Shape [n_frames].

    Returns:
      Its name, such as "D minor", one of `KEYS`.

    Raises:
      InputError: There is no note.
    """
    f0_midi = to_midi(curves.f0_hz)
    played = [f0_midi[note] for note in split(np.where(mask, f0_midi, np.nan), curves.frame_rate)]
    if not played:
        raise InputError("No note was found: lower the note threshold, or sing or play louder.")
    centres = np.array([np.round(np.median(note)) for note in played]).astype(int)
    durations = np.bincount(centres % 12, [len(note) for note in played], minlength=12)
    fits = {
        f"{PITCH_CLASSES[tonic]} {mode}": np.corrcoef(np.roll(ratings, tonic), durations)[0, 1]
        for mode, ratings in RATINGS.items()
        for tonic in range(12)
    }
    return max(fits, key=fits.get)


def nearest_midi(f0_midi, key):
    """The nearest notes of a key, or with "chromatic" of all semitones. Shape as given.

    Minor is the natural minor. NaN stays NaN.

    Raises:
      InputError: There is no such key.
    """
    f0_midi = np.asarray(f0_midi, float)
    around = np.floor(f0_midi)[..., np.newaxis] + np.arange(-1, 3)
    distance = np.abs(around - f0_midi[..., np.newaxis])
    distance[~np.isin(around % 12, pitch_classes(key))] = np.inf
    nearest = distance.argmin(axis=-1)[..., np.newaxis]
    return np.take_along_axis(around, nearest, axis=-1)[..., 0]


def pitch_classes(key):
    """The pitch classes of a key, 0 for C."""
    if key == "chromatic":
        return np.arange(12)
    if key not in KEYS or key == "detected":
        raise InputError(f"There is no key {key!r}: choose one such as 'D minor' or 'chromatic'.")
    tonic, mode = key.split()
    return (PITCH_CLASSES.index(tonic) + np.array(SCALES[mode])) % 12


def split(f0_midi, frame_rate, key="chromatic"):
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


def runs(mask):
    """Slices where a mask is true, or where labels other than 0 stay the same."""
    edges = np.flatnonzero(np.diff(np.pad(np.asarray(mask, int), 1)))
    return [
        slice(start, stop) for start, stop in zip(edges, edges[1:], strict=False) if mask[start]
    ]


def to_midi(f0_hz):
    """Fractional MIDI numbers, in float64."""
    return librosa.hz_to_midi(np.asarray(f0_hz, np.float64))


def _is_sure(curves, threshold):
    """True where the certainty, of pitch and note, reaches the threshold. Shape [n_frames]."""
    if not curves.voiced.any():
        return curves.voiced
    f0_midi = to_midi(curves.f0_hz)
    off = np.zeros(len(f0_midi))
    off[1:-1] = np.abs(f0_midi[1:-1] - (f0_midi[:-2] + f0_midi[2:]) / 2)
    n_frames = _odd(STEADY_SECONDS * curves.frame_rate)
    steady = 1.0 / (1.0 + (median_filter(np.nan_to_num(off), n_frames) / UNSTEADY) ** 2)
    loud_db = np.percentile(curves.loudness_db[curves.voiced], 95)
    audible = np.interp(loud_db - curves.loudness_db, [FULL_RANGE_DB, NO_RANGE_DB], [1.0, 0.0])
    certainty = np.where(curves.voiced, curves.confidence, 0.0) * steady * audible
    return curves.voiced & (median_filter(certainty, n_frames) >= SUREST * threshold)


def _bridged(mask, frame_rate):
    """A mask [n_frames] with its short gaps closed."""
    gap = round(BRIDGED_SECONDS * frame_rate)
    closed = binary_closing(np.pad(mask, gap + 1), np.ones(gap + 1))[gap + 1 : -gap - 1]
    return closed | mask


def _path(f0_midi, frame_rate, key):
    """The note of the key in each frame [n_frames] that costs least; see `split`."""
    lowest, highest = np.floor(f0_midi.min()) - 2, np.ceil(f0_midi.max()) + 2
    states = np.arange(lowest, highest + 1)
    states = states[np.isin(states % 12, pitch_classes(key))]
    off = np.abs(f0_midi[:, np.newaxis] - states) / frame_rate
    stays = np.empty(off.shape, bool)
    cheapest = np.empty(len(off), int)
    cost = np.zeros(len(states))
    for t, here in enumerate(off):
        cheapest[t] = cost.argmin()
        step = cost[cheapest[t]] + STEP_COST
        np.less_equal(cost, step, out=stays[t])
        np.minimum(cost, step, out=cost)
        cost += here
    path = np.empty(len(off), int)
    state = cost.argmin()
    for t in range(len(off) - 1, -1, -1):
        path[t] = state
        state = state if stays[t, state] else cheapest[t]
    return states[path]


def _odd(n):
    """The nearest odd whole number."""
    return 2 * int(n / 2) + 1
