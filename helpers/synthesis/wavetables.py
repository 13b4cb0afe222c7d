"""Harmonics by wavetables: one period of each frame's sound, read at the phase of every sample.

That takes as long for 165 harmonics as for 20, where sines that are summed one by one take as many
times longer. It has no gradient: training sums the sines (`synths`).
"""

import numpy as np
import scipy.fft
from scipy.ndimage import map_coordinates
from scipy.signal import get_window

# A cubic spline between the points of a table gives harmonic k of a table of n points exactly, and
# (k / (n - k))^4 of it again, at the wrong frequency: 4e-6 where n is 24 k.
POINTS_A_PERIOD = 24  # of the highest harmonic
SPLINE_ORDER = 3


def harmonic_audio(
    cycles: np.ndarray, audible_up_to: np.ndarray, amplitudes: np.ndarray
) -> np.ndarray:
    """Audio of frames: harmonics whose amplitudes go from one frame to the next as a cosine does.

    Args:
      cycles: Phase of the fundamental, in cycles. Shape [n_frames, hop_size].
      audible_up_to: Number of the last harmonic below half the sample rate. Shape as `cycles`.
      amplitudes: Of the harmonics, at the start of each frame and at the end of the last. Shape
        [n_frames + 1, n_harmonics].

    Returns:
      Audio. Shape [n_frames, hop_size].
    """
    hop_size, numbers = cycles.shape[1], 1 + np.arange(amplitudes.shape[1])
    fade_in = get_window("hann", 2 * hop_size)[:hop_size].astype(np.float32)
    # A table is read in two frames: it has those harmonics that are audible in all of both.
    in_frames = audible_up_to.min(axis=1)
    in_both = np.minimum(np.append(in_frames, np.inf), np.append(np.inf, in_frames))
    in_tables = np.where(numbers <= in_both[:, np.newaxis], amplitudes, np.float32(0.0))
    before, after = _read(in_tables, cycles)
    audio = before + (after - before) * fade_in
    rest = amplitudes - in_tables
    is_heard = numbers <= audible_up_to.max(axis=1, keepdims=True)
    frames, columns = np.nonzero(is_heard & ((rest[:-1] != 0.0) | (rest[1:] != 0.0)))
    here, following = (rest[frames + i, columns, np.newaxis] for i in (0, 1))
    envelopes = here + (following - here) * fade_in
    numbers = numbers[columns, np.newaxis]
    sines = np.sin(2.0 * np.pi * (numbers * cycles[frames] % 1.0))
    np.add.at(audio, frames, np.where(numbers <= audible_up_to[frames], envelopes * sines, 0.0))
    return audio


def _read(amplitudes, cycles):
    """What the tables at the start and at the end of each frame hold at the phase of its samples.

    Args:
      amplitudes: Of the harmonics of each table. Shape [n_frames + 1, n_harmonics].
      cycles: Shape [n_frames, hop_size].

    Returns:
      Two arrays [n_frames, hop_size].
    """
    n_harmonics = max(1, 1 + np.flatnonzero(amplitudes.any(axis=0)).max(initial=0))
    n_points = scipy.fft.next_fast_len(POINTS_A_PERIOD * n_harmonics, real=True)
    numbers = np.arange(n_harmonics + 1)
    spline_gain = np.sinc(numbers / n_points) ** (SPLINE_ORDER + 1)
    spectrum = np.zeros((len(amplitudes), n_harmonics + 1), np.complex64)
    spectrum[:, 1:] = amplitudes[:, :n_harmonics] * (-0.5j * n_points / spline_gain[1:])
    tables = scipy.fft.irfft(spectrum, n_points, axis=1)
    tables = np.concatenate([tables[:, -1:], tables, tables[:, :2]], axis=1)  # around their ends
    starts = 1 + tables.shape[1] * np.arange(len(tables))[:, np.newaxis]
    return [
        map_coordinates(
            tables.ravel(),
            (starts[first:][: len(cycles)] + n_points * (cycles % 1.0))[np.newaxis],
            np.float32,
            SPLINE_ORDER,
            prefilter=False,
        )
        for first in (0, 1)
    ]
