"""Listens to what was played with a tracker that is not the project's own."""

import librosa
import numpy as np

SAMPLE_RATE = 16000  # Hz
FRAME_RATE = 125  # frames a second of the f0 that the shipped clips are known to have


def cents_off(audio, sample_rate, f0_hz):
    """Cents from a sound's pitch (pYIN) to a known f0, whole octaves taken off.

    Args:
      audio: Shape [n_samples].
      sample_rate: Hz.
      f0_hz: At 125 frames a second, NaN at rests. Shape [n_frames].

    Returns:
      Absolute distance in each frame in which f0 is known; NaN where no pitch was heard.
    """
    heard_hz, _, _ = librosa.pyin(
        librosa.resample(audio, orig_sr=sample_rate, target_sr=SAMPLE_RATE),
        fmin=100,
        fmax=2000,
        sr=SAMPLE_RATE,
        frame_length=1024,
        hop_length=SAMPLE_RATE // FRAME_RATE,
        max_transition_rate=200,  # with the default it loses fast leaps at this frame rate
    )
    n_frames = min(len(heard_hz), len(f0_hz))
    cents = 1200 * np.log2(heard_hz[:n_frames] / f0_hz[:n_frames])
    cents = cents[np.isfinite(f0_hz[:n_frames])]
    return np.abs(cents - 1200 * np.round(np.nanmedian(cents) / 1200))
