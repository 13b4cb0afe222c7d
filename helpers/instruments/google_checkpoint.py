"""TensorFlow's checkpoints from anywhere, read without TensorFlow's own reader.

That one ends the process where an index is damaged in some places. A checkpoint is an index, a
table of what is where (LevelDB's format of sorted tables, whose values are protocol buffers), and a
file of numbers. One entry is the graph of the objects that were saved, by whose names variables
are found.
"""

from pathlib import Path

import numpy as np
from tensorflow.core.protobuf.tensor_bundle_pb2 import BundleEntryProto
from tensorflow.core.protobuf.trackable_object_graph_pb2 import TrackableObjectGraph

from helpers.instruments import untrusted
from helpers.tensorflow_import import tf

MAX_INDEX_BYTES = 2**20
MAX_GRAPH_BYTES = 4 * 2**20
MOST_ENTRIES = 20_000
LONGEST_KEY = 1000
FOOTER_BYTES = 48
GRAPH = "_CHECKPOINTABLE_OBJECT_GRAPH"
VALUE = "/.ATTRIBUTES/VARIABLE_VALUE"
FLOAT32 = tf.float32.as_datatype_enum
SLOT = "/.OPTIMIZER_SLOT/"


class Checkpoint:
    """A checkpoint of one data file, opened."""

    def __init__(self, index: Path, name: str) -> None:
        """Reads the index.

        Args:
          index: The path of the file that ends in ".index".
          name: What the bundle is called in sentences.

        Raises:
          Exception: Of many kinds, where it is damaged.
        """
        self._data = index.with_name(f"{index.stem}.data-00000-of-00001")
        untrusted.check_file(index, name, MAX_INDEX_BYTES)
        untrusted.check_file(self._data, name)
        table = _read_table(index.read_bytes())
        del table[""]  # a header
        self._entries = {key: BundleEntryProto.FromString(value) for key, value in table.items()}

    def shapes(self) -> list[tuple[int, ...]]:
        """The shapes of the model's variables, without the optimizer's.

        Raises:
          ValueError: One of them is no array of float32, or lies beyond the end of the file.
        """
        keys = sorted(self._keys())
        for key in keys:
            self._check(self._entries[key])
        return [_shape(self._entries[key]) for key in keys]

    def arrays(self, network: tf.keras.Model) -> list[np.ndarray]:
        """The arrays for the weights of a built network, in their order.

        Raises:
          ValueError: The checkpoint lacks some of them, or holds others.
        """
        keys = self._keys_by_variable(network)
        found = [keys[id(weight)] for weight in network.weights]
        if sorted(found) != sorted(self._keys()):
            raise ValueError("not the network's weights")
        return [self._array(key) for key in found]

    def _keys(self):
        """The keys of the model's variables."""
        return {
            key
            for key in self._entries
            if key.startswith("model/") and key.endswith(VALUE) and SLOT not in key
        }

    def _keys_by_variable(self, network):
        """Keys by the `id` of a variable: network and graph are followed along the same names."""
        nodes = self._graph().nodes
        named = {child.local_name: child.node_id for child in nodes[0].children}
        view = tf.train.TrackableView(network)
        pairs, keys, seen = [(network, named["model"])], {}, set()
        for trackable, node_id in pairs:
            node = nodes[node_id]
            for attribute in node.attributes:
                keys[id(trackable)] = attribute.checkpoint_key
            inside = view.children(trackable)
            for child in node.children:
                if child.local_name in inside and id(inside[child.local_name]) not in seen:
                    seen.add(id(inside[child.local_name]))
                    pairs.append((inside[child.local_name], child.node_id))
        return keys

    def _graph(self):
        entry = self._entries[GRAPH]
        if entry.size > MAX_GRAPH_BYTES:
            raise ValueError("too many objects")
        content = self._content(entry)
        length, position = _varint(content, 0)  # then four bytes of a checksum, and the text
        return TrackableObjectGraph.FromString(content[position + 4 : position + 4 + length])

    def _array(self, key):
        entry = self._entries[key]
        self._check(entry)
        return np.frombuffer(self._content(entry), "<f4").reshape(_shape(entry))

    def _content(self, entry):
        with open(self._data, "rb") as file:
            file.seek(entry.offset)
            content = file.read(entry.size)
        if len(content) != entry.size:
            raise ValueError("the data is cut off")
        return content

    def _check(self, entry):
        n_bytes = 4 * int(np.prod(_shape(entry), dtype=object))
        whole = entry.shard_id == 0 and not entry.slices and entry.dtype == FLOAT32
        if not whole or entry.size != n_bytes:
            raise ValueError("no array of float32")
        if entry.offset < 0 or entry.offset + n_bytes > self._data.stat().st_size:
            raise ValueError("the data is cut off")


def _shape(entry):
    return tuple(dimension.size for dimension in entry.shape.dim)


def _read_table(content):
    """Keys and values of a sorted table, which is not compressed."""
    position = len(content) - FOOTER_BYTES
    for _ in range(2):  # a block of metadata, of which nothing is taken, and the index of blocks
        start, position = _varint(content, position)
        size, position = _varint(content, position)
    table: dict[str, bytes] = {}
    end = 0
    for _, place in _read_block(content, start, size):
        start, position = _varint(place, 0)
        size, _ = _varint(place, position)
        if start < end:
            raise ValueError("blocks within each other")
        end = start + size
        table.update((key.decode(), value) for key, value in _read_block(content, start, size))
        if len(table) > MOST_ENTRIES:
            raise ValueError("more variables than any instrument's")
    return table


def _read_block(content, start, size):
    """Keys and values of a block; of a key only what differs from the one before is stored."""
    end = start + size
    if end >= len(content) or content[end]:  # the byte after a block is its compression
        raise ValueError("a block beyond the end, or compressed")
    n_restarts = int.from_bytes(content[end - 4 : end], "little")
    position, end, key = start, end - 4 * (n_restarts + 1), b""
    while position < end:
        shared, position = _varint(content, position)
        n_new, position = _varint(content, position)
        n_value, position = _varint(content, position)
        key = key[:shared] + content[position : position + n_new]
        if len(key) > LONGEST_KEY:
            raise ValueError("a name longer than any variable's")
        position += n_new
        yield key, content[position : position + n_value]
        position += n_value


def _varint(content, position):
    """A number of seven bits a byte, and the position after it."""
    number = shift = 0
    while True:
        byte = content[position]
        number |= (byte & 127) << shift
        position, shift = position + 1, shift + 7
        if byte < 128:
            return number, position
        if shift > 63:
            raise ValueError("no number")
