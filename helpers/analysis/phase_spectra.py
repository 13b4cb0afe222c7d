"""Spectra of a sound over the phase of its f0: how much of it turns at each fraction of f0.

Over the phase a vibrato stands still, and the spectrum of a note is that of a machine's: harmonic k
is at k cycles a period, however f0 moves. Samples are not evenly spaced in phase, so this is a
non-uniform FFT (Dutt and Rokhlin 1993). Each sample is spread over the nearest points of an even
grid by a smooth kernel, once for all frames; the FFT of each window of the grid is then divided by
the spectrum of the kernel (that of Barnett, Magland and af Klinteberg 2019).
"""

import functools
import math

import numpy as np
import scipy.fft
from numpy.lib.stride_tricks import sliding_window_view

OVERSAMPLING = 2  # points of the grid for each sample, at least
WIDTH = 8  # of the kernel, in points: what it gets wrong is 140 dB down
SHAPE = 2.3 * WIDTH  # of the kernel, the best for twice as many points
TABLE = 4096  # values of the kernel's spectrum
QUADRATURE = 64  # points of a window in which its bandwidth is measured


class PhaseSpectra:
    """The spectra of a clip around some of its samples."""

    def __init__(
        self, audio: np.ndarray, f0: np.ndarray, centres: np.ndarray, reach: int, lowest_f0: float
    ) -> None:
        """Spreads the samples that lie near the centres.

        Args:
          audio: Shape [n_samples].
          f0: In cycles a sample. Shape [n_samples].
          centres: Of the frames whose spectra are wanted, in samples. Shape [n_frames].
          reach: Samples on either side of a centre that are near it.
          lowest_f0: Of these frames, in cycles a sample.
        """
        self._f0, self._cycles = f0, np.cumsum(f0)
        self._points = scipy.fft.next_fast_len(math.ceil(OVERSAMPLING / lowest_f0), real=True)
        positions = (self._cycles - self._cycles[0]) * self._points
        near = _near(centres, reach, len(audio))
        size = int(positions[-1]) + 2 * WIDTH + 1
        self._grid = _spread((audio * f0)[near], positions[near] + WIDTH, size)

    def power(
        self, centres: np.ndarray, periods: int, reach: int, cycles: slice
    ) -> tuple[np.ndarray, np.ndarray]:
        """Power of what turns at whole cycles a window, in Hann windows of some periods of f0.

        Args:
          centres: Of the windows, in samples. Shape [n_frames].
          periods: In each window.
          reach: Samples on either side of a centre where the window ends at the latest, though f0
            should fall.
          cycles: Which cycles are wanted.

        Returns:
          Power, of which a sine of amplitude a gives a**2 / 4: shape [n_frames, n_cycles]; and the
          bandwidths of the windows in cycles a sample: shape [n_frames].
        """
        size = periods * self._points
        middles = (self._cycles[centres] - self._cycles[0]) * self._points + WIDTH
        nearest = np.rint(middles).astype(int)
        starts = nearest - size // 2
        before, after = max(0, -starts.min()), max(0, starts.max() + size - len(self._grid))
        grid = np.pad(self._grid, (before, after)) if before or after else self._grid
        windowed = sliding_window_view(grid, size)[starts + before]
        windowed *= _hann(size, middles - nearest)
        means, bandwidths, ends = self._windows(centres, periods, reach)
        for row in np.flatnonzero((np.abs(ends) < periods / 2).any(axis=1)):
            first, last = np.rint(ends[row] * self._points).astype(int) + size // 2
            windowed[row, : max(0, first)] = windowed[row, last + 1 :] = 0.0
        spectra = scipy.fft.rfft(windowed, axis=1, overwrite_x=True)[:, cycles]
        power = spectra.real**2 + spectra.imag**2
        kernel = _kernel_spectrum(np.arange(size // 2 + 1)[cycles] / size)
        return power / (periods * kernel * means[:, np.newaxis]) ** 2, bandwidths

    def _windows(self, centres, periods, reach):
        """Means and bandwidths of the windows, and where they end at the latest, in cycles."""
        last = len(self._cycles) - 1
        ends = np.stack([centres - reach, centres + reach], axis=1).clip(0, last)
        ends = self._cycles[ends] - self._cycles[centres][:, np.newaxis]
        part = (np.arange(QUADRATURE) + 0.5) / QUADRATURE - 0.5
        at = part * periods
        is_inside = (at >= ends[:, :1]) & (at <= ends[:, 1:])
        window = np.where(is_inside, 1 + np.cos(2 * np.pi * part), 0.0)
        cycles = self._cycles[centres][:, np.newaxis] + at
        f0 = np.interp(cycles, self._cycles, self._f0)
        means = window.mean(axis=1)
        return means, np.mean(window**2 * f0, axis=1) / (periods * means**2), ends


def _hann(size, offsets):
    """Hann windows, each moved by a part of a point. Shape [n_offsets, size]."""
    turns = 2 * np.pi * np.arange(-(size // 2), size - size // 2) / size
    offsets = 2 * np.pi / size * offsets[:, np.newaxis].astype(np.float32)
    cosines, sines = np.cos(turns).astype(np.float32), np.sin(turns).astype(np.float32)
    return 1 + cosines * np.cos(offsets) + sines * np.sin(offsets)


def _near(centres, reach, n_samples):
    """True for samples that are near a centre. Shape [n_samples]."""
    first, end = (centres - reach).clip(0), (centres + reach + 1).clip(max=n_samples)
    begun = np.bincount(first, minlength=n_samples + 1)
    ended = np.bincount(end, minlength=n_samples + 1)
    return np.cumsum(begun - ended)[:-1] > 0


def _spread(values, positions, size):
    """Values at positions between the points of an even grid, on the points. Shape [size]."""
    nearest = np.floor(positions).astype(int)
    rest = (positions - nearest).astype(np.float32)
    values = values.astype(np.float32)
    grid = np.zeros(size)
    for offset in range(1 - WIDTH // 2, WIDTH // 2 + 1):
        grid += np.bincount(nearest + offset, values * _kernel(offset - rest), size)
    return grid.astype(np.float32)


def _kernel(distance):
    """The kernel at distances in points of the grid, at most half its width."""
    inside = 1 - (distance * (2 / WIDTH)) ** 2
    return np.exp(SHAPE * (np.sqrt(np.maximum(inside, 0)) - 1))


def _kernel_spectrum(frequencies):
    """The Fourier transform of the kernel at frequencies from 0 to 0.5 cycles a point."""
    return np.interp(frequencies, np.linspace(0, 0.5, TABLE), _kernel_table())


@functools.cache
def _kernel_table():
    nodes, weights = np.polynomial.legendre.leggauss(64)
    nodes = nodes * WIDTH / 2
    waves = np.cos(2 * np.pi * np.outer(np.linspace(0, 0.5, TABLE), nodes))
    return waves @ (weights * _kernel(nodes)) * WIDTH / 2
