"""Changes of note that a tracker smears, made as quick as they were played.

CREPE looks at 64 ms at once, and so does the refinement of its pitch. A change of note, which a
violinist's finger makes in a few milliseconds, comes out as a slide over the length of the window.
Here each change between two steady pitches is decided again, in windows of 20 ms: among steps at
any time and slides of several lengths, that one is taken which most of the sound's harmonics
follow. Where the tracked pitch itself fits better (a slower glide, a scoop, a vibrato) it stays.
"""

from collections.abc import Iterator

import numpy as np
import scipy.ndimage

from helpers.analysis import pitch

WINDOW_SECONDS, PERIODS = 0.02, 4  # of the window: the longer of both
N_FFT_SECONDS = 0.256  # of the padded spectrum: its bins are 4 Hz wide
N_HARMONICS = 20
HIGHEST = 0.47  # of the sample rate, up to which harmonics are looked at
COMPRESSION = 0.5  # of magnitudes, so that the strongest harmonic does not decide alone
SLIDE_SECONDS = (0.0, 0.04, 0.08)  # from which one is chosen; 0 is a step
BETTER = 0.1  # by which a slide has to fit better than the tracked pitch, in a frame's mean levels
LONGEST_SECONDS = 0.14  # of unsteady pitch between two notes
SMEARED_SECONDS = 0.036  # that a smeared step would take at its steepest; a vibrato takes longer
STEADY_SECONDS = 0.03  # of a note on either side of a change, at least
FASTEST_DRIFT = 10.0  # semitones a second, of a steady pitch
DRIFT_SECONDS = 0.008  # over which it is measured
REACH_SECONDS = 0.03  # before and after the unsteady pitch, in which the change may be too


def sharpen(
    audio: np.ndarray,
    f0_hz: np.ndarray,
    sure: np.ndarray,
    sample_rate: int,
    frame_rate: int,
) -> np.ndarray:
    """f0 whose changes of note are as quick as the harmonics of the sound say.

    Args:
      audio: Shape [n_samples].
      f0_hz: Tracked, without NaN. Frames are centred, the first at 0 s. Shape [n_frames].
      sure: True in the frames whose pitch is sure; changes are looked for between these.
        Shape [n_frames].
      sample_rate: Hz.
      frame_rate: Frames a second.

    Returns:
      f0_hz: float32, shape [n_frames].
    """
    tracked = np.log2(np.asarray(f0_hz, np.float64))
    sharpened = tracked.copy()
    for before, after in _changes(tracked, sure, frame_rate):
        reach = round(REACH_SECONDS * frame_rate)
        first, last = max(before.start, before.stop - reach), min(after.stop, after.start + reach)
        frames = np.arange(first, last)
        slides = _slides(tracked, before, after, frames, frame_rate)
        candidates = np.concatenate([tracked[np.newaxis, frames], slides])
        lowest_hz = 2.0 ** candidates.min()
        levels, bin_hz = _levels(audio, frames * sample_rate / frame_rate, lowest_hz, sample_rate)
        fits = _fits(levels, 2.0**candidates / bin_hz)
        if fits.max() > fits[0] + BETTER:
            sharpened[frames] = candidates[fits.argmax()]
    return (2.0**sharpened).astype(np.float32)


def _changes(
    octaves: np.ndarray, sure: np.ndarray, frame_rate: int
) -> Iterator[tuple[slice, slice]]:
    """Yields the steady frames before and after each change. The pitch is in octaves."""
    step = max(1, round(DRIFT_SECONDS * frame_rate))
    drift = np.full((2, len(octaves)), np.inf)  # from the frames before, and to those after
    drift[0, step:] = drift[1, :-step] = np.abs(octaves[step:] - octaves[:-step])
    steady = sure & (12 * drift.max(axis=0) < FASTEST_DRIFT * step / frame_rate)
    shortest = max(2, round(STEADY_SECONDS * frame_rate))
    found, _ = scipy.ndimage.label(steady)
    notes = [
        run for (run,) in scipy.ndimage.find_objects(found) if run.stop - run.start >= shortest
    ]
    for before, after in zip(notes, notes[1:], strict=False):
        interval = 12 * np.abs(np.subtract(*_held(octaves, before, after, frame_rate)))
        moves = np.abs(np.diff(octaves[before.stop - 1 : after.start + 1]))
        steepest = 12 * frame_rate * moves.max()
        is_near = after.start - before.stop <= LONGEST_SECONDS * frame_rate
        if is_near and pitch.SAME_NOTE_SEMITONES <= interval <= SMEARED_SECONDS * steepest:
            yield before, after


def _held(octaves, before, after, frame_rate):
    """The pitch with which the note before ends, and that with which the note after begins."""
    n = max(2, round(STEADY_SECONDS * frame_rate))
    return (
        np.median(octaves[max(before.start, before.stop - n) : before.stop]),
        np.median(octaves[after.start : min(after.stop, after.start + n)]),
    )


def _slides(octaves, before, after, frames, frame_rate):
    """Ways from one note to the other: at any time, in each of the lengths. [n_ways, n_frames]."""
    held = _held(octaves, before, after, frame_rate)
    left = np.where(frames < before.stop, octaves[frames], held[0])
    right = np.where(frames >= after.start, octaves[frames], held[1])
    middles = np.arange(frames[0], frames[-1] + 0.1, 0.5)[:, np.newaxis, np.newaxis]
    lengths = np.maximum(np.array(SLIDE_SECONDS) * frame_rate, 1e-3)[:, np.newaxis]
    share = np.clip((frames - middles) / lengths + 0.5, 0, 1).reshape(-1, len(frames))
    return left + (right - left) * share


def _levels(audio, centres, lowest_hz, sample_rate):
    """Compressed spectra around centres, each of mean 1: [n_centres, n_bins]; width of a bin in Hz.

    What is above `HIGHEST` is left out.
    """
    n_window = int(max(WINDOW_SECONDS, PERIODS / lowest_hz) * sample_rate)
    n_fft = max(n_window, round(N_FFT_SECONDS * sample_rate))
    at = np.round(centres).astype(int)[:, np.newaxis] + np.arange(n_window) - n_window // 2
    inside = (at >= 0) & (at < len(audio))
    samples = np.where(inside, audio[at.clip(0, len(audio) - 1)], 0.0) * np.hanning(n_window)
    levels = np.abs(np.fft.rfft(samples, n_fft)[:, : int(HIGHEST * n_fft)]) ** COMPRESSION
    mean = levels.mean(axis=1, keepdims=True)
    return np.divide(levels, mean, out=np.ones_like(levels), where=mean > 0), sample_rate / n_fft


def _fits(levels, f0_bins):
    """How far the harmonics stand above the mean level, by way: [n_ways].

    Of two pitches that share harmonics, such as octaves, each also pays for what it lacks: a
    harmonic at which nothing sounds is below the mean.
    """
    n_frames, n_bins = levels.shape
    bins = f0_bins[..., np.newaxis] * np.arange(1, N_HARMONICS + 1)
    inside = bins < n_bins - 1
    nearest = np.where(inside, bins + 0.5, 0).astype(int)
    heights = levels[np.arange(n_frames)[:, np.newaxis], nearest] - 1.0
    return np.sum(heights * inside, axis=(1, 2)) / n_frames
