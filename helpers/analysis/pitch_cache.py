"""The pitch of audio that was analysed before, on disk."""

from collections.abc import Callable

import numpy as np

from helpers.analysis import analysis_cache

VERSION = 2  # raise it when `crepe`, `pitch` or `note_changes` give other numbers
PITCH = analysis_cache.Kind("pitch", VERSION, ("tensorflow", "numpy", "librosa"))
F0_RANGE_HZ = (30.0, 2100.0)  # more than CREPE's, by what refining may move a pitch


def fetch(
    audio: np.ndarray,
    n_frames: int,
    settings: tuple,
    track: Callable[[], tuple[np.ndarray, np.ndarray]],
) -> tuple[np.ndarray, np.ndarray]:
    """f0 and confidence of audio from the cache, or from `track`, whose results are then kept.

    Args:
      audio: Shape [n_samples].
      n_frames: The number of frames that there have to be.
      settings: All that the pitch depends on beside the audio; part of the entry's name.
      track: Computes f0_hz and confidence, float32 [n_frames] each.
    """
    layout = [("<f4", (n_frames,))] * 2
    f0_hz, confidence = analysis_cache.fetch(PITCH, [audio], settings, layout, track, _is_plausible)
    return f0_hz, confidence


def _is_plausible(f0_hz: np.ndarray, confidence: np.ndarray) -> bool:
    low_hz, high_hz = F0_RANGE_HZ
    plausible = (low_hz < f0_hz) & (f0_hz < high_hz) & (0 <= confidence) & (confidence <= 1)
    return bool(plausible.all())
