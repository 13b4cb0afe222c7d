"""What an instrument plays where nothing is sung: its noise, without its harmonics."""

import numpy as np
from scipy.ndimage import distance_transform_edt

from helpers.analysis.features import Features
from helpers.synthesis.powers import loudness_weights

RELEASE_SECONDS = 0.02  # for harmonics to fade before and after a note
FAINTEST = 1e-20  # power of the noise, below which there is none to play louder


def harmonics_gain(features: Features) -> np.ndarray:
    """The level of the harmonics in each frame, from 0 to 1: 1 in notes, 0 away from them.

    Returns:
      Shape [n_frames].
    """
    if not features.voiced.any():
        return np.zeros(features.n_frames, np.float32)
    seconds_off = distance_transform_edt(~features.voiced) / features.frame_rate
    fading = np.cos(np.pi / 2 * np.minimum(seconds_off / RELEASE_SECONDS, 1.0)) ** 2
    return fading.astype(np.float32)


def noise_gain(
    gain: np.ndarray,
    f0_hz: np.ndarray,
    amplitudes: np.ndarray,
    magnitudes: np.ndarray,
    sample_rate: int,
) -> np.ndarray:
    """By how much the noise has to grow for a frame to stay as loud without its harmonics.

    An instrument that learned from an analysis brings harmonics and noise together to the loudness
    that is asked for. In most rests its harmonics would be the louder ones.

    Args:
      gain: Of the harmonics. Shape [n_frames].
      f0_hz: Shape [n_frames].
      amplitudes: Of the harmonics, before `gain`. Shape [n_frames, n_harmonics].
      magnitudes: Of the noise's filter, from 0 Hz to half the sample rate. Shape
        [n_frames, n_bands].
      sample_rate: Hz.

    Returns:
      Shape [n_frames].
    """
    grown = np.ones(len(gain), np.float32)
    (frames,) = np.nonzero(gain < 1.0)
    if not len(frames):
        return grown
    numbers = np.arange(1, amplitudes.shape[1] + 1, dtype=np.float32)
    of_harmonics = loudness_weights(f0_hz[frames, np.newaxis].astype(np.float32) * numbers).numpy()
    bands_hz = np.linspace(0.0, sample_rate / 2, magnitudes.shape[1], dtype=np.float32)
    harmonics = np.sum(amplitudes[frames] ** 2 / 2 * of_harmonics, axis=1)
    # White noise, even in [-1, 1], has the mean square 1 / 3.
    noise = np.mean(magnitudes[frames] ** 2 / 3 * loudness_weights(bands_hz).numpy(), axis=1)
    missing = harmonics * (1.0 - gain[frames] ** 2)
    grown[frames] = np.sqrt(1.0 + np.where(noise > FAINTEST, missing / (noise + FAINTEST), 0.0))
    return grown
