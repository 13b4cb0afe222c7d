"""Every picture: what is drawn is the data, axes say what they show, and times line up."""

import dataclasses
import warnings
from types import SimpleNamespace

import librosa
import matplotlib
import matplotlib.pyplot as plt
import numpy as np
import pytest

from helpers import plots
from helpers.analysis.doctor import FileReport
from helpers.analysis.features import Features

SAMPLE_RATE, FRAME_RATE = 16000, 125
HISTORY = SimpleNamespace(step=[100, 200], train_loss=[9.0, 7.0], heldout_loss=[9.5, 7.7])


@pytest.fixture(autouse=True)
def no_window():
    """Draws without a screen, fails on any warning, and leaves no figure open."""
    with matplotlib.rc_context({"backend": "Agg"}), warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        warnings.simplefilter("error", RuntimeWarning)
        yield
    plt.close("all")


def sine(f0_hz=440.0, seconds=1.0, sample_rate=SAMPLE_RATE):
    return np.sin(2 * np.pi * f0_hz * np.arange(round(seconds * sample_rate)) / sample_rate)


@pytest.fixture
def curves():
    times_s = np.arange(251) / FRAME_RATE
    f0_hz = 220 * 2 ** (times_s / 2)  # an octave up in two seconds
    f0_hz[100:110] = np.nan
    return Features(times_s, f0_hz, np.clip(times_s, 0, 1), -40 + 5 * times_s, FRAME_RATE)


def report(n_files=3):
    """Three notes, the middle one for longest and loudest, and a file without pauses."""
    seconds_played = np.zeros((128, 100))
    seconds_played[[60, 64, 67], [50, 81, 60]] = 1.0, 2.0, 0.5
    files = [FileReport(f"take {i}.wav", 1, 1, 0, 0, -20 - i, -70, 0, 0.2) for i in range(n_files)]
    files[-1] = dataclasses.replace(files[-1], noise_floor_db=np.nan)
    return SimpleNamespace(seconds_played=seconds_played, files=files)


def pictures(curves):
    """One of each, with the number of axes it has."""
    fields = {
        "audio": sine(seconds=2.0),
        "f0_hz": np.full(250, 440.0),
        "f0_confidence": np.where(np.arange(250) < 100, 0.9, 0.0),
        "loudness_db": np.full(250, -20.0),
    }
    sounds = {"voice": sine(seconds=2.0), "violin": sine(880.0, 1.5)}
    return {
        "waveform": lambda: plots.waveform(sine(), SAMPLE_RATE),
        "spectrogram": lambda: plots.spectrogram(sine(), SAMPLE_RATE, np.full(126, 440.0), 125),
        "features": lambda: plots.feature_curves(curves),
        "adjustment": lambda: plots.adjusted_curves(
            curves, dataclasses.replace(curves, f0_hz=2 * curves.f0_hz)
        ),
        "example": lambda: plots.example(fields, SAMPLE_RATE, FRAME_RATE),
        "losses": lambda: plots.loss_curves(HISTORY),
        "data_report": lambda: plots.data_report(report()),
        "above_one_another": lambda: plots.above_one_another(sounds, SAMPLE_RATE),
    }


NAMES = list(pictures(None))
OVER_TIME = [name for name in NAMES if name not in ("losses", "data_report")]


def boxes_overlap(fig, texts):
    boxes = [text.get_window_extent(fig.canvas.get_renderer()) for text in texts]
    boxes = [box for box in boxes if box.width > 1]  # of no text it is 0 or 1
    return any(a.overlaps(b) for i, a in enumerate(boxes) for b in boxes[:i])


@pytest.mark.parametrize("name", NAMES)
def test_a_picture_is_one_figure_with_its_axes(name, curves):
    before = set(plt.get_fignums())
    fig, axes = pictures(curves)[name]()
    assert set(plt.get_fignums()) - before == {fig.number}
    assert all(ax.figure is fig for ax in np.atleast_1d(axes))
    fig.canvas.draw()


@pytest.mark.parametrize("name", NAMES)
def test_axes_say_what_they_show(name, curves):
    fig, axes = pictures(curves)[name]()
    axes = np.atleast_1d(axes)
    assert all(ax.get_ylabel() for ax in axes)
    names = [ax.get_xlabel() for ax in axes]
    last = {"losses": ["step"], "data_report": ["note", "file"]}.get(name, ["time (s)"])
    assert names == [""] * (len(axes) - len(last)) + last


@pytest.mark.parametrize("name", NAMES)
def test_no_words_lie_upon_each_other(name, curves):
    fig, axes = pictures(curves)[name]()
    fig.canvas.draw()
    for ax in fig.axes:  # the colour bars too
        labels = [ax.xaxis.label, ax.yaxis.label, ax.title]
        for axis in (ax.xaxis, ax.yaxis):
            low, high = sorted(axis.get_view_interval())
            ticks = axis.get_major_ticks()
            labels += [tick.label1 for tick in ticks if low <= tick.get_loc() <= high]
        shown = [label for label in labels if label.get_visible()]
        assert not boxes_overlap(fig, shown)


@pytest.mark.parametrize("name", OVER_TIME)
def test_times_line_up(name, curves):
    """On the page too: a colour bar beside one of the axes makes the others as narrow."""
    fig, axes = pictures(curves)[name]()
    fig.canvas.draw()
    axes = np.atleast_1d(axes)
    for ax in axes[1:]:
        assert ax.get_xlim() == axes[0].get_xlim()
        np.testing.assert_allclose(ax.bbox.intervalx, axes[0].bbox.intervalx, atol=0.01)  # pixels
    assert axes[0].get_xlim()[0] == 0
    assert axes[0].get_xlim()[1] == pytest.approx(
        1.0 if len(axes) == 1 else 2.0, abs=1.5 / FRAME_RATE
    )


@pytest.mark.parametrize("seconds", [0.001, 1.0, 120.0])
def test_a_waveform_keeps_its_peaks_and_times(seconds):
    audio = 0.01 * sine(seconds=seconds)
    loudest = len(audio) // 3
    audio[loudest] = -0.8
    fig, ax = plots.waveform(audio, SAMPLE_RATE, title="Take 1")
    times_s, drawn = ax.lines[0].get_data()
    assert len(drawn) <= 4000
    assert drawn.min() == -0.8 and drawn.max() == pytest.approx(audio.max(), abs=1e-4)
    assert times_s[drawn.argmin()] == pytest.approx(loudest / SAMPLE_RATE, abs=seconds / 500)
    assert ax.get_title() == "Take 1" and ax.get_ylabel() == "amplitude"


def drawn_levels(ax):
    """Times, frequencies and levels of the spectrogram in axes."""
    (image,) = ax.images
    level_db = np.asarray(image.get_array())
    columns, rows = (np.arange(n) for n in level_db.shape[::-1])
    drawn = image.get_transform() - ax.transData  # where the axes have the corners of the image
    first_s, last_s, bottom, top = image.get_extent()
    (first_s, lowest_hz), (last_s, highest_hz) = drawn.transform([(first_s, bottom), (last_s, top)])
    times_s = first_s + (last_s - first_s) * (columns + 0.5) / len(columns)
    assert ax.get_yscale() == "log"
    frequencies_hz = lowest_hz * (highest_hz / lowest_hz) ** ((rows + 0.5) / len(rows))
    return times_s, frequencies_hz, level_db


@pytest.mark.parametrize("sample_rate", [8000, 16000, 44100, 48000])
def test_a_sine_is_at_its_frequency(sample_rate):
    fig, ax = plots.spectrogram(sine(1000.0, sample_rate=sample_rate), sample_rate)
    times_s, frequencies_hz, level_db = drawn_levels(ax)
    middle = level_db[:, len(times_s) // 2]
    assert frequencies_hz[middle.argmax()] == pytest.approx(1000.0, abs=12)
    assert middle.max() == pytest.approx(0.0, abs=0.5) and level_db.min() >= -80
    assert ax.get_ylim()[1] == sample_rate / 2 and ax.get_yscale() == "log"


def test_a_sine_is_seen_at_its_frequency():
    """In the pixels, where the tick says it is."""
    fig, ax = plots.spectrogram(sine(1000.0), SAMPLE_RATE)
    fig.canvas.draw()
    pixels = np.asarray(fig.canvas.buffer_rgba())[::-1].sum(axis=2, dtype=float)
    left, bottom, right, top = ax.bbox.extents.round().astype(int)
    column = pixels[bottom + 2 : top - 2, (left + right) // 2]
    assert bottom + 2 + column.argmax() == pytest.approx(
        ax.transData.transform((0, 1000))[1], abs=2
    )


def test_a_click_is_at_its_time():
    audio = np.zeros(2 * SAMPLE_RATE)
    audio[SAMPLE_RATE] = 1.0
    fig, ax = plots.spectrogram(audio, SAMPLE_RATE)
    times_s, _, level_db = drawn_levels(ax)
    assert times_s[level_db.mean(axis=0).argmax()] == pytest.approx(1.0, abs=0.01)


def test_silence_is_dark():
    fig, ax = plots.spectrogram(np.zeros(SAMPLE_RATE), SAMPLE_RATE)
    assert (drawn_levels(ax)[2] == -80).all()
    assert ax.images[0].get_clim() == (-80, 0)


def test_a_long_recording_is_drawn_with_no_more_columns_than_pixels():
    fig, ax = plots.spectrogram(sine(seconds=200.0), SAMPLE_RATE)
    assert len(drawn_levels(ax)[0]) <= 2001
    assert ax.get_xlim() == (0, 200)


def test_f0_is_drawn_over_the_spectrogram():
    f0_hz = np.where(np.arange(126) < 60, 440.0, np.nan)
    fig, ax = plots.spectrogram(sine(), SAMPLE_RATE, f0_hz, FRAME_RATE)
    (line,) = ax.lines
    np.testing.assert_array_equal(line.get_ydata(), f0_hz)
    np.testing.assert_allclose(line.get_xdata(), np.arange(126) / FRAME_RATE)
    assert [text.get_text() for text in ax.get_legend().get_texts()] == ["f0"]


def test_given_axes_are_drawn_on():
    fig, axes = plt.subplots(3)
    assert plots.waveform(sine(), SAMPLE_RATE, ax=axes[0]) == (fig, axes[0])
    assert plots.spectrogram(sine(), SAMPLE_RATE, ax=axes[1]) == (fig, axes[1])
    assert plots.loss_curves(HISTORY, ax=axes[2]) == (fig, axes[2])
    assert plt.get_fignums() == [fig.number]
    assert axes[0].lines and axes[1].images and len(axes[2].lines) == 2


def test_features_are_drawn_as_they_are(curves):
    fig, axes = plots.feature_curves(curves, title="Take 1")
    for ax, curve in zip(axes, (curves.f0_hz, curves.confidence, curves.loudness_db), strict=True):
        np.testing.assert_array_equal(ax.lines[0].get_ydata(), curve)
        np.testing.assert_array_equal(ax.lines[0].get_xdata(), curves.times_s)
    assert [ax.get_ylabel() for ax in axes] == ["f0 (note)", "confidence", "loudness (dB)"]
    assert axes[0].get_title() == "Take 1"


@pytest.mark.parametrize("semitones", [0, 5, 12, 20, 30, 60])
def test_notes_are_named_where_they_are(curves, semitones):
    f0_hz = np.geomspace(65.4, 65.4 * 2 ** (semitones / 12), len(curves.f0_hz))
    fig, axes = plots.feature_curves(dataclasses.replace(curves, f0_hz=f0_hz))
    fig.canvas.draw()
    low, high = axes[0].get_ylim()
    assert low < f0_hz.min() and f0_hz.max() < high
    names = [label.get_text() for label in axes[0].get_yticklabels()]
    assert len(names) >= 2
    np.testing.assert_allclose(axes[0].get_yticks(), librosa.note_to_hz(names))
    assert not boxes_overlap(fig, axes[0].get_yticklabels())


def test_without_any_pitch_there_is_an_empty_axis(curves):
    silent = dataclasses.replace(curves, f0_hz=np.full_like(curves.f0_hz, np.nan))
    for fig, axes in (plots.feature_curves(silent), plots.adjusted_curves(silent, silent)):
        fig.canvas.draw()
        assert np.isfinite(axes[0].get_ylim()).all() and len(axes[0].get_yticks()) >= 2


def test_an_adjustment_shows_before_and_after(curves):
    after = dataclasses.replace(curves, f0_hz=8 * curves.f0_hz, loudness_db=curves.loudness_db + 9)
    fig, axes = plots.adjusted_curves(curves, after)
    for ax, name in zip(axes, ("f0_hz", "loudness_db"), strict=True):
        np.testing.assert_array_equal(ax.lines[0].get_ydata(), getattr(curves, name))
        np.testing.assert_array_equal(ax.lines[1].get_ydata(), getattr(after, name))
        assert ax.lines[0].get_color() != ax.lines[1].get_color()
        words = [text.get_text() for text in ax.get_legend().get_texts()]
        assert words == ["recorded", "played"]
        low, high = ax.get_ylim()
        for curves_of in (curves, after):
            assert low < np.nanmin(getattr(curves_of, name))
            assert np.nanmax(getattr(curves_of, name)) < high


def test_figures_with_the_same_margins_have_one_time_axis(curves):
    first, (ax,) = plots.aligned(1, 2.4)
    plots.spectrogram(sine(seconds=2.0), SAMPLE_RATE, ax=ax, title="Recording", colorbar=False)
    second, axes = plots.aligned(2, 3.4)
    assert plots.adjusted_curves(curves, curves, curves.voiced, axes=axes)[0] is second
    for fig in (first, second):
        fig.canvas.draw()
        inside = fig.get_tightbbox()  # all words too, in inches
        assert inside.x0 >= 0 and inside.x1 <= fig.get_figwidth()
        assert inside.y0 >= 0 and inside.y1 <= fig.get_figheight()
    for other in axes:
        np.testing.assert_allclose(other.bbox.intervalx, ax.bbox.intervalx, atol=0.01)
        assert other.get_xlim() == pytest.approx(ax.get_xlim(), abs=1.5 / FRAME_RATE)


def test_an_example_shows_no_pitch_where_there_is_none(curves):
    fig, axes = pictures(curves)["example"]()
    shown = axes[1].lines[0].get_ydata()
    np.testing.assert_array_equal(np.isfinite(shown), np.arange(250) < 100)


def test_losses_are_told_apart():
    fig, ax = plots.loss_curves(HISTORY)
    training, heldout = ax.lines
    np.testing.assert_array_equal(training.get_ydata(), HISTORY.train_loss)
    np.testing.assert_array_equal(heldout.get_ydata(), HISTORY.heldout_loss)
    assert [text.get_text() for text in ax.get_legend().get_texts()] == ["training", "held out"]
    assert training.get_color() != heldout.get_color()


def test_losses_of_a_progress_are_its_history():
    _, ax = plots.loss_curves(SimpleNamespace(history=HISTORY, step=200))
    np.testing.assert_array_equal(ax.lines[0].get_xdata(), HISTORY.step)


def test_losses_of_two_stages_are_beside_one_another():
    other = SimpleNamespace(step=[5, 10], train_loss=[0.5, 0.4], heldout_loss=[0.6, 0.5])
    progress = SimpleNamespace(history=other, stages={"Stage 1": HISTORY, "Stage 2": other})
    fig, axes = plots.loss_curves(progress)
    assert [ax.get_title() for ax in axes] == ["Stage 1", "Stage 2"]
    for ax, history in zip(axes, (HISTORY, other), strict=True):
        np.testing.assert_array_equal(
            ax.lines[1].get_xydata().T, [history.step, history.heldout_loss]
        )
    fig.canvas.draw()
    assert not axes[0].get_tightbbox().overlaps(axes[1].get_tightbbox())


def test_powers_are_where_they_sound():
    """Two harmonics that glide, one of them unknown for a while, and two bands of noise."""
    f0_hz = np.geomspace(200.0, 400.0, 100)
    harmonics = np.log(np.tile([1e-2, 1e-4], (100, 1)))
    harmonics[:50, 1] = np.nan
    noise = np.log(np.tile([1e-6, 1e-9], (100, 1)))
    fig, axes = plots.harmonics_and_noise({"found": (harmonics, noise)}, f0_hz, 16000, 50)
    rows_hz = np.geomspace(*axes[0, 0].get_ylim(), plots.N_POWER_ROWS + 1)
    of_harmonics, of_noise = (ax.images[0].get_array() for ax in axes[:, 0])
    for frame in (0, 49, 50, 99):
        levels_db = of_harmonics[:, frame]
        (rows,) = np.nonzero(~np.ma.getmaskarray(levels_db) & np.isfinite(levels_db))
        known = [k for k in (1, 2) if np.isfinite(harmonics[frame, k - 1])]
        assert len(rows) == len(known)
        for row, k in zip(rows, known, strict=True):
            assert rows_hz[row] <= k * f0_hz[frame] <= rows_hz[row + 1]
            assert levels_db[row] == pytest.approx(-20 * k)
    is_low = np.sqrt(rows_hz[:-1] * rows_hz[1:]) < 4000
    np.testing.assert_allclose(of_noise[is_low], -60, atol=1e-6)
    np.testing.assert_allclose(of_noise[~is_low], -90, atol=1e-6)
    assert axes[0, 0].get_xlim() == (0, 2)


def test_one_loss_is_seen():
    history = SimpleNamespace(step=[100], train_loss=[9.0], heldout_loss=[9.5])
    fig, ax = plots.loss_curves(history)
    assert all(line.get_marker() == "." for line in ax.lines)


def test_sounds_of_different_lengths_have_one_time_axis():
    sounds = {"long": sine(seconds=2.0), "short": sine(seconds=0.5)}
    fig, axes = plots.above_one_another(sounds, SAMPLE_RATE, {"short": np.full(63, 440.0)}, 125)
    assert [ax.get_title() for ax in axes] == ["long", "short"]
    assert [ax.get_xlim() for ax in axes] == [(0, 2), (0, 2)]
    assert [len(ax.lines) for ax in axes] == [0, 1]


def test_one_sound_alone_is_drawn_too():
    fig, axes = plots.above_one_another({"only": sine()}, SAMPLE_RATE)
    assert len(axes) == 1


@pytest.mark.parametrize("n_samples", [1, 100, 1024, 1500])
def test_very_short_sounds_are_drawn(n_samples):
    for draw in (plots.waveform, plots.spectrogram):
        fig, ax = draw(sine()[:n_samples], SAMPLE_RATE)
        fig.canvas.draw()
        assert ax.get_xlim() == (0, n_samples / SAMPLE_RATE)


def test_the_notes_of_a_report_are_where_they_are():
    fig, axes = plots.data_report(report())
    mesh = axes[0].collections[0]
    corners = mesh.get_coordinates()
    seconds = np.ma.filled(np.ma.masked_invalid(mesh.get_array()), 0.0)
    rows, columns = seconds.shape
    assert seconds.sum() == pytest.approx(3.5)
    row, column = np.unravel_index(seconds.argmax(), seconds.shape)
    assert corners[row, column, 0] == 63.5 and corners[row, column + 1, 0] == 64.5
    assert corners[row, column, 1] <= 1 < corners[row + 1, column, 1]  # dB: column 81
    names = [label.get_text() for label in axes[0].get_xticklabels()]
    np.testing.assert_array_equal(axes[0].get_xticks(), librosa.note_to_midi(names))
    assert {"C4", "E4", "G4"} <= set(names)


def test_the_levels_of_a_report_are_those_of_its_files():
    fig, axes = plots.data_report(report())
    notes, pauses = axes[1].lines
    np.testing.assert_array_equal(notes.get_ydata(), [-20, -21, -22])
    np.testing.assert_array_equal(pauses.get_ydata(), [-70, -70, np.nan])
    names = [label.get_text() for label in axes[1].get_xticklabels()]
    assert names == ["take 0.wav", "take 1.wav", "take 2.wav"]


@pytest.mark.parametrize("n_files", [1, 12, 500])
def test_a_report_of_any_number_of_files_is_drawn(n_files):
    fig, axes = plots.data_report(report(n_files))
    fig.canvas.draw()
    assert len(axes[1].lines[0].get_ydata()) == n_files
    assert len(axes[1].get_xticklabels()) <= 16


def test_a_report_without_notes_is_drawn():
    empty = SimpleNamespace(seconds_played=np.zeros((128, 100)), files=[])
    fig, axes = plots.data_report(empty)
    fig.canvas.draw()
    assert axes[0].get_xlabel() == "note"
