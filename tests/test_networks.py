"""helpers.networks against ddsp's own layers and closed forms."""

import numpy as np
import pytest
import tensorflow as tf

from helpers import networks
from helpers.ddsp_import import ddsp


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
