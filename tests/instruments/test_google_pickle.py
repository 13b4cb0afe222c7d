"""google_pickle: pickles that would take memory or time, and what real ones hold."""

import pickle
import subprocess
import sys

import numpy as np
import pytest

from helpers import config
from helpers.instruments import google_pickle

# A program that reads a pickle in 2 GB and 10 s of the processor, and says how it ended.
READER = """
import resource, sys
from helpers.instruments import google_pickle
resource.setrlimit(resource.RLIMIT_AS, (2 * 2**30,) * 2)
resource.setrlimit(resource.RLIMIT_CPU, (10, 10))
try:
    google_pickle.read(sys.stdin.buffer.read())
except MemoryError:
    print("memory")
except Exception:
    print("refused")
"""


def nested(n):
    """A tuple of a tuple twice, n times: as a key of a dictionary it takes 2^n steps to hash."""
    return b"\x80\x02}(" + b")" + b"q\x00h\x00\x86" * n + b"K\x01u."


BOMBS = {
    "a place in the memo": b"\x80\x02]r\0\0\0\x20.",
    "another one": b"\x80\x02]r\xff\xff\xff\xff.",
    "bytes": b"\x80\x05\x96" + (2**40).to_bytes(8, "little") + b".",
    "a text": b"\x80\x04\x8d" + (2**40).to_bytes(8, "little") + b"a.",
    "a number": b"\x80\x02\x8b\xff\xff\xff\x7f.",
    "an array": b"\x80\x02cnumpy\nndarray\n\x8a\x05\0\0\0\0\x10\x85R.",
    "an array of objects": b"\x80\x02cnumpy\nndarray\nJ\0\0\0\x40\x85X\x01\0\0\0O\x86R.",
    "a key": nested(60),
}


@pytest.mark.parametrize("content", BOMBS.values(), ids=BOMBS)
def test_a_pickle_takes_little_memory_and_time(content):
    ended = subprocess.run(
        [sys.executable, "-c", READER], cwd=config.ROOT, input=content, capture_output=True
    )
    assert (ended.returncode, ended.stdout.decode().strip()) in ((0, "refused"), (0, "")), ended


@pytest.mark.parametrize("protocol", [3, 4])
@pytest.mark.parametrize("kind", ["<f4", ">f8", "<i4"])
def test_arrays_and_numbers_are_read(protocol, kind):
    array = np.arange(6, dtype=kind).reshape(2, 3)
    stored = {"array": array, "mean": array[1, 2], "text": "a", "plain": [1, 2.5, None, True]}
    read = google_pickle.read(pickle.dumps(stored, protocol))
    np.testing.assert_array_equal(read["array"].numbers(), array.ravel())
    assert float(read["mean"]) == 5.0
    assert (read["text"], read["plain"]) == (stored["text"], stored["plain"])


@pytest.mark.parametrize("kind", ["O", "S1000000000", "V8", "M8[s]"])
def test_arrays_of_other_things_are_no_numbers(kind):
    pickled = pickle.dumps({"array": np.zeros(0, kind)}, 4)
    with pytest.raises(pickle.UnpicklingError):
        google_pickle.read(pickled)["array"].numbers()
