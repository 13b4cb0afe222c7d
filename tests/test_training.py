"""helpers.training on three synthetic tones, with a network that trains in seconds."""

import shutil

import numpy as np
import pytest
import tensorflow as tf

from helpers import dataset, model, training

SAMPLE_RATE, FRAME_RATE, HOP_SIZE = 16000, 125, 128
STEPS, EVERY, LEARNING_RATE = 30, 10, 0.05
SMALL = [
    "ConvDecoder.channels = 8",
    "ConvDecoder.dilations = (1,)",
    "ConvDecoder.output_splits = "
    "(('amps', 1), ('harmonic_distribution', 8), ('noise_magnitudes', 9))",
    "DecayingReverb.reverb_length = 99",
    "SpectralLoss.fft_sizes = (256,)",
]


def tones(pitches_hz):
    """Seconds of four harmonics that swell, with their true f0 and a loudness that follows."""
    times_s = np.arange(SAMPLE_RATE) / SAMPLE_RATE
    swell = 0.1 + 0.4 * np.sin(np.pi * times_s)
    audio = [
        swell * sum(np.sin(2 * np.pi * k * f * times_s) / k for k in range(1, 5))
        for f in pitches_hz
    ]
    loudness_db = 20 * np.log10(swell[::HOP_SIZE])
    fields = {
        "audio": audio,
        "f0_hz": [np.full(FRAME_RATE, f) for f in pitches_hz],
        "f0_confidence": [np.ones(FRAME_RATE)] * len(pitches_hz),
        "loudness_db": [loudness_db] * len(pitches_hz),
    }
    return {name: np.array(values, np.float32) for name, values in fields.items()}


@pytest.fixture(scope="module")
def examples():
    statistics = {"sample_rate": SAMPLE_RATE, "frame_rate": FRAME_RATE}
    return dataset.Dataset(tones([220.0, 330.0, 440.0]), tones([277.0]), statistics, {})


@pytest.fixture(autouse=True, scope="module")
def _small_and_often():
    with pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.setattr(training, "EVALUATE_EVERY", EVERY)
        monkeypatch.setattr(training, "BATCH_SIZE", 4)
        yield


def build(seed=0):
    tf.keras.utils.set_random_seed(seed)
    return model.build("small", SMALL)


def train(instrument, examples, folder, steps=STEPS, learning_rate=LEARNING_RATE, **options):
    return training.train(instrument, examples, folder, steps, learning_rate, **options)


@pytest.fixture(scope="module")
def undisturbed(examples, tmp_path_factory):
    """A run to the end: its instrument, history and folder."""
    instrument, folder = build(), tmp_path_factory.mktemp("run") / "checkpoints"
    return instrument, train(instrument, examples, folder), folder


@pytest.fixture
def copied(undisturbed, tmp_path):
    """The folder of that run, to go on with or to spoil."""
    return shutil.copytree(undisturbed[2], tmp_path / "checkpoints")


def assert_equal_weights(network, other):
    for found, expected in zip(network.get_weights(), other.get_weights(), strict=True):
        np.testing.assert_allclose(found, expected, rtol=0, atol=1e-6)


def checkpoint_names(folder):
    return sorted(path.stem for path in folder.glob("*.index"))


def test_the_loss_falls(undisturbed):
    _, history, _ = undisturbed
    assert history.step == [10, 20, 30]
    assert history.train_loss[-1] < 0.5 * history.train_loss[0]
    assert history.heldout_loss[-1] < 0.8 * history.heldout_loss[0]


def test_two_checkpoints_are_kept(undisturbed):
    assert checkpoint_names(undisturbed[2]) == ["ckpt-20", "ckpt-30"]


def test_an_interrupted_run_ends_as_the_undisturbed(undisturbed, examples, tmp_path, monkeypatch):
    """Stopped between two checkpoints, and gone on with by new objects of other weights."""
    draw_batch, optimizers = training.draw_batch, []

    def interrupted(instrument, examples, seed, step):
        if step == 13:
            raise KeyboardInterrupt
        return draw_batch(instrument, examples, seed, step)

    monkeypatch.setattr(training, "draw_batch", interrupted)
    assert train(build(), examples, tmp_path).step == [10]
    assert checkpoint_names(tmp_path) == ["ckpt-10", "ckpt-13"]

    compile_ = training._compile

    def observed(network, optimizer):
        optimizers.append(optimizer)
        return compile_(network, optimizer)

    monkeypatch.setattr(training, "draw_batch", draw_batch)
    monkeypatch.setattr(training, "_compile", observed)
    instrument = build(seed=1)
    history = train(instrument, examples, tmp_path)
    assert history.step == [10, 20, 30]
    assert_equal_weights(instrument.network, undisturbed[0].network)
    np.testing.assert_allclose(history.heldout_loss, undisturbed[1].heldout_loss, rtol=1e-5)
    half_cosine = 0.5 * (1 + np.cos(np.pi * (STEPS - 1) / STEPS))  # of the last step
    floor = training.FINAL_LEARNING_RATE
    expected = LEARNING_RATE * (floor + (1 - floor) * half_cosine)
    np.testing.assert_allclose(float(optimizers[0].learning_rate), expected, rtol=1e-5)


def test_a_finished_run_is_left_as_it_is(undisturbed, examples, copied, capsys):
    instrument, reports = build(seed=2), []
    assert train(instrument, examples, copied, report=reports.append) == undisturbed[1]
    assert reports == [undisturbed[1]]
    assert_equal_weights(instrument.network, undisturbed[0].network)
    assert "Trained for 30 steps already" in "".join(capsys.readouterr())


def test_a_run_that_breaks_keeps_the_last_good_checkpoint(undisturbed, examples, copied, refused):
    instrument = build(seed=3)
    with refused("before step 40.*smaller learning_rate"):
        train(instrument, examples, copied, steps=40, learning_rate=1e30)
    assert_equal_weights(instrument.network, undisturbed[0].network)
    assert "ckpt-40" not in checkpoint_names(copied)
    assert tf.train.latest_checkpoint(copied).endswith("ckpt-30")


def test_checkpoints_of_another_model(examples, copied, refused):
    for other in ("ConvDecoder.channels = 9", "ConvDecoder.dilations = (1, 2)"):
        with refused(f"{copied.name}.*another folder"):
            train(model.build("small", [*SMALL, other]), examples, copied)


def test_damaged_checkpoints(examples, copied, refused):
    for data in copied.glob("*.data-*"):
        data.write_bytes(data.read_bytes()[:100])
    with refused(f"{copied.name}.*another folder"):
        train(build(), examples, copied)


@pytest.mark.parametrize("name, rate", [("sample_rate", 44100), ("frame_rate", 250)])
def test_a_dataset_of_another_rate(undisturbed, examples, tmp_path, name, rate, refused):
    statistics = examples.statistics | {name: rate}
    other = dataset.Dataset(examples.train, examples.heldout, statistics, {})
    with refused(f"dataset.*{name}.*{rate}"):
        train(undisturbed[0], other, tmp_path / "checkpoints")
    assert not (tmp_path / "checkpoints").exists()


@pytest.fixture(scope="module")
def numbered():
    """Examples whose audio tells which frame of which example it is."""
    frames = np.arange(4 * 500, dtype=np.float32).reshape(4, 500)
    return {"f0_hz": frames, "loudness_db": -frames, "audio": np.repeat(frames, HOP_SIZE, axis=1)}


def test_a_batch_is_clips_of_which_all_curves_belong_together(undisturbed, numbered):
    batch = training.draw_batch(undisturbed[0], numbered, seed=0, step=0)
    n_frames = int(training.CLIP_SECONDS * FRAME_RATE)
    assert batch["f0_hz"].shape == batch["loudness_db"].shape == (training.BATCH_SIZE, n_frames)
    np.testing.assert_array_equal(batch["audio"], np.repeat(batch["f0_hz"], HOP_SIZE, axis=1))
    np.testing.assert_array_equal(batch["loudness_db"], -batch["f0_hz"].numpy())
    assert (np.diff(batch["f0_hz"]) == 1).all()  # of one example, and in order


def test_batches_come_from_the_seed_and_the_step(undisturbed, numbered):
    def first_frames(seed, step):
        return training.draw_batch(undisturbed[0], numbered, seed, step)["f0_hz"][:, 0].numpy()

    np.testing.assert_array_equal(first_frames(0, 7), first_frames(0, 7))
    assert (first_frames(0, 7) != first_frames(0, 8)).any()
    assert (first_frames(0, 7) != first_frames(1, 7)).any()


def test_batches_reach_all_there_is(undisturbed, numbered):
    """The first and the last frame of every example among them."""
    seen = np.concatenate(
        [training.draw_batch(undisturbed[0], numbered, 0, s)["f0_hz"] for s in range(1000)]
    )
    assert {*numbered["f0_hz"][:, 0], *numbered["f0_hz"][:, -1]} <= {*seen.ravel()}
