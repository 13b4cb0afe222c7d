"""The two tables: WaveRNN beside DDSP, and interpolation, on clips that no model is trained on.

    python -m helpers.evaluation --save results

Prints them as Markdown and writes them, the figures as CSV, and the pictures. The same figures at
each call; only the times are those of the machine.
"""

import argparse
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import librosa
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd

from helpers import command_line, config, plots
from helpers.analysis import audio as sound
from helpers.analysis import pitch
from helpers.errors import InputError
from helpers.evaluation import interpolation, metrics
from helpers.files import explaining, replacing
from helpers.instruments import bundles
from helpers.instruments.instrument import Instrument
from helpers.tensorflow_import import tf

AUTOENCODER = config.CHECKPOINTS / "autoencoder"
WAVERNN = config.CHECKPOINTS / "baselines" / "wavernn"
CLIPS = config.DATA / "instruments"
PAIR = -1, 0  # of the clips, to be seen and heard: oohs sung, and a saxophone
PYIN_RANGE_HZ, PYIN_WINDOW_SECONDS = (55.0, 2200.0), 0.064
# From https://github.com/Dawills-Looper/Timbre-Transfer-Pitch-Detectiong-With-ML- (README of 2023),
# which does not say on what data or how they were measured.
QUOTED = "Garzon and Casa 2023, their data"
QUOTED_RESYNTHESIS = {"WaveRNN": (0.10, 1.00, 0.07), "DDSP autoencoder": (0.04, 1.29, 0.02)}
QUOTED_INTERPOLATION = {
    "reconstruction": (0.042, 0.060),
    "loudness": (0.061, 0.060),
    "f0": (0.048, 0.070),
    "z": (0.063, 0.065),
}
METRICS = {
    "loudness_l1": "Loudness L1",
    "f0_l1_semitones": "F0 L1 (semitones)",
    "f0_outliers": "F0 outliers",
}
DEFINITIONS = """\
Loudness L1: mean difference of the A-weighted loudness, as a share of its range of 80 dB. F0 L1:
mean difference of f0 in semitones, in frames where the original's confidence is at least 0.85 and
both have a pitch, without the outliers. F0 outliers: share of examples whose pitch is lost or more
than 12 semitones off. Both sounds are tracked by CREPE (tiny); where there is a column pYIN, it has
F0 L1 once more, both tracked by librosa's pYIN.
Interpolation: one feature goes from one clip's to another's over the clip; the features of the
sound that is played are compared with the conditioning. A moving f0 counts in frames where both
clips have a pitch, with the lower of their confidences.
In brackets, 95 % intervals: of the L1s bootstrapped over the clips, of the outliers exact.
Rows of "Garzon and Casa 2023" were measured by them, of their models on their data: they stand in
the README of github.com/Dawills-Looper/Timbre-Transfer-Pitch-Detectiong-With-ML-."""


def heldout_clips(folder: str | Path | None = None) -> dict:
    """The clips that ship to test models with, or those of a folder, as the examples of a dataset.

    Returns:
      audio [n_clips, n_samples], f0_hz and loudness_db [n_clips, n_frames], as for training; the
      `Features` that these are from, and the names and paths of the clips.
    """
    return _examples(sound.find(folder or CLIPS), config.SAMPLE_RATE, config.FRAME_RATE)


def _examples(paths, sample_rate, frame_rate):
    """What `heldout_clips` returns of sound files, at any rates."""
    whole = [sound.load(path, sample_rate)[0] for path in paths]
    audio = np.stack([one[: min(map(len, whole))] for one in whole])
    features = [metrics.measure(one, sample_rate, frame_rate) for one in audio]
    return {
        "audio": audio,
        "f0_hz": np.stack([pitch.fill_unvoiced(one.f0_hz) for one in features]),
        "loudness_db": np.stack([one.loudness_db for one in features]),
        "features": features,
        "name": [path.stem.replace("_", " ") for path in paths],
        "path": paths,
    }


def _at_its_rates(examples, instrument):
    """The examples of `heldout_clips` at the sample rate and the frame rate of an instrument."""
    rates = instrument.sample_rate, instrument.frame_rate
    if rates == (config.SAMPLE_RATE, config.FRAME_RATE):
        return examples
    return _examples(examples["path"], *rates)


def resynthesis_table(
    instruments: Mapping[str, Instrument], examples: Mapping, with_pyin: bool = False
) -> pd.DataFrame:
    """Table 1: how close instruments come to the examples, each beside what is quoted of its kind.

    Args:
      instruments: Name, as in `QUOTED_RESYNTHESIS`, to `Instrument`.
      examples: Of `heldout_clips`; each instrument plays them at its own rates.
      with_pyin: Track f0 by pYIN as well, which takes seconds for each sound.
    """
    rows = []
    for name, instrument in instruments.items():
        if name in QUOTED_RESYNTHESIS:
            quoted = zip(METRICS, QUOTED_RESYNTHESIS[name], strict=True)
            rows.append({"model": name, "by": QUOTED} | dict(quoted))
        rows.append({"model": name, "by": "here"} | _measured(instrument, examples, with_pyin))
    return pd.DataFrame(rows)


def interpolation_table(
    instrument: Instrument, examples: Mapping, n_partners: int = 3
) -> pd.DataFrame:
    """Table 2: what becomes of loudness and f0 when one feature is moved, beside what is quoted."""
    rows, examples = [], _at_its_rates(examples, instrument)
    n_clips = len(examples["audio"])
    for kind, of_pairs in interpolation.evaluate_pairs(instrument, examples, n_partners).items():
        quoted = zip(METRICS, QUOTED_INTERPOLATION[kind], strict=False)
        rows.append({"interpolated": kind, "by": QUOTED} | dict(quoted))
        rows.append({"interpolated": kind, "by": "here"} | _summary(of_pairs, n_clips))
    return pd.DataFrame(rows)


def as_text(table: pd.DataFrame) -> pd.DataFrame:
    """A table of this module to read: each figure with its interval, nothing for no number."""
    shown = pd.DataFrame({name: table[name] for name in ("model", "interpolated") if name in table})
    shown["by"] = table["by"]
    for metric, title in METRICS.items():
        if metric in table:
            shown[title] = [_with_interval(row, metric) for _, row in table.iterrows()]
    columns = {
        "f0_l1_pyin": ("F0 L1 by pYIN", "{:.3f}"),
        "examples": ("examples", "{:.0f}"),
        "parameters": ("parameters", "{:,.0f}"),
        "training_minutes": ("minutes of training", "{:.0f}"),
        "seconds_a_second": ("seconds a second of sound", "{:.3f}"),
    }
    for column, (title, form) in columns.items():
        if column in table:
            shown[title] = ["" if np.isnan(x) else form.format(x) for x in table[column]]
            if column == "f0_l1_pyin":
                shown.loc[(table["by"] == "here") & table[column].isna(), title] = "all lost"
    return shown


def _with_interval(row, metric):
    if np.isnan(row[metric]):
        return ""
    text = f"{row[metric]:.3f}"
    low, high = row.get(f"{metric}_low", np.nan), row.get(f"{metric}_high", np.nan)
    return text if np.isnan(low) else f"{text} ({low:.3f} to {high:.3f})"


def _measured(instrument, examples, with_pyin):
    rates = instrument.sample_rate, instrument.frame_rate
    examples = _at_its_rates(examples, instrument)
    rows, copies, seconds = [], [], []
    resynthesized = metrics.resynthesize(instrument, examples)
    for original, (_, played, took) in zip(examples["features"], resynthesized, strict=True):
        copy = metrics.measure(played, *rates)
        rows.append(metrics.compare(original, copy))
        copies.append((played, copy))
        seconds.append(took * instrument.sample_rate / len(played))
    found = _summary(rows, len(rows))
    if with_pyin:
        originals = zip(examples["audio"], examples["features"], strict=True)
        rows = [
            metrics.compare(_by_pyin(*original, rates[0]), _by_pyin(*copy, rates[0]))
            for original, copy in zip(originals, copies, strict=True)
        ]
        found["f0_l1_pyin"] = metrics.means(rows)["f0_l1_semitones"]
    return found | {
        "parameters": instrument.parameters,
        "training_minutes": instrument.card.get("training", {}).get("minutes", np.nan),
        "seconds_a_second": float(np.median(seconds)),
    }


def _by_pyin(audio, features, sample_rate):
    """The same `Features` with pYIN's f0, and CREPE's confidence."""
    low, high = PYIN_RANGE_HZ
    f0_hz, _, _ = librosa.pyin(
        audio,
        fmin=low,
        fmax=high,
        sr=sample_rate,
        frame_length=round(PYIN_WINDOW_SECONDS * sample_rate),
        hop_length=sample_rate // features.frame_rate,
    )
    return replace(features, f0_hz=f0_hz)


def _summary(rows, n_clips):
    found: dict[str, float] = {"examples": len(rows)}
    n_together = max(1, len(rows) // n_clips)
    means, intervals = metrics.means(rows), metrics.intervals(rows, n_together)
    for metric in METRICS:
        found[metric] = means[metric]
        found[f"{metric}_low"], found[f"{metric}_high"] = intervals[metric]
    return found


def resynthesized_sounds(
    instruments: Mapping[str, Instrument], examples: Mapping, number: int
) -> tuple[dict[str, np.ndarray], int]:
    """An example, and what instruments play of its features, to look at and to hear.

    Returns:
      Title to audio, and the sample rate of them all: the highest of the instruments'.
    """
    one = {name: values[number : number + 1] for name, values in examples.items()}
    rate = max(instrument.sample_rate for instrument in instruments.values())
    audio = {one["name"][0]: sound.load(one["path"][0], rate)[0]}
    for title, instrument in instruments.items():
        ((_, played, _),) = metrics.resynthesize(instrument, _at_its_rates(one, instrument))
        audio[title] = sound.resample(played, instrument.sample_rate, rate)
    return audio, rate


def interpolated_sounds(
    instrument: Instrument, examples: Mapping, first: int, second: int
) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    """Two examples, and what is played on the way from one to the other, to look at and to hear.

    Returns:
      Title to audio at the instrument's rate, and title to f0 in Hz.

    Raises:
      InputError: There are fewer than two examples.
    """
    if len(examples["audio"]) < 2:
        raise InputError("There is one clip alone: give two or more to interpolate between.")
    examples = _at_its_rates(examples, instrument)
    tf.random.get_global_generator().reset_from_seed(0)  # the same noise at each call
    names = [examples["name"][i] for i in (first, second)]
    audio = dict(zip(names, examples["audio"][[first, second]], strict=True))
    sounds = [interpolation.conditioning(instrument, examples["audio"][i]) for i in (first, second)]
    f0_hz = {name: features.f0_hz for name, (features, _) in zip(names, sounds, strict=True)}
    for kind in interpolation.KINDS[1:]:
        title = f"{names[0]}, taking on the {kind} of {names[1]}"
        features, z = interpolation.interpolate(kind, *sounds)
        audio[title], f0_hz[title] = interpolation.play(instrument, features, z), features.f0_hz
    return audio, f0_hz


def main(arguments: Sequence[str] | None = None) -> int:
    """Makes tables and pictures from the command line, and returns the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m helpers.evaluation", description="The two tables."
    )
    parser.add_argument("--save", type=Path, default=config.RESULTS, help="folder (%(default)s)")
    folder = parser.parse_args(arguments).save
    return command_line.run(_write_results, folder)


def _write_results(folder: Path) -> int:
    with explaining(f"The results cannot be written to {folder}"):
        folder.mkdir(parents=True, exist_ok=True)  # before anything is computed
    autoencoder = bundles.load(AUTOENCODER)
    instruments = {"WaveRNN": bundles.load(WAVERNN), "DDSP autoencoder": autoencoder}
    examples = heldout_clips()
    resynthesis = resynthesis_table(instruments, examples, with_pyin=True)
    interpolations = interpolation_table(autoencoder, examples)
    _write(folder / "resynthesis.csv", resynthesis.drop(columns="seconds_a_second").to_csv)
    _write(folder / "interpolation.csv", interpolations.to_csv)
    tables = [
        as_text(table).to_markdown(index=False, disable_numparse=True)
        for table in (resynthesis, interpolations)
    ]
    text = "\n\n".join([*tables, DEFINITIONS]) + "\n"
    with replacing(folder / "results.md") as unfinished:
        unfinished.write_text(text, encoding="utf-8")
    print(text)
    _draw(folder / "resynthesis.png", plots.bars(resynthesis, "model", METRICS))
    _draw(folder / "interpolation.png", plots.bars(interpolations, "interpolated", METRICS))
    if len(examples["audio"]) > 1:
        sounds, f0_hz = interpolated_sounds(autoencoder, examples, *PAIR)
        rates = autoencoder.sample_rate, f0_hz, autoencoder.frame_rate
        _draw(folder / "interpolated_sounds.png", plots.above_one_another(sounds, *rates))
    return 0


def _draw(path: Path, picture: tuple[plt.Figure, object]) -> None:
    fig, _ = picture
    with replacing(path) as unfinished:
        fig.savefig(unfinished, dpi=80, format="png")
    plt.close(fig)


def _write(path: Path, to_csv: Callable) -> None:
    with replacing(path) as unfinished:
        to_csv(unfinished, index=False, float_format="%.4f")
