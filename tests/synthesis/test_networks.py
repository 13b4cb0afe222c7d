"""networks against ddsp's own layers and closed forms."""

import numpy as np
import pytest
import tensorflow as tf
from gradients import relative_error, value_and_gradients

from helpers.synthesis import networks
from helpers.synthesis.ddsp_import import ddsp


def test_features_are_scaled_as_in_ddsp():
    f0_hz = np.geomspace(30.0, 4000.0, 50, dtype=np.float32)[None]
    loudness_db = np.linspace(-80.0, 0.0, 50, dtype=np.float32)[None]
    ours = networks.ScaleFeatures()({"f0_hz": f0_hz, "loudness_db": loudness_db})
    ddsps = ddsp.training.preprocessing.F0LoudnessPreprocessor(50, compute_loudness=False)(
        {"f0_hz": f0_hz, "loudness_db": loudness_db}
    )
    for name in ("f0_hz", "f0_scaled", "ld_scaled"):
        assert ours[name].shape == (1, 50, 1)
        np.testing.assert_allclose(ours[name], ddsps[name], rtol=1e-6)
    # 0 to 1 is MIDI 0 to 127, and -80 to 0 dB.
    np.testing.assert_allclose(
        ours["f0_scaled"][0, :, 0], (69 + 12 * np.log2(f0_hz[0] / 440)) / 127, rtol=1e-5
    )
    np.testing.assert_allclose(ours["ld_scaled"][0, :, 0], loudness_db[0] / 80 + 1, atol=1e-6)


def test_edited_loudness_is_taken_as_it_is():
    """In ddsp's notebooks it is computed again from the audio, and edits change nothing."""
    features = {"f0_hz": np.full([1, 5], 440.0), "audio": np.zeros([1, 5 * 64])}
    scaled = [
        networks.ScaleFeatures()({**features, "loudness_db": np.full([1, 5], db)})["ld_scaled"]
        for db in (-60.0, -30.0)
    ]
    np.testing.assert_allclose(np.subtract(*scaled[::-1]), 30 / 80, rtol=1e-6)


@pytest.fixture(scope="module")
def decoder():
    tf.keras.utils.set_random_seed(0)
    splits = (("amps", 1), ("harmonic_distribution", 7), ("noise_magnitudes", 5))
    return networks.ConvDecoder(8, kernel_size=3, dilations=(1, 2), output_splits=splits)


def decode(decoder, f0_scaled, ld_scaled):
    features = {"f0_scaled": f0_scaled[None, :, None], "ld_scaled": ld_scaled[None, :, None]}
    return {name: value.numpy()[0] for name, value in decoder(features).items()}


def test_decoder_splits_its_output(decoder):
    output = decode(decoder, *np.random.default_rng(0).random((2, 40), np.float32))
    shapes = {name: value.shape for name, value in output.items()}
    assert shapes == {
        "amps": (40, 1),
        "harmonic_distribution": (40, 7),
        "noise_magnitudes": (40, 5),
    }


@pytest.mark.parametrize("changed", [0, 20, 39])
def test_decoder_sees_only_the_past(decoder, changed):
    """And of it as much as its dilations reach: 2 frames of kernel times 1 + 2."""
    f0_scaled, ld_scaled = np.random.default_rng(0).random((2, 40), np.float32)
    before = decode(decoder, f0_scaled, ld_scaled)["harmonic_distribution"]
    ld_scaled[changed] += 0.5
    after = decode(decoder, f0_scaled, ld_scaled)["harmonic_distribution"]
    differs = np.flatnonzero(np.abs(after - before).max(axis=1) > 1e-6)
    assert differs[0] == changed
    assert differs[-1] == min(changed + 2 * (1 + 2), 39)


@pytest.mark.parametrize("training", [True, False])
def test_normalization_equals_keras_in_value_and_gradient(training):
    random = np.random.default_rng(0)
    inputs, target = (
        tf.constant(random.normal(3.0, 2.0, size=[2, 9, 16]).astype(np.float32)) for _ in range(2)
    )
    weights = random.normal(size=[2, 16])
    kerases, ours = tf.keras.layers.LayerNormalization(), networks.LayerNorm()
    results = []
    for layer in (ours, kerases):
        layer(inputs), layer.set_weights(weights)
        options = {"training": training} if layer is ours else {}
        results.append(value_and_gradients(layer, inputs, target, **options))
    for our, kerases in zip(*results, strict=True):
        assert relative_error(our, kerases) < 1e-5


@pytest.mark.parametrize("training", [True, False])
def test_gru_decoder_equals_ddsps_in_value_and_gradient(training):
    splits = (("amps", 1), ("harmonic_distribution", 7), ("noise_magnitudes", 5))
    keys = ("ld_scaled", "f0_scaled")
    random = np.random.default_rng(0)
    inputs = {k: tf.constant(random.random([2, 40, 1], np.float32)) for k in keys}
    target = tf.constant(random.normal(size=[2, 40, 13]).astype(np.float32))
    ddsps = ddsp.training.decoders.RnnFcDecoder(
        16, "gru", 8, 3, input_keys=keys, output_splits=splits
    )
    ours = networks.GruDecoder(16, 8, 3, keys, splits)
    ddsps(inputs), ours(inputs)
    weights = [random.normal(size=w.shape, scale=0.5) for w in ddsps.get_weights()]
    results = []
    for decoder in (ours, ddsps):
        decoder.set_weights(weights)
        with tf.GradientTape() as tape:
            controls = decoder(inputs, training=training)
            outputs = tf.concat([controls[name] for name, _ in splits], axis=-1)
            loss = tf.reduce_sum(outputs * target)
        results.append([outputs, *tape.gradient(loss, decoder.trainable_variables)])
    for our, ddsps in zip(*results, strict=True):
        assert relative_error(our, ddsps) < 1e-4


def test_place_in_the_octave_is_the_same_in_all_octaves():
    f0_hz = np.array([[110.0, 220.0, 440.0, 466.16]], np.float32)
    made = networks.PitchFeatures()({"f0_hz": f0_hz, "loudness_db": 0.0 * f0_hz - 40.0})
    place = made["pitch_class"].numpy()[0]
    np.testing.assert_allclose(place[:3], [[0, 1]] * 3, atol=1e-4)
    np.testing.assert_allclose(place[3], [0.5, np.sqrt(0.75)], atol=1e-3)  # a twelfth of a turn
    np.testing.assert_allclose(made["f0_scaled"][0, :3, 0], [-1.0, -0.5, 0.0], atol=1e-6)
    np.testing.assert_allclose(made["loudness_db"][..., 0], -40.0)
