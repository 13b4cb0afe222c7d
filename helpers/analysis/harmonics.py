"""Audio and its f0 to the amplitudes of the harmonics and the noise between them.

Each frame is turned back by the phase of f0 (heterodyning): harmonic k stands still when it is
turned back k times, and adds up; what adds up between two harmonics is noise. The window is a Hann
window of a whole even number of periods, laid over the phase and not over the time. So all other
harmonics cancel exactly, whatever vibrato f0 has, and low notes get windows that are long enough to
part their harmonics.

Amplitudes are those of sines at full scale 1. Noise is a one-sided power density: its integral
from 0 Hz to half the sample rate is the mean square of the noise.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import scipy.signal
from numpy.lib.stride_tricks import sliding_window_view

from helpers.analysis import features
from helpers.analysis.phase_spectra import PhaseSpectra

PERIODS = 4  # of f0, the fewest in which neither harmonics nor the noise between them mix
WINDOW_SECONDS = 0.023  # the shortest window; high notes get more periods
BLOCK_FRAMES = 1000  # that are analysed at once
GROUP_FRAMES = 100  # of similar pitch, which share the size of their arrays
EDGE_FFT = 4096  # samples of a spectrum in which the band edge is looked for
EDGE_HZ = 500.0  # on either side of a band edge that are compared
EDGE_DROP_DB = 18.0  # by which a spectrum falls there at least
EMPTY_DB = -60.0  # below the loudest: the most that there is above a band edge
QUIETEST_DB = -110.0  # amplitude of a harmonic: what is less, codecs and 16 bits do not keep
SINGLE_NOTE_HZ = 3000.0  # up to which a second note is looked for
SINGLE_NOTE_SHARE = 0.9  # of the power there that a single note has on its harmonics


@dataclass(frozen=True)
class HarmonicAnalysis:
    """Harmonics and noise of a recording, frame by frame.

    Attributes:
      f0_hz: The pitch by which the recording was turned back. Shape [n_frames].
      bandwidth_hz: Of the window: noise of a density d adds 2 * d * bandwidth_hz to the square of
        an amplitude. Shape [n_frames].
      amplitudes: Of harmonic k in column k - 1, the noise beneath it included; 0 from half the
        sample rate up. Shape [n_frames, n_harmonics].
      noise_density: Mean power for each Hz between harmonics k - 1 and k in column k - 1; 0 from
        half the sample rate up. Shape [n_frames, n_harmonics].
      band_density: The same in bands of fixed edges: a smooth spectrum of the noise, with a
        straight line across each harmonic. Shape [n_frames, n_bands].
      is_measured: False for bands beyond the lowest and the highest frequency at which the noise
        was measured. Shape [n_frames, n_bands].
    """

    f0_hz: np.ndarray
    bandwidth_hz: np.ndarray
    amplitudes: np.ndarray
    noise_density: np.ndarray
    band_density: np.ndarray
    is_measured: np.ndarray

    @property
    def harmonics_hz(self) -> np.ndarray:
        """Frequency of each harmonic. Shape [n_frames, n_harmonics]."""
        return np.outer(self.f0_hz, np.arange(1, self.amplitudes.shape[1] + 1))

    @property
    def noise_beneath(self) -> np.ndarray:
        """Density at each harmonic: the mean of those on both sides. Shape as `noise_density`."""
        above = np.concatenate([self.noise_density[:, 1:], self.noise_density[:, -1:]], axis=1)
        above = np.where(above > 0, above, self.noise_density)  # the last one has none above
        return (self.noise_density + above) / 2

    @property
    def harmonic_power(self) -> np.ndarray:
        """Mean square of each harmonic, less the noise beneath it. Shape as `amplitudes`.

        It is right on average, and so may be below 0 where there is noise alone.
        """
        beneath = self.noise_beneath * self.bandwidth_hz[:, np.newaxis]
        return self.amplitudes**2 / 2 - np.where(self.amplitudes > 0, beneath, 0.0)


def analyze(
    audio: np.ndarray,
    f0_hz: np.ndarray,
    sample_rate: int,
    frame_rate: int,
    n_harmonics: int,
    edges_hz: np.ndarray,
    window_seconds: float = WINDOW_SECONDS,
    noise_window_seconds: float | None = None,
) -> HarmonicAnalysis:
    """Finds the harmonics of a recording and the noise between them.

    Args:
      audio: Shape [n_samples]; it may be memory-mapped.
      f0_hz: Without NaN, best refined (`pitch.refine`). Frames are centred, the first at 0 s.
        Shape [n_frames].
      sample_rate: Hz.
      frame_rate: Frames a second.
      n_harmonics: How many harmonics to look for.
      edges_hz: Of the bands of the noise, rising. Shape [n_bands + 1].
      window_seconds: The shortest window: longer ones part harmonics from noise better, shorter
        ones follow changes better.
      noise_window_seconds: The shortest window of the noise, if it is another one: what is measured
        in longer ones varies less.

    >>> turns = 220 * np.arange(16000) / 16000
    >>> tone = 0.5 * np.sin(2 * np.pi * turns) + 0.1 * np.sin(6 * np.pi * turns)
    >>> found = analyze(tone, np.full(125, 220.0), 16000, 125, 3, edges_hz=[0, 4000, 8000])
    >>> found.amplitudes[60].round(3)
    array([0.5, 0. , 0.1], dtype=float32)
    """
    windows = window_seconds, noise_window_seconds
    arguments = audio, f0_hz, sample_rate, frame_rate, n_harmonics, edges_hz, *windows
    blocks = [vars(block) for block in analyze_blocks(*arguments)]
    return HarmonicAnalysis(
        **{name: np.concatenate([block[name] for block in blocks]) for name in blocks[0]}
    )


def analyze_blocks(
    audio: np.ndarray,
    f0_hz: np.ndarray,
    sample_rate: int,
    frame_rate: int,
    n_harmonics: int,
    edges_hz: np.ndarray,
    window_seconds: float = WINDOW_SECONDS,
    noise_window_seconds: float | None = None,
) -> Iterator[HarmonicAnalysis]:
    """Yields what `analyze` returns, block by block, in memory for one block."""
    hop = features.hop_size(sample_rate, frame_rate)
    windows = _Windows(window_seconds, noise_window_seconds or window_seconds, sample_rate)
    edges_hz = np.asarray(edges_hz, float)
    for first in range(0, len(f0_hz), BLOCK_FRAMES):
        block_hz = np.asarray(f0_hz[first : first + BLOCK_FRAMES], np.float64)
        reach = windows.reach(block_hz)
        start, end = first * hop - reach, (first + len(block_hz)) * hop + reach
        curve_hz = np.interp(np.arange(start, end) / hop, np.arange(len(f0_hz)), f0_hz)
        samples = _cut(audio, start, end)
        centres = reach + hop * np.arange(len(block_hz))
        parts, order = [], []
        for octave in _octaves(block_hz):
            lowest_hz = block_hz[octave].min()
            reach = windows.reach(block_hz[octave])
            spectra = PhaseSpectra(
                samples, curve_hz / sample_rate, centres[octave], reach, lowest_hz / sample_rate
            )
            for group in windows.groups(block_hz, octave):
                part = _analyze(
                    spectra, centres[group], block_hz[group], windows, n_harmonics, edges_hz
                )
                parts.append(vars(part))
                order.append(group)
        back = np.argsort(np.concatenate(order))
        yield HarmonicAnalysis(
            **{name: np.concatenate([part[name] for part in parts])[back] for name in parts[0]}
        )


def find_band_edge_hz(audio: np.ndarray, sample_rate: int) -> float:
    """The frequency above which a recording holds nothing, as codecs and resampling leave it.

    There the spectrum falls off a cliff, its floor between the harmonics too, and stays below. An
    instrument that is weak in its highs has no such cliff, and a voice, which may fall as steeply
    above a formant, sounds on above it.

    Args:
      audio: Shape [n_samples].
      sample_rate: Hz.

    Returns:
      The edge in Hz; half the sample rate where there is none.
    """
    if len(audio) < EDGE_FFT:
        audio = np.pad(audio, (0, EDGE_FFT - len(audio)))
    block = 60 * sample_rate
    spectra = [
        scipy.signal.welch(audio[first : first + block], sample_rate, nperseg=EDGE_FFT)[1]
        for first in range(0, max(1, len(audio) - EDGE_FFT), block)
    ]
    spectrum_db = 10 * np.log10(np.mean(spectra, axis=0) + 1e-30)
    n = round(EDGE_HZ * EDGE_FFT / sample_rate)
    floor_db = np.median(sliding_window_view(spectrum_db, n), axis=-1)
    after_db = np.maximum.accumulate(floor_db[::-1])[::-1][n:]
    is_empty = after_db <= spectrum_db.max() + EMPTY_DB
    drop_db = np.where(is_empty, floor_db[:-n] - after_db, 0.0)
    if drop_db.max() < EDGE_DROP_DB:
        return sample_rate / 2
    steepest = drop_db.argmax()
    half_way_db = (floor_db[steepest] + after_db[steepest]) / 2
    return float(np.flatnonzero(spectrum_db > half_way_db)[-1] * sample_rate / EDGE_FFT)


def band_power(analysis: HarmonicAnalysis, low_hz: float, high_hz: float) -> np.ndarray:
    """Mean square of the harmonics in a band, and of the noise in the width of f0 around each.

    Args:
      analysis: From `analyze`.
      low_hz, high_hz: The band.

    Returns:
      Harmonics in the first column, noise in the second. Shape [n_frames, 2].
    """
    inside = (analysis.harmonics_hz >= low_hz) & (analysis.harmonics_hz < high_hz)
    inside &= analysis.amplitudes > 0
    noise = analysis.noise_beneath * analysis.f0_hz[:, np.newaxis]
    return np.stack([np.sum(x * inside, axis=1) for x in (analysis.harmonic_power, noise)], axis=1)


def harmonic_share(
    analysis: HarmonicAnalysis, low_hz: float, high_hz: float, frames: np.ndarray
) -> float:
    """Share of the power from one frequency to another that is on the harmonics, from 0 to 1.

    Args:
      analysis: From `analyze`.
      low_hz, high_hz: The band.
      frames: True in the frames that count. Shape [n_frames].

    Returns:
      The share; NaN where no harmonic of these frames is in the band.
    """
    harmonic, noise = band_power(analysis, low_hz, high_hz)[frames].sum(axis=0)
    return float(np.clip(harmonic / (harmonic + noise), 0, 1)) if noise > 0 else np.nan


def is_single_note(analysis: HarmonicAnalysis) -> np.ndarray:
    """True where no other note sounds beside the one that was followed. Shape [n_frames].

    The harmonics of another note stand between those of the first, unless it is an octave above.
    """
    harmonic, noise = band_power(analysis, 0.0, SINGLE_NOTE_HZ).T
    return harmonic > SINGLE_NOTE_SHARE * (harmonic + noise)


def is_known(
    analysis: HarmonicAnalysis, sure: np.ndarray, edges_hz: np.ndarray, band_edge_hz: float
) -> tuple[np.ndarray, np.ndarray]:
    """Which amplitudes and which densities of bands may be learned from.

    Args:
      analysis: From `analyze`.
      sure: True in the frames whose pitch is sure. Shape [n_frames].
      edges_hz: Of the bands, as they were given to `analyze`.
      band_edge_hz: The recording's own band edge, from `find_band_edge_hz`.

    Returns:
      Masks for amplitudes [n_frames, n_harmonics] and for bands [n_frames, n_bands]. False where
      the pitch is not sure, where two notes sound, above the recording's band edge less the width
      of the window, where nothing was measured, and where there is so little that codecs and 16
      bits do not keep it.
    """
    sure = (sure & is_single_note(analysis))[:, np.newaxis]
    width_hz = analysis.bandwidth_hz[:, np.newaxis]
    quietest = 10 ** (QUIETEST_DB / 20)
    harmonics_known = analysis.harmonics_hz < band_edge_hz - width_hz
    harmonics_known &= analysis.amplitudes > quietest
    bands_known = np.asarray(edges_hz)[1:] < band_edge_hz - width_hz
    bands_known &= 2 * analysis.band_density * width_hz > quietest**2
    return sure & harmonics_known, sure & bands_known & analysis.is_measured


@dataclass(frozen=True)
class _Windows:
    """The shortest windows of harmonics and of noise in seconds, and samples a second."""

    harmonics_seconds: float
    noise_seconds: float
    sample_rate: int

    def periods(self, f0_hz: np.ndarray) -> np.ndarray:
        """Periods in both, even numbers: then f0 / 2 is at a zero, too. Shape [2, n_frames]."""
        seconds = np.array([self.harmonics_seconds, self.noise_seconds])
        return (2 * np.ceil(np.maximum(PERIODS, np.outer(seconds, f0_hz)) / 2)).astype(int)

    def reach(self, f0_hz: np.ndarray) -> int:
        """Samples on either side of a frame for both, a fifth more where the pitch falls."""
        return 1 + int(1.2 * self.sample_rate * np.max(self.periods(f0_hz) / f0_hz) / 2)

    def groups(self, f0_hz: np.ndarray, frames: np.ndarray) -> Iterator[np.ndarray]:
        """Some frames, in groups of the same numbers of periods and similar pitch."""
        by_pitch = frames[np.argsort(f0_hz[frames])]
        changes = np.diff(self.periods(f0_hz[by_pitch])).any(axis=0)
        for part in np.split(by_pitch, np.flatnonzero(changes) + 1):
            for first in range(0, len(part), GROUP_FRAMES):
                yield part[first : first + GROUP_FRAMES]


def _octaves(f0_hz):
    """The numbers of the frames in each octave, from the lowest f0 up."""
    octaves = np.log2(f0_hz / f0_hz.min()).astype(int)
    return [np.flatnonzero(octaves == octave) for octave in np.unique(octaves)]


def _analyze(spectra, centres, f0_hz, windows, n_harmonics, edges_hz):
    """The `HarmonicAnalysis` of frames around centres, whose windows have as many periods."""
    sample_rate = windows.sample_rate
    reach = windows.reach(f0_hz)
    periods, noise_periods = windows.periods(f0_hz[:1])[:, 0]
    n_audible = min(n_harmonics, math.ceil(sample_rate / 2 / f0_hz.min()) - 1)
    harmonics = slice(periods, n_audible * periods + 1, periods)
    power, bandwidth = spectra.power(centres, periods, reach, harmonics)
    power = power * (np.outer(f0_hz, np.arange(1, n_audible + 1)) < sample_rate / 2)
    amplitudes = np.pad(2 * np.sqrt(power), [(0, 0), (0, n_harmonics - n_audible)])
    # Of the noise all whole cycles in the window; the harmonics are at each `periods`th of them.
    n_gaps = min(n_harmonics, math.ceil(sample_rate / 2 / f0_hz.min()))
    cycles = slice(0, n_gaps * noise_periods + 1)
    power, noise_bandwidth = spectra.power(centres, noise_periods, reach, cycles)
    density = 2 * power / (noise_bandwidth[:, np.newaxis] * sample_rate)
    widths_hz = f0_hz[:, np.newaxis] / noise_periods
    nyquist, edges = sample_rate / 2 / widths_hz, edges_hz / widths_hz
    noise = _noise(density, noise_periods, nyquist, edges, n_harmonics)
    return HarmonicAnalysis(
        f0_hz.astype(np.float32),
        (bandwidth * sample_rate).astype(np.float32),
        amplitudes.astype(np.float32),
        *noise,
    )


def _noise(density, periods, nyquist, edges, n_harmonics):
    """`noise_density`, `band_density` and `is_measured` of a `HarmonicAnalysis`.

    Args:
      density: At each cycle in the window, from 0. Shape [n_frames, n_cycles].
      periods: In the window.
      nyquist: Half the sample rate in cycles. Shape [n_frames, 1].
      edges: Of the bands, in cycles. Shape [n_frames, n_bands + 1].
      n_harmonics: How many gaps are wanted.
    """
    cycle, margin = np.arange(density.shape[1]), max(2, periods // 4)
    is_audible = cycle < nyquist
    density = np.where(is_audible, density, 0.0)
    # What changes in a harmonic spreads around it: noise is measured in the middle half of a gap,
    # and never at the cycle beside a harmonic, where a Hann window has no zero.
    is_middle = (cycle % periods >= margin) & (cycle % periods <= periods - margin)
    n_gaps = len(cycle) // periods
    gaps = density[:, is_middle].reshape(len(density), n_gaps, -1).mean(axis=2)
    is_point = is_middle | ((cycle >= 2) & (cycle < margin))  # there is no harmonic at 0 Hz
    (points,) = np.nonzero(is_point)
    last = points[np.sum(is_audible[:, points], axis=1) - 1]
    highest = np.minimum(points[-1] + (n_harmonics - n_gaps) * periods, nyquist)
    return (
        np.pad(gaps, [(0, 0), (0, n_harmonics - n_gaps)]).astype(np.float32),
        _band_means(density, points, last, edges).astype(np.float32),
        (edges[:, 1:] > points[0]) & (edges[:, :-1] < highest),
    )


def _band_means(density, points, last, edges):
    """Means over bands of what is a straight line between points, and level beyond the last.

    Args:
      density: At each cycle. Shape [n_frames, n_cycles].
      points: The cycles at which there is noise alone. Shape [n_points].
      last: The last point of each frame. Shape [n_frames].
      edges: Of the bands, in cycles. Shape [n_frames, n_bands + 1].
    """
    rows = np.arange(len(density))[:, np.newaxis]
    known = density[rows, np.minimum(points, last[:, np.newaxis])]
    cycles = np.arange(int(edges.max()) + 2)
    place = np.interp(cycles, points, np.arange(len(points)))
    below = place.astype(int)
    above = np.minimum(below + 1, len(points) - 1)
    line = known[:, below] + (known[:, above] - known[:, below]) * (place - below)
    areas = np.cumsum((line[:, 1:] + line[:, :-1]) / 2, axis=1)
    areas = np.pad(areas, [(0, 0), (1, 0)])
    whole = np.floor(edges).astype(int)
    rest = edges - whole
    slope = line[rows, whole + 1] - line[rows, whole]
    areas = areas[rows, whole] + rest * (line[rows, whole] + rest * slope / 2)
    return np.diff(areas) / np.diff(edges)


def _cut(audio, start, end):
    """Samples from start to end, with zeros where audio has none. Shape [end - start]."""
    inside = np.asarray(audio[max(0, start) : max(0, end)], np.float32)
    missing = max(0, -start)
    return np.pad(inside, (missing, max(0, end - start - missing - len(inside))))
