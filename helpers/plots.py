"""Pictures of sounds and curves: arrays in, `(figure, axes)` out."""

import librosa
import matplotlib.pyplot as plt
import numpy as np

BLUE, ORANGE, GREY = "#1f6fb4", "#e4572e", "#8a8a8a"
N_FFT = 1024
HOP_SIZE = 256
RANGE_DB = 80.0
OCTAVE_TICKS_HZ = (62.5, 125, 250, 500, 1000, 2000, 4000, 8000, 16000)


def waveform(audio, sample_rate, ax=None, title=None):
    """Audio [n_samples] over seconds."""
    fig, ax = _axes(ax, height=1.6)
    ax.plot(np.arange(len(audio)) / sample_rate, audio, lw=0.4, color=BLUE)
    ax.set(xlabel="time (s)", ylabel="amplitude", xlim=(0, len(audio) / sample_rate))
    return _titled(fig, ax, title)


def spectrogram(audio, sample_rate, f0_hz=None, frame_rate=None, ax=None, title=None):
    """Log-frequency spectrogram in dB below the loudest, with f0 drawn over it if given.

    Args:
      audio: Shape [n_samples].
      sample_rate: Hz.
      f0_hz: Shape [n_frames], NaN where unvoiced; needs `frame_rate`.
      frame_rate: Frames of f0 a second.
    """
    fig, ax = _axes(ax, height=3.2)
    magnitudes = np.abs(librosa.stft(audio, n_fft=N_FFT, hop_length=HOP_SIZE))
    frequencies_hz = librosa.fft_frequencies(sr=sample_rate, n_fft=N_FFT)
    times_s = np.arange(magnitudes.shape[1]) * HOP_SIZE / sample_rate
    level_db = librosa.amplitude_to_db(magnitudes, ref=np.max, top_db=RANGE_DB)
    mesh = ax.pcolormesh(times_s, frequencies_hz, level_db, cmap="magma", rasterized=True)
    fig.colorbar(mesh, ax=ax, label="dB", pad=0.01)
    if f0_hz is not None:
        ax.plot(np.arange(len(f0_hz)) / frame_rate, f0_hz, color="#40e0ff", lw=1.2, label="f0")
        ax.legend(loc="upper right")
    ticks_hz = [tick for tick in OCTAVE_TICKS_HZ if tick <= sample_rate / 2]
    ax.set_yscale("log", base=2)
    ax.set_yticks(ticks_hz, [f"{tick:g}" for tick in ticks_hz])
    ax.set(xlabel="time (s)", ylabel="frequency (Hz)", ylim=(55, sample_rate / 2))
    return _titled(fig, ax, title)


def features(curves, title=None):
    """f0, confidence and loudness of one `Features`, above one another."""
    fig, axes = plt.subplots(3, 1, figsize=(9, 5), sharex=True, layout="constrained")
    pitch_axis(axes[0], curves.f0_hz, curves.times_s)
    axes[1].plot(curves.times_s, curves.confidence, color=GREY, lw=0.8)
    axes[1].set(ylabel="confidence", ylim=(0, 1.02))
    axes[2].plot(curves.times_s, curves.loudness_db, color=ORANGE, lw=0.9)
    axes[2].set(ylabel="loudness (dB)", xlabel="time (s)")
    return _titled(fig, axes, title)


def adjustment(before, after):
    """f0 and loudness of two `Features` of equal length: as recorded and as played."""
    fig, axes = plt.subplots(2, 1, figsize=(9, 4), sharex=True, layout="constrained")
    pitch_axis(axes[0], before.f0_hz, before.times_s, color=GREY, label="recorded")
    pitch_axis(axes[0], after.f0_hz, after.times_s, label="played")
    axes[0].legend(loc="upper right")
    axes[1].plot(before.times_s, before.loudness_db, color=GREY, lw=0.9)
    axes[1].plot(after.times_s, after.loudness_db, color=ORANGE, lw=0.9)
    axes[1].set(ylabel="loudness (dB)", xlabel="time (s)")
    return fig, axes


def pitch_axis(ax, f0_hz, times_s, color=BLUE, label=None):
    """f0 on an axis whose lines are the notes C and A."""
    ax.plot(times_s, f0_hz, color=color, lw=1.2, label=label)
    ax.set_yscale("log", base=2)
    notes = [f"{name}{octave}" for octave in range(1, 8) for name in "CA"]
    shown = np.array([line for drawn in ax.lines for line in drawn.get_ydata()], dtype=float)
    if np.isfinite(shown).any():
        ax.set_ylim(np.nanmin(shown) / 1.3, np.nanmax(shown) * 1.3)
    low, high = ax.get_ylim()
    inside = [note for note in notes if low <= librosa.note_to_hz(note) <= high]
    ax.set_yticks([librosa.note_to_hz(note) for note in inside], inside)
    ax.minorticks_off()
    ax.grid(axis="y", alpha=0.3)
    ax.set(ylabel="f0 (note)")


def example(fields, sample_rate, frame_rate):
    """Sound, f0 and loudness of one dataset example on one time axis."""
    fig, axes = plt.subplots(3, 1, figsize=(9, 6), sharex=True, layout="constrained")
    f0_hz = np.where(fields["f0_confidence"] > 0, fields["f0_hz"], np.nan)
    times_s = np.arange(len(f0_hz)) / frame_rate
    spectrogram(fields["audio"], sample_rate, ax=axes[0])
    pitch_axis(axes[1], f0_hz, times_s)
    axes[2].plot(times_s, fields["loudness_db"], color=ORANGE, lw=0.9)
    axes[2].set(ylabel="loudness (dB)", xlabel="time (s)")
    axes[0].set(xlabel=None)
    return fig, axes


def losses(history, ax=None):
    """Training and held-out loss over the steps of a `training.History`."""
    fig, ax = _axes(ax, height=2.8)
    ax.plot(history.step, history.train_loss, color=GREY, marker=".", label="training")
    ax.plot(history.step, history.heldout_loss, color=ORANGE, marker=".", label="held out")
    ax.set(xlabel="step", ylabel="spectral loss")
    ax.legend()
    return fig, ax


def above_one_another(sounds, sample_rate, f0_hz=None, frame_rate=None):
    """Spectrograms of several sounds on one time axis.

    Args:
      sounds: Title to audio [n_samples].
      sample_rate: Hz, of all.
      f0_hz: Title to f0 [n_frames], for those that have one.
      frame_rate: Frames of f0 a second.
    """
    fig, axes = plt.subplots(
        len(sounds), 1, figsize=(9, 2.7 * len(sounds)), sharex=True, layout="constrained"
    )
    for ax, (title, audio) in zip(np.atleast_1d(axes), sounds.items(), strict=True):
        spectrogram(audio, sample_rate, (f0_hz or {}).get(title), frame_rate, ax, title)
    return fig, axes


def _axes(ax, height):
    if ax is not None:
        return ax.figure, ax
    return plt.subplots(figsize=(9, height), layout="constrained")


def _titled(fig, ax, title):
    first = np.atleast_1d(ax)[0]
    if title:
        first.set_title(title)
    return fig, ax
