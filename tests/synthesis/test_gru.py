"""gru against Keras."""

import numpy as np
import pytest
import tensorflow as tf
from gradients import relative_error, value_and_gradients

from helpers.synthesis import gru


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("batch_size, n_frames, units", [(3, 50, 8), (1, 1, 4), (2, 300, 16)])
def test_gru_equals_keras_in_value_and_gradient(batch_size, n_frames, units, training):
    random = np.random.default_rng(0)
    inputs, target = (
        tf.constant(random.normal(size=[batch_size, n_frames, n]).astype(np.float32))
        for n in (5, units)
    )
    kerases = tf.keras.layers.GRU(units, return_sequences=True)
    ours = gru.Gru(units, return_sequences=True)
    kerases(inputs), ours(inputs)
    weights = [random.normal(size=w.shape, scale=0.5) for w in kerases.get_weights()]
    kerases.set_weights(weights), ours.set_weights(weights)
    results = [
        value_and_gradients(layer, inputs, target, training=training) for layer in (ours, kerases)
    ]
    for our, kerases in zip(*results, strict=True):
        assert relative_error(our, kerases) < 1e-5


def test_gru_takes_clips_of_any_length():
    layer = gru.Gru(4, return_sequences=True)
    inputs = np.random.default_rng(0).normal(size=[1, 30, 3]).astype(np.float32)
    whole = layer(inputs)
    for n_frames in (1, 7, 29):
        np.testing.assert_allclose(layer(inputs[:, :n_frames]), whole[:, :n_frames], atol=1e-6)
