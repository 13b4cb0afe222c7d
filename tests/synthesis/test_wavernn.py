"""wavernn: mu-law against librosa, and sampling against training and known odds."""

import librosa
import numpy as np
import pytest
import tensorflow as tf
import tiny_instrument
import tiny_training

from helpers.instruments import bundles, configurations
from helpers.synthesis import wavernn
from helpers.training import loop
from helpers.transfer import session

SMALL = [*tiny_instrument.SMALL[:2], *tiny_instrument.SMALL[4:], "WaveRnn.rnn_channels = 8"]


@pytest.fixture
def instrument():
    tf.keras.utils.set_random_seed(0)
    return configurations.build("wavernn", bindings=SMALL)


def curves(n_frames=10):
    glide = np.geomspace(200.0, 900.0, n_frames)
    return glide, np.linspace(-60.0, -10.0, n_frames), np.ones((n_frames, 3))


def test_mu_law_is_librosas():
    audio = np.geomspace(1e-6, 1.0, 5_000).astype(np.float32)
    audio = np.concatenate([-audio, audio])
    theirs = librosa.mu_compress(audio, quantize=False)
    classes = wavernn.to_classes(audio).numpy()
    np.testing.assert_array_equal(np.unique(classes), np.arange(256))
    assert np.abs(classes / 127.5 - 1.0 - theirs).max() <= 0.5 / 127.5 + 1e-6
    np.testing.assert_allclose(
        wavernn.from_classes(classes),
        librosa.mu_expand((classes / 127.5 - 1.0).astype(np.float32), quantize=False),
        atol=1e-6,
    )


def test_what_is_too_loud_is_the_loudest_class():
    assert wavernn.to_classes([-3.0, 3.0]).numpy().tolist() == [0, 255]


def test_silence_stays_silent():
    assert abs(float(wavernn.from_classes(wavernn.to_classes(0.0)))) < 1e-4


def odds_of_last(network, classes, gates):
    """What a plain GRU of Keras' gives for the odds of the sample after the given ones."""
    cell = tf.keras.layers.GRUCell(network.hidden.units)
    cell.build([None, gates.shape[1]])
    cell.kernel.assign(np.eye(gates.shape[1]))
    cell.recurrent_kernel.assign(network.recurrent.kernel)
    cell.bias.assign(np.stack([np.zeros(gates.shape[1]), network.recurrent.bias]))
    state = tf.zeros([1, network.hidden.units])
    embeddings = network.sample_to_gates.embeddings.numpy()
    rows = []
    for last, frame in zip([wavernn.SILENCE, *classes[:-1]], gates, strict=True):
        _, (state,) = cell((frame + embeddings[last])[np.newaxis], [state])
        rows.append(tf.nn.softmax(network.odds(network.hidden(state)))[0].numpy())
    return np.array(rows)


def test_samples_are_drawn_from_the_odds_of_a_plain_gru(instrument):
    """Each class is where its draw falls among the odds that Keras' GRU has for it."""
    network = instrument.network
    network.odds.bias.assign(np.random.default_rng(0).normal(0.0, 2.0, 256))
    network.recurrent.bias.assign(np.random.default_rng(1).normal(0.0, 1.0, 24))
    f0_hz, loudness_db, z = curves(3)
    draws = tf.random.stateless_uniform([25, 128, 1], seed=(0, 0))
    features = {"f0_hz": f0_hz[None], "loudness_db": loudness_db[None]}
    features = {name: tf.constant(x, tf.float32) for name, x in features.items()}
    features |= network.preprocessor(features, training=False)
    gates = network._gates(features | {"z": tf.constant(z[None], tf.float32)}, False)[0].numpy()
    frames = np.concatenate([gates, np.repeat(gates[-1:], 23, axis=0)])
    played, _ = network._sample(
        tf.constant(frames[:, None]), draws, tf.zeros([1, 8]), tf.fill([1], wavernn.SILENCE)
    )
    classes = np.ravel(played)[: 3 * 128]
    between = np.stack(
        [np.interp(np.arange(3 * 128) / 128, np.arange(4), frames[:4, k]) for k in range(24)], 1
    )
    below = np.cumsum(odds_of_last(network, classes, between.astype(np.float32)), axis=1)
    below, draws = np.pad(below, [(0, 0), (1, 0)]), np.ravel(draws)[: 3 * 128]
    rows = np.arange(len(classes))
    assert (below[rows, classes] <= draws + 1e-5).all()
    assert (draws <= below[rows, classes + 1] + 1e-5).all()
    assert len(np.unique(classes)) > 20


def test_the_loss_is_the_cross_entropy_of_the_odds(instrument):
    """With odds that hear nothing it is known: that of the odds against what there is."""
    network = instrument.network
    odds = np.random.default_rng(0).normal(size=256).astype(np.float32)
    network.odds.kernel.assign(tf.zeros_like(network.odds.kernel))
    network.odds.bias.assign(odds)
    f0_hz, loudness_db, _ = curves(20)
    audio = np.full(20 * 128, 0.1, np.float32)
    batch = {"f0_hz": f0_hz, "loudness_db": loudness_db, "audio": audio}
    batch = {name: tf.constant(x[np.newaxis], tf.float32) for name, x in batch.items()}
    _, losses = network(batch, training=True, return_losses=True)
    class_of_it = int(np.round(127.5 * (1.0 + librosa.mu_compress(0.1, quantize=False))))
    expected = np.log(np.exp(odds).sum()) - odds[class_of_it]
    assert float(losses["total_loss"]) == pytest.approx(expected, rel=1e-4)


def test_windows_are_cut_where_their_frames_are(instrument):
    """Sample and frame of a ramp tell the time that each was taken from."""
    n_frames = 40
    classes = tf.tile(tf.range(n_frames * 128)[tf.newaxis], [2, 1])
    frames = tf.tile(tf.range(n_frames, dtype=tf.float32)[tf.newaxis, :, tf.newaxis], [2, 1, 1])
    before, following, frames = instrument.network._cut(classes, frames)
    np.testing.assert_array_equal(np.maximum(following - 1, 0), np.where(following, before, 0))
    within = (following[0] < (n_frames - 8) * 128).numpy()  # the last frame is but repeated
    between = instrument.network._between(frames)[..., 0].numpy()
    np.testing.assert_allclose(between[:, within], (following.numpy() / 128)[:, within], rtol=1e-5)
    assert len(set(following[0].numpy())) > 2  # from here and there


def test_it_plays_the_same_with_the_same_draws(instrument):
    def play(n_frames):
        tf.random.get_global_generator().reset_from_seed(0)
        return instrument.play(*(curve[:n_frames] for curve in curves(30)))

    one = play(30)
    assert one.shape == (30 * 128,) and np.abs(one).max() <= 1.0
    np.testing.assert_array_equal(one, play(30))
    np.testing.assert_array_equal(one[: 26 * 128], play(27)[: 26 * 128])  # whatever comes later


def test_a_batch_is_played_as_each_alone(instrument):
    """Up to what the draws are: with certain odds they do not matter."""
    network = instrument.network
    network.odds.kernel.assign(1e4 * network.odds.kernel)
    f0_hz, loudness_db, z = curves(5)
    alone = [instrument.play(f0_hz, db, z) for db in (loudness_db, loudness_db[::-1])]
    features = {
        "f0_hz": np.stack([f0_hz, f0_hz]),
        "loudness_db": np.stack([loudness_db, loudness_db[::-1]]),
    }
    features = {name: tf.constant(x, tf.float32) for name, x in features.items()}
    features |= network.preprocessor(features, training=False)
    features["z"] = tf.constant(np.stack([z, z]), tf.float32)
    together = network.decode(features).numpy()
    for one, other in zip(together, alone, strict=True):
        assert np.mean(one == other) > 0.99


def test_it_learns_and_comes_back_from_its_bundle(instrument, tmp_path):
    examples = tiny_training.EXAMPLES
    history = loop.train(instrument, examples, tmp_path / "run", 50, learning_rate=1e-2)
    assert history.heldout_loss[-1] < np.log(256) - 0.3  # that of knowing nothing
    instrument.statistics = tiny_instrument.STATISTICS
    bundles.save(instrument, tmp_path / "bundle")
    loaded = bundles.load(tmp_path / "bundle")
    for ours, theirs in zip(
        instrument.network.get_weights(), loaded.network.get_weights(), strict=True
    ):
        np.testing.assert_array_equal(ours, theirs)


def test_timbre_transfer_wants_synthesizers(instrument, refused):
    note = 0.3 * np.sin(2 * np.pi * 220 * np.arange(16000) / 16000)
    instrument.statistics = tiny_instrument.STATISTICS
    with refused("harmonics and noise"):
        session.transfer_audio(note.astype(np.float32), 16000, instrument)
