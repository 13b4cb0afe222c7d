"""Weights of networks to and from files, each number checked.

They are kept in safetensors: a list of shapes as JSON, and the numbers. No file of that format
can point to another one, run code, or take more memory than its own size. HDF5, in which bundles
had their weights before, can do the first and the last, and a damaged file may keep its reader
busy for ever: it is read by a process of its own.
"""

import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import safetensors.numpy

from helpers.instruments import untrusted
from helpers.instruments.untrusted import or_refuse
from helpers.tensorflow_import import tf

FILE = "weights.safetensors"
FORMER_FILE = "weights.h5"
HDF5_SIGNATURE = b"\x89HDF\r\n\x1a\n"
CONVERTER = Path(__file__).with_name("hdf5.py")
SECONDS = 60  # that a conversion may take; it takes less than one

MAX_HEADER_BYTES = 2**20
LARGEST = 1000.0  # training comes to less than 10; beyond this a network is but noise


def save(network: tf.keras.Model, path: Path) -> None:
    """Writes the weights of a built network."""
    arrays = {_name(*numbered): numbered[1].numpy() for numbered in enumerate(network.weights)}
    path.write_bytes(safetensors.numpy.save(arrays))


def load(network: tf.keras.Model, folder: Path, name: str) -> None:
    """Loads the weights of a bundle's folder into its built network.

    Raises:
      InputError: They are another network's, damaged, or beyond what weights are.
    """
    with or_refuse(
        f"The weights of {name} do not fit its configuration or are damaged: take another copy."
    ):
        set_in(network, list(_read(folder, name)))


def check(folder: Path, name: str) -> None:
    """Refuses weights that are damaged, as far as can be seen at once.

    Raises:
      InputError: They are damaged, or beyond what weights are.
    """
    with or_refuse(f"The weights of {name} are damaged: take another copy."):
        if (folder / FILE).exists():
            for _ in _read(folder, name):
                pass
            return
        untrusted.check_file(folder / FORMER_FILE, name)
        with open(folder / FORMER_FILE, "rb") as file:
            if file.read(len(HDF5_SIGNATURE)) != HDF5_SIGNATURE:
                raise ValueError("no HDF5")


def set_in(network: tf.keras.Model, arrays: list[np.ndarray]) -> None:
    """Sets the weights of a network.

    Raises:
      ValueError: They have other shapes, or numbers that no training comes to.
    """
    if [array.shape for array in arrays] != [tuple(w.shape) for w in network.weights]:
        raise ValueError("not the network's weights")
    network.set_weights([checked(array) for array in arrays])


def checked(array: np.ndarray) -> np.ndarray:
    """Returns an array of weights as it is.

    Raises:
      ValueError: It has other numbers than float32, or some that no training comes to.
    """
    if array.dtype != np.float32 or not (np.abs(array) <= LARGEST).all():
        raise ValueError("not finite, or beyond what weights are")
    return array


def _read(folder, name):
    """Yields the arrays of a bundle's folder, in the order of the network's weights."""
    if (folder / FILE).exists():
        yield from _read_safetensors(folder / FILE, name)
        return
    untrusted.check_file(folder / FORMER_FILE, name)
    with tempfile.TemporaryDirectory() as converted:
        _convert(folder / FORMER_FILE, Path(converted) / FILE)
        yield from _read_safetensors(Path(converted) / FILE, name)


def _read_safetensors(path, name):
    untrusted.check_file(path, name)
    with open(path, "rb") as file:
        if int.from_bytes(file.read(8), "little") > MAX_HEADER_BYTES:
            raise ValueError("too many arrays")
    with safetensors.safe_open(path, framework="numpy") as file:
        for key in sorted(file.keys()):
            yield checked(file.get_tensor(key))


def _name(number, weight):
    """A weight's key: its number, which keeps the order, and for readers Keras' name for it."""
    name = re.sub(r"_\d+(?=/|$)", "", weight.name.removesuffix(":0"))
    return f"{number:03} {name}"


def _convert(source, target):
    """Has an HDF5 file written as safetensors by a process that ends after some time."""
    # Libraries reserve memory for each thread; the process has a limit.
    environment = {**os.environ, "OPENBLAS_NUM_THREADS": "1", "PYTHONSAFEPATH": "1"}
    subprocess.run(
        [sys.executable, CONVERTER, source.resolve(), target],
        env=environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        timeout=SECONDS,
        check=True,
    )
