"""What an instrument learns from an analysis: harmonics and noise, frame by frame, where known."""

from dataclasses import dataclass

import numpy as np

from helpers.analysis import analysis_cache, features, harmonics
from helpers.evaluation.metrics import SURE_CONFIDENCE

ANALYSIS = analysis_cache.Kind("targets", 1, ("numpy", "scipy"))
# The noise of one frame varies as noise does, more the shorter its window is: its window is twice
# as long as that of the harmonics, which have to be followed.
NOISE_WINDOW_SECONDS = 0.046
CONTEXT_SECONDS = 0.1  # around what is analysed: more than half of the longest window
DTYPES = {"harmonic_log_power": "<f2", "noise_log_density": "<f2", "bandwidth_hz": "<f4"}


@dataclass(frozen=True)
class Analysis:
    """How recordings are analysed.

    Attributes:
      sample_rate: Of the audio, in Hz.
      frame_rate: Frames a second.
      n_harmonics: How many harmonics are learned; 0 for no targets.
      n_noise_bands: Bands of equal width from 0 Hz to half the sample rate.
    """

    sample_rate: int
    frame_rate: int
    n_harmonics: int
    n_noise_bands: int

    @property
    def edges_hz(self) -> np.ndarray:
        """Of the bands of the noise. Shape [n_noise_bands + 1]."""
        return np.linspace(0.0, self.sample_rate / 2, self.n_noise_bands + 1)

    def shapes(self, n_frames: int) -> dict[str, tuple[int, ...]]:
        """The shape of each target of so many frames; there are none without harmonics."""
        if not self.n_harmonics:
            return {}
        sizes: tuple[tuple[int, ...], ...] = (self.n_harmonics,), (self.n_noise_bands,), ()
        return {name: (n_frames, *size) for name, size in zip(DTYPES, sizes, strict=True)}


def find(
    audio: np.ndarray,
    f0_hz: np.ndarray,
    confidence: np.ndarray,
    frames: slice,
    band_edge_hz: float,
    analysis: Analysis,
) -> dict[str, np.ndarray]:
    """The targets of some frames of a recording, from the cache if they were found before.

    Args:
      audio: Of the whole recording. Shape [n_samples]; it may be memory-mapped.
      f0_hz: Without NaN. Shape [n_frames].
      confidence: CREPE's where a pitch sounds, 0 elsewhere. Shape [n_frames].
      frames: From the first to the one behind the last.
      band_edge_hz: The recording's own band edge, from `harmonics.find_band_edge_hz`.
      analysis: How it is analysed.

    Returns:
      harmonic_log_power: Natural logarithm of each harmonic's mean square, the noise beneath it
        included; NaN where it is not known. float16, shape [frames, n_harmonics].
      noise_log_density: Natural logarithm of the noise's power for each Hz, in bands; NaN where it
        is not known. float16, shape [frames, n_noise_bands].
      bandwidth_hz: Of the window that the harmonics were measured in. float32, shape [frames].
    """
    hop = features.hop_size(analysis.sample_rate, analysis.frame_rate)
    context = round(CONTEXT_SECONDS * analysis.frame_rate)
    first, last = max(0, frames.start - context), min(len(f0_hz), frames.stop + context)
    around = slice(first, last)
    # Where CREPE is less sure, a note begins or ends, or the pitch is an octave off: then what is
    # found at the harmonics is noise, and would be learned as if it were harmonics.
    sure = confidence[around] > SURE_CONFIDENCE
    inputs = (audio[first * hop : last * hop], f0_hz[around], sure)
    layout = [(DTYPES[name], shape) for name, shape in analysis.shapes(last - first).items()]
    found = analysis_cache.fetch(
        ANALYSIS,
        inputs,
        (analysis, band_edge_hz, last - first),
        layout,
        lambda: _find(*inputs, band_edge_hz, analysis),
        _is_plausible,
    )
    wanted = slice(frames.start - first, frames.stop - first)
    return {name: values[wanted] for name, values in zip(DTYPES, found, strict=True)}


def _find(audio, f0_hz, sure, band_edge_hz, analysis):
    """The targets of all frames of audio, in the order of `DTYPES`."""
    edges_hz, blocks, first = analysis.edges_hz, [], 0
    for block in harmonics.analyze_blocks(
        audio,
        f0_hz,
        analysis.sample_rate,
        analysis.frame_rate,
        analysis.n_harmonics,
        edges_hz,
        noise_window_seconds=NOISE_WINDOW_SECONDS,
    ):
        n_frames = len(block.f0_hz)
        known = harmonics.is_known(block, sure[first : first + n_frames], edges_hz, band_edge_hz)
        quantities = (block.amplitudes**2 / 2, block.band_density)
        logarithms = [_log(*pair) for pair in zip(quantities, known, strict=True)]
        blocks.append((*logarithms, block.bandwidth_hz))
        first += n_frames
    return [np.concatenate(parts) for parts in zip(*blocks, strict=True)]


def _log(values, known):
    """Natural logarithms as float16, NaN where they are not known."""
    return np.log(values, out=np.full(values.shape, np.nan, np.float32), where=known).astype("<f2")


def _is_plausible(harmonic_log_power, noise_log_density, bandwidth_hz):
    """NaN is what is not known; nothing is infinite."""
    logarithms = np.concatenate([harmonic_log_power, noise_log_density], axis=1)
    return not np.isinf(logarithms).any() and bool((bandwidth_hz > 0).all())
