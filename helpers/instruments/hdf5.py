"""Writes the weights of an HDF5 file of Keras' as safetensors: `python hdf5.py SOURCE TARGET`.

`weights` runs this as a process of its own, with limits of time and memory: the reader of HDF5
trusts what it reads. No module of this project is imported here, for a quick start.
"""

import sys

import h5py
import numpy as np
from safetensors.numpy import save_file

MAX_BYTES = 256 * 2**20  # of all weights
MEMORY_BYTES = 2 * 2**30
SECONDS = 20  # of the processor


def limit() -> None:
    """Limits the memory and the processor time of this process, where the system can."""
    try:
        import resource
    except ImportError:  # on Windows, where only the caller's time limit holds
        return
    limits = {resource.RLIMIT_AS: MEMORY_BYTES, resource.RLIMIT_CPU: SECONDS}
    for kind, most in limits.items():
        _, hard = resource.getrlimit(kind)
        resource.setrlimit(kind, (most if hard < 0 else min(most, hard), hard))


def read(file: h5py.File) -> dict[str, np.ndarray]:
    """The weights in their order, by number and name.

    Raises:
      ValueError: Something in the file is elsewhere, compressed, or no weights.
    """
    groups = [
        _own(file, group) for group in [*file.attrs["layer_names"], "top_level_model_weights"]
    ]
    arrays = [(name, _own(group, name)) for group in groups for name in group.attrs["weight_names"]]
    if any(a.external or a.is_virtual or a.chunks or a.dtype != np.float32 for _, a in arrays):
        raise ValueError("arrays in other files, or compressed")
    if sum(array.nbytes for _, array in arrays) > MAX_BYTES:
        raise ValueError("too large")
    return {f"{number:03} {_text(name)}": array[()] for number, (name, array) in enumerate(arrays)}


def _own(group, path):
    """What a path leads to from a group, without a link into another file, which is not opened."""
    for name in filter(None, _text(path).split("/")):
        if not isinstance(group.get(name, getlink=True), h5py.HardLink):
            raise ValueError("a link")
        group = group[name]
    return group


def _text(name):
    return name.decode() if isinstance(name, bytes) else name


if __name__ == "__main__":
    limit()
    with h5py.File(sys.argv[1]) as opened:
        save_file(read(opened), sys.argv[2])
