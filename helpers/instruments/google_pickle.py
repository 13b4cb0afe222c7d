"""Google's `dataset_statistics.pkl`, read without giving the pickle anything to call.

A pickle is a program. Here it may only make numbers, texts, lists and dictionaries, and stand-ins
for arrays and for objects of numpy, sklearn and ddsp that hold what they were pickled with.
Python's own reader is used, not the one in C, which reserves gigabytes where a pickle says so.
"""

import io
import pickle
import re
from typing import Any, ClassVar

import numpy as np

OPCODES = [
    *(pickle.PROTO, pickle.FRAME, pickle.STOP, pickle.MARK, pickle.NONE, pickle.NEWTRUE),
    *(pickle.NEWFALSE, pickle.BININT, pickle.BININT1, pickle.BININT2, pickle.LONG1),
    *(pickle.BINFLOAT, pickle.BINUNICODE, pickle.SHORT_BINUNICODE, pickle.BINBYTES),
    *(pickle.SHORT_BINBYTES, pickle.EMPTY_LIST, pickle.APPEND, pickle.APPENDS),
    *(pickle.EMPTY_TUPLE, pickle.TUPLE, pickle.TUPLE1, pickle.TUPLE2, pickle.TUPLE3),
    *(pickle.EMPTY_DICT, pickle.SETITEM, pickle.SETITEMS, pickle.GLOBAL, pickle.STACK_GLOBAL),
    *(pickle.REDUCE, pickle.NEWOBJ, pickle.BUILD, pickle.MEMOIZE, pickle.BINPUT),
    *(pickle.LONG_BINPUT, pickle.BINGET, pickle.LONG_BINGET),
]
NUMBERS = re.compile(r"[fiu][1248]")  # numpy's names of types


class StandIn:
    """Holds what an object was pickled with, and does nothing.

    Attributes:
      arguments: Of its making.
      state: What was set afterwards.
    """

    arguments: tuple = ()
    state: Any = None

    def __init__(self, *arguments: Any) -> None:
        self.arguments = arguments

    def __setstate__(self, state):
        self.state = state


class Array(StandIn):
    """Stands for numpy's array, and for the function that makes one."""

    def numbers(self) -> np.ndarray:
        """The array, of one dimension."""
        _, _, dtype, _, content = self.state
        return np.frombuffer(content, dtype.numpy)


class Scalar(StandIn):
    """Stands for one of numpy's numbers."""

    def __float__(self) -> float:
        dtype, content = self.arguments
        (number,) = np.frombuffer(content, dtype.numpy)
        return float(number)


class Dtype(StandIn):
    """Stands for numpy's type of numbers."""

    @property
    def numpy(self) -> np.dtype:
        """The type, if it is one of numbers."""
        if not NUMBERS.fullmatch(self.arguments[0]):
            raise pickle.UnpicklingError("no numbers")
        return np.dtype(self.arguments[0]).newbyteorder(self.state[1])


NUMPY = {"_reconstruct": Array, "ndarray": Array, "scalar": Scalar, "dtype": Dtype}
NUMPY_MODULES = ("numpy", "numpy.core.multiarray", "numpy._core.multiarray")
OTHERS = re.compile(
    r"(ddsp|sklearn)\.[\w.]+ QuantileTransformer"
    r"|numpy\.random\.\w+ (__randomstate_ctor|__bit_generator_ctor|MT19937)"
    r"|numpy\.random\.bit_generator (__pyx_unpickle_SeedSequence|SeedSequence)"
)


def read(content: bytes) -> Any:
    """What a pickle holds, with stand-ins for arrays and objects.

    Raises:
      Exception: Of many kinds, where it is damaged or holds more than statistics.
    """
    return _Reader(io.BytesIO(content)).load()


class _Reader(pickle._Unpickler):
    """Python's reader of pickles, for the few operations that statistics take."""

    # What the interpreter's own types leave out of this class is marked below.
    dispatch: ClassVar[dict[int, Any]] = {
        code[0]: pickle._Unpickler.dispatch[code[0]] for code in OPCODES
    }

    def find_class(self, module, name):
        """What a name in the pickle stands for; nothing is imported."""
        if module in NUMPY_MODULES and name in NUMPY:
            return NUMPY[name]
        if OTHERS.fullmatch(f"{module} {name}"):
            return StandIn
        raise pickle.UnpicklingError(f"{module}.{name} is not allowed")

    def load_setitem(self):
        """Sets an item of a dictionary; a key that holds others may take for ever to hash."""
        self._check_keys(self.stack[-2:-1])  # type: ignore
        super().load_setitem()  # type: ignore

    def load_setitems(self):
        """Sets several."""
        self._check_keys(self.stack[::2])  # type: ignore
        super().load_setitems()  # type: ignore

    def _check_keys(self, keys):
        if not all(isinstance(key, str) for key in keys):
            raise pickle.UnpicklingError("keys that are no texts")

    dispatch[pickle.SETITEM[0]] = load_setitem
    dispatch[pickle.SETITEMS[0]] = load_setitems
