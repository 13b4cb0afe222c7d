"""Instruments: gin configurations made into models, and their checkpoint bundles.

A bundle is a folder, or a zip of it, with `operative_config.gin`, `weights.h5`,
`statistics.json` (what the training data played) and `model_card.json` (what it is, from what,
by whom, how good). This module is the only one that speaks to gin.
"""

import contextlib
import json
import shutil
import tempfile
import zipfile
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path, PurePosixPath

import gin
import h5py
import numpy as np

from helpers import networks, synths  # noqa: F401  register their classes with gin
from helpers.config import SAMPLE_RATE
from helpers.ddsp_import import ddsp
from helpers.errors import InputError
from helpers.files import replacing, replacing_folder
from helpers.tensorflow_import import tf

CONFIGS = Path(__file__).parent / "gin"
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
    "FramewiseNoise",
    "ProcessorGroup",
    "Reverb",
    "RnnFcDecoder",
    "ScaleFeatures",
    "SpectralLoss",
}
SETTABLE_IN_CONFIG = ALLOWED_IN_CONFIG | {"get_model", "run_dag"}

# The largest numbers a configuration may hold, by the setting they are for: they take memory.
LARGEST_NUMBERS = {
    "ch": 1024,
    "channels": 1024,
    "dilations": 1024,
    "fft_sizes": 16384,
    "hop_size": 4096,
    "output_splits": 256,
    "reverb_length": 480_000,
    "rnn_channels": 1024,
    "sample_rate": 96_000,
}
LARGEST_OTHER_NUMBER = 16
LONGEST_LIST = 32


@dataclass
class Instrument:
    """A model that plays f0 and loudness curves.

    Attributes:
      network: ddsp's Autoencoder, built.
      config: The operative gin configuration, as text.
      sample_rate: Hz.
      hop_size: Samples a frame.
      statistics: What the training data played, from `dataset`; empty before training.
      card: The model card; empty before training.
    """

    network: tf.keras.Model
    config: str
    sample_rate: int
    hop_size: int
    statistics: dict = field(default_factory=dict)
    card: dict = field(default_factory=dict)

    @property
    def frame_rate(self):
        """Frames a second of the curves that it takes."""
        return self.sample_rate // self.hop_size

    def play(self, f0_hz, loudness_db):
        """Audio [n_frames * hop_size] from f0 (no NaN) and loudness, shape [n_frames] each."""
        features = {
            "f0_hz": tf.constant(np.asarray(f0_hz, np.float32)[None]),
            "loudness_db": tf.constant(np.asarray(loudness_db, np.float32)[None]),
        }
        return self.network(features, training=False)["audio_synth"].numpy()[0]

    @property
    def parameters(self):
        """How many numbers training sets, the reverb's impulse response among them."""
        return self.network.count_params()


def build(config="small", bindings=()):
    """Builds an untrained instrument.

    Args:
      config: Name of a file in `helpers/gin`, without its ending.
      bindings: gin bindings that override the file's, such as "ConvDecoder.channels = 64".

    Returns:
      An `Instrument`.
    """
    path = CONFIGS / f"{config}.gin"
    if not path.is_file():
        names = ", ".join(sorted(p.stem for p in CONFIGS.glob("*.gin")))
        raise InputError(f"There is no configuration {config!r}: choose one of {names}.")
    return _build("\n".join([path.read_text(), *bindings]))


def save(instrument, folder):
    """Writes the instrument's bundle; a bundle that was there before is replaced whole."""
    with replacing_folder(folder, FILES) as unfinished:
        (unfinished / "operative_config.gin").write_text(instrument.config, encoding="utf-8")
        instrument.network.save_weights(unfinished / "weights.h5")
        for name, content in (
            ("statistics", instrument.statistics),
            ("model_card", instrument.card),
        ):
            (unfinished / f"{name}.json").write_text(json.dumps(content, indent=2) + "\n")


def load(path):
    """Loads an instrument from a bundle's folder or zip.

    Raises:
      InputError: It is no bundle, it is damaged, or it names or takes more than it may.
    """
    path = Path(path)
    if not path.is_file():
        return _load_folder(path, path.name)
    with tempfile.TemporaryDirectory() as folder:
        with _or_refuse(
            f"{path.name} is no zip file or is damaged: choose the zip that notebook 02 made."
        ):
            _unpack(path, folder)
        return _load_folder(Path(folder), path.name)


def pack(folder):
    """Zips a bundle's folder beside it, for download, and returns the zip's path."""
    folder = Path(folder)
    target = folder.with_name(f"{folder.name}.zip")
    with replacing(target) as unfinished:
        with zipfile.ZipFile(unfinished, "w", zipfile.ZIP_DEFLATED) as archive:
            for name in FILES:
                archive.write(folder / name, f"{folder.name}/{name}")
    return target


def card(name, instrument, steps, heldout, credit="", licence=""):
    """A model card: what the instrument is, from what it learned, by whom, and how good it is.

    Args:
      name: The instrument's name.
      instrument: The trained `Instrument`, its `statistics` set.
      steps: Training steps taken.
      heldout: Metrics on held-out examples, from `evaluate.resynthesis`.
      credit, licence: Of the recordings.
    """
    return {
        "name": name,
        "feature_profile": instrument.statistics["feature_profile"],
        "sample_rate": instrument.sample_rate,
        "frame_rate": instrument.frame_rate,
        "parameters": instrument.parameters,
        "training_data": {
            "files": instrument.statistics["files"],
            "examples": instrument.statistics["examples"],
            "credit": credit,
            "licence": licence,
        },
        "steps": steps,
        "heldout": {metric: round(value, 4) for metric, value in heldout.items()},
        "versions": {name: version(name) for name in ("tensorflow", "tf-keras", "ddsp", "numpy")},
    }


def check_config(text, name="The configuration"):
    """Refuses a gin configuration that could do more than describe an instrument.

    It may set and name only what is on the lists above, and name each but once, so that nothing
    is built in circles. A macro is a number, and stands only where its own name is set, so that
    the limit of that name holds for it.

    Raises:
      InputError: Saying what it does that it may not.
    """
    names = {}  # by setting, of which a later line replaces an earlier one
    with _or_refuse(f"{name} is not written as gin is: take a copy that nobody has edited."):
        for statement in gin.config_parser.ConfigParser(text, _Names()):
            if not isinstance(statement, gin.config_parser.BindingStatement):
                raise InputError(f"{name} imports, includes or has blocks: only settings may be.")
            setting = _without_module(statement.selector), statement.arg_name
            names[setting] = _check_setting(statement, name)
    found = [found for in_setting in names.values() for found in in_setting]
    for reference in found:
        if reference not in ALLOWED_IN_CONFIG or found.count(reference) > 1:
            raise InputError(f"{name} names {reference}, or names it twice: instruments may not.")


class _Names(gin.config_parser.ParserDelegate):
    """Takes references and macros as names: nothing is looked up, nothing called."""

    def configurable_reference(self, scoped_configurable_name, evaluate):
        return _Reference(scoped_configurable_name)

    def macro(self, scoped_configurable_name):
        return _Macro(scoped_configurable_name)


class _Reference(str):
    """The name behind an @."""


class _Macro(str):
    """The name behind a %."""


def _check_setting(statement, name):
    """Refuses one line of a configuration, or returns what it names, without the modules."""
    scope, selector, argument, value, _ = statement
    setting = argument or selector
    items = list(_flatten(value))
    numbers = [item for item in items if isinstance(item, (int, float, complex))]
    macros = [item for item in items if isinstance(item, _Macro)]
    largest = LARGEST_NUMBERS.get(setting, LARGEST_OTHER_NUMBER)
    if scope or (argument and _without_module(selector) not in SETTABLE_IN_CONFIG):
        raise InputError(f"{name} sets {selector}, which instruments may not: refused.")
    if (not argument and items != numbers) or any(macro != setting for macro in macros):
        raise InputError(f"{name} has a macro for {setting} that is no number: refused.")
    if len(items) > LONGEST_LIST or any(abs(number) > largest for number in numbers):
        raise InputError(
            f"{name} sets {setting} beyond what an instrument needs ({largest}, and "
            f"{LONGEST_LIST} in a list): refused."
        )
    if argument == "dag" and not all(isinstance(node[0], _Reference) for node in value):
        raise InputError(f"{name} has a dag that calls nodes by a text: refused.")
    return [_without_module(item) for item in items if isinstance(item, _Reference)]


def _without_module(reference):
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


def _build(text, name="The configuration"):
    """The instrument that a configuration describes, after `check_config`."""
    check_config(text, name)
    try:
        gin.clear_config()
        with gin.unlock_config():
            gin.parse_config(text)
        sample_rate = gin.query_parameter("sample_rate/macro.value")
        hop_size = gin.query_parameter("hop_size/macro.value")
        _check_frames(sample_rate, hop_size, name)
        instrument = Instrument(ddsp.training.models.get_model(), "", sample_rate, hop_size)
        n_frames = instrument.frame_rate  # one second builds the variables
        played = instrument.play(np.full(n_frames, 440.0), np.full(n_frames, -80.0))
    except InputError:
        raise
    except Exception as error:  # gin, ddsp, Keras and TensorFlow each have their own
        reason = str(error).strip().partition("\n")[0]
        raise InputError(f"{name} describes no instrument ({reason}): correct it.") from error
    if len(played) != n_frames * hop_size:
        raise InputError(f"{name} gives its synthesizers different hop sizes: make them equal.")
    instrument.config = gin.operative_config_str()
    return instrument


def _check_frames(sample_rate, hop_size, name):
    """Features are taken at 16 kHz: a frame has to be a whole number of samples there too."""
    if (
        min(sample_rate, hop_size) < 1
        or sample_rate % hop_size
        or SAMPLE_RATE % (sample_rate // hop_size)
    ):
        raise InputError(
            f"{name} makes {sample_rate} / {hop_size} frames a second: choose a sample rate and a "
            f"hop size that give a whole divisor of {SAMPLE_RATE}, such as 100 or 125."
        )


def _load_folder(folder, name):
    missing = [file for file in FILES if not (folder / file).is_file()]
    if missing:
        raise InputError(f"{name} is no instrument: {', '.join(missing)} is missing from it.")
    config, statistics, card = (
        _read(folder / file, name) for file in FILES if file != "weights.h5"
    )
    with _or_refuse(f"The statistics or the model card of {name} are damaged: take another copy."):
        statistics, card = dict(json.loads(statistics)), dict(json.loads(card))
        _check_statistics(statistics)
    instrument = _build(config, f"The configuration of {name}")
    with _or_refuse(
        f"The weights of {name} do not fit its configuration or are damaged: take another copy."
    ):
        _check_weights(folder / "weights.h5", instrument.network)
        instrument.network.load_weights(folder / "weights.h5")
    instrument.statistics, instrument.card = statistics, card
    return instrument


def _read(path, name):
    if path.stat().st_size > MAX_TEXT_BYTES:
        raise InputError(f"{path.name} of {name} is larger than any instrument's: refused.")
    with _or_refuse(f"{path.name} of {name} is no text: take another copy."):
        return path.read_text(encoding="utf-8")


def _check_statistics(statistics):
    """Refuses statistics that lack what `transfer` fits to; an untrained model's are empty."""
    if statistics:
        percentiles = statistics["loudness_db_percentiles"]
        numbers = np.array([statistics["pitch_midi"]["mean"], *percentiles], float)
        if len(percentiles) != 101 or not np.isfinite(numbers).all():
            raise ValueError("not 101 finite percentiles and a mean")


def _check_weights(path, network):
    """Refuses an HDF5 file with other arrays than the network's, before any of them is read.

    Their sizes are only declared in it, and it may point to other files on this machine.
    """
    with h5py.File(path) as file:
        groups = [file[name] for name in [*file.attrs["layer_names"], "top_level_model_weights"]]
        arrays = [group[name] for group in groups for name in group.attrs["weight_names"]]
        inside = not any(
            a.external or a.is_virtual or a.file.filename != file.filename for a in arrays
        )
        stored = sorted((a.shape, a.dtype.name) for a in arrays)
    if not inside or stored != sorted((tuple(w.shape), "float32") for w in network.weights):
        raise ValueError("not the network's weights")


def _unpack(path, folder):
    """Unpacks only the files of a bundle, by name, whatever folder the zip has them in."""
    with zipfile.ZipFile(path) as archive:
        members = archive.infolist()
        if any(".." in m.filename.split("/") or m.filename.startswith("/") for m in members):
            raise InputError(f"{path.name} has files that leave its folder: refused.")
        members = [m for m in members if PurePosixPath(m.filename).name in FILES]
        if sum(member.file_size for member in members) > MAX_BUNDLE_BYTES:
            raise InputError(f"{path.name} unpacks to more than an instrument ever holds: refused.")
        if len({PurePosixPath(member.filename).parent for member in members}) > 1:
            raise InputError(f"{path.name} holds more than one instrument: zip one folder alone.")
        for member in members:
            target = Path(folder) / PurePosixPath(member.filename).name
            with archive.open(member) as source, open(target, "wb") as unpacked:
                shutil.copyfileobj(source, unpacked)


@contextlib.contextmanager
def _or_refuse(sentence):
    """Says one sentence instead of whatever a library says of content that is not as it expects.

    Any kind of error may come out of the libraries when a file was made to break them.
    """
    try:
        yield
    except InputError:
        raise
    except Exception as error:
        raise InputError(sentence) from error
