"""helpers.training on three synthetic tones: an instrument that trains in seconds, where it takes
one, and else the stand-in of `tiny_training`."""

import json
import os
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import killed_training
import numpy as np
import pytest
import soundfile
import tensorflow as tf
import tiny_instrument
import tiny_training
from tiny_training import EXAMPLES, SAMPLE_RATE, tones

from helpers.instruments import bundles, configurations
from helpers.training import dataset, history, loop

STEPS, EVERY, LEARNING_RATE = 30, 10, 0.05
SMALL = [
    "ConvDecoder.channels = 8",
    "ConvDecoder.dilations = (1,)",
    "harmonics = 8",
    "noise_bands = 9",
    "reverb_length = 99",
    "fft_sizes = (256,)",
]


@pytest.fixture(autouse=True, scope="module")
def _often():
    with pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.setattr(loop, "EVALUATE_EVERY", EVERY)
        yield


def build(seed=0, **options):
    tf.keras.utils.set_random_seed(seed)
    return configurations.build("small", bindings=SMALL, **options)


def train(instrument, folder, steps=STEPS, learning_rate=LEARNING_RATE, **options):
    return loop.train(instrument, EXAMPLES, folder, steps, learning_rate, **options)


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    """A run to the end: its instrument, history, folder and reports."""
    instrument, folder, reports = build(), tmp_path_factory.mktemp("run") / "checkpoints", []
    return instrument, train(instrument, folder, report=reports.append), folder, reports


@pytest.fixture(scope="module")
def stand_in(tmp_path_factory):
    """The same of the stand-in."""
    instrument, folder = tiny_training.build(), tmp_path_factory.mktemp("run") / "checkpoints"
    return instrument, train(instrument, folder), folder


@pytest.fixture
def copied(stand_in, tmp_path):
    """The folder of that run, to go on with or to spoil."""
    return Path(shutil.copytree(stand_in[2], tmp_path / "checkpoints"))


def assert_equal_weights(network, other):
    for found, expected in zip(network.get_weights(), other.get_weights(), strict=True):
        np.testing.assert_array_equal(found, expected)


def checkpoint_names(folder):
    return {path.name for path in folder.glob("step-*")}


def stop_at(step, monkeypatch, stage=0):
    """Has the stop button pressed while a step of a stage is prepared."""
    draw_batch, objectives = loop.draw_batch, []

    def stopped(instrument, examples, objective, seed, at, gains_db):
        if objective not in objectives:
            objectives.append(objective)
        if at == step and len(objectives) == stage + 1:
            raise KeyboardInterrupt
        return draw_batch(instrument, examples, objective, seed, at, gains_db)

    monkeypatch.setattr(loop, "draw_batch", stopped)


def test_the_loss_falls(undisturbed):
    _, losses, _, _ = undisturbed
    assert losses.step == [10, 20, 30]
    assert losses.train_loss[-1] < 0.5 * losses.train_loss[0]
    assert losses.heldout_loss[-1] < 0.8 * losses.heldout_loss[0]


def test_progress_is_reported_with_sound(undisturbed):
    instrument, losses, _, reports = undisturbed
    assert [(p.step, p.steps, len(p.history.step)) for p in reports] == [
        (10, 30, 1),
        (20, 30, 2),
        (30, 30, 3),
    ]
    assert reports[-1].history == losses and reports[-1].seconds_left == 0.0
    assert all(p.seconds_left > 0 for p in reports[:-1])
    np.testing.assert_array_equal(reports[0].original, EXAMPLES.heldout["audio"][0])

    def distance(sound):
        original = np.abs(np.fft.rfft(reports[0].original))
        return np.abs(np.abs(np.fft.rfft(sound)) - original).sum()

    assert distance(reports[-1].resynthesis) < distance(reports[0].resynthesis)
    # The noise aside, it is what the instrument plays.
    heldout = EXAMPLES.heldout
    played = instrument.play(heldout["f0_hz"][0], heldout["loudness_db"][0])
    assert np.corrcoef(played[:SAMPLE_RATE], reports[-1].resynthesis)[0, 1] > 0.9


def test_a_stopped_run_ends_as_the_undisturbed(undisturbed, tmp_path, monkeypatch):
    """Stopped between two evaluations, and gone on with by new objects of other weights."""
    with monkeypatch.context() as patch:
        stop_at(13, patch)
        assert train(build(), tmp_path).step == [10]
    assert checkpoint_names(tmp_path) == {"step-10", "step-13"}
    instrument = build(seed=1)
    assert train(instrument, tmp_path) == undisturbed[1]
    assert_equal_weights(instrument.network, undisturbed[0].network)


@pytest.mark.parametrize("when", ["evaluates", "reports"])
def test_a_run_that_is_stopped_while_it(when, stand_in, tmp_path, monkeypatch):
    def stop(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        if when == "evaluates":
            patch.setattr(loop._Run, "_listen", stop)
        train(tiny_training.build(), tmp_path, report=stop)
    assert checkpoint_names(tmp_path) == {"step-0", "step-10"}
    instrument = tiny_training.build()
    assert train(instrument, tmp_path) == stand_in[1]
    assert_equal_weights(instrument.network, stand_in[0].network)


def test_a_seed_gives_the_same_run(stand_in, tmp_path):
    for seed in (0, 1):
        instrument = tiny_training.build()
        assert (train(instrument, tmp_path / str(seed), seed=seed) == stand_in[1]) == (seed == 0)
    assert train(tiny_training.build(), tmp_path / "again") == stand_in[1]


def test_a_finished_run_is_left_as_it_is(stand_in, copied, capsys):
    instrument, reports = tiny_training.build(seed=2), []
    assert train(instrument, copied, report=reports.append) == stand_in[1]
    assert [(p.history, p.step) for p in reports] == [(stand_in[1], 30)]
    assert_equal_weights(instrument.network, stand_in[0].network)
    assert "Trained for 30 steps already" in "".join(capsys.readouterr())


def heldout_losses(losses, monkeypatch):
    """Has these held-out losses measured; returns the weights of each time, as they are added."""
    weights, left = [], list(losses)

    def listen(run):
        weights.append(run._instrument.network.get_weights())
        return left.pop(0), np.zeros(4, np.float32)

    monkeypatch.setattr(loop._Run, "_listen", listen)
    return weights


def test_the_best_weights_are_kept_and_the_last_gone_on_with(tmp_path, monkeypatch):
    heldout = heldout_losses([3.0, 2.0, 4.0, 5.0, 3.0, 2.0, 4.0, 5.0], monkeypatch)
    instrument = tiny_training.build()
    train(instrument, tmp_path / "at once", steps=40)
    with monkeypatch.context() as patch:
        stop_at(33, patch)
        stopped = tiny_training.build()
        assert train(stopped, tmp_path / "stopped", steps=40).best == (2.0, 20)
    gone_on = tiny_training.build(seed=1)
    train(gone_on, tmp_path / "stopped", steps=40)
    for i, weights in enumerate(heldout[4:]):
        np.testing.assert_equal(weights, heldout[i])
    for each in (instrument, stopped, gone_on):
        np.testing.assert_equal(each.network.get_weights(), heldout[1])


def test_a_loss_that_stalls_is_said_once(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(history, "STALLED_STEPS", 20)
    heldout_losses([4.0, 2.0, 2.0, 2.0, 2.0, 2.0], monkeypatch)
    reports = []
    train(tiny_training.build(), tmp_path, steps=60, report=reports.append)
    assert ["hardly fallen" in p.summary for p in reports] == [False] * 3 + [True] * 3
    assert "".join(capsys.readouterr()).count("has stalled") == 1


def test_a_run_that_breaks_keeps_the_last_good_checkpoint(stand_in, copied, refused):
    instrument = tiny_training.build(seed=3)
    with refused("became no number before step 40.*learning_rate.*from step 30"):
        train(instrument, copied, steps=40, learning_rate=1e38)
    assert_equal_weights(instrument.network, stand_in[0].network)
    assert checkpoint_names(copied) == {"step-20", "step-30"}
    train(instrument, copied, steps=40)  # as the sentence says


def test_a_run_that_diverges_is_stopped(tmp_path, refused):
    instrument = tiny_training.build()
    with refused(r"rose to \d+ times its lowest before step 10.*such as 3e\+02.*from step 0"):
        train(instrument, tmp_path, learning_rate=1000.0)
    assert_equal_weights(instrument.network, tiny_training.build().network)


def test_checkpoints_of_another_model(stand_in, copied, refused):
    instrument = build()
    before = instrument.network.get_weights()
    with refused(f"{copied.name}.*another model's.*another folder"):
        train(instrument, copied)
    np.testing.assert_equal(instrument.network.get_weights(), before)


def test_a_damaged_checkpoint_is_passed_over(stand_in, copied, capsys):
    data = next((copied / "step-30").glob("*.data-*"))
    data.write_bytes(data.read_bytes()[:1000])  # a full disk cuts it short
    instrument = tiny_training.build(seed=1)
    assert train(instrument, copied) == stand_in[1]
    assert_equal_weights(instrument.network, stand_in[0].network)
    assert "step 30 is damaged: going on from step 20" in "".join(capsys.readouterr())


def test_fewer_steps_than_were_done(tmp_path, monkeypatch):
    with monkeypatch.context() as patch:
        stop_at(7, patch)
        assert train(tiny_training.build(), tmp_path).step == []
    reports = []
    assert train(tiny_training.build(), tmp_path, steps=5, report=reports.append).step == [7]
    assert reports[0].summary.startswith("Step 7 of 5")


@pytest.mark.parametrize(
    "options, named",
    [
        ({"steps": 0}, "0 steps"),
        ({"learning_rate": float("nan")}, "learning rate nan"),
        ({"learning_rate": -1.0}, "learning rate -1"),
        ({"seed": -1}, "seed -1"),
        ({"gains_db": (3.0, -12.0)}, "gains"),
    ],
)
def test_options_out_of_range(stand_in, tmp_path, refused, options, named):
    with refused(named):
        train(stand_in[0], tmp_path / "checkpoints", **options)
    assert not (tmp_path / "checkpoints").exists()


@pytest.mark.parametrize("group", ["train", "heldout"])
def test_a_dataset_with_nan_is_blamed(stand_in, tmp_path, refused, group):
    examples = dict(getattr(EXAMPLES, group))
    examples["audio"] = examples["audio"].copy()
    examples["audio"][0, 77] = np.nan
    with refused("dataset.*audio"):
        loop.train(stand_in[0], replace(EXAMPLES, **{group: examples}), tmp_path / "x", STEPS)
    assert not (tmp_path / "x").exists()


@pytest.mark.parametrize("name, rate", [("sample_rate", 44100), ("frame_rate", 250)])
def test_a_dataset_of_another_rate(stand_in, tmp_path, name, rate, refused):
    statistics = EXAMPLES.statistics | {name: rate}
    other = dataset.Dataset(EXAMPLES.train, EXAMPLES.heldout, statistics, {})
    with refused(f"dataset.*{name}.*{rate}"):
        loop.train(stand_in[0], other, tmp_path / "checkpoints", STEPS)
    assert not (tmp_path / "checkpoints").exists()


def test_logs_have_each_step_once(tmp_path, monkeypatch):
    """As TensorBoard reads them: what was logged after the step that a run starts with is void."""
    for steps, stopped_before_saving in ((30, 20), (30, None)):
        with monkeypatch.context() as patch:
            if stopped_before_saving:
                patch.setattr(loop._Run, "save", killed_at(stopped_before_saving))
            try:
                train(tiny_training.build(), tmp_path, steps)
            except SystemExit:
                pass
    logged = {}
    for path in sorted((tmp_path / "logs").iterdir()):
        for event in tf.compat.v1.train.summary_iterator(str(path)):
            if event.session_log.status == tf.compat.v1.SessionLog.START:
                logged = {key: value for key, value in logged.items() if key[1] < event.step}
            for value in event.summary.value:
                assert (value.tag, event.step) not in logged
                logged[value.tag, event.step] = value
    for tag in ("train_loss", "heldout_loss", "learning_rate", "steps_a_second"):
        assert [step for name, step in logged if name == tag] == [10, 20, 30]
    for step in (10, 20, 30):
        half_cosine = 0.5 * (1 + np.cos(np.pi * (step - 1 - 3) / 27))  # after 3 to warm up
        expected = LEARNING_RATE * (0.05 + 0.95 * half_cosine)
        assert logged["learning_rate", step].simple_value == pytest.approx(expected, rel=1e-5)
    wav = tmp_path / "original.wav"
    wav.write_bytes(logged["original", 0].audio.encoded_audio_string)
    np.testing.assert_allclose(
        soundfile.read(wav)[0], np.clip(EXAMPLES.heldout["audio"][0], -1, 1), atol=1e-4
    )
    assert [step for name, step in logged if name == "resynthesis"] == [10, 20, 30]


def killed_at(step):
    """A `save` that ends the process before that step is saved."""
    save = loop._Run.save

    def end(run):
        if run.steps.done == step:
            raise SystemExit
        save(run)

    return end


@pytest.mark.slow
def test_a_loaded_instrument_is_fine_tuned(undisturbed, tmp_path):
    """It starts from its weights, and what it says of itself is of the new recordings."""
    trained = undisturbed[0]
    trained.statistics, trained.card = tiny_instrument.STATISTICS, {"name": "the first"}
    bundles.save(trained, tmp_path / "bundle")
    tuned, anew = bundles.load(tmp_path / "bundle"), build()
    assert tuned.card
    other = dataset.Dataset(tones([250.0]), tones([300.0]), EXAMPLES.statistics, {})
    losses = [
        loop.train(instrument, other, tmp_path / f"{i}", EVERY, 0.01).heldout_loss[0]
        for i, instrument in enumerate((tuned, anew))
    ]
    assert losses[0] < 0.7 * losses[1]
    assert tuned.statistics == other.statistics and tuned.card == {}


def test_half_precision_scales_the_loss_and_goes_on_with_the_scale(stand_in, tmp_path, monkeypatch):
    """Its gradients would vanish in float16: with them unscaled nothing would be learned."""
    half = {"dtype": "mixed_float16", "loss_weight": 1e-6}
    at_once = tiny_training.build(**half)
    expected = train(at_once, tmp_path / "at once")
    assert expected.heldout_loss[-1] < 0.9 * expected.heldout_loss[0]
    with monkeypatch.context() as patch:
        stop_at(13, patch)
        train(tiny_training.build(**half), tmp_path / "stopped")
    gone_on = tiny_training.build(seed=1, **half)
    assert train(gone_on, tmp_path / "stopped") == expected
    assert_equal_weights(gone_on.network, at_once.network)


@pytest.mark.slow
def test_an_instrument_in_half_precision(undisturbed, tmp_path):
    """Its loss falls as in full precision, and its weights are float32 all the while."""
    instrument = build(precision="mixed_float16")
    found = train(instrument, tmp_path)
    np.testing.assert_allclose(found.heldout_loss, undisturbed[1].heldout_loss, rtol=0.1)
    assert {weights.dtype for weights in instrument.network.weights} == {tf.float32}


@pytest.mark.slow
def test_killed_at_20_moments(tmp_path, monkeypatch):
    """Nothing is lost but the steps since the last save, whatever a process was just doing.

    At 10 moments it is killed from outside, in or between two steps. At 10 it kills itself before
    the nth time that it touches the disk while it saves.
    """
    root = Path(__file__).parents[1]
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(map(str, [root.parent, root])))
    monkeypatch.setenv("OPENBLAS_NUM_THREADS", "1")
    (_, threads), *_, (end, undisturbed) = killed_training.Life(tmp_path / "undisturbed").until()
    assert (end, threads) == ("done", 1)
    folder, random, reached, saved = tmp_path / "killed", np.random.default_rng(0), 0, 0
    for life in range(20):
        if life % 2:
            told = killed_training.Life(folder, dies_at=random.integers(1, 31)).until()
            assert told[-1][0] == "saving"
        else:
            process = killed_training.Life(folder)
            process.until("trained", times=random.integers(1, 9))
            told = process.kill(after_seconds=random.uniform(0.0, 0.01))
        steps = {word: step for word, step in told[::-1]}  # the first of each word
        assert steps["restored"] >= saved
        assert reached - steps["restored"] <= killed_training.EVERY
        steps |= dict(told)  # and now the last
        assert "done" not in steps
        reached, saved = steps.get("trained", steps["restored"]), steps.get("saved", saved)
    *_, (end, gone_on) = killed_training.Life(folder).until()
    assert end == "done"
    np.testing.assert_equal(gone_on, undisturbed)
    assert not list(folder.glob(".*"))


@pytest.mark.slow
def test_two_devices(tmp_path):
    """As on one, where there is no noise; with noise, stopped and gone on with as at once."""
    command = [sys.executable, Path(__file__).parents[1] / "two_devices.py", tmp_path]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout.splitlines()[-1])
    for name in ("train_loss", "heldout_loss"):
        np.testing.assert_allclose(found["two"][name], found["one"][name], rtol=1e-5)
    assert found["stopped"]["step"] == [10, 20] and found["gone on"] == found["at once"]
    assert found["gone on"] != found["two"]
    assert found["noises"][0] != found["noises"][1]
    assert np.isfinite(found["instrument"]["heldout_loss"]).all()
    assert "within `with strategy.scope():`" in found["refused"]
