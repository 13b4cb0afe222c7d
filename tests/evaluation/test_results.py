"""results: the tables of instruments that are known, and the command."""

import shutil

import librosa
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
import soundfile
import tiny_instrument

from helpers import config, plots
from helpers.evaluation import results
from helpers.instruments import bundles, configurations


@pytest.fixture(scope="module")
def clips(tmp_path_factory):
    """Two clips of a second, as `data/instruments` has ten."""
    folder = tmp_path_factory.mktemp("clips")
    times_s = np.arange(16000) / 16000
    for name, f0_hz in (("high_oboe", 440.0), ("low_oboe", 220.0)):
        wave = sum(np.sin(2 * np.pi * k * f0_hz * times_s) / k for k in range(1, 5))
        soundfile.write(folder / f"{name}.flac", 0.2 * wave, 16000)
    return folder


@pytest.fixture(scope="module")
def examples(clips):
    return results.heldout_clips(clips)


@pytest.fixture(scope="module")
def instrument():
    made = configurations.build("autoencoder", bindings=tiny_instrument.SMALL)
    made.statistics = tiny_instrument.STATISTICS
    made.card = {"training": {"minutes": 12.0}}
    return made


def test_clips_are_examples(examples):
    assert examples["name"] == ["high oboe", "low oboe"]
    assert examples["audio"].shape == (2, 16000)
    assert examples["f0_hz"].shape == examples["loudness_db"].shape == (2, 126)
    np.testing.assert_allclose(np.median(examples["f0_hz"], axis=1), [440.0, 220.0], rtol=0.01)


def test_clips_that_ship_are_of_one_length():
    paths = sorted(results.CLIPS.glob("*.flac"))
    assert len(paths) == 10
    assert {soundfile.info(path).frames for path in paths} == {4 * config.SAMPLE_RATE}


def test_table_of_resynthesis(instrument, examples):
    table = results.resynthesis_table({"DDSP autoencoder": instrument}, examples, with_pyin=True)
    assert table["by"].tolist() == [results.QUOTED, "here"]
    assert table.loc[0, list(results.METRICS)].tolist() == [0.04, 1.29, 0.02]  # as quoted
    here = table.iloc[1]
    assert here["examples"] == 2 and here["training_minutes"] == 12.0
    assert here["parameters"] == instrument.parameters and here["seconds_a_second"] > 0
    assert here["loudness_l1_low"] <= here["loudness_l1"] <= here["loudness_l1_high"]
    again = results.resynthesis_table({"DDSP autoencoder": instrument}, examples, with_pyin=True)
    timed = "seconds_a_second"
    pd.testing.assert_frame_equal(table.drop(columns=timed), again.drop(columns=timed))


def test_pyin_is_librosas():
    """On a sound whose f0 jumps by a semitone."""
    f0_hz = np.repeat([220.0, 220.0 * 2 ** (1 / 12)], 8000)
    audio = np.sin(2 * np.pi * np.cumsum(f0_hz) / 16000).astype(np.float32)
    curves = results.metrics.measure(audio, 16000, 125)
    found = results._by_pyin(audio, curves, 16000).f0_hz
    assert 12 * np.log2(found[100] / found[25]) == pytest.approx(1.0, abs=0.1)


def test_table_of_interpolation(instrument, examples):
    table = results.interpolation_table(instrument, examples)
    assert table["interpolated"].tolist() == list(np.repeat(results.interpolation.KINDS, 2))
    assert table["loudness_l1"].tolist()[::2] == [0.042, 0.061, 0.048, 0.063]  # as quoted
    assert table["f0_l1_semitones"].tolist()[::2] == [0.060, 0.060, 0.070, 0.065]
    text = results.as_text(table)
    assert text["Loudness L1"][0] == "0.042"
    low, high = (table[f"loudness_l1_{end}"][1] for end in ("low", "high"))
    assert text["Loudness L1"][1] == f"{table['loudness_l1'][1]:.3f} ({low:.3f} to {high:.3f})"


def test_an_instrument_at_another_rate_plays_the_clips_at_its_own(examples):
    made = configurations.build("autoencoder", bindings=tiny_instrument.SMALL, sample_rate=44100)
    here = results.resynthesis_table({"DDSP autoencoder": made}, examples).iloc[1]
    assert here["examples"] == 2 and np.isfinite(here["loudness_l1"])
    table = results.interpolation_table(made, examples)
    assert table["examples"].dropna().tolist() == [2, 2, 2, 2]
    sounds, f0_hz = results.interpolated_sounds(made, examples, 0, 1)
    n_samples = [len(audio) for audio in sounds.values()]
    assert n_samples == [44100, 44100, *3 * [44100 + made.hop_size]]
    assert librosa.hz_to_midi(f0_hz["high oboe"][5:95]) == pytest.approx(69.0, abs=0.2)


def test_sounds_of_instruments_of_different_rates(instrument, examples):
    high = configurations.build("autoencoder", bindings=tiny_instrument.SMALL, sample_rate=44100)
    models = {"low": instrument, "high": high}
    sounds, sample_rate = results.resynthesized_sounds(models, examples, 1)
    assert sample_rate == 44100 and list(sounds) == ["low oboe", "low", "high"]
    assert {len(audio) for audio in sounds.values()} == {44100}
    f0_hz = librosa.yin(sounds["low oboe"], fmin=100, fmax=1000, sr=44100)
    assert np.median(f0_hz) == pytest.approx(220.0, rel=0.01)


def test_bars_are_as_high_as_their_figures():
    table = pd.DataFrame(
        {
            "model": ["a", "a", "b"],
            "by": ["quoted", "here", "here"],
            "loudness_l1": [0.1, 0.05, 0.2],
            "loudness_l1_low": [np.nan, 0.04, 0.1],
            "loudness_l1_high": [np.nan, 0.07, 0.3],
            "f0_outliers": [np.nan, 0.0, 0.0],  # nothing is quoted of it
        }
    )
    fig, axes = plots.bars(table, "model", {"loudness_l1": "Loudness L1", "f0_outliers": "no"})
    assert [ax.get_title() for ax in axes] == ["Loudness L1"]
    heights = [bar.get_height() for bar in axes[0].patches]
    np.testing.assert_array_equal(heights, [0.1, np.nan, 0.05, 0.2])
    ends = axes[0].collections[-1].get_segments()
    np.testing.assert_allclose([segment[:, 1] for segment in ends], [[0.04, 0.07], [0.1, 0.3]])
    plt.close(fig)


def test_learning_curves_are_drawn_as_they_are():
    fig, axes = plots.learning_curves({"one": [[1, 5.0], [2, 4.0]], "other": [[3, 2.0]]})
    assert [ax.get_title() for ax in axes] == ["one", "other"]
    assert axes[0].lines[0].get_xydata().tolist() == [[1, 5.0], [2, 4.0]]
    plt.close(fig)


def test_sounds_between_two_clips(instrument, examples):
    sounds, f0_hz = results.interpolated_sounds(instrument, examples, 0, 1)
    assert len(sounds) == 5 and list(sounds) == list(f0_hz)
    moved = f0_hz["high oboe, taking on the f0 of low oboe"]
    assert librosa.hz_to_midi(moved[[5, 62, 120]]) == pytest.approx([68.5, 63, 57.5], abs=0.2)


def test_command(instrument, clips, tmp_path, monkeypatch, capsys):
    bundle = tmp_path / "bundle"
    bundles.save(instrument, bundle)
    monkeypatch.setattr(results, "AUTOENCODER", bundle)
    monkeypatch.setattr(results, "WAVERNN", bundle)
    monkeypatch.setattr(results, "CLIPS", clips)
    assert results.main(["--save", str(tmp_path / "out")]) == 0
    printed = capsys.readouterr().out
    made = {path.name: path for path in (tmp_path / "out").iterdir()}
    assert sorted(made) == [
        *("interpolated_sounds.png", "interpolation.csv", "interpolation.png"),
        *("results.md", "resynthesis.csv", "resynthesis.png"),
    ]
    assert made["results.md"].read_text() == printed.strip() + "\n"
    assert "| WaveRNN" in printed and results.DEFINITIONS in printed
    table = pd.read_csv(made["resynthesis.csv"])
    assert table["loudness_l1"].notna().all() and "seconds_a_second" not in table


def test_one_clip(instrument, examples, refused):
    """Nothing to interpolate between: the reconstruction alone, and no interval of an L1."""
    one = {name: values[:1] for name, values in examples.items()}
    table = results.interpolation_table(instrument, one)
    here = table[table["by"] == "here"].set_index("interpolated")
    assert here["examples"].tolist() == [1, 0, 0, 0]
    assert np.isfinite(here.loc["reconstruction", ["loudness_l1", "f0_outliers_high"]]).all()
    assert here.loc["loudness", list(results.METRICS)].isna().all()
    assert np.isnan(here.loc["reconstruction", "loudness_l1_low"])
    assert results.as_text(table)["Loudness L1"].tolist()[3] == ""
    plt.close(plots.bars(table, "interpolated", results.METRICS)[0])
    resynthesis = results.resynthesis_table({"DDSP autoencoder": instrument}, one)
    assert np.isfinite(resynthesis["loudness_l1"]).all()
    with refused("two or more"):
        results.interpolated_sounds(instrument, one, -1, 0)


def test_command_with_one_clip(instrument, clips, tmp_path, monkeypatch, capsys):
    bundle = tmp_path / "bundle"
    bundles.save(instrument, bundle)
    (tmp_path / "one").mkdir()
    shutil.copy(clips / "low_oboe.flac", tmp_path / "one")
    for name, path in (("AUTOENCODER", bundle), ("WAVERNN", bundle), ("CLIPS", tmp_path / "one")):
        monkeypatch.setattr(results, name, path)
    assert results.main(["--save", str(tmp_path / "out")]) == 0
    assert (tmp_path / "out" / "results.md").is_file()


def test_a_folder_that_cannot_be_written(tmp_path, monkeypatch, capsys):
    """It is refused before anything is computed."""
    monkeypatch.setattr(bundles, "load", lambda *_: pytest.fail("computed"))
    (tmp_path / "file").touch()
    assert results.main(["--save", str(tmp_path / "file" / "results")]) == 1
    (sentence,) = capsys.readouterr().err.splitlines()
    assert str(tmp_path / "file") in sentence and sentence.endswith(".")


def test_command_without_the_models(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(results, "WAVERNN", tmp_path / "nothing")
    assert results.main(["--save", str(tmp_path)]) == 1
    assert "nothing" in capsys.readouterr().err
