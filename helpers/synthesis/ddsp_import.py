"""Imports ddsp 3.7.0 on a current Python and TensorFlow.

At its top ddsp imports some packages that cannot be installed today or have hundreds of megabytes,
for functions that nothing here calls. While ddsp is imported, and only then, stand-ins take their
place. `helpers.analysis.crepe`, which has the same `predict`, takes the place of `crepe`.

    from helpers.synthesis.ddsp_import import ddsp
"""

import importlib.util
import sys
import types

from helpers.analysis import crepe
from helpers.tensorflow_import import tf

UNUSED = (
    "google.cloud",
    "google.cloud.storage",
    "hypertune",
    "note_seq",
    "note_seq.sequences_lib",
    "tensorflow_datasets",
)


class StandInError(ImportError):
    """Something used a package that only had a stand-in while ddsp was imported."""


class StandIn(types.ModuleType):
    """A stand-in for an absent package: all names can be imported from it, none can be used."""

    __path__: list[str] = []  # importable as a package, with nothing inside

    def __getattr__(self, name):
        if name.startswith("__"):
            raise AttributeError(name)
        return StandIn(f"{self.__name__}.{name}")

    def _refuse(self, *args, **kwargs):
        raise StandInError(
            f"{self.__name__} is not installed: ddsp imports it and these notebooks never call it, "
            f"so it has a stand-in. Install {self.__name__.split('.')[0]} and import it before "
            "helpers to use it."
        )

    __call__ = __iter__ = __len__ = __contains__ = __getitem__ = __bool__ = __enter__ = _refuse
    __instancecheck__ = __subclasscheck__ = __mro_entries__ = _refuse


def _check_keras():
    """ddsp is written for Keras 2; TensorFlow decides which Keras it has when first used."""
    if not tf.keras.Model.__module__.startswith("tf_keras"):
        raise ImportError(
            "TensorFlow was started with Keras 3, which ddsp cannot use: restart the kernel and "
            "run the set-up cell (it imports helpers) before anything that imports tensorflow."
        )


def _import_with_stand_ins():
    absent: dict[str, types.ModuleType] = {
        name: StandIn(name) for name in UNUSED if name not in sys.modules
    }
    if importlib.util.find_spec("crepe") is None:
        absent["crepe"] = crepe
    sys.modules.update(absent)
    try:
        import ddsp
        import ddsp.training
    finally:
        for name in absent:
            del sys.modules[name]
    return ddsp


_check_keras()
ddsp = _import_with_stand_ins()
