"""Checkpoints of Google's own notebooks, made with ddsp, as instruments of this project.

Their zip holds `operative_config-0.gin`, `ckpt-<step>.index` and `.data-00000-of-00001`, and
`dataset_statistics.pkl`. It may come from anywhere. Only numbers are taken from the configuration,
into this project's own. `google_pickle` reads the statistics, `google_checkpoint` the weights.
"""

import json
import re
import reprlib
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np

from helpers.analysis import features
from helpers.config import SAMPLE_RATE
from helpers.errors import InputError
from helpers.instruments import gin_settings, google_pickle, schema, untrusted, weights
from helpers.instruments.gin_settings import shown
from helpers.instruments.google_checkpoint import Checkpoint
from helpers.instruments.untrusted import or_refuse
from helpers.tensorflow_import import tf

CONFIG = re.compile(r"operative_config-(\d+)\.gin")
CHECKPOINT = re.compile(r"ckpt-(\d+)\.(index|data-\d{5}-of-\d{5})")
STATISTICS = "dataset_statistics.pkl"

# ddsp's names before 1.0, and after.
RENAMED = {"Additive": "Harmonic", "DefaultPreprocessor": "F0LoudnessPreprocessor"}

# What a model may set, by ddsp's names: the one value that is played here, or any.
ANY = object()
MODEL = {
    "get_model.model": "Autoencoder",
    "Autoencoder.preprocessor": "F0LoudnessPreprocessor",
    "Autoencoder.encoder": None,
    "Autoencoder.decoder": "RnnFcDecoder",
    "Autoencoder.processor_group": "ProcessorGroup",
    "Autoencoder.losses": ANY,
    "F0LoudnessPreprocessor.time_steps": ANY,
    "F0LoudnessPreprocessor.frame_rate": ANY,
    "F0LoudnessPreprocessor.sample_rate": ANY,
    "F0LoudnessPreprocessor.compute_loudness": ANY,  # here features are played as they are
    "RnnFcDecoder.rnn_channels": ANY,
    "RnnFcDecoder.rnn_type": "gru",
    "RnnFcDecoder.ch": ANY,
    "RnnFcDecoder.layers_per_stack": ANY,
    "RnnFcDecoder.stateless": False,
    "RnnFcDecoder.input_keys": ANY,
    "RnnFcDecoder.output_splits": ANY,
    "RnnFcDecoder.name": ANY,
    "ProcessorGroup.dag": ANY,
    "Harmonic.n_samples": ANY,
    "Harmonic.sample_rate": SAMPLE_RATE,
    "Harmonic.scale_fn": "exp_sigmoid",
    "Harmonic.normalize_below_nyquist": True,
    "Harmonic.amp_resample_method": "window",
    "Harmonic.use_angular_cumsum": ANY,  # here the phase is exact always
    "Harmonic.name": "harmonic",
    "FilteredNoise.n_samples": ANY,
    "FilteredNoise.window_size": 0,
    "FilteredNoise.scale_fn": "exp_sigmoid",
    "FilteredNoise.initial_bias": ANY,
    "FilteredNoise.name": "filtered_noise",
    "Add.name": "add",
    "Reverb.trainable": True,
    "Reverb.reverb_length": ANY,
    "Reverb.add_dry": True,
    "Reverb.name": "reverb",
    "exp_sigmoid.exponent": 10.0,
    "exp_sigmoid.max_value": 2.0,
    "exp_sigmoid.threshold": 1e-7,
    "oscillator_bank.sum_sinusoids": True,
    "oscillator_bank.use_angular_cumsum": ANY,
}
# Classes that only train or test a model; they and the imports of ddsp are passed over.
TRAINING = {
    *("train", "Trainer", "evaluate", "sample", "TFRecordProvider", "SpectralLoss", "run_dag"),
    *("BasicEvaluator", "F0LdEvaluator", "TWMEvaluator", "get_strategy", "compute_loudness"),
}
NAMED = {setting.split(".")[0] for setting in MODEL} | TRAINING
IMPORTED = ("ddsp", "ddsp.training")

SOUND = [
    ["Harmonic", ["amps", "harmonic_distribution", "f0_hz"]],
    ["FilteredNoise", ["noise_magnitudes"]],
    ["Add", ["filtered_noise/signal", "harmonic/signal"]],
]
ROOM = ["Reverb", ["add/signal"]]
WITHOUT_A_ROOM = """ProcessorGroup.dag = [
  (@FramewiseHarmonic(), ['amps', 'harmonic_distribution', 'f0_hz']),
  (@FramewiseNoise(), ['noise_magnitudes']),
  (@processors.Add(), ['filtered_noise/signal', 'harmonic/signal']),
]"""

# In place of missing statistics: a middle register at middle levels.
GUESSED_PITCH_MIDI = {"low": 54.0, "mean": 66.0, "high": 78.0}
GUESSED_LOUDNESS_DB = {features.PROFILE: (-35.0, 0.0), features.PROFILE_BEFORE: (-75.0, -40.0)}


def newest_files(names: Iterable[str]) -> set[str]:
    """Chooses the names of the files of Google's newest checkpoint; none if there is no such."""
    names = set(names)
    chosen = _newest(CONFIG, names) | _newest(CHECKPOINT, names)
    return chosen | ({STATISTICS} & set(names) if chosen else set())


def read(
    folder: Path, name: str, feature_profile: str | None = None
) -> tuple[list[str], dict, dict]:
    """Reads all but the weights.

    Args:
      folder: Of the bundle.
      name: What the bundle is called in errors.
      feature_profile: Its loudness, of `features.FLOORS_DB`; None: by its configuration.

    Returns:
      What to set in `gin/ddsp.gin`, as lines; statistics; card.

    Raises:
      InputError: It is incomplete, damaged, no model that is played here, or asks for more.
    """
    chosen = newest_files(path.name for path in folder.iterdir())
    for needed in ("operative_config-0.gin", "ckpt-1.index", "ckpt-1.data-00000-of-00001"):
        if not any(re.sub(r"\d+", "", file) == re.sub(r"\d+", "", needed) for file in chosen):
            raise InputError(f"{name} is no instrument: a file like {needed} is missing from it.")
    config = min(file for file in chosen if CONFIG.fullmatch(file))
    settings = _settings(untrusted.read_text(folder / config, name), name)
    with or_refuse(f"The configuration of {name} is not as ddsp writes it: take another copy."):
        lines, hop_size = _translated(settings, name)
    if feature_profile is None:
        # The setting came with the loudness of 2.0, and a configuration holds all settings.
        since_2 = "F0LoudnessPreprocessor.compute_loudness" in settings
        feature_profile = features.PROFILE if since_2 else features.PROFILE_BEFORE
    features.check_profile(feature_profile)
    range_db = -features.FLOORS_DB[feature_profile]
    rates = {"sample_rate": SAMPLE_RATE, "frame_rate": SAMPLE_RATE // hop_size}
    about = {"feature_profile": feature_profile, **rates}
    statistics = {**about, **_statistics(folder / STATISTICS, name, feature_profile)}
    card = {
        "name": name.removesuffix(".zip").encode("utf-8", "replace").decode(),
        **about,
        "training_data": {"files": None, "examples": None, "credit": "", "licence": ""},
        "steps": int(_index(folder).removeprefix("ckpt-").removesuffix(".index")),
        "heldout": {},
        "versions": {},
        "origin": "ddsp, by Google's notebook",
    }
    if STATISTICS not in chosen:
        card["warning"] = (
            f"{name} has no {STATISTICS}: its register and loudness are guesses, so set the "
            "octaves and the loudness by ear."
        )
    card = schema.read_card(json.dumps(card), f"What there is to know of {name}")
    return [*lines, f"ScaleFeatures.loudness_range_db = {range_db}"], statistics, card


def load_weights(network: tf.keras.Model, folder: Path, name: str) -> None:
    """Loads the weights, all of the network's and no others, from Google's newest checkpoint.

    Raises:
      InputError: They are another network's, or damaged.
    """
    with or_refuse(
        f"The weights of {name} do not fit its configuration or are damaged: take another copy."
    ):
        weights.set_in(network, _checkpoint(folder, name).arrays(network))


def check_weights(folder: Path, name: str) -> None:
    """Refuses a checkpoint that is damaged, as far as can be seen without its network.

    Raises:
      InputError: It is damaged.
    """
    with or_refuse(f"The weights of {name} are damaged: take another copy."):
        _checkpoint(folder, name).shapes()


def _checkpoint(folder, name):
    return Checkpoint(folder / _index(folder), name)


def _newest(pattern, names):
    """The names that match a pattern with the highest number."""
    found = [match for match in map(pattern.fullmatch, names) if match]
    newest = max((int(match[1]) for match in found), default=None)
    return {match[0] for match in found if int(match[1]) == newest}


def _index(folder):
    chosen = newest_files(path.name for path in folder.iterdir())
    return next(file for file in chosen if file.endswith(".index"))


def _settings(text, name):
    """The settings of the model by "class.argument", macros replaced, names of classes as texts."""
    name = f"The configuration of {name}"
    found: dict[str, Any] = {}
    macros: dict[str, Any] = {}
    with or_refuse(f"{name} is not written as gin is: take a copy that nobody has edited."):
        for scope, selector, argument, value, _ in gin_settings.statements(text, name, IMPORTED):
            value = _plain(value, macros, name)
            if not argument and not scope:
                macros[selector] = value
                continue
            chosen = _ddsp_name(selector)
            setting = f"{chosen}.{argument}"
            if scope or (setting not in MODEL and chosen not in TRAINING):
                raise InputError(
                    f"{name} sets {shown(setting)}, which Google's notebooks do not: refused."
                )
            if MODEL.get(setting, ANY) not in (ANY, value):
                raise InputError(
                    f"{name} has {setting} = {reprlib.repr(value)}, which only ddsp itself plays: "
                    "choose a model made by solo_instrument.gin at 16 kHz."
                )
            found[setting] = value
    return {setting: value for setting, value in found.items() if setting in MODEL}


def _plain(value, macros, name):
    """A value with its macros replaced, and names of classes as texts; nothing is called."""
    if isinstance(value, gin_settings.Macro):
        if value not in macros:
            raise InputError(
                f"{name} has a macro {shown(value)} that it does not set before: refused."
            )
        return macros[value]
    if isinstance(value, gin_settings.Reference):
        if _ddsp_name(value) not in NAMED:
            raise InputError(
                f"{name} names {shown(value)}, which Google's notebooks do not: refused."
            )
        return _ddsp_name(value)
    if isinstance(value, str):
        return value.replace("additive", "harmonic")  # before 1.0
    if isinstance(value, (list, tuple)):
        return type(value)(_plain(item, macros, name) for item in value)
    return value


def _ddsp_name(selector):
    name = gin_settings.without_module(selector)
    return RENAMED.get(name, name)


def _translated(settings, name):
    """The same settings as lines for `gin/ddsp.gin`, and the hop size."""
    dag = [[node[0], list(node[1])] for node in settings["ProcessorGroup.dag"]]
    splits = settings["RnnFcDecoder.output_splits"]
    if dag not in (SOUND, [*SOUND, ROOM]) or [key for key, _ in splits] != [
        *("amps", "harmonic_distribution", "noise_magnitudes")
    ]:
        raise InputError(
            f"{name} plays other synthesizers than harmonics, noise and a reverb: choose a model "
            "made by solo_instrument.gin."
        )
    n_frames = settings["F0LoudnessPreprocessor.time_steps"]
    hop_size, rest = divmod(settings["Harmonic.n_samples"], n_frames)
    stated = settings.get("F0LoudnessPreprocessor.sample_rate", SAMPLE_RATE)
    frame_rate = settings.get("F0LoudnessPreprocessor.frame_rate", SAMPLE_RATE / hop_size)
    n_noise = settings.get("FilteredNoise.n_samples")
    if (
        rest
        or (stated, frame_rate * hop_size) != (SAMPLE_RATE, SAMPLE_RATE)
        or (n_noise != settings["Harmonic.n_samples"])
    ):
        raise InputError(
            f"The configuration of {name} has different sample or frame rates for its parts: take "
            "a copy that nobody has edited."
        )
    values = {
        "hop_size": hop_size,
        "harmonics": splits[1][1],
        "noise_bands": splits[2][1],
        "GruDecoder.rnn_channels": settings["RnnFcDecoder.rnn_channels"],
        "GruDecoder.ch": settings["RnnFcDecoder.ch"],
        "GruDecoder.layers_per_stack": settings["RnnFcDecoder.layers_per_stack"],
        "GruDecoder.input_keys": settings["RnnFcDecoder.input_keys"],
        "FramewiseNoise.initial_bias": settings.get("FilteredNoise.initial_bias", -5.0),
    }
    if ROOM in dag:
        values["reverb_length"] = settings["Reverb.reverb_length"]
    if sorted(values["GruDecoder.input_keys"]) != ["f0_scaled", "ld_scaled"]:
        raise ValueError("other inputs")
    for setting, value in values.items():
        limits = gin_settings.NUMBERS.get(setting.split(".")[-1])
        if limits and value not in limits:
            raise InputError(
                f"The configuration of {name} has {setting} beyond {limits}: choose another model."
            )
    lines = [f"{setting} = {value!r}" for setting, value in values.items()]
    return lines if ROOM in dag else [*lines, WITHOUT_A_ROOM], hop_size


def _statistics(path, name, feature_profile):
    """The statistics of the training data, in the form of `training.dataset`."""
    if not path.exists():
        levels_db = np.linspace(*GUESSED_LOUDNESS_DB[feature_profile], 101)
        return {
            "pitch_midi": GUESSED_PITCH_MIDI,
            "loudness_db_percentiles": levels_db.tolist(),
        }
    with or_refuse(
        f"{STATISTICS} of {name} is damaged, or holds more than numbers: refused; without it the "
        "instrument plays too."
    ):
        untrusted.check_file(path, name, untrusted.MAX_TEXT_BYTES)
        stored = google_pickle.read(path.read_bytes())
        levels_db = stored["quantile_transform"].state["quantiles_"].numbers().astype(float)
        shares = np.linspace(0.0, 1.0, len(levels_db))
        levels_db = np.interp(np.linspace(0.0, 1.0, 101), shares, levels_db)
        pitch_midi = {"mean": float(stored.get("mean_pitch_note", stored["mean_pitch"]))}
        # The lowest and the highest note of a 4 s example, on average; older ones lack them.
        for key, stored_key in (("low", "mean_min_pitch_note"), ("high", "mean_max_pitch_note")):
            if stored_key in stored:
                pitch_midi[key] = float(stored[stored_key])
        statistics = {"pitch_midi": pitch_midi, "loudness_db_percentiles": levels_db.tolist()}
        return schema.read_statistics(json.dumps(statistics), f"{STATISTICS} of {name}")
