"""recipe: from recordings to a bundle, by the command line and by Python, with tiny networks."""

import functools
import json
import os
import resource
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import librosa
import numpy as np
import pytest
import soundfile
import tiny_analysis
import tiny_training
from test_loop import SMALL, stop_at
from tiny_training import SAMPLE_RATE

from helpers import config
from helpers.analysis import features
from helpers.evaluation import metrics, spectrum
from helpers.instruments import bundles, configurations
from helpers.instruments.instrument import PRECISIONS, SAMPLE_RATES
from helpers.training import loop, recipe
from helpers.training.__main__ import main

BUILD, RESYNTHESIS = configurations.build, metrics.resynthesis
SPECTRUM = {"level_db": {"200-500": -0.5}, "mfcc_distance": None}
SCORES = {"loudness_l1_db": 1.0, "loudness_l1": 0.01, "f0_l1_semitones": 0.1, "f0_outliers": 0.0}


@pytest.fixture(autouse=True, scope="module")
def _quick():
    """A stand-in for what takes seconds to build, which is evaluated at every other step."""
    real = configurations.build

    def build(configuration, sample_rate, precision):
        if sample_rate not in SAMPLE_RATES or precision not in PRECISIONS:
            return real(configuration, sample_rate, precision=precision)
        if configuration not in configurations.names():
            return real(configuration)
        return replace(
            tiny_training.build(),
            config=configuration,
            sample_rate=sample_rate,
            hop_size=tiny_training.HOP_SIZE * sample_rate // SAMPLE_RATE,
        )

    with pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.setattr(configurations, "build", build)
        monkeypatch.setattr(metrics, "resynthesis", lambda *_: SCORES)
        monkeypatch.setattr(spectrum, "resynthesis", lambda *_: SPECTRUM)
        monkeypatch.setattr(loop, "EVALUATE_EVERY", 2)
        yield


def write_recordings(folder, *starts_hz):
    folder.mkdir()
    for i, f0_hz in enumerate(starts_hz):
        audio = 0.3 * librosa.chirp(fmin=f0_hz, fmax=2 * f0_hz, sr=SAMPLE_RATE, duration=5.0)
        audio += 1e-3 * np.random.default_rng(i).standard_normal(len(audio))
        soundfile.write(folder / f"{i}.wav", audio, SAMPLE_RATE)
    return folder


@pytest.fixture(scope="module")
def recordings(tmp_path_factory):
    return write_recordings(tmp_path_factory.mktemp("recordings") / "flute", 220.0, 330.0)


@pytest.fixture(scope="module")
def others(tmp_path_factory):
    return write_recordings(tmp_path_factory.mktemp("recordings") / "oboe", 250.0, 300.0)


def run(recordings, folder, **options):
    """The exit code of the command; at 16 kHz, if nothing else is asked for."""
    rate = {} if "from" in options else {"sample_rate": SAMPLE_RATE}
    arguments = {"data": recordings, "save": folder, **rate, **options}
    return main([f"--{key.replace('_', '-')}={value}" for key, value in arguments.items()])


@pytest.fixture(scope="module")
def finished(recordings, tmp_path_factory):
    """The folder of a training that is done."""
    folder = tmp_path_factory.mktemp("runs") / "flute"
    assert run(recordings, folder, steps=2, seed=3) == 0
    return folder


@pytest.fixture
def copied(finished, tmp_path):
    """To go on with, or to spoil."""
    return Path(shutil.copytree(finished, tmp_path / "flute"))


@pytest.fixture
def sentence(capsys):
    """The one sentence on stderr."""

    def read():
        printed = capsys.readouterr().err.splitlines()
        lines = [line for line in printed if line.strip() and "|" not in line]  # bars aside
        assert len(lines) == 1 and lines[0].endswith("."), lines
        return lines[0]

    return read


@pytest.fixture
def nothing_is_analysed(monkeypatch):
    monkeypatch.setattr(features, "extract_files", lambda *_, **__: pytest.fail("analysed"))


def test_a_line_tells_of_each_step(recordings, copied, capsys):
    assert run(recordings, copied, steps=2, seed=3) == 0
    printed = capsys.readouterr().out.splitlines()
    for line in ("Instrument: ", "Dataset: ", "Training: ", "Held out: loudness_l1_db", "Bundle: "):
        assert sum(each.startswith(line) for each in printed) == 1, printed


def test_the_same_goes_on(recordings, copied, nothing_is_analysed, capsys):
    """With more steps, and at another learning rate; recordings may be moved meanwhile."""
    moved = shutil.copytree(recordings, copied.parent / "elsewhere")
    assert run(moved, copied, steps=4, seed=3, learning_rate=0.001) == 0
    assert "step 2:" not in capsys.readouterr().out
    (checkpoints,) = copied.glob("checkpoints_*")
    assert {path.name for path in checkpoints.glob("step-*")} == {"step-2", "step-4"}


@pytest.mark.parametrize(
    "options, named",
    [
        ({"config": "autoencoder"}, "configuration"),
        ({"sample_rate": 44100}, "rate"),
        ({"precision": "mixed_float16"}, "precision"),
        ({"seed": 4}, "seed"),
    ],
)
def test_another_training_in_the_same_folder_is_refused(
    recordings, copied, nothing_is_analysed, sentence, options, named
):
    before = (copied / "flute.zip").read_bytes()
    assert run(recordings, copied, **{"steps": 2, "seed": 3, **options}) == 1
    said = sentence()
    assert named in said and "another folder" in said
    assert (copied / "flute.zip").read_bytes() == before


def test_other_recordings_in_the_same_folder_are_refused(
    others, copied, nothing_is_analysed, sentence
):
    assert run(others, copied, steps=2, seed=3) == 1
    assert "other recordings" in sentence()


def test_recordings_that_are_gone_are_missed(copied, nothing_is_analysed, sentence):
    assert run(copied / "nowhere", copied, steps=2, seed=3) == 1
    assert "nowhere" in sentence()


def test_an_instrument_to_start_from_is_not_ignored(recordings, copied, sentence):
    """Where a training is done without it."""
    violin = config.CHECKPOINTS / "violin"
    assert run(recordings, copied, **{"from": violin}, steps=2, seed=3) == 1
    assert "instrument to start from" in sentence()


def test_an_earlier_version_is_not_gone_on_with(
    recordings, tmp_path, nothing_is_analysed, sentence
):
    (tmp_path / "flute" / "checkpoints").mkdir(parents=True)
    assert run(recordings, tmp_path / "flute") == 1
    assert "earlier version" in sentence()


def test_a_damaged_dataset_is_prepared_again(recordings, copied, capsys):
    before = (copied / "dataset" / "train.npy").read_bytes()
    (copied / "dataset" / "train.npy").write_bytes(before[:-1])
    assert run(recordings, copied, steps=2, seed=3) == 0
    assert "damaged" in capsys.readouterr().out
    assert (copied / "dataset" / "train.npy").read_bytes() == before


@pytest.mark.parametrize("text", ["", "{", "[]", "null"])
def test_a_damaged_description_is_refused(recordings, copied, sentence, text):
    (copied / "training.json").write_text(text)
    assert run(recordings, copied, steps=2, seed=3) == 1
    assert "training.json" in sentence()


@pytest.mark.parametrize(
    "options, named",
    [
        ({"steps": 0}, "steps"),
        ({"steps": -5}, "steps"),
        ({"learning_rate": "nan"}, "learning rate"),
        ({"learning_rate": "inf"}, "learning rate"),
        ({"learning_rate": -1}, "learning rate"),
        ({"seed": -1}, "seed"),
        ({"seed": 2**32}, "seed"),
        ({"sample_rate": 12345}, "sample rate"),
        ({"precision": "float8"}, "precision"),
        ({"config": "nothing"}, "configuration"),
        ({"from": "nowhere.zip"}, "nowhere.zip"),
        ({"from": "nowhere.zip", "config": "small"}, "--config"),
    ],
)
def test_a_wrong_option_is_refused_at_once(
    recordings, tmp_path, nothing_is_analysed, sentence, options, named
):
    assert run(recordings, tmp_path / "flute", **options) == 1
    assert named in sentence()


@pytest.mark.parametrize("name", ["dataset", "Dataset", "training.json", "checkpoints_1"])
def test_a_name_that_the_folder_needs_itself(
    recordings, tmp_path, nothing_is_analysed, sentence, name
):
    assert run(recordings, tmp_path / name) == 1
    assert "another name" in sentence()


@pytest.mark.parametrize("place", ["flute", "flute/notes.txt", "flute.zip/inside"])
def test_what_is_in_the_place_of_the_bundle_is_kept(
    recordings, tmp_path, nothing_is_analysed, sentence, place
):
    mine = tmp_path / "flute" / place
    mine.parent.mkdir(parents=True)
    mine.write_text("mine")
    assert run(recordings, tmp_path / "flute") == 1
    assert "another folder" in sentence() and mine.read_text() == "mine"


def test_a_bundle_is_not_replaced_by_what_is_fine_tuned_from_it(
    recordings, finished, tmp_path, nothing_is_analysed, sentence
):
    (tmp_path / "flute").mkdir()
    bundle = shutil.copy(finished / "flute.zip", tmp_path / "flute")
    assert run(recordings, tmp_path / "flute", **{"from": bundle}) == 1
    assert "flute.zip would be replaced" in sentence()


@pytest.mark.parametrize("folder", ["file/flute", "x" * 300, "/proc/flute"])
def test_a_folder_that_cannot_be_written(
    recordings, tmp_path, nothing_is_analysed, sentence, folder
):
    (tmp_path / "file").touch()
    assert run(recordings, tmp_path / folder) == 1
    assert folder[:50] in sentence()


def test_a_full_disk_while_the_dataset_is_prepared(recordings, tmp_path, sentence):
    """As the limit of a file's size, which raises the same kind of error."""
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (400_000, limits[1]))
    try:
        code = run(recordings, tmp_path / "flute")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert code == 1
    assert "dataset" in sentence()
    assert not (tmp_path / "flute" / "dataset").exists()


@pytest.mark.parametrize("moment", ["the instrument is built", "the recordings are analysed"])
def test_an_interrupt_before_the_training(recordings, tmp_path, monkeypatch, capsys, moment):
    def stop(*_, **__):
        raise KeyboardInterrupt

    where = {
        "the instrument is built": (configurations, "build"),
        "the recordings are analysed": (features, "extract_files"),
    }
    monkeypatch.setattr(*where[moment], stop)
    assert run(recordings, tmp_path / "flute") == 130
    assert "Traceback" not in capsys.readouterr().err


def test_an_interrupt_of_the_training(recordings, tmp_path, monkeypatch):
    with monkeypatch.context() as patch:
        stop_at(3, patch)
        assert run(recordings, tmp_path / "flute", steps=4) == 130
    assert not (tmp_path / "flute" / "flute").exists()
    assert run(recordings, tmp_path / "flute", steps=4) == 0


@pytest.mark.slow
def test_a_bundle_and_another_fine_tuned_from_it(recordings, others, tmp_path, monkeypatch):
    """A model carries the credit of all that it learned from."""
    monkeypatch.setattr(configurations, "build", functools.partial(BUILD, bindings=SMALL))
    monkeypatch.setattr(metrics, "resynthesis", RESYNTHESIS)
    credit = {"credit": "Zoë", "licence": "CC BY 4.0"}
    assert run(recordings, tmp_path / "flute", config="small", steps=2, seed=3, **credit) == 0
    flute = bundles.load(tmp_path / "flute" / "flute.zip")
    assert flute.card["name"] == "flute" and flute.card["steps"] == 2
    data = flute.card["training_data"]
    assert (data["files"], data["credit"], data["licence"]) == (2, "Zoë", "CC BY 4.0")
    assert set(flute.card["heldout"]) == set(SCORES) and flute.card["spectrum"] == SPECTRUM
    options = {"from": tmp_path / "flute" / "flute.zip", "credit": "Ada", "licence": "CC0"}
    for _ in range(2):  # the second time it is done already
        assert run(others, tmp_path / "oboe", steps=2, **options) == 0
        oboe = bundles.load(tmp_path / "oboe" / "oboe")
        data = oboe.card["training_data"]
        assert "Zoë" in data["credit"] and "Ada" in data["credit"]
        assert "CC BY 4.0" in data["licence"] and "CC0" in data["licence"]
    assert oboe.parameters == flute.parameters


@pytest.mark.slow
def test_a_bundle_that_learned_from_an_analysis(recordings, others, tmp_path, monkeypatch):
    """By default, and another fine-tuned from it, both through two stages."""
    monkeypatch.setattr(
        configurations, "build", functools.partial(BUILD, bindings=tiny_analysis.BINDINGS)
    )
    steps_of = {"flute": 10, "oboe": 5}
    assert run(recordings, tmp_path / "flute", sample_rate=44100, steps=10) == 0
    assert run(others, tmp_path / "oboe", steps=5, **{"from": tmp_path / "flute" / "flute"}) == 0
    for name, steps in steps_of.items():  # of both stages together
        made = bundles.load(tmp_path / name / f"{name}.zip")
        assert made.sample_rate == 44100 and made.statistics["band_edge_hz"] > 0
        assert 0 < made.card["steps"] <= steps
        folders = (tmp_path / name).glob("checkpoints_*")
        last = [max(int(path.name[5:]) for path in folder.glob("step-*")) for folder in folders]
        assert len(last) == 2 and sum(last) == steps


def test_scores_that_are_no_numbers_are_null(recordings, copied, monkeypatch):
    """An instrument whose pitch is lost everywhere has no F0 L1."""
    scores = SCORES | {"f0_l1_semitones": float("nan")}
    monkeypatch.setattr(metrics, "resynthesis", lambda *_: scores)
    assert run(recordings, copied, steps=2, seed=3) == 0

    def refuse(constant):
        raise AssertionError(constant)

    text = (copied / "flute" / "model_card.json").read_text()
    assert json.loads(text, parse_constant=refuse)["heldout"]["f0_l1_semitones"] is None


def test_other_recordings_begin_anew_in_a_notebook(recordings, others, tmp_path):
    """Under the same name, beside the checkpoints of the first."""
    for i, folder in enumerate((recordings, others)):
        training = recipe.Training(
            recipe.Recipe(
                recordings=folder, folder=tmp_path / "flute", steps=2, sample_rate=SAMPLE_RATE
            )
        )
        assert training.prepare().source == training.source
        assert training.train().step == [2]
        assert len(list((tmp_path / "flute").glob("checkpoints_*"))) == i + 1


@pytest.mark.slow
def test_on_two_devices(recordings, tmp_path):
    """One strategy is made, of which the instrument is, too."""
    program = f"""
import sys
import tensorflow as tf
cpu = tf.config.list_physical_devices("CPU")[0]
tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
list_devices = tf.config.list_logical_devices
tf.config.list_logical_devices = lambda kind=None: list_devices("CPU" if kind == "GPU" else kind)
from helpers.instruments import configurations
from test_loop import SMALL
import functools
configurations.build = functools.partial(configurations.build, bindings={SMALL})
from helpers.training.__main__ import main
sys.exit(main(["--data={recordings}", "--save={tmp_path / "flute"}", "--steps=2",
               "--config=small", "--sample-rate=16000"]))
"""
    tests = Path(__file__).parents[1]
    paths = os.pathsep.join(map(str, [tests.parent, tests, tests / "training"]))
    done = subprocess.run(
        [sys.executable, "-c", program],
        env={**os.environ, "PYTHONPATH": paths},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    assert bundles.load(tmp_path / "flute" / "flute").card["steps"] == 2
