"""Instruments: gin configurations made into models, and their checkpoint bundles.

A bundle is a folder, or a zip of it, with `operative_config.gin`, `weights.h5`,
`statistics.json` (what the training data played) and `model_card.json` (what it is, from what,
by whom, how good). This module is the only one that speaks to gin.
"""

import json
import shutil
import tempfile
import zipfile
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path

import gin
import numpy as np
import tensorflow as tf

from helpers import synths  # noqa: F401  registers its classes with gin
from helpers.ddsp_import import ddsp
from helpers.errors import InputError
from helpers.files import replacing

CONFIGS = Path(__file__).parent / "gin"
FILES = ("operative_config.gin", "weights.h5", "statistics.json", "model_card.json")
MAX_BUNDLE_BYTES = 512 * 2**20

# What a configuration may name: a bundle comes from anywhere, and gin calls what it names.
ALLOWED_IN_CONFIG = {
    "Add",
    "Autoencoder",
    "ConvDecoder",
    "FramewiseHarmonic",
    "FramewiseNoise",
    "ProcessorGroup",
    "Reverb",
    "RnnFcDecoder",
    "ScaleFeatures",
    "SpectralLoss",
}


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
    return _build(path.read_text(), bindings)


def save(instrument, folder):
    """Writes the instrument's bundle; a folder that was there before is replaced whole."""
    with replacing(folder) as unfinished:
        (unfinished / "operative_config.gin").write_text(instrument.config)
        instrument.network.save_weights(unfinished / "weights.h5")
        for name, content in (("statistics", instrument.statistics), ("model_card", instrument.card)):
            (unfinished / f"{name}.json").write_text(json.dumps(content, indent=2) + "\n")


def load(path):
    """Loads an instrument from a bundle's folder or zip.

    Raises:
      InputError: It is no bundle, it names what it must not, or its weights do not fit.
    """
    path = Path(path)
    if path.is_file():
        return _load_zip(path)
    missing = [name for name in FILES if not (path / name).is_file()]
    if missing:
        raise InputError(f"{path} is no instrument: {', '.join(missing)} is missing from it.")
    config = (path / "operative_config.gin").read_text()
    check_config(config, path.name)
    instrument = _build(config)
    try:
        instrument.network.load_weights(path / "weights.h5")
    except (OSError, ValueError):
        raise InputError(
            f"The weights of {path.name} do not fit its configuration or are damaged: train it "
            "again or take another copy."
        ) from None
    instrument.statistics = json.loads((path / "statistics.json").read_text())
    instrument.card = json.loads((path / "model_card.json").read_text())
    return instrument


def pack(folder):
    """Zips a bundle's folder beside it, for download, and returns the zip's path."""
    folder = Path(folder)
    target = folder.with_suffix(".zip")
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
    """Refuses a gin configuration that imports, includes, or names what is not on the list.

    Raises:
      InputError: Naming the line at fault.
    """

    class Delegate(gin.config_parser.ParserDelegate):
        def configurable_reference(self, scoped_configurable_name, evaluate):
            found = scoped_configurable_name.split("/")[-1].split(".")[-1]
            if found not in ALLOWED_IN_CONFIG:
                raise InputError(f"{name} names {found}, which instruments may not: refused.")

        def macro(self, scoped_configurable_name):
            pass

    try:
        for statement in gin.config_parser.ConfigParser(text, Delegate()):
            if not isinstance(statement, gin.config_parser.BindingStatement):
                raise InputError(f"{name} has a line that is no setting: refused.")
    except SyntaxError as error:
        raise InputError(f"{name} is not a gin configuration (line {error.lineno}).") from None


def _build(text, bindings=()):
    gin.clear_config()
    with gin.unlock_config():
        gin.parse_config([text, *bindings])
    sample_rate = gin.query_parameter("sample_rate/macro.value")
    hop_size = gin.query_parameter("hop_size/macro.value")
    network = ddsp.training.models.get_model()
    instrument = Instrument(network, "", sample_rate, hop_size)
    n_frames = instrument.frame_rate  # one second builds the variables
    instrument.play(np.full(n_frames, 440.0), np.full(n_frames, -80.0))
    instrument.config = gin.operative_config_str()
    return instrument


def _load_zip(path):
    """Unpacks only the files of a bundle, by name, into a folder that is then removed."""
    if not zipfile.is_zipfile(path):
        raise InputError(f"{path.name} is not a zip file: choose the zip that notebook 02 made.")
    with zipfile.ZipFile(path) as archive, tempfile.TemporaryDirectory() as folder:
        members = [m for m in archive.infolist() if Path(m.filename).name in FILES]
        if sum(member.file_size for member in members) > MAX_BUNDLE_BYTES:
            raise InputError(f"{path.name} unpacks to more than an instrument ever holds: refused.")
        bundle = Path(folder) / path.stem
        bundle.mkdir()
        for member in members:
            with archive.open(member) as source, open(
                bundle / Path(member.filename).name, "wb"
            ) as target:
                shutil.copyfileobj(source, target)
        return load(bundle)
