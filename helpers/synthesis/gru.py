"""Keras' GRU, faster on a CPU. See Cho et al. 2014, in the variant that cuDNN computes."""

from typing import Any

from helpers.synthesis.xla import compiled
from helpers.tensorflow_import import tf

FRAMES_AT_ONCE = 250  # of clips of any length


class Gru(tf.keras.layers.GRU):
    """Keras' GRU with a gradient that sums the weights' gradients once, not at every frame.

    Its weights are those of `tf.keras.layers.GRU` with its defaults. On a GPU it calls that layer,
    which uses cuDNN there. It returns the states of all frames, beginning with zeros or, as Keras'
    own does, with `initial_state`.
    """

    def call(
        self,
        inputs: tf.Tensor,
        training: bool | None = None,
        initial_state: tf.Tensor | None = None,
        **kwargs: Any,
    ) -> tf.Tensor:
        """States [batch, n_frames, units] of inputs [batch, n_frames, channels]."""
        if tf.config.list_physical_devices("GPU"):
            return super().call(inputs, training=training, initial_state=initial_state, **kwargs)
        kernel, recurrent_kernel, biases = (
            tf.cast(weights, inputs.dtype)
            for weights in (self.cell.kernel, self.cell.recurrent_kernel, self.cell.bias)
        )
        frames = tf.tensordot(tf.transpose(inputs, [1, 0, 2]), kernel, 1) + biases[0]
        # All clips of a training have one length, and so have blocks that continue others. In other
        # calls the frames are split into blocks of one length, which is compiled once.
        n_frames = frames.shape[0]
        length = n_frames if training or initial_state is not None else FRAMES_AT_ONCE
        frames = tf.pad(frames, [[0, -n_frames % length], [0, 0], [0, 0]])
        start = tf.zeros_like(frames[0, :, : self.units])
        if initial_state is not None:
            start = tf.cast(tf.nest.flatten(initial_state)[0], inputs.dtype)
        states = [start[tf.newaxis]]
        for block in tf.split(frames, frames.shape[0] // length):
            states.append(recur(block, recurrent_kernel, biases[1], states[-1][-1]))
        return tf.transpose(tf.concat(states[1:], axis=0)[:n_frames], [1, 0, 2])


@tf.custom_gradient
def recur(frames: tf.Tensor, kernel: tf.Tensor, bias: tf.Tensor, start: tf.Tensor) -> tf.Tensor:
    """States of a GRU.

    Args:
      frames: The inputs' part of update, reset and candidate. Shape [n_frames, batch, 3 units].
      kernel: Weights of the last state in them. Shape [units, 3 units].
      bias: Of the last state's part. Shape [3 units].
      start: The state before the first frame. Shape [batch, units].

    Returns:
      Shape [n_frames, batch, units].
    """
    arguments = frames, kernel, bias, start
    # Without stop_gradient TensorFlow would keep the loop's intermediates, which XLA does not give.
    states = _states(*map(tf.stop_gradient, arguments))
    return states, lambda upstream: _gradients(*arguments, states, upstream)


@compiled
def _states(frames, kernel, bias, start):
    def step(last, frame):
        update, _, candidate, _ = gates_of(frame, tf.matmul(last, kernel) + bias)
        return candidate + update * (last - candidate)

    return tf.scan(step, frames, start)


def gates_of(frames: tf.Tensor, recurrent: tf.Tensor) -> tuple[tf.Tensor, ...]:
    """Update, reset, candidate, and the last state's part of the candidate, all [..., units]."""
    to_update, to_reset, to_candidate = tf.split(recurrent, 3, axis=-1)
    update, reset, candidate = tf.split(frames, 3, axis=-1)
    update, reset = tf.sigmoid(update + to_update), tf.sigmoid(reset + to_reset)
    return update, reset, tf.tanh(candidate + reset * to_candidate), to_candidate


@compiled
def _gradients(frames, kernel, bias, start, states, upstream):
    """Gradients of `recur` for its arguments.

    All gates are computed again, for all frames at once. Then only the gradient of the state has to
    go back through time, frame by frame.
    """
    lasts = tf.concat([start[tf.newaxis], states[:-1]], axis=0)
    update, reset, candidate, to_candidate = gates_of(frames, tf.tensordot(lasts, kernel, 1) + bias)
    # How the state depends on what goes into each gate.
    of_update = (lasts - candidate) * update * (1.0 - update)
    of_candidate = (1.0 - update) * (1.0 - tf.square(candidate))
    of_reset = of_candidate * to_candidate * reset * (1.0 - reset)
    of_gates = tf.stack([of_update, of_reset, of_candidate * reset], axis=2)
    transposed = tf.transpose(kernel)

    def step_back(later, frame):
        upstream, of_gates, update = frame
        state = upstream + later
        gates = tf.reshape(state[:, tf.newaxis] * of_gates, [-1, kernel.shape[1]])
        return tf.matmul(gates, transposed) + state * update

    zeros = tf.zeros_like(start)
    to_lasts = tf.scan(step_back, (upstream, of_gates, update), zeros, reverse=True)
    state = upstream + tf.concat([to_lasts[1:], zeros[tf.newaxis]], axis=0)
    gates = tf.reshape(state[:, :, tf.newaxis] * of_gates, tf.shape(frames))
    to_frames = tf.concat([gates[..., : 2 * kernel.shape[0]], state * of_candidate], axis=-1)
    to_kernel = tf.tensordot(lasts, gates, [[0, 1], [0, 1]])
    return to_frames, to_kernel, tf.reduce_sum(gates, axis=[0, 1]), to_lasts[0]
