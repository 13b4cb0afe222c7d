"""Bundles that come from anywhere: what they may hold, checked before anything of it is used.

A bundle is a folder, or a zip of it, with the files of `FILES`. No path leaves its folder, no
line of its configuration imports or calls what is not on a list, and all sizes are bounded.
"""

import contextlib
import json
import shutil
import zipfile
from pathlib import Path, PurePosixPath

import gin
import h5py
import numpy as np

from helpers.errors import InputError

FILES = ("operative_config.gin", "weights.h5", "statistics.json", "model_card.json")
MAX_BUNDLE_BYTES = 512 * 2**20
MAX_TEXT_BYTES = 2**20  # of each of the files that are text

# What a configuration may name: a bundle comes from anywhere, and gin calls what it names.
ALLOWED_IN_CONFIG = {
    "Add",
    "Autoencoder",
    "ConvDecoder",
    "DecayingReverb",
    "FramewiseHarmonic",
    "FramewiseMfccEncoder",
    "FramewiseNoise",
    "FusedSpectralLoss",
    "GruDecoder",
    "PlainReverb",
    "ProcessorGroup",
    "Reverb",
    "RnnFcDecoder",
    "ScaleFeatures",
    "SpectralLoss",
    "WaveRnn",
}
SETTABLE_IN_CONFIG = ALLOWED_IN_CONFIG | {"get_model", "run_dag"}

# The largest numbers a configuration may hold, by the setting they are for: they take memory.
LARGEST_NUMBERS = {
    "ch": 1024,
    "channels": 1024,
    "dilations": 1024,
    "fft_sizes": 16384,
    "harmonics": 320,
    "hop_size": 1024,
    "loudness_range_db": 120,
    "noise_bands": 320,
    "output_splits": 320,
    "reverb_length": 480_000,
    "rnn_channels": 1024,
    "sample_rate": 96_000,
    "window_frames": 250,
    "windows": 64,
    "z_dims": 256,
}
LARGEST_OTHER_NUMBER = 16
LONGEST_LIST = 32

# Macros that may stand where another name than their own is set; the limits of both are the same.
MACROS_IN = {"output_splits": {"harmonics", "noise_bands"}}


def unpack(path, folder, choose):
    """Unpacks only the files of a bundle, by name, whatever folder the zip has them in.

    Args:
      path: Of the zip.
      folder: To unpack to.
      choose: Called with the names in the zip, without folders: which are the bundle's.

    Raises:
      InputError: It is no zip, it is damaged, or it holds more than one bundle or too much.
    """
    with (
        or_refuse(
            f"{path.name} is no zip file or is damaged: choose the zip that notebook 02 made."
        ),
        zipfile.ZipFile(path) as archive,
    ):
        members = archive.infolist()
        if any(".." in m.filename.split("/") or m.filename.startswith("/") for m in members):
            raise InputError(f"{path.name} has files that leave its folder: refused.")
        chosen = choose({PurePosixPath(m.filename).name for m in members})
        members = [m for m in members if PurePosixPath(m.filename).name in chosen]
        if sum(member.file_size for member in members) > MAX_BUNDLE_BYTES:
            raise InputError(f"{path.name} unpacks to more than an instrument ever holds: refused.")
        if len({PurePosixPath(member.filename).parent for member in members}) > 1:
            raise InputError(f"{path.name} holds more than one instrument: zip one folder alone.")
        for member in members:
            target = Path(folder) / PurePosixPath(member.filename).name
            with archive.open(member) as source, open(target, "wb") as unpacked:
                shutil.copyfileobj(source, unpacked)


def read_texts(folder, name):
    """The texts of a bundle's folder: its configuration, not checked yet, statistics and card.

    Args:
      folder: The bundle's.
      name: What it is called in sentences.

    Raises:
      InputError: A file of the bundle is missing, damaged or too long.
    """
    missing = [file for file in FILES if not (folder / file).is_file()]
    if missing:
        raise InputError(f"{name} is no instrument: {', '.join(missing)} is missing from it.")
    config, statistics, card = (
        read_text(folder / file, name) for file in FILES if file != "weights.h5"
    )
    with or_refuse(f"The statistics or the model card of {name} are damaged: take another copy."):
        statistics, card = dict(json.loads(statistics)), dict(json.loads(card))
        check_statistics(statistics)
    return config, statistics, card


def load_weights(network, path, name):
    """Loads weights into a network that was built, and nothing else than its weights.

    Raises:
      InputError: They are another network's, or damaged.
    """
    with or_refuse(
        f"The weights of {name} do not fit its configuration or are damaged: take another copy."
    ):
        if check_weights(path, name) != sorted(
            (tuple(w.shape), "float32") for w in network.weights
        ):
            raise ValueError("not the network's weights")
        network.load_weights(path)


def check_weights(path, name):
    """Refuses weights that cannot be read; returns the shapes and types of their arrays.

    No array is read: its size is only declared, and it may point to other files on this machine.

    Raises:
      InputError: The file is damaged.
    """
    with (
        or_refuse(f"The weights of {name} are damaged: take another copy."),
        h5py.File(path) as file,
    ):
        groups = [file[group] for group in [*file.attrs["layer_names"], "top_level_model_weights"]]
        arrays = [group[array] for group in groups for array in group.attrs["weight_names"]]
        if any(a.external or a.is_virtual or a.file.filename != file.filename for a in arrays):
            raise ValueError("arrays in other files")
        return sorted((a.shape, a.dtype.name) for a in arrays)


def check_config(text, name="The configuration"):
    """Refuses a gin configuration that could do more than describe an instrument.

    It may set and name only what is on the lists above, and name each but once, so that nothing
    is built in circles. A macro is a number, or a list of them, and stands only where its own name
    is set, or one with the same limit, so that this limit holds for it.

    Raises:
      InputError: Saying what it does that it may not.
    """
    names = {}  # by setting, of which a later line replaces an earlier one
    with or_refuse(f"{name} is not written as gin is: take a copy that nobody has edited."):
        for statement in statements(text, name):
            setting = without_module(statement.selector), statement.arg_name
            names[setting] = _check_setting(statement, name)
    found = [found for in_setting in names.values() for found in in_setting]
    for reference in found:
        if reference not in ALLOWED_IN_CONFIG or found.count(reference) > 1:
            raise InputError(f"{name} names {reference}, or names it twice: instruments may not.")


def statements(text, name, may_import=()):
    """Yields the settings of a gin configuration, of which nothing is looked up or called.

    Args:
      text: The configuration.
      name: What it is called in sentences.
      may_import: Modules whose imports are passed over. Nothing is imported.

    Yields:
      gin's statements, with a `Reference` or a `Macro` where a value names something.

    Raises:
      InputError: It has more than settings.
    """
    for statement in gin.config_parser.ConfigParser(text, _Names()):
        is_import = isinstance(statement, gin.config_parser.ImportStatement)
        if is_import and statement.module in may_import:
            continue
        if not isinstance(statement, gin.config_parser.BindingStatement):
            raise InputError(f"{name} imports, includes or has blocks: only settings may be.")
        yield statement


class _Names(gin.config_parser.ParserDelegate):
    """Takes references and macros as names: nothing is looked up, nothing called."""

    def configurable_reference(self, scoped_configurable_name, evaluate):
        return Reference(scoped_configurable_name)

    def macro(self, scoped_configurable_name):
        return Macro(scoped_configurable_name)


class Reference(str):
    """The name behind an @."""


class Macro(str):
    """The name behind a %."""


def _check_setting(statement, name):
    """Refuses one line of a configuration, or returns what it names, without the modules."""
    scope, selector, argument, value, _ = statement
    setting = argument or selector
    items = list(_flatten(value))
    numbers = [item for item in items if isinstance(item, (int, float, complex))]
    macros = {str(item) for item in items if isinstance(item, Macro)}
    allowed_macros = {setting} | MACROS_IN.get(setting, set())
    largest = LARGEST_NUMBERS.get(setting, LARGEST_OTHER_NUMBER)
    if scope or (argument and without_module(selector) not in SETTABLE_IN_CONFIG):
        raise InputError(f"{name} sets {selector}, which instruments may not: refused.")
    if (not argument and items != numbers) or not macros <= allowed_macros:
        raise InputError(f"{name} has a macro for {setting} that it may not: refused.")
    if len(items) > LONGEST_LIST or any(abs(number) > largest for number in numbers):
        raise InputError(
            f"{name} sets {setting} beyond what an instrument needs ({largest}, and "
            f"{LONGEST_LIST} in a list): refused."
        )
    if argument == "dag" and not all(isinstance(node[0], Reference) for node in value):
        raise InputError(f"{name} has a dag that calls nodes by a text: refused.")
    return [without_module(item) for item in items if isinstance(item, Reference)]


def without_module(reference):
    """The last part of a name; one with a scope stays whole, and so is on no list."""
    return reference if "/" in reference else reference.split(".")[-1]


def _flatten(value):
    """Everything in lists, tuples and dictionaries within each other."""
    if isinstance(value, dict):
        value = [*value.keys(), *value.values()]
    if isinstance(value, (list, tuple)):
        for item in value:
            yield from _flatten(item)
    else:
        yield value


def read_text(path, name):
    """The text of a file of a bundle, refused where it is too long or none."""
    if path.stat().st_size > MAX_TEXT_BYTES:
        raise InputError(f"{path.name} of {name} is larger than any instrument's: refused.")
    with or_refuse(f"{path.name} of {name} is no text: take another copy."):
        return path.read_text(encoding="utf-8")


def check_statistics(statistics):
    """Refuses statistics that lack what `transfer` fits to; an untrained model's are empty."""
    if statistics:
        percentiles = statistics["loudness_db_percentiles"]
        numbers = np.array([statistics["pitch_midi"]["mean"], *percentiles], float)
        if len(percentiles) != 101 or not np.isfinite(numbers).all():
            raise ValueError("not 101 finite percentiles and a mean")


@contextlib.contextmanager
def or_refuse(sentence):
    """Says one sentence instead of whatever a library says of content that is not as it expects.

    Any kind of error may come out of the libraries when a file was made to break them.
    """
    try:
        yield
    except InputError:
        raise
    except Exception as error:
        raise InputError(sentence) from error
