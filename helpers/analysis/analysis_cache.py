"""Analyses of audio that was analysed before, on disk.

The cache is optional: an entry that cannot be read is computed again, and one that cannot be
written is not kept.
"""

import contextlib
import hashlib
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

import numpy as np

from helpers import config
from helpers.errors import InputError
from helpers.files import replacing

DIGEST_BYTES = 32  # of SHA-256, at the end of each entry


@dataclass(frozen=True)
class Kind:
    """A kind of analysis.

    Attributes:
      suffix: Of the names of its entries.
      version: Raised when the analysis gives other numbers for the same audio.
      libraries: Packages whose versions it depends on.
    """

    suffix: str
    version: int
    libraries: tuple[str, ...]


def fetch(
    kind: Kind,
    inputs: Sequence[np.ndarray],
    settings: tuple,
    layout: Sequence[tuple[str, tuple[int, ...]]],
    compute: Callable[[], Sequence[np.ndarray]],
    is_plausible: Callable[..., bool],
) -> list[np.ndarray]:
    """Arrays from the cache, or from `compute`, whose results are then kept.

    Args:
      kind: Of the analysis.
      inputs: The arrays that were analysed.
      settings: All that the results depend on beside the inputs, their lengths too where these may
        differ.
      layout: The dtype and the shape of each result.
      compute: Gives the results.
      is_plausible: Called with the results of an entry: whether they can be what was computed.
    """
    path = config.CACHE / f"{_key(kind, inputs, settings)}.{kind.suffix}"
    kept = _read(path, layout)
    if kept is not None and is_plausible(*kept):
        return kept
    results = [
        np.ascontiguousarray(result, dtype)
        for result, (dtype, _) in zip(compute(), layout, strict=True)
    ]
    with contextlib.suppress(OSError, InputError), replacing(path) as unfinished:
        content = b"".join(result.tobytes() for result in results)
        unfinished.write_bytes(content + hashlib.sha256(content).digest())
    return results


def _read(path: Path, layout: Sequence[tuple[str, tuple[int, ...]]]) -> list[np.ndarray] | None:
    """The arrays of an entry, or None if there is none or it is damaged."""
    sizes = [math.prod(shape) * np.dtype(dtype).itemsize for dtype, shape in layout]
    try:
        if not path.is_file() or path.stat().st_size != sum(sizes) + DIGEST_BYTES:
            return None
        whole = path.read_bytes()
    except OSError:
        return None
    content, digest = whole[:-DIGEST_BYTES], whole[-DIGEST_BYTES:]
    if hashlib.sha256(content).digest() != digest:
        return None
    arrays, first = [], 0
    for size, (dtype, shape) in zip(sizes, layout, strict=True):
        arrays.append(np.frombuffer(content[first : first + size], dtype).reshape(shape).copy())
        first += size
    return arrays


def _key(kind: Kind, inputs: Sequence[np.ndarray], settings: tuple) -> str:
    versions = [version(library) for library in kind.libraries]
    key = hashlib.sha256(repr((kind.version, versions, settings)).encode())
    for values in inputs:
        key.update(np.ascontiguousarray(values, np.float32).data)
    return key.hexdigest()
