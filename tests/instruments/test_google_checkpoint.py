"""google_checkpoint: what TensorFlow wrote, read without it, and what must not come in."""

import numpy as np
import pytest
import tensorflow as tf

from helpers.instruments.google_checkpoint import Checkpoint

RNG = np.random.default_rng(0)


def network():
    """A small network, its weights drawn at random."""
    made = tf.keras.Sequential(
        [tf.keras.layers.Dense(4, input_shape=(3,)), tf.keras.layers.Dense(2)]
    )
    made.set_weights([RNG.normal(size=w.shape) for w in made.weights])
    return made


@pytest.fixture
def saved(tmp_path):
    """A network, and the path of the index of its checkpoint."""
    made = network()
    prefix = tf.train.Checkpoint(model=made, more=[tf.Variable(1.0)] * 50).write(
        str(tmp_path / "c")
    )
    return made, tmp_path / f"{prefix.split('/')[-1]}.index"


def test_another_network_gets_the_same_weights(saved):
    made, index = saved
    for array, expected in zip(
        Checkpoint(index, "c").arrays(network()), made.get_weights(), strict=True
    ):
        np.testing.assert_array_equal(array, expected)


def test_what_tensorflow_reads_of_many_variables(tmp_path):
    """More than one block of the table, with names that begin alike."""
    layers = [tf.Variable(RNG.normal(size=[n % 3, 2]), dtype=tf.float32) for n in range(400)]
    prefix = tf.train.Checkpoint(model=tf.train.Checkpoint(layers=layers)).write(
        str(tmp_path / "c")
    )
    theirs = tf.train.load_checkpoint(prefix).get_variable_to_shape_map()
    wanted = [tuple(theirs[key]) for key in sorted(theirs) if key.startswith("model/")]
    assert Checkpoint(tmp_path / "c.index", "c").shapes() == wanted


def masked_checksum(content):
    """The checksum of a block, as LevelDB has it (CRC-32C, rotated, and a constant added)."""
    crc = 0xFFFFFFFF
    for byte in content:
        crc ^= byte
        for _ in range(8):
            crc = crc >> 1 ^ 0x82F63B78 * (crc & 1)
    crc ^= 0xFFFFFFFF
    return ((crc >> 15 | crc << 17) + 0xA282EAD8 & 0xFFFFFFFF).to_bytes(4, "little")


@pytest.mark.parametrize("seed", range(20))
def test_a_changed_index_is_read_or_refused(saved, seed):
    """TensorFlow ends the process at some of these, as the checksum of the block is right."""
    made, index = saved
    content = bytearray(index.read_bytes())
    rng = np.random.default_rng(seed)
    n_bytes = content.index(b"\0\0\0\0\1\0\0\0", 200)  # a block ends with its one restart, at 0
    for position in rng.integers(0, n_bytes, 4):
        content[position] = rng.integers(256)
    block = content[: n_bytes + 9]
    content[n_bytes + 9 : n_bytes + 13] = masked_checksum(block)
    index.write_bytes(content)
    try:
        arrays = Checkpoint(index, "c").arrays(made)
    except Exception:
        return
    assert [array.shape for array in arrays] == [tuple(w.shape) for w in made.weights]


@pytest.mark.parametrize("size", [2**33, 2**62, 2**64 - 1])
def test_blocks_beyond_the_end(saved, size):
    _, index = saved
    content = index.read_bytes()
    varint = b""
    while size > 127:
        varint, size = varint + bytes([size & 127 | 128]), size >> 7
    footer = (b"\0\0\0" + varint + bytes([size])).ljust(40, b"\0") + content[-8:]
    index.write_bytes(content[:-48] + footer)
    with pytest.raises(ValueError):
        Checkpoint(index, "c")
