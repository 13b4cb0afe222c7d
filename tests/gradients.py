"""Values and gradients of two layers, side by side."""

import numpy as np
import tensorflow as tf


def value_and_gradients(layer, inputs, target, **options):
    """A layer's value, and the gradients of its product with a target for inputs and weights."""
    with tf.GradientTape() as tape:
        tape.watch(inputs)
        value = layer(inputs, **options)
        loss = tf.reduce_sum(value * target)
    return [value, *tape.gradient(loss, [inputs, *layer.trainable_variables])]


def relative_error(found, true):
    """Length of the difference as a share of the true one's."""
    difference = np.linalg.norm(np.subtract(found, true, dtype=float))
    return difference / max(np.linalg.norm(np.asarray(true, float)), 1e-6)
