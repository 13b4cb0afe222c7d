"""Pictures of sounds and curves: arrays in, `(figure, axes)` out.

Pitch is blue and loudness orange everywhere; what was there before is grey.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import librosa
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patheffects import withStroke
from matplotlib.ticker import MaxNLocator

from helpers import config

BLUE, ORANGE, GREY, LIGHT_GREY = "#1f6fb4", "#e4572e", "#8a8a8a", "#c8c8c8"
CYAN = "#40e0ff"  # pitch, where the ground is a spectrogram
WIDTH = 9  # inches
MARGINS = 0.75, 1.25, 0.5, 0.3  # inches: left, right for a legend, bottom, top
WINDOW_SECONDS = 0.1  # long enough to part the harmonics of a low voice
RANGE_DB = 80.0
MOST_COLUMNS = 2000  # of a picture of sound: more than there are pixels
LOWEST_HZ = 50.0  # of a spectrogram
N_ROWS = 600  # of a spectrogram
N_POWER_ROWS = 110  # of a picture of harmonics and noise: a harmonic fills one, and is seen
POWERS_RANGE_DB = 90.0
TICKS_HZ = (50, 100, 200, 500, 1000, 2000, 5000, 10000, 20000)
MOST_NAMES = 12  # of files below an axis
# The notes named at an f0 axis, by the semitones that it spans at most: as many as there is room.
NAMED_NOTES = ((15, "CEGA"), (24, "CEA"), (38, "CG"), (np.inf, "C"))


def waveform(
    audio: np.ndarray, sample_rate: int, ax: Axes | None = None, title: str | None = None
) -> tuple[Figure, Axes]:
    """Audio [n_samples] over seconds."""
    fig, ax = _axes(ax, height=1.6)
    step = max(1, 2 * len(audio) // MOST_COLUMNS)  # of each, the lowest and the highest are drawn
    steps = audio[: len(audio) // step * step].reshape(-1, step)
    extremes = np.stack([steps.min(axis=1), steps.max(axis=1)], axis=1).ravel()
    times_s = np.repeat(np.arange(len(steps)) * step / sample_rate, 2)
    ax.plot(times_s, extremes, lw=0.6, color=BLUE)
    ax.set(ylabel="amplitude", title=title)
    _over_time(ax, len(audio) / sample_rate)
    return fig, ax


def spectrogram(
    audio: np.ndarray,
    sample_rate: int,
    f0_hz: np.ndarray | None = None,
    frame_rate: int = config.FRAME_RATE,
    ax: Axes | None = None,
    title: str | None = None,
    colorbar: bool = True,
) -> tuple[Figure, Axes]:
    """Log-frequency spectrogram in dB below the loudest, with f0 drawn over it if given.

    Args:
      audio: Shape [n_samples].
      sample_rate: Hz.
      f0_hz: Shape [n_frames], NaN where unvoiced.
      frame_rate: Frames of f0 a second.
      ax: Axes to draw on; without them a figure is made.
      title: Title of the axes.
      colorbar: Say beside the axes which colour is which level.
    """
    fig, ax = _axes(ax, height=3.2)
    seconds, level_db = _levels(audio, sample_rate)
    # Its rows part the octaves evenly, as the axis does: a mesh on it would take ten times as long.
    image = ax.imshow(
        level_db,
        extent=(*seconds, 0, 1),
        transform=ax.get_xaxis_transform(),
        origin="lower",
        aspect="auto",
        vmin=-RANGE_DB,
        vmax=0,
        # Steps of 2 dB and pixels without shades between: less than half the bytes as a PNG.
        cmap=plt.get_cmap("magma", round(RANGE_DB / 2)),
        interpolation="nearest",
    )
    if colorbar:
        fig.colorbar(image, ax=ax, label="level (dB)", pad=0.01, ticks=[-80, -60, -40, -20, 0])
    if f0_hz is not None:
        times_s = np.arange(len(f0_hz)) / frame_rate
        outline = [withStroke(linewidth=3, foreground="black")]
        ax.plot(times_s, f0_hz, color=CYAN, lw=1.4, label="f0", path_effects=outline)
        ax.legend(loc="upper right", facecolor="black", labelcolor="white", framealpha=0.7)
    _over_octaves(ax, sample_rate)
    ax.set(ylabel="frequency (Hz)", title=title)
    _over_time(ax, len(audio) / sample_rate)
    return fig, ax


def feature_curves(features: Any, title: str | None = None) -> tuple[Figure, np.ndarray]:
    """f0, confidence and loudness of one `Features`, above one another."""
    fig, axes = _rows(3, height=5)
    _f0(axes[0], features.times_s, features.f0_hz)
    axes[1].plot(features.times_s, features.confidence, color=GREY, lw=0.9)
    axes[1].set(ylabel="confidence", ylim=(0, 1.02))
    _loudness(axes[2], features.times_s, features.loudness_db)
    axes[0].set(title=title)
    _over_time(axes, len(features.times_s) / features.frame_rate)
    return fig, axes


def adjusted_curves(
    before: Any, after: Any, notes: np.ndarray | None = None, axes: np.ndarray | None = None
) -> tuple[Figure, np.ndarray]:
    """f0 and loudness of two `Features` of equal length: as recorded and as played.

    Args:
      before, after: `Features`.
      notes: True in the frames of notes, which are shaded. Shape [n_frames].
      axes: Two axes to draw on; without them a figure is made.
    """
    fig, axes = _rows(2, height=4) if axes is None else (axes[0].figure, axes)
    recorded = {"color": GREY, "label": "recorded"}
    _f0(axes[0], before.times_s, before.f0_hz, **recorded)
    _f0(axes[0], after.times_s, after.f0_hz, label="played")
    _loudness(axes[1], before.times_s, before.loudness_db, **recorded)
    _loudness(axes[1], after.times_s, after.loudness_db, label="played")
    for ax in axes:
        if notes is not None:
            over_all = ax.get_xaxis_transform()
            shade = {"color": BLUE, "alpha": 0.1, "lw": 0, "label": "note"}
            ax.fill_between(after.times_s, 0, 1, where=notes, transform=over_all, **shade)
        ax.legend(loc="upper left", bbox_to_anchor=(1.0, 1.0))
    _over_time(axes, len(after.times_s) / after.frame_rate)
    return fig, axes


def example(
    fields: Mapping[str, np.ndarray], sample_rate: int, frame_rate: int
) -> tuple[Figure, np.ndarray]:
    """Sound, f0 and loudness of one dataset example on one time axis."""
    fig, axes = _rows(3, height=6)
    spectrogram(fields["audio"], sample_rate, ax=axes[0])
    times_s = np.arange(len(fields["f0_hz"])) / frame_rate
    _f0(axes[1], times_s, np.where(fields["f0_confidence"] > 0, fields["f0_hz"], np.nan))
    _loudness(axes[2], times_s, fields["loudness_db"])
    _over_time(axes, len(fields["audio"]) / sample_rate)
    return fig, axes


def data_report(report: Any) -> tuple[Figure, np.ndarray]:
    """Shows a `doctor.Report`: how loud which notes are, and the level of each file."""
    fig, axes = plt.subplots(
        2, figsize=(WIDTH, 6.5), layout="constrained", height_ratios=(3, 2), squeeze=False
    )
    _notes_by_loudness(axes[0, 0], report.seconds_played)
    _levels_of_files(axes[1, 0], report.files)
    return fig, axes[:, 0]


def harmonics_and_noise(
    found: Mapping[str, tuple[np.ndarray, np.ndarray]],
    f0_hz: np.ndarray,
    sample_rate: int,
    frame_rate: int,
) -> tuple[Figure, np.ndarray]:
    """Harmonics above noise, over time and log frequency, beside those of another analysis.

    Args:
      found: Title to natural logarithms of the mean square of each harmonic
        [n_frames, n_harmonics] and of the noise's power for each Hz in bands of equal width
        [n_frames, n_bands]; NaN, where nothing is known, is left grey.
      f0_hz: Of all. Shape [n_frames].
      sample_rate: Hz.
      frame_rate: Frames a second.

    Returns:
      The figure and its axes [2, number of titles].
    """
    fig, axes = plt.subplots(
        2,
        len(found),
        figsize=(WIDTH, 5.6),
        sharex=True,
        sharey=True,
        squeeze=False,
        layout="constrained",
    )
    seconds = len(f0_hz) / frame_rate
    edges_hz = np.geomspace(LOWEST_HZ, sample_rate / 2, N_POWER_ROWS + 1)
    of_harmonics = [
        _harmonics_in_rows(harmonics, f0_hz, edges_hz) for harmonics, _ in found.values()
    ]
    of_noise = [_noise_in_rows(noise, edges_hz) for _, noise in found.values()]
    for row, name, unit, images in (
        (axes[0], "harmonics", "dB", of_harmonics),
        (axes[1], "noise", "dB / Hz", of_noise),
    ):
        _levels_in_octaves(row, [config.DB_PER_NEPER * image for image in images], seconds, unit)
        for ax, title in zip(row, found, strict=True):
            ax.set(title=f"{title}: {name}")
            _over_octaves(ax, sample_rate)
            ax.set_xlim(0, seconds)
        row[0].set_ylabel("frequency (Hz)")
    for ax in axes[1]:
        ax.set_xlabel("time (s)")
    return fig, axes


def loss_curves(history: Any, ax: Axes | None = None) -> tuple[Figure, Axes | np.ndarray]:
    """Training and held-out loss over the steps of a `History`, or of a `Progress`.

    The stages of a `Progress`, whose losses have nothing in common, are beside one another.
    """
    stages = getattr(history, "stages", {})
    if len(stages) < 2 or ax is not None:
        fig, ax = _axes(ax, height=2.8)
        _losses(ax, getattr(history, "history", history))
        return fig, ax
    fig, axes = plt.subplots(1, len(stages), figsize=(WIDTH, 2.8), layout="constrained")
    for each, (title, of_stage) in zip(axes, stages.items(), strict=True):
        _losses(each, of_stage)
        each.set_title(title)
    return fig, axes


def above_one_another(
    sounds: Mapping[str, np.ndarray],
    sample_rate: int,
    f0_hz: Mapping[str, np.ndarray] | None = None,
    frame_rate: int = config.FRAME_RATE,
) -> tuple[Figure, np.ndarray]:
    """Spectrograms of several sounds on one time axis.

    Args:
      sounds: Title to audio [n_samples].
      sample_rate: Hz, of all.
      f0_hz: Title to f0 [n_frames], for those that have one.
      frame_rate: Frames of f0 a second.
    """
    fig, axes = _rows(len(sounds), height=2.7 * len(sounds))
    for ax, (title, audio) in zip(axes, sounds.items(), strict=True):
        spectrogram(audio, sample_rate, (f0_hz or {}).get(title), frame_rate, ax, title)
    _over_time(axes, max(map(len, sounds.values())) / sample_rate)
    return fig, axes


def learning_curves(
    curves: Mapping[str, Sequence[Sequence[float]]],
) -> tuple[Figure, np.ndarray]:
    """Held-out losses of several trainings beside one another, each on an axis of its own.

    Args:
      curves: Title to a list of [step, loss].
    """
    fig, axes = plt.subplots(1, len(curves), figsize=(WIDTH, 2.6), layout="constrained")
    axes = np.atleast_1d(axes)
    for ax, (title, points) in zip(axes, curves.items(), strict=True):
        ax.plot(*zip(*points, strict=True), color=ORANGE, marker=".")
        ax.set(title=title, xlabel="step", ylabel="held-out loss")
        ax.grid(axis="y", alpha=0.3)
    return fig, axes


def bars(table: pd.DataFrame, of: str, metrics: Mapping[str, str]) -> tuple[Figure, np.ndarray]:
    """Figures from here, with their intervals, beside those that are quoted.

    Args:
      table: A DataFrame with the columns `of` (what the bars are of), "by" ("here" or other) and,
        for each metric, its figure and the ends of its interval, "<metric>_low" and "_high".
      of: The column that names the groups of bars.
      metrics: Column to title; one that the table quotes nothing of is left out.
    """
    quoted = table[table["by"] != "here"]
    shown = {
        metric: title
        for metric, title in metrics.items()
        if metric in table and quoted[metric].notna().any()
    }
    fig, axes = plt.subplots(
        1, len(shown), figsize=(WIDTH, 3.2), layout="constrained", squeeze=False
    )
    for ax, (metric, title) in zip(axes[0], shown.items(), strict=True):
        _bars_of(ax, table, of, metric)
        ax.set(title=title, ylim=(0, None))
    handles, labels = axes[0, 0].get_legend_handles_labels()
    fig.legend(handles, labels, loc="outside lower center", ncols=2, frameon=False)
    return fig, axes[0]


def aligned(n_rows: int, height: float) -> tuple[Figure, np.ndarray]:
    """A figure of axes [n_rows] above one another, with the margins of every such figure.

    Several of them below each other have one time axis, and each is drawn in half the time, as no
    words are measured to find room for them.
    """
    fig, axes = plt.subplots(n_rows, figsize=(WIDTH, height), sharex=True, squeeze=False)
    left, right, bottom, top = MARGINS
    fig.subplots_adjust(left / WIDTH, bottom / height, 1 - right / WIDTH, 1 - top / height)
    return fig, axes[:, 0]


def _levels_in_octaves(axes, images_db, seconds, unit):
    """Draws images in dB whose rows part the octaves evenly, in the same colours, with a bar."""
    highest_db = max(np.nanmax(image_db, initial=-200.0) for image_db in images_db)
    for ax, image_db in zip(axes, images_db, strict=True):
        image = ax.imshow(
            image_db,
            extent=(0, seconds, 0, 1),
            transform=ax.get_xaxis_transform(),
            origin="lower",
            aspect="auto",
            vmin=highest_db - POWERS_RANGE_DB,
            vmax=highest_db,
            cmap=plt.get_cmap("magma", round(POWERS_RANGE_DB / 2)),
            interpolation="nearest",
        )
        ax.set_facecolor(LIGHT_GREY)
    axes[0].figure.colorbar(image, ax=list(axes), label=f"level ({unit})", pad=0.01)


def _losses(ax, history):
    """Draws training and held-out loss of one `History`."""
    ax.plot(history.step, history.train_loss, color=GREY, marker=".", label="training")
    ax.plot(history.step, history.heldout_loss, color=ORANGE, marker=".", label="held out")
    ax.xaxis.set_major_locator(MaxNLocator(integer=True))
    ax.set(xlabel="step", ylabel="loss")
    ax.grid(axis="y", alpha=0.3)
    ax.legend(loc="upper right")


def _bars_of(ax, table, of, metric):
    """Draws the bars of one metric, each with its interval and its figure above it."""
    groups = list(dict.fromkeys(table[of]))
    for by, color, side in (("quoted", GREY, -0.2), ("here", BLUE, 0.2)):
        rows = table[(table["by"] == "here") == (by == "here")].set_index(of).reindex(groups)
        places = np.arange(len(groups)) + side
        ax.bar(places, rows[metric], width=0.38, color=color, label=by)
        ends = [np.abs(rows[metric] - rows[f"{metric}_{end}"]) for end in ("low", "high")]
        ax.errorbar(places, rows[metric], yerr=ends, fmt="none", ecolor="black", capsize=3)
        tops = rows[f"{metric}_high"].fillna(rows[metric])  # figures stand above the whiskers
        above = {"textcoords": "offset points", "ha": "center", "fontsize": "small"}
        for place, value, top in zip(places, rows[metric], tops, strict=True):
            if np.isfinite(value):
                ax.annotate(f"{value:.3f}", (place, top), (0, 3), **above)
    ax.set_xticks(range(len(groups)), groups)
    ax.margins(y=0.1)
    ax.spines[["top", "right"]].set_visible(False)


def _notes_by_loudness(ax, seconds_played):
    """Draws how long each MIDI note sounds at each dB of loudness [128, 100]."""
    pairs_db = seconds_played.reshape(len(seconds_played), -1, 2).sum(axis=2)  # steps of 2 dB
    notes, levels = (np.flatnonzero(pairs_db.sum(axis=k)) for k in (1, 0))
    low, high = (notes[0] - 1, notes[-1] + 1) if len(notes) else (60, 72)
    soft, loud = (levels[0], levels[-1] + 1) if len(levels) else (0, 50)
    mesh = ax.pcolormesh(
        np.arange(low, high + 2) - 0.5,
        2.0 * np.arange(soft, loud + 1) - 80.0,
        np.where(pairs_db > 0, pairs_db, np.nan)[low : high + 1, soft:loud].T,
        cmap="Blues",
        vmin=0,
    )
    ax.figure.colorbar(mesh, ax=ax, label="sounds for (s)", pad=0.01)
    names = next(names for most, names in NAMED_NOTES if (high - low) <= most)
    named = [note for note in range(low, high + 1) if librosa.midi_to_note(note)[:-1] in names]
    ax.set_xticks(named, [librosa.midi_to_note(note) for note in named])
    ax.set(xlabel="note", ylabel="loudness (dB)", title="What is played")
    ax.grid(alpha=0.3)


def _levels_of_files(ax, files):
    """Draws the level of the notes, and of the noise in the pauses, of each file."""
    places = np.arange(len(files))
    notes_db = np.array([file.note_level_db for file in files])
    noise_db = np.array([file.noise_floor_db for file in files])
    ax.vlines(places, noise_db, notes_db, color=GREY, lw=1, alpha=0.5)
    ax.plot(places, notes_db, "o", ms=4, color=ORANGE, label="notes")
    ax.plot(places, noise_db, "o", ms=4, color=GREY, label="noise in the pauses")
    ax.set(ylabel="level (dB of full scale)", ylim=(-105, 0), xlim=(-0.5, max(1, len(files)) - 0.5))
    if len(files) <= MOST_NAMES:
        ax.set_xticks(places, [_shortened(file.name) for file in files], rotation=20, ha="right")
        ax.set(xlabel="file", title="How loud")
    else:
        ax.xaxis.set_major_locator(MaxNLocator(integer=True))
        ax.set(xlabel="file, in the order of the names", title="How loud")
    ax.grid(axis="y", alpha=0.3)
    ax.legend(loc="lower right", bbox_to_anchor=(1.0, 1.0), ncols=2, frameon=False)


def _shortened(name, n_most=24):
    return name if len(name) <= n_most else f"{name[: n_most - 9]}…{name[-8:]}"


def _axes(ax, height):
    if ax is not None:
        return ax.figure, ax
    return plt.subplots(figsize=(WIDTH, height), layout="constrained")


def _rows(n_rows, height):
    """A figure of axes [n_rows] above one another, all over the same time."""
    fig, axes = plt.subplots(
        n_rows, figsize=(WIDTH, height), sharex=True, squeeze=False, layout="constrained"
    )
    return fig, axes[:, 0]


def _over_octaves(ax, sample_rate):
    """Makes the frequency axis up to half the sample rate."""
    ax.set_yscale("log")
    ax.set_ylim(LOWEST_HZ, sample_rate / 2)
    ticks_hz = [tick for tick in TICKS_HZ if tick <= sample_rate / 2]
    ax.set_yticks(ticks_hz, [f"{tick}" for tick in ticks_hz])
    ax.minorticks_off()


def _over_time(axes, seconds):
    """Makes the time axis: the same for all axes, and named only below the last."""
    for ax in np.atleast_1d(axes):
        ax.set(xlim=(0, seconds), xlabel=None)
    ax.set_xlabel("time (s)")


def _f0(ax, times_s, f0_hz, color=BLUE, label=None):
    """Draws f0 in Hz on a logarithmic axis that names notes."""
    ax.plot(times_s, f0_hz, color=color, lw=1.4, label=label)
    drawn_hz = np.concatenate([line.get_ydata() for line in ax.lines])
    drawn_hz = drawn_hz[np.isfinite(drawn_hz)] if np.isfinite(drawn_hz).any() else np.array([220.0])
    low, high = np.min(drawn_hz) / 1.3, np.max(drawn_hz) * 1.3
    span = 12.0 * np.log2(high / low)
    names = next(names for most, names in NAMED_NOTES if span <= most)
    notes = [f"{name}{octave}" for octave in range(10) for name in names]
    inside = [note for note in notes if low <= librosa.note_to_hz(note) <= high]
    ax.set_yscale("log")
    ax.set(ylabel="f0 (note)", ylim=(low, high))
    ax.set_yticks([librosa.note_to_hz(note) for note in inside], inside)
    ax.minorticks_off()
    ax.grid(axis="y", alpha=0.3)


def _loudness(ax, times_s, loudness_db, color=ORANGE, label=None):
    ax.plot(times_s, loudness_db, color=color, lw=1.1, label=label)
    ax.set(ylabel="loudness (dB)")
    ax.grid(axis="y", alpha=0.3)


def _levels(audio, sample_rate):
    """First and last time in s, and levels in dB below the loudest.

    Rows of levels part the octaves evenly: each is the loudest of the frequencies in it, or lies
    between two where there is none.
    """
    n_fft = 2 ** round(np.log2(WINDOW_SECONDS * sample_rate))
    hop_size = max(n_fft // 8, len(audio) // MOST_COLUMNS)
    audio = np.pad(audio, (0, max(0, n_fft - len(audio))))
    magnitudes = np.abs(librosa.stft(audio, n_fft=n_fft, hop_length=hop_size))
    edges = np.geomspace(LOWEST_HZ, sample_rate / 2, N_ROWS + 1) * n_fft / sample_rate  # in bins
    centres = np.sqrt(edges[:-1] * edges[1:])
    below = centres.astype(int)
    share = (centres - below)[:, np.newaxis]
    rows = (1 - share) * magnitudes[below] + share * magnitudes[below + 1]
    first, last = np.ceil(edges[:-1]).astype(int), np.ceil(edges[1:]).astype(int)
    wide = last > first
    rows[wide] = np.maximum.reduceat(magnitudes, first[wide])[: wide.sum()]
    level_db = 20.0 * np.log10(np.maximum(rows / (magnitudes.max() or 1.0), 10 ** (-RANGE_DB / 20)))
    half = hop_size / sample_rate / 2
    return (-half, (magnitudes.shape[1] - 1) * hop_size / sample_rate + half), level_db


def _harmonics_in_rows(log_power, f0_hz, edges_hz):
    """The strongest harmonic in each row between edges; NaN where there is none. [rows, frames]."""
    harmonics_hz = np.outer(f0_hz, np.arange(1, log_power.shape[1] + 1))
    rows = np.searchsorted(edges_hz, harmonics_hz) - 1
    frames = np.broadcast_to(np.arange(len(f0_hz))[:, np.newaxis], rows.shape)
    inside = (rows >= 0) & (rows < len(edges_hz) - 1) & np.isfinite(log_power)
    image = np.full((len(edges_hz) - 1, len(f0_hz)), -np.inf)
    np.maximum.at(image, (rows[inside], frames[inside]), log_power[inside].astype(float))
    return np.where(np.isfinite(image), image, np.nan)


def _noise_in_rows(log_density, edges_hz):
    """The band that the middle of each row lies in. [rows, frames]."""
    n_bands = log_density.shape[1]
    middles_hz = np.sqrt(edges_hz[:-1] * edges_hz[1:])
    bands = (middles_hz / edges_hz[-1] * n_bands).astype(int)
    return log_density[:, bands].T.astype(float)
