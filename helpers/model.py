"""Models by name, and to and from disk as bundles.

A bundle is a folder, or a zip of it, with `operative_config.gin`, `weights.h5`,
`statistics.json` (what the training data played) and `model_card.json` (what it is, from what,
by whom, how good).
"""

import json
import re
import tempfile
import zipfile
from importlib.metadata import version
from pathlib import Path

from helpers import instrument as instruments
from helpers import untrusted
from helpers.config import SAMPLE_RATE
from helpers.errors import InputError
from helpers.files import replacing, replacing_folder
from helpers.untrusted import FILES

CONFIGS = Path(__file__).parent / "gin"


def build(config="small", sample_rate=SAMPLE_RATE, bindings=(), precision="float32"):
    """Builds an untrained instrument.

    Args:
      config: Name of a file in `helpers/gin`, without its ending: "small", "autoencoder" (with z)
        or "ddsp" (Google's).
      sample_rate: Hz: 16000, 24000, 32000, 44100 or 48000. Frames a second, harmonics, noise
        bands, reverb and loss follow from it (`instrument.scale`).
      bindings: gin bindings that override the file's, in its numbers for 16 kHz, such as
        "ConvDecoder.channels = 64".
      precision: "float32", or "mixed_float16" or "mixed_bfloat16" to compute the decoder and the
        encoder in half precision on a GPU; weights, synthesizers and loss are float32 always.

    Returns:
      An `instrument.Instrument`.

    Raises:
      InputError: One of these is not to be had.
    """
    _check_choice("configuration", config, names())
    _check_choice("sample rate", sample_rate, instruments.SAMPLE_RATES)
    _check_choice("precision", precision, instruments.PRECISIONS)
    text = "\n".join([config_text(f"{config}.gin"), *bindings])
    rate = None if sample_rate == SAMPLE_RATE else sample_rate
    return instruments.make(text, sample_rate=rate, precision=precision)


def names():
    """The names of the configurations that `build` takes."""
    return sorted(path.stem for path in CONFIGS.glob("*.gin"))


def config_text(file):
    """A file of `helpers/gin`, with what it includes in place: what is saved has to be whole."""
    text = (CONFIGS / file).read_text(encoding="utf-8")
    return re.sub(r"^include '(.+)'$", lambda found: config_text(found[1]), text, flags=re.M)


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
    """Loads an instrument from a bundle's folder or zip, to play in float32.

    Raises:
      InputError: It is no bundle, it is damaged, or it names or takes more than it may.
    """
    path = Path(path)
    if not path.is_file():
        return _load_folder(path, path.name)
    with tempfile.TemporaryDirectory() as folder:
        untrusted.unpack(path, folder)
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


def _check_choice(what, value, choices):
    if value not in choices:
        names = ", ".join(map(str, choices))
        raise InputError(f"There is no {what} {value!r}: choose one of {names}.")


def _load_folder(folder, name):
    config, statistics, card = untrusted.read_texts(folder, name)
    loaded = instruments.make(config, f"The configuration of {name}")
    untrusted.load_weights(loaded.network, folder / "weights.h5", name)
    loaded.statistics, loaded.card = statistics, card
    return loaded
