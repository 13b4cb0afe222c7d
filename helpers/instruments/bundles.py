"""Models to and from disk as bundles.

A bundle is a folder, or a zip of it, with `operative_config.gin`, `weights.safetensors`,
`statistics.json` (what the training data played) and `model_card.json` (what it is, from what,
by whom, how good). Bundles from before, with `weights.h5`, and those of Google's notebooks
(`google_bundle`) are loaded too. A bundle may come from anywhere: all of it is checked before
anything of it is used.
"""

import contextlib
import json
import tempfile
import zipfile
from collections.abc import Iterable
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

import numpy as np

from helpers.errors import InputError
from helpers.files import explaining, recover, replacing, replacing_folder
from helpers.instruments import (
    configurations,
    gin_settings,
    google_bundle,
    schema,
    untrusted,
    weights,
)
from helpers.instruments import instrument as instruments
from helpers.instruments.instrument import Instrument
from helpers.instruments.untrusted import or_refuse

CONFIGURATION, STATISTICS, CARD = "operative_config.gin", "statistics.json", "model_card.json"
FILES = (CONFIGURATION, weights.FILE, STATISTICS, CARD)


@dataclass(frozen=True)
class Listed:
    """A bundle in a folder, as `listing` found it.

    Attributes:
      path: Of its folder or zip, for `load`.
      name: Of its card, or of its file.
      card: Its model card; None if it is damaged.
      problem: What is wrong with it, in a sentence; empty if nothing is.
    """

    path: Path
    name: str
    card: dict | None
    problem: str = ""


def save(instrument: Instrument, folder: Path | str) -> None:
    """Writes the instrument's bundle; a bundle that was there before is replaced whole.

    Raises:
      InputError: The statistics or the card hold what a bundle may not, such as NaN.
    """
    statistics, card = _json(instrument.statistics, "statistics"), _json(instrument.card, "card")
    schema.read_statistics(statistics, "The instrument's statistics")
    schema.read_card(card, "The instrument's card")
    with replacing_folder(folder, (*FILES, weights.FORMER_FILE)) as unfinished:
        (unfinished / CONFIGURATION).write_text(instrument.config, encoding="utf-8")
        weights.save(instrument.network, unfinished / weights.FILE)
        (unfinished / STATISTICS).write_text(statistics, encoding="utf-8")
        (unfinished / CARD).write_text(card, encoding="utf-8")


def load(path: Path | str, feature_profile: str | None = None) -> Instrument:
    """Loads an instrument from a bundle's folder or zip, Google's or ours, to play in float32.

    Args:
      path: Of the folder or zip.
      feature_profile: For a bundle of Google's what its loudness is: "ddsp-1" if it was trained
        with ddsp before 2.0, else "ddsp-2". None: by its configuration.

    Raises:
      InputError: It is no bundle, it is damaged, or it holds what a bundle may not.

    >>> import numpy as np
    >>> from helpers import config
    >>> violin = load(config.CHECKPOINTS / "violin")
    >>> a_second = violin.frame_rate
    >>> audio = violin.play(np.full(a_second, 440.0), loudness_db=np.full(a_second, -10.0))
    >>> len(audio) == violin.sample_rate
    True
    """
    path = Path(path)
    recover(path.parent)
    with _unpacked(path) as folder:
        config, statistics, card = _read(folder, path.name, feature_profile)
        loaded = instruments.make(config, f"The configuration of {path.name}")
        if _is_googles(folder):
            google_bundle.load_weights(loaded.network, folder, path.name)
        else:
            weights.load(loaded.network, folder, path.name)
    for rate in ("sample_rate", "frame_rate"):
        if statistics.get(rate, getattr(loaded, rate)) != getattr(loaded, rate):
            raise InputError(
                f"The configuration of {path.name} has another {rate} than the recordings it "
                "learned from: take a copy that nobody has edited."
            )
    loaded.statistics, loaded.card = statistics, card
    return loaded


def listing(*folders: Path | str) -> list[Listed]:
    """The bundles in folders, each a folder or a zip.

    They are in the order of their names, those that learned from sampled notes last in each
    folder. No network is built. A damaged bundle is named beside the others. A zip beside its
    folder is not listed again.
    """
    for folder in folders:
        recover(folder)
    found = []
    for folder in folders:
        paths = filter(_looks_like_a_bundle, sorted(Path(folder).glob("[!.]*")))
        found += sorted(map(listed, paths), key=_is_sampled)
    return found


def _is_sampled(bundle):
    return _training_data(bundle.card or {}).get("is_recorded") is False


def listed(path: Path) -> Listed:
    """Reads what there is to know of one bundle, or what is wrong with it."""
    try:
        with _unpacked(path) as folder:
            config, _, card = _read(folder, path.name)
            gin_settings.check_config(config, f"The configuration of {path.name}")
            if _is_googles(folder):
                google_bundle.check_weights(folder, path.name)
            else:
                weights.check(folder, path.name)
    except InputError as error:
        return Listed(path, path.stem, None, str(error))
    return Listed(path, card.get("name") or path.stem, card)


def pack(folder: Path | str) -> Path:
    """Zips a bundle's folder, for download, and returns the path of the zip beside it."""
    folder = Path(folder)
    target = folder.with_name(f"{folder.name}.zip")
    with replacing(target) as unfinished:
        with zipfile.ZipFile(unfinished, "w", zipfile.ZIP_DEFLATED) as archive:
            for name in _files_of_a_bundle(path.name for path in folder.iterdir()):
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
    spectrum: dict | None = None,
) -> dict:
    """Makes a model card: what the instrument is, what it learned from, and how good it is.

    Args:
      name: The instrument's name.
      instrument: The trained `Instrument`, its `statistics` set.
      steps: Training steps taken.
      heldout: Metrics on held-out examples, from `metrics.resynthesis`; NaN becomes None.
      credit: Who made the recordings; several are separated by "; ".
      licence: Of the recordings; several are separated by ", ".
      fine_tuned_from: Cards of the instruments that the training began with. Their credits and
        licences are kept beside those of the new recordings, each once.
      spectrum: Of what it plays of held-out examples, from `spectrum.resynthesis`.
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
        "heldout": {
            metric: round(value, 4) if np.isfinite(value) else None
            for metric, value in heldout.items()
        },
        "spectrum": spectrum or {},
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
    try:
        names = {inside.name for inside in path.iterdir()} if path.is_dir() else set()
    except OSError:  # a folder that cannot be read: `listed` gives the reason
        return True
    return bool(_files_of_a_bundle(names - {STATISTICS}))  # datasets have one too


def _files_of_a_bundle(names):
    """Of the names of files those that a bundle is made of."""
    names = set(names)
    ours = {*FILES, weights.FORMER_FILE} & names
    if weights.FILE in ours:
        ours.discard(weights.FORMER_FILE)
    return ours or google_bundle.newest_files(names)


def _is_googles(folder):
    names = {path.name for path in folder.iterdir()}
    return not {*FILES, weights.FORMER_FILE} & names and bool(google_bundle.newest_files(names))


@contextlib.contextmanager
def _unpacked(path):
    """A bundle's folder, which for a zip is there only meanwhile; errors as sentences."""
    damaged = or_refuse(f"{path.name} is damaged: take another copy.")
    with damaged, explaining(f"{gin_settings.shown(path.name)} cannot be read"):
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
    has_former = (folder / weights.FORMER_FILE).is_file()
    for file in FILES:
        if not (folder / file).is_file() and not (file == weights.FILE and has_former):
            raise InputError(f"{name} is no instrument: {file} is missing from it.")
    config, statistics_json, card_json = (
        untrusted.read_text(folder / file, name) for file in (CONFIGURATION, STATISTICS, CARD)
    )
    return (
        config,
        schema.read_statistics(statistics_json, f"{STATISTICS} of {name}"),
        schema.read_card(card_json, f"{CARD} of {name}"),
    )


def _json(content, what):
    """Statistics or a card as text."""
    with or_refuse(f"The instrument's {what} has numbers that are none, or objects: correct it."):
        return json.dumps(content, indent=2, allow_nan=False) + "\n"
