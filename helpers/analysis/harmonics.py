"""Audio and its f0 to the amplitudes of the harmonics and the noise between them.

Each frame is turned back by the phase of f0 (heterodyning): harmonic k stands still when it is
turned back k times, and adds up; what adds up between two harmonics is noise. The window is a Hann
window of a whole even number of periods, laid over the phase and not over the time. So all other
harmonics cancel exactly, whatever vibrato f0 has, and low notes get windows that are long enough to
part their harmonics.

Amplitudes are those of sines at full scale 1. Noise is a one-sided power density: its integral
from 0 Hz to half the sample rate is the mean square of the noise.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import scipy.signal
from numpy.lib.stride_tricks import sliding_window_view

from helpers.analysis import features

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

    >>> turns = 220 * np.arange(16000) / 16000
    >>> tone = 0.5 * np.sin(2 * np.pi * turns) + 0.1 * np.sin(6 * np.pi * turns)
    >>> found = analyze(tone, np.full(125, 220.0), 16000, 125, 3, edges_hz=[0, 4000, 8000])
    >>> found.amplitudes[60].round(3)
    array([0.5, 0. , 0.1], dtype=float32)
    """
    arguments = audio, f0_hz, sample_rate, frame_rate, n_harmonics, edges_hz, window_seconds
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
) -> Iterator[HarmonicAnalysis]:
    """Yields what `analyze` returns, block by block, in memory for one block."""
    hop = features.hop_size(sample_rate, frame_rate)
    edges_hz = np.asarray(edges_hz, float)
    for first in range(0, len(f0_hz), BLOCK_FRAMES):
        block_hz = np.asarray(f0_hz[first : first + BLOCK_FRAMES], np.float64)
        reach = _reach(block_hz, window_seconds, sample_rate)
        start, end = first * hop - reach, (first + len(block_hz)) * hop + reach
        curve_hz = np.interp(np.arange(start, end) / hop, np.arange(len(f0_hz)), f0_hz)
        clip = _Clip(_cut(audio, start, end), curve_hz / sample_rate, sample_rate)
        centres = reach + hop * np.arange(len(block_hz))
        groups = _groups(block_hz, window_seconds)
        parts = [
            vars(
                _analyze(
                    clip, centres[group], block_hz[group], n_harmonics, edges_hz, window_seconds
                )
            )
            for group in groups
        ]
        order = np.argsort(np.concatenate(groups))
        yield HarmonicAnalysis(
            **{name: np.concatenate([part[name] for part in parts])[order] for name in parts[0]}
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
class _Clip:
    """Samples, the cycles that f0 makes in each, and how many make a second."""

    audio: np.ndarray
    f0: np.ndarray
    sample_rate: int


def _analyze(clip, centres, f0_hz, n_harmonics, edges_hz, window_seconds):
    """The `HarmonicAnalysis` of frames around centres, whose windows have as many periods."""
    nyquist_hz = clip.sample_rate / 2
    periods = _periods(f0_hz[0], window_seconds)
    n_sums = n_harmonics * periods
    # What adds up at every whole cycle in the window, the harmonics at each `periods`th of them.
    reach = _reach(f0_hz, window_seconds, clip.sample_rate)
    n_audible = min(n_sums, int(nyquist_hz / f0_hz.min() * periods))
    sums, bandwidth = _turned_back(clip, centres, periods, reach, n_audible)
    bandwidth_hz = (bandwidth * clip.sample_rate).astype(np.float32)
    sums_hz = np.outer(f0_hz / periods, np.arange(1, n_sums + 1))
    sums = np.where(sums_hz < nyquist_hz, np.pad(sums, [(0, 0), (0, n_sums - n_audible)]), 0.0)
    amplitudes = 2 * sums[:, periods - 1 :: periods]
    density = 2 * sums**2 / bandwidth_hz[:, np.newaxis]
    # What changes in a harmonic spreads around it: noise is measured in the middle half of a gap,
    # and never at the cycle beside a harmonic, where a Hann window has no zero.
    cycle, margin = np.arange(1, n_sums + 1), max(2, periods // 4)
    is_middle = (cycle % periods >= margin) & (cycle % periods <= periods - margin)
    gaps = density[:, is_middle].reshape(len(f0_hz), n_harmonics, -1)
    is_point = is_middle | ((cycle >= 2) & (cycle < margin))  # there is no harmonic at 0 Hz
    points_hz, points = sums_hz[:, is_point], density[:, is_point]
    band_density = np.stack(
        [
            _band_means(hz[hz < nyquist_hz], row[hz < nyquist_hz], edges_hz)
            for hz, row in zip(points_hz, points, strict=True)
        ]
    )
    highest_hz = np.minimum(points_hz[:, -1:], nyquist_hz)
    return HarmonicAnalysis(
        f0_hz.astype(np.float32),
        bandwidth_hz,
        amplitudes.astype(np.float32),
        gaps.mean(axis=2).astype(np.float32),
        band_density.astype(np.float32),
        (edges_hz[1:] > points_hz[:, :1]) & (edges_hz[:-1] < highest_hz),
    )


def _turned_back(clip, centres, periods, reach, n_sums):
    """What adds up at each whole cycle in the window of each frame.

    Returns:
      Magnitudes, of which a sine gives half its amplitude: shape [n_frames, n_sums]; and the
      bandwidths of the windows in cycles a sample: shape [n_frames].
    """
    at = centres[:, np.newaxis] + np.arange(-reach, reach + 1)
    at = at.clip(0, len(clip.f0) - 1)
    cycles = np.cumsum(clip.f0)
    cycles = (cycles[at] - cycles[centres][:, np.newaxis]) / periods
    # A mean over the phase and not over the time: each sample counts by the cycles it lasts.
    window = np.where(np.abs(cycles) < 0.5, 1 + np.cos(2 * np.pi * cycles), 0.0) * clip.f0[at]
    window /= window.sum(axis=1, keepdims=True)
    turned = (clip.audio[at] * window).astype(np.complex64)
    back = np.exp(-2j * np.pi * cycles).astype(np.complex64)
    sums = np.empty((len(centres), n_sums), np.float32)
    for cycle in range(n_sums):
        turned *= back
        sums[:, cycle] = np.abs(turned.sum(axis=1))
    return sums, np.sum(window**2, axis=1)


def _band_means(points_hz, density, edges_hz):
    """Means over bands of what is a straight line between points, and level beyond the last."""
    ends_hz = [min(0.0, edges_hz[0]), max(points_hz[-1], edges_hz[-1]) + 1.0]
    points_hz = np.concatenate([ends_hz[:1], points_hz, ends_hz[1:]])
    density = np.concatenate([density[:1], density, density[-1:]])
    grid_hz = np.union1d(points_hz, edges_hz)
    values = np.interp(grid_hz, points_hz, density)
    areas = np.diff(grid_hz) * (values[1:] + values[:-1]) / 2
    below = np.concatenate([[0.0], np.cumsum(areas)])
    return np.diff(below[np.searchsorted(grid_hz, edges_hz)]) / np.diff(edges_hz)


def _groups(f0_hz, window_seconds):
    """The numbers of the frames, in groups of the same number of periods and similar pitch."""
    by_pitch = np.argsort(f0_hz)
    changes = np.flatnonzero(np.diff(_periods(f0_hz[by_pitch], window_seconds))) + 1
    return [
        part[first : first + GROUP_FRAMES]
        for part in np.split(by_pitch, changes)
        for first in range(0, len(part), GROUP_FRAMES)
    ]


def _periods(f0_hz, window_seconds):
    """Periods in the window, an even number: then f0 / 2 is at a zero of it, too."""
    return (2 * np.ceil(np.maximum(PERIODS, window_seconds * f0_hz) / 2)).astype(int)


def _reach(f0_hz, window_seconds, sample_rate):
    """Samples on either side of a frame for its window, a fifth more where the pitch falls."""
    return 1 + int(1.2 * sample_rate * np.max(_periods(f0_hz, window_seconds) / f0_hz) / 2)


def _cut(audio, start, end):
    """Samples from start to end, with zeros where audio has none. Shape [end - start]."""
    inside = np.asarray(audio[max(0, start) : max(0, end)], np.float32)
    missing = max(0, -start)
    return np.pad(inside, (missing, max(0, end - start - missing - len(inside))))
