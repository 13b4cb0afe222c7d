"""objectives on tones whose powers are known in closed form."""

import numpy as np
import pytest
import tensorflow as tf
import tiny_analysis
import tiny_training
from tiny_analysis import EXAMPLES, N_BANDS, N_HARMONICS, N_KNOWN
from tiny_training import FRAME_RATE, HOP_SIZE

from helpers.training import objectives, steps
from helpers.training.objectives import RESYNTHESIS

UNCOUNTED = FRAME_RATE // 5  # frames at the start of a clip


@pytest.fixture(scope="module")
def instrument():
    return tiny_analysis.build()


@pytest.fixture(scope="module", params=[0, 1], ids=["analysis", "ear"])
def objective(instrument, request):
    return objectives.stages_of(instrument)[request.param]


@pytest.fixture
def batch(instrument, objective):
    (first, *_) = steps.heldout_batches(instrument, EXAMPLES.heldout, objective)
    return {name: values.numpy() for name, values in first.items()}


def loss_of(instrument, objective, batch):
    """Of a batch, with the same noise each time."""
    tf.random.get_global_generator().reset_from_seed(0)
    tensors = {name: tf.constant(values) for name, values in batch.items()}
    return float(objective.measure(instrument.network, tensors, training=False)[0])


def test_an_instrument_has_the_stages_that_it_can_learn_in(instrument):
    first, second = objectives.stages_of(instrument)
    assert isinstance(first, objectives.Analysis) and isinstance(second, objectives.Ear)
    assert "audio" not in first.fields and "audio" in second.fields
    assert objectives.stages_of(tiny_training.build()) == [RESYNTHESIS]


def test_z_is_encoded_from_audio():
    made = tiny_analysis.build(configuration="analysis_z")
    for stage in objectives.stages_of(made):
        batch = steps.draw_batch(made, EXAMPLES.train, stage, 0, 0)
        assert np.isfinite(stage.measure(made.network, batch, training=True)[0])


@pytest.mark.parametrize("steps, shares", [(1000, [900, 100]), (2, [1, 1]), (5000, [4500, 500])])
def test_the_ear_has_a_tenth_of_the_steps(instrument, steps, shares):
    stages = objectives.stages_of(instrument)
    assert objectives.shares_of(steps, stages) == shares
    assert objectives.shares_of(steps, [RESYNTHESIS]) == [steps]


def test_what_is_not_known_and_the_start_of_a_clip_do_not_count(instrument, objective, batch):
    before = loss_of(instrument, objective, batch)
    assert np.isnan(batch["noise_log_density"]).any() and np.isfinite(before)
    if "harmonic_log_power" in batch:
        batch["harmonic_log_power"][:, :UNCOUNTED] += 3.0
    batch["noise_log_density"][:, :UNCOUNTED] -= 3.0
    if "audio" in batch:
        batch["audio"][:, : UNCOUNTED * HOP_SIZE] = 0.5
    assert loss_of(instrument, objective, batch) == before
    counted = batch["audio" if "audio" in batch else "harmonic_log_power"]
    counted[:, counted.shape[1] // 2 :] += 3.0
    assert loss_of(instrument, objective, batch) != before


def test_the_true_powers_have_the_least_loss(instrument, monkeypatch):
    """Of all that are louder or softer by one harmonic."""
    objective, _ = objectives.stages_of(instrument)
    (batch,) = steps.heldout_batches(instrument, EXAMPLES.heldout, objective)
    true = np.nan_to_num(batch["harmonic_log_power"], nan=-20.0)

    def loss(powers):
        found = tf.constant(powers, tf.float32), tf.fill([1, FRAME_RATE, N_BANDS], -27.0)
        monkeypatch.setattr(instrument.network.decoder, "powers", lambda *_, **__: found)
        return float(objective.measure(instrument.network, batch, training=False)[0])

    least = loss(true)
    for harmonic in range(N_HARMONICS):
        for nepers in (-0.3, 0.3):
            other = true + nepers * np.eye(N_HARMONICS)[harmonic]
            assert (loss(other) > least + 1e-4) == (harmonic < N_KNOWN)


def test_by_ear_only_noise_is_learned_and_only_where_the_recording_has_any(instrument, monkeypatch):
    _, objective = objectives.stages_of(instrument)
    (batch,) = steps.heldout_batches(instrument, EXAMPLES.heldout, objective)
    known = np.isfinite(batch["noise_log_density"][0, 0])
    harmonics = tf.fill([1, FRAME_RATE, N_HARMONICS], -6.0)
    noise = tf.Variable(tf.fill([1, FRAME_RATE, N_BANDS], -18.0))
    monkeypatch.setattr(instrument.network.decoder, "powers", lambda *_, **__: (harmonics, noise))
    with tf.GradientTape() as tape:
        loss, *_ = objective.measure(instrument.network, dict(batch), training=True)
    counted = np.abs(tape.gradient(loss, noise)[0]).sum(axis=0) > 0
    np.testing.assert_array_equal(counted, known)
    assert 0 < known.sum() < N_BANDS


def test_by_ear_all_but_the_last_weights_of_the_noise_stay(instrument):
    _, objective = objectives.stages_of(instrument)
    (batch,) = steps.heldout_batches(instrument, EXAMPLES.heldout, objective)
    with tf.GradientTape() as tape:
        loss, *_ = objective.measure(instrument.network, dict(batch), training=True)
    variables = instrument.network.trainable_variables
    gradients = tape.gradient(loss, variables, unconnected_gradients="zero")
    last = instrument.network.decoder.network.dense_out.trainable_variables
    n_noise = dict(instrument.network.decoder.network.output_splits)["noise_powers"]
    for variable, gradient in zip(variables, gradients, strict=True):
        is_last = any(variable is weight for weight in last)
        moved = np.abs(np.asarray(gradient)).reshape(-1, variable.shape[-1]).max(axis=0) > 0
        assert not moved[: -n_noise if is_last else None].any()
        assert not is_last or moved[-n_noise:].any()


def test_powers_are_louder_where_the_clip_is(instrument, objective):
    """By as many decibels, so that what is measured again is what is learned."""
    soft, loud = (
        steps.draw_batch(instrument, EXAMPLES.train, objective, 0, 0, (gain_db, gain_db))
        for gain_db in (-6.0, 4.0)
    )
    for name in {"harmonic_log_power", "noise_log_density"} & set(objective.fields):
        moved = 10 * np.log10(np.exp(loud[name] - soft[name]))
        np.testing.assert_allclose(moved[np.isfinite(moved)], 10.0, atol=1e-4)
    if "audio" in objective.fields:
        np.testing.assert_allclose(loud["audio"], soft["audio"] * 10**0.5, rtol=1e-5)
    np.testing.assert_array_equal(loud["f0_hz"], soft["f0_hz"])


def test_batches_have_the_fields_and_the_size_of_the_objective(instrument, objective):
    batch = steps.draw_batch(instrument, EXAMPLES.train, objective, 0, 0)
    assert set(batch) == set(objective.fields)
    n_frames = min(FRAME_RATE, int(objective.clip_seconds * FRAME_RATE))  # an example has a second
    shapes = {name: values.shape[:2] for name, values in batch.items()}
    if "audio" in shapes:
        assert shapes.pop("audio") == (objective.batch_size, n_frames * HOP_SIZE)
    assert {*shapes.values()} == {(objective.batch_size, n_frames)}
    assert {values.dtype for values in batch.values()} == {np.dtype(np.float32)}


@pytest.mark.parametrize("training", [True, False])
def test_in_training_the_network_is_given_notes_a_little_off(training, monkeypatch):
    """By up to a semitone, another for each clip; the harmonics stay where they are."""
    network, given, played = tiny_analysis.build().network, [], []
    encode = network.encode

    def noted_encode(features, training):
        given.append(features["f0_hz"].numpy())
        return encode(features, training)

    def stop(features, training):
        played.append(features["f0_hz"].numpy())
        raise InterruptedError

    monkeypatch.setattr(network, "encode", noted_encode)
    monkeypatch.setattr(network.decoder, "powers", stop)
    objective = objectives.stages_of(tiny_analysis.build())[0]
    batch = {name: tf.constant(values) for name, values in tiny_analysis.EXAMPLES.train.items()}
    with pytest.raises(InterruptedError):
        objective.measure(network, batch, training)
    f0_hz = batch["f0_hz"].numpy()
    np.testing.assert_array_equal(played[0][..., 0], f0_hz)
    semitones = 12 * np.log2(given[0] / f0_hz)
    assert np.ptp(semitones, axis=1).max() < 1e-4
    assert np.abs(semitones).max() <= 1.0001
    assert (np.ptp(semitones[:, 0]) > 0.01) == training
