"""steps: batches whose samples tell where they are from, and single steps of a stand-in."""

import numpy as np
import pytest
import tensorflow as tf
import tiny_training
from tiny_training import EXAMPLES, FRAME_RATE, HOP_SIZE

from helpers.analysis import features
from helpers.training import steps
from helpers.training.objectives import RESYNTHESIS


@pytest.fixture(scope="module")
def instrument():
    return tiny_training.build()


def numbered(n_examples):
    """Examples of 500 hops whose audio tells which frame of which example it is."""
    frames = np.arange(n_examples * 501, dtype=np.float32).reshape(n_examples, 501)
    audio = np.repeat(frames[:, :-1], HOP_SIZE, axis=1)
    return {"f0_hz": frames, "loudness_db": -frames, "audio": audio}


def test_a_batch_is_clips_of_which_all_curves_belong_together(instrument):
    batch = steps.draw_batch(instrument, numbered(4), RESYNTHESIS, seed=0, step=0)
    n_frames = int(RESYNTHESIS.clip_seconds * FRAME_RATE)
    assert batch["f0_hz"].shape == batch["loudness_db"].shape == (RESYNTHESIS.batch_size, n_frames)
    np.testing.assert_array_equal(batch["audio"], np.repeat(batch["f0_hz"], HOP_SIZE, axis=1))
    np.testing.assert_array_equal(batch["loudness_db"], -batch["f0_hz"])
    assert (np.diff(batch["f0_hz"]) == 1).all()  # of one example, and in order


def test_batches_come_from_the_seed_and_the_step(instrument):
    def first_frames(seed, step):
        return steps.draw_batch(instrument, numbered(4), RESYNTHESIS, seed, step)["f0_hz"][:, 0]

    np.testing.assert_array_equal(first_frames(0, 7), first_frames(0, 7))
    assert (first_frames(0, 7) != first_frames(0, 8)).any()
    assert (first_frames(0, 7) != first_frames(1, 7)).any()


def test_batches_reach_all_there_is(instrument):
    """The first and the last hop of every example among them."""
    examples = numbered(4)
    seen = np.concatenate(
        [steps.draw_batch(instrument, examples, RESYNTHESIS, 0, s)["f0_hz"] for s in range(500)]
    )
    assert {*examples["f0_hz"][:, 0], *examples["f0_hz"][:, -2]} <= {*seen.ravel()}


def test_a_louder_clip_has_the_loudness_that_it_has(instrument):
    """Measured anew: of a tone, and of digital silence, which no gain makes louder."""
    tone = np.sin(2 * np.pi * 440 * np.arange(4 * 16000) / 16000).astype(np.float32)
    audio = np.stack([0.1 * tone, 0.0 * tone])
    examples = {
        "audio": audio,
        "f0_hz": np.full((2, 501), 440.0, np.float32),
        "loudness_db": np.stack([features.loudness(x, 16000) for x in audio]),
    }
    peaks = []
    for step in range(20):
        batch = steps.draw_batch(instrument, examples, RESYNTHESIS, 0, step, (-12.0, 3.0))
        for x, loudness_db in zip(batch["audio"], batch["loudness_db"], strict=True):
            found = features.loudness(x, 16000)[:250]
            np.testing.assert_allclose(found[4:-4], loudness_db[4:-4], atol=0.05)
            peaks.append(np.abs(x).max())
    gains_db = 20 * np.log10(np.array([peak for peak in peaks if peak > 0]) / 0.1)
    assert len(gains_db) < len(peaks) and -12.01 < min(gains_db) < -10 and 1 < max(gains_db) < 3.01


@pytest.mark.parametrize(
    "n_examples, sizes", [(1, [1]), (8, [4, 4]), (9, [3, 3, 3]), (100, [4] * 8)]
)
def test_heldout_batches_are_few_and_evenly_spaced(instrument, n_examples, sizes):
    batches = steps.heldout_batches(instrument, numbered(n_examples), RESYNTHESIS)
    assert [len(batch["audio"]) for batch in batches] == sizes
    examples = np.concatenate([batch["f0_hz"][:, 0] for batch in batches]) / 501
    assert examples[0] == 0 and examples[-1] == n_examples - 1
    assert np.ptp(np.diff(examples)) <= 1 if n_examples > 1 else True
    for batch in batches:
        np.testing.assert_array_equal(batch["audio"], np.repeat(batch["f0_hz"], HOP_SIZE, axis=1))


def of(network, learning_rate=0.01, n_losses=4):
    return steps.Steps(
        network, RESYNTHESIS, tf.distribute.get_strategy(), 10, learning_rate, 0, n_losses
    )


def batch_of(made, step=0):
    return made.spread(
        steps.draw_batch(tiny_training.build(), EXAMPLES.train, RESYNTHESIS, 0, step)
    )


def gradient_norm(made):
    """Of the gradients as Adam saw them in its first step: its mean of them is a tenth of that."""
    adam = getattr(made._optimizer, "inner_optimizer", made._optimizer)
    return 10 * np.sqrt(sum(np.sum(np.square(mean)) for mean in adam._momentums))


@pytest.mark.parametrize("dtype", ["float32", "mixed_float16"])
def test_gradients_are_clipped_after_they_are_unscaled(dtype):
    """A loss so steep that they are, and one so flat that they would vanish in float16."""
    for weight, clipped in ((10.0**3, True), (1e-6, False)):
        made = of(tiny_training.build(loss_weight=weight, dtype=dtype).network)
        batch = batch_of(made)
        for _ in range(20):  # the scale halves, without a step, until no gradient overflows
            made.train(batch)
            if gradient_norm(made) > 0:
                break
        if clipped:
            assert gradient_norm(made) == pytest.approx(steps.CLIP_NORM, rel=1e-3)
        else:
            assert 1e-8 < gradient_norm(made) < 1e-5


def test_losses_of_the_last_steps():
    network = tiny_training.build().network
    made, expected = of(network), []
    for step in range(6):
        batch = batch_of(made, step)
        with made._noise_of(tf.constant(step, tf.int64)):
            loss, _ = RESYNTHESIS.measure(network, batch, training=True)
        expected.append(loss.numpy())
        made.train(batch)
        assert made.done == step + 1
    np.testing.assert_allclose(made.losses(4), expected[4:], rtol=1e-5)
    np.testing.assert_allclose(made.losses(0), expected[2:], rtol=1e-5)  # 4 are kept


def test_evaluations_change_nothing_and_have_the_same_noise():
    instrument = tiny_training.build()
    network = instrument.network
    before = network.get_weights()
    made = of(network)
    (batch,) = steps.heldout_batches(instrument, EXAMPLES.heldout, RESYNTHESIS)
    (loss, sound), (same, again) = made.evaluate(batch), made.evaluate(batch)
    np.testing.assert_array_equal(sound, again)
    assert loss == same and made.done == 0
    np.testing.assert_equal(network.get_weights(), before)


def test_noise_outside_of_the_steps_is_as_without_them():
    """They have a generator of their own, and leave the one of all others as it was."""
    generator = tf.random.get_global_generator()
    made = of(tiny_training.build().network)
    batch, state = batch_of(made), generator.state.numpy()
    made.train(batch)
    assert tf.random.get_global_generator() is generator
    np.testing.assert_array_equal(generator.state, state)


def test_the_learning_rate_rises_before_it_falls():
    network = tf.keras.Sequential([tf.keras.layers.Dense(1)])
    network.build([1, 1])
    schedule = steps._optimizer(network, 1000, 0.01)._learning_rate
    rates = [float(schedule(step)) for step in (0, 25, steps.WARM_UP, 525, 1000)]
    middle = 0.01 * (0.05 + 0.95 / 2)
    np.testing.assert_allclose(rates[2:], [0.01, middle, 0.01 * 0.05], rtol=1e-4)
    assert 0 < rates[0] < rates[1] < rates[2]
