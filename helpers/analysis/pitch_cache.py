"""The pitch of audio that was analysed before, on disk.

The cache is optional: an entry that cannot be read is computed again, and one that cannot be
written is not kept.
"""

import contextlib
import hashlib
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path

import numpy as np

from helpers import config
from helpers.errors import InputError
from helpers.files import replacing

VERSION = 1  # raise it when `pitch` or `crepe` give other numbers for the same audio
LIBRARIES = ("tensorflow", "numpy", "librosa")
DIGEST_BYTES = 32  # of SHA-256, at the end of each entry
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
    path = config.CACHE / f"{_key(audio, settings)}.pitch"
    kept = _read(path, n_frames)
    if kept is not None:
        return kept
    f0_hz, confidence = track()
    with contextlib.suppress(OSError, InputError), replacing(path) as unfinished:
        content = np.stack([f0_hz, confidence]).astype("<f4").tobytes()
        unfinished.write_bytes(content + hashlib.sha256(content).digest())
    return f0_hz, confidence


def _read(path: Path, n_frames: int) -> tuple[np.ndarray, np.ndarray] | None:
    """An entry, or None if there is none or it is damaged."""
    n_bytes = 2 * 4 * n_frames
    try:
        if not path.is_file() or path.stat().st_size != n_bytes + DIGEST_BYTES:
            return None
        content = path.read_bytes()
    except OSError:
        return None
    if hashlib.sha256(content[:n_bytes]).digest() != content[n_bytes:]:
        return None
    f0_hz, confidence = np.frombuffer(content[:n_bytes], "<f4").reshape(2, n_frames).copy()
    low_hz, high_hz = F0_RANGE_HZ
    plausible = (low_hz < f0_hz) & (f0_hz < high_hz) & (0 <= confidence) & (confidence <= 1)
    return (f0_hz, confidence) if plausible.all() else None


def _key(audio: np.ndarray, settings: tuple) -> str:
    versions = [version(library) for library in LIBRARIES]
    key = hashlib.sha256(repr((VERSION, versions, settings)).encode())
    key.update(np.ascontiguousarray(audio, np.float32).data)
    return key.hexdigest()
