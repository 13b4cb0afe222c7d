"""checkpoints/train.py: what it is asked to train, and a training of it, as small as can be."""

import functools
import importlib
import json
from types import SimpleNamespace

import matplotlib.image
import numpy as np
import pytest
import soundfile
import tiny_analysis

from helpers import config
from helpers.instruments import bundles, configurations


@pytest.fixture(scope="module")
def script():
    """The script, as a module."""
    with pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.syspath_prepend(str(config.CHECKPOINTS))
        yield importlib.import_module("train")


def test_what_ships_is_what_it_trains(script):
    names = {shipped.name for shipped in script.TABLE}
    folders = {path.parent for path in config.CHECKPOINTS.glob("*/model_card.json")}
    assert {folder.name for folder in folders} <= names
    for folder in folders:
        assert sum(path.stat().st_size for path in folder.iterdir()) < 5e6, folder.name
        data = json.loads((folder / "model_card.json").read_text())["training_data"]
        assert data["credit"] and data["licence"]


def test_rendered_sources_are_those_of_the_corpus(script, monkeypatch):
    monkeypatch.syspath_prepend(str(config.DATA))
    corpus = pytest.importorskip("render_corpus")
    rendered = {name for name, source in script.SOURCES.items() if source.is_rendered}
    assert rendered == {clip.name.split("/")[0] for clip in corpus.corpus()}


def test_missing_recordings_are_one_sentence(script, tmp_path, capsys):
    (tmp_path / "violin").mkdir()
    assert script.main(["--audio", str(tmp_path), "--only", "violin", "flute"]) == 1
    said = capsys.readouterr()
    assert said.err.count("\n") == 1 and "flute" in said.err and "--audio" in said.err
    assert not said.out  # all folders are looked for before any training begins


def test_missing_corpus_names_its_script(script, tmp_path, capsys):
    folders = ["--audio", str(tmp_path), "--corpus", str(tmp_path / "corpus")]
    assert script.main([*folders, "--only", "trumpet"]) == 1
    assert "data/render_corpus.py" in capsys.readouterr().err


@pytest.fixture
def recordings(tmp_path):
    """Two sources of one recording each: a swelling tone with vibrato, and its octave."""
    times_s = np.arange(5 * 16000) / 16000
    phase = 2 * np.pi * 220 * times_s + 0.5 * np.sin(2 * np.pi * 5 * times_s)
    swell = 0.2 + 0.2 * np.sin(np.pi * times_s)
    for octave, name in enumerate(("violin", "instruments"), 1):
        (tmp_path / name).mkdir()
        audio = swell * sum(np.sin(octave * k * phase) / k for k in range(1, 6))
        soundfile.write(tmp_path / name / "tone.flac", audio, 16000)
    return {name: tmp_path / name for name in ("instruments", "violin")}


def test_clock_counts_over_all_calls_what_was_trained(script, tmp_path, monkeypatch):
    now_s = 100.0
    monkeypatch.setattr(script.time, "perf_counter", lambda: now_s)
    path = tmp_path / "clock.json"
    for step, took_s, expected_s in ((50, 30.0, 30.0), (100, 20.0, 50.0), (100, 5.0, 50.0)):
        clock = script._Clock(path)
        now_s += took_s
        clock(SimpleNamespace(step=step))
        assert clock.seconds == pytest.approx(expected_s)
    assert script._Clock(path).seconds == pytest.approx(50.0)


@pytest.mark.slow
def test_trains_once_and_writes_a_bundle(script, recordings, tmp_path, monkeypatch):
    build = functools.partial(configurations.build, bindings=tiny_analysis.BINDINGS)
    monkeypatch.setattr(configurations, "build", build)
    shipped = script.Shipped("tiny", "A tiny one", tuple(recordings), 2, 1, "analysis_z")
    bundle = script.train(shipped, recordings, tmp_path / "bundles", tmp_path / "runs")
    assert bundle == tmp_path / "bundles" / "tiny"
    assert {path.name for path in bundle.iterdir()} == {*bundles.FILES, "spectrogram.png"}
    assert matplotlib.image.imread(bundle / "spectrogram.png").shape[1] > 500
    instrument = bundles.load(bundle)
    card = instrument.card
    data = card["training_data"]
    assert data["files"] == 2 and data["minutes"] == pytest.approx(10 / 60, abs=0.05)
    assert "Garner" in data["credit"] and "FluidR3" in data["credit"]
    assert data["licence"] == "MIT, CC BY 3.0"
    assert card["title"] == "A tiny one" and data["is_recorded"] is False  # not all of it
    training = card["training"]
    assert training["steps"] == 2 and training["configuration"] == "analysis_z"
    assert training["curve"][-1] == [1, training["heldout_loss"]]
    assert [len(curve) for curve in training["earlier_curves"].values()] == [1]
    assert set(card["range"]["pitch"]) <= {"A3", "A4"}  # one of both is held out
    soft_db, loud_db = card["range"]["loudness_db"]
    assert -80 < soft_db < loud_db < 20
    assert len(card["spectrum"]["level_db"]) == 9 and card["spectrum"]["mfcc_distance"] > 0
    assert set(card["heldout"]) >= {"loudness_l1_db", "f0_l1_semitones", "f0_outliers"}
    # What is trained already is not trained again, and replaces what was there.
    again = bundles.load(script.train(shipped, recordings, tmp_path / "bundles", tmp_path / "runs"))
    assert again.card["training"] == card["training"]
    for ours, before in zip(again.network.weights, instrument.network.weights, strict=True):
        np.testing.assert_array_equal(ours, before)
