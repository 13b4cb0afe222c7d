"""Models by name, and to and from disk as bundles.

A bundle is a folder, or a zip of it, with `operative_config.gin`, `weights.h5`,
`statistics.json` (what the training data played) and `model_card.json` (what it is, from what,
by whom, how good). Those of Google's notebooks are loaded too (`google_bundle`).
"""

import contextlib
import json
import tempfile
import zipfile
from collections.abc import Iterable
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

from helpers.errors import InputError
from helpers.files import replacing, replacing_folder
from helpers.instruments import configurations, google_bundle, untrusted
from helpers.instruments import instrument as instruments
from helpers.instruments.instrument import Instrument
from helpers.instruments.untrusted import FILES


@dataclass(frozen=True)
class Listed:
    """A bundle in a folder, as `listing` found it.

    Attributes:
      path: Of its folder or zip, for `load`.
      name: What to call it.
      card: Its model card; None where it is damaged.
      problem: What is wrong with it, in a sentence; empty where nothing is.
    """

    path: Path
    name: str
    card: dict | None
    problem: str = ""


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


def load(path, feature_profile=None):
    """Loads an instrument from a bundle's folder or zip, Google's or ours, to play in float32.

    Args:
      path: Of the folder or zip.
      feature_profile: For a bundle of Google's what its loudness is: "ddsp-1" if it was trained
        with ddsp before 2.0, else "ddsp-2". None: as its configuration tells.

    Raises:
      InputError: It is no bundle, it is damaged, or it names or takes more than it may.
    """
    path = Path(path)
    with _unpacked(path) as folder:
        config, statistics, card = _read(folder, path.name, feature_profile)
        loaded = instruments.make(config, f"The configuration of {path.name}")
        if _is_googles(folder):
            google_bundle.load_weights(loaded.network, folder, path.name)
        else:
            untrusted.load_weights(loaded.network, folder / "weights.h5", path.name)
    for rate in ("sample_rate", "frame_rate"):
        if statistics.get(rate, getattr(loaded, rate)) != getattr(loaded, rate):
            raise InputError(
                f"The configuration of {path.name} has another {rate} than the recordings it "
                "learned from: take a copy that nobody has edited."
            )
    loaded.statistics, loaded.card = statistics, card
    return loaded


def listing(*folders):
    """The bundles in folders, each a folder or a zip, by name: a list of `Listed`.

    No network is built. A damaged bundle is named beside the others. A zip beside its folder is
    not listed again.
    """
    paths = [path for folder in folders for path in sorted(Path(folder).glob("[!.]*"))]
    return [listed(path) for path in paths if _looks_like_a_bundle(path)]


def listed(path):
    """What `listing` says of one bundle."""
    try:
        with _unpacked(path) as folder:
            config, _, card = _read(folder, path.name)
            untrusted.check_config(config, f"The configuration of {path.name}")
            if _is_googles(folder):
                google_bundle.check_weights(folder, path.name)
            else:
                untrusted.check_weights(folder / "weights.h5", path.name)
    except InputError as error:
        return Listed(path, path.stem, None, str(error))
    return Listed(path, str(card.get("name", path.stem)), card)


def pack(folder):
    """Zips a bundle's folder beside it, for download, and returns the zip's path."""
    folder = Path(folder)
    target = folder.with_name(f"{folder.name}.zip")
    with replacing(target) as unfinished:
        with zipfile.ZipFile(unfinished, "w", zipfile.ZIP_DEFLATED) as archive:
            for name in FILES:
                archive.write(folder / name, f"{folder.name}/{name}")
    return target


def card(
    name: str,
    instrument: Instrument,
    steps: int,
    heldout: dict[str, float],
    credit: str = "",
    licence: str = "",
    fine_tuned_from: Iterable[dict] = (),
) -> dict:
    """A model card: what the instrument is, from what it learned, by whom, and how good it is.

    Args:
      name: The instrument's name.
      instrument: The trained `Instrument`, its `statistics` set.
      steps: Training steps taken.
      heldout: Metrics on held-out examples, from `metrics.resynthesis`.
      credit: Who made the recordings; several are separated by "; ".
      licence: Of the recordings; several are separated by ", ".
      fine_tuned_from: Cards of the instruments that the training began with. Their credits and
        licences are kept beside those of the new recordings, each once.
    """
    earlier = list(fine_tuned_from)
    learned = [{"credit": credit, "licence": licence}, *map(_training_data, earlier)]
    return {
        "name": name,
        "feature_profile": instrument.statistics["feature_profile"],
        "sample_rate": instrument.sample_rate,
        "frame_rate": instrument.frame_rate,
        "parameters": instrument.parameters,
        "training_data": {
            "files": instrument.statistics["files"],
            "examples": instrument.statistics["examples"],
            "credit": _each_once((data.get("credit") for data in learned), "; "),
            "licence": _each_once((data.get("licence") for data in learned), ", "),
        },
        "fine_tuned_from": [other["name"] for other in earlier if "name" in other],
        "steps": steps,
        "heldout": {metric: round(value, 4) for metric, value in heldout.items()},
        "versions": {name: version(name) for name in ("tensorflow", "tf-keras", "ddsp", "numpy")},
    }


def credit_line(card: dict) -> str:
    """The name of an instrument, and in brackets who made what it learned from.

    >>> credit_line({"name": "violin", "training_data": {"credit": "Zoë", "licence": "CC0"}})
    'violin (Zoë, CC0)'
    >>> credit_line({})
    'an instrument without a name'
    """
    name, learned = card.get("name", "an instrument without a name"), _training_data(card)
    credit = ", ".join(filter(None, (learned.get("credit"), learned.get("licence"))))
    return f"{name} ({credit})" if credit else name


def _training_data(card):
    return card.get("training_data", {})


def _each_once(lists, separator):
    """Joins lists of names, which are texts with a separator, without repeating a name."""
    names = (name for names in lists if names for name in names.split(separator))
    return separator.join(dict.fromkeys(names))


def _looks_like_a_bundle(path):
    if path.suffix == ".zip":
        return not path.with_suffix("").is_dir()
    if not path.is_dir():
        return False
    names = {inside.name for inside in path.iterdir()} - {"statistics.json"}  # datasets have one
    return bool(_files_of_a_bundle(names))


def _files_of_a_bundle(names):
    """Of the names of files those that a bundle is made of."""
    return set(FILES) & names or google_bundle.newest_files(names)


def _is_googles(folder):
    names = {path.name for path in folder.iterdir()}
    return not set(FILES) & names and bool(google_bundle.newest_files(names))


@contextlib.contextmanager
def _unpacked(path):
    """A bundle's folder, which for a zip is there only meanwhile."""
    if not path.is_file():
        yield path
        return
    with tempfile.TemporaryDirectory() as folder:
        untrusted.unpack(path, folder, _files_of_a_bundle)
        yield Path(folder)


def _read(folder, name, feature_profile=None):
    """All of a bundle but its weights: its configuration, statistics and card."""
    if not folder.is_dir():
        raise InputError(f"There is no instrument at {name}: choose a bundle's folder or zip.")
    if _is_googles(folder):
        changes, statistics, card = google_bundle.read(folder, name, feature_profile)
        return "\n".join([configurations.gin_text("ddsp.gin"), *changes]), statistics, card
    if feature_profile:
        raise InputError(f"{name} names its feature profile itself: load it without one.")
    return untrusted.read_texts(folder, name)
