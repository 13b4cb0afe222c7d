"""The networks between the curves of a clip and the controls of its synthesizers.

Shapes: all are [batch, n_frames, channels]. All are registered with gin.
"""

import gin

from helpers.ddsp_import import ddsp
from helpers.tensorflow_import import tf

layers = tf.keras.layers


@gin.register
class ScaleFeatures(ddsp.training.nn.DictLayer):
    """Brings f0 and loudness into the range of 0 to 1, as ddsp's F0LoudnessPreprocessor does.

    The features are taken as they are: neither resampled nor, as there, computed again from the
    audio, which would undo every edit of the loudness.
    """

    # ddsp reads the names of what a layer takes and returns from its signature.
    def call(self, loudness_db, f0_hz) -> ["f0_hz", "f0_scaled", "ld_scaled"]:  # noqa: F821
        """Scales both curves and gives them a channel: [batch, n_frames] to [..., 1]."""
        f0_hz = ddsp.training.preprocessing.at_least_3d(f0_hz)
        loudness_db = ddsp.training.preprocessing.at_least_3d(loudness_db)
        f0_scaled = ddsp.training.preprocessing.scale_f0_hz(f0_hz)
        return f0_hz, f0_scaled, ddsp.training.preprocessing.scale_db(loudness_db)


class LayerNorm(layers.LayerNormalization):
    """Keras' layer normalization of the last axis, in operations that XLA joins into one.

    Keras calls its kernel for batch normalization, which on a CPU takes several times as long.
    """

    def call(self, inputs):
        """Normalizes [..., channels]."""
        whole = tf.cast(inputs, tf.float32)  # squares are soon beyond float16
        centred = whole - tf.reduce_mean(whole, axis=-1, keepdims=True)
        variance = tf.reduce_mean(tf.square(centred), axis=-1, keepdims=True)
        scale = tf.math.rsqrt(variance + self.epsilon)
        return tf.cast(centred * scale * self.gamma + self.beta, inputs.dtype)


class Stack(tf.keras.Sequential):
    """ddsp's `FcStack`: dense layer, normalization, leaky ReLU, and that several times."""

    def __init__(self, channels, n_layers):
        super().__init__([self._layer(channels) for _ in range(n_layers)])

    @staticmethod
    def _layer(channels):
        parts = layers.Dense(channels), LayerNorm(), layers.Activation(tf.nn.leaky_relu)
        return tf.keras.Sequential(parts)


class Gru(layers.GRU):
    """Keras' GRU with a gradient that adds up the weights' once, instead of at every frame.

    Its weights are those of `tf.keras.layers.GRU` with its defaults, whose own way it goes on a
    GPU, where that is cuDNN's. See Cho et al. 2014, in the variant that cuDNN computes.
    """

    def build(self, input_shape):
        """Makes Keras' weights."""
        super().build(input_shape)
        units, dtype = self.units, self.compute_dtype
        shapes = [None, None, 3 * units], [units, 3 * units], [3 * units]
        # A graph also where it is called eagerly: a loop over frames in Python takes seconds.
        self._recur = tf.function(
            _recur, [tf.TensorSpec(shape, dtype) for shape in shapes], autograph=False
        )

    def call(self, inputs, **kwargs):
        """States [batch, n_frames, units] of inputs [batch, n_frames, channels]."""
        if tf.config.list_physical_devices("GPU"):
            return super().call(inputs, **kwargs)
        kernel, recurrent_kernel, biases = (
            tf.cast(w, inputs.dtype)
            for w in (self.cell.kernel, self.cell.recurrent_kernel, self.cell.bias)
        )
        frames = tf.tensordot(tf.transpose(inputs, [1, 0, 2]), kernel, 1) + biases[0]
        return tf.transpose(self._recur(frames, recurrent_kernel, biases[1]), [1, 0, 2])


@tf.custom_gradient
def _recur(frames, kernel, bias):
    """States [n_frames, batch, units] of a GRU that starts from zeros.

    Going back through time carries the gradient of the state alone; that of the weights is one
    matrix product when the loop is done.

    Args:
      frames: What the inputs give to update, reset and candidate. Shape [n_frames, batch, 3 units].
      kernel: What the last state gives to them. Shape [units, 3 units].
      bias: Of that share. Shape [3 units].
    """
    zeros = tf.zeros_like(frames[0, :, : kernel.shape[0]])

    def step(last, frame):
        to_update, to_reset, to_candidate = tf.split(tf.matmul(last[0], kernel) + bias, 3, -1)
        update, reset, candidate = tf.split(frame, 3, -1)
        update, reset = tf.sigmoid(update + to_update), tf.sigmoid(reset + to_reset)
        candidate = tf.tanh(candidate + reset * to_candidate)
        state = update * last[0] + (1.0 - update) * candidate
        return state, update, reset, candidate, to_candidate

    states, updates, resets, candidates, to_candidates = tf.scan(step, frames, (zeros,) * 5)

    def gradient(upstream):
        lasts = tf.concat([zeros[tf.newaxis], states[:-1]], 0)
        # The share of the state's gradient that goes through each gate, at its input.
        through_update = (lasts - candidates) * updates * (1.0 - updates)
        through_candidate = (1.0 - updates) * (1.0 - tf.square(candidates))
        through_reset = through_candidate * to_candidates * resets * (1.0 - resets)
        shares = tf.concat([through_update, through_reset, through_candidate * resets], -1)

        def step_back(later, frame):
            state, share, update = frame
            state += later[0]
            gates = tf.tile(state, [1, 3]) * share
            return tf.matmul(gates, kernel, transpose_b=True) + state * update, gates, state

        start = zeros, tf.tile(zeros, [1, 3]), zeros
        _, gates, all_states = tf.scan(step_back, (upstream, shares, updates), start, reverse=True)
        to_frames = tf.concat(
            [gates[..., : 2 * zeros.shape[-1]], all_states * through_candidate], -1
        )
        return to_frames, tf.tensordot(lasts, gates, [[0, 1], [0, 1]]), tf.reduce_sum(gates, [0, 1])

    return states, gradient


@gin.register
class GruDecoder(ddsp.training.decoders.RnnFcDecoder):
    """ddsp's decoder of dense stacks around a GRU, with the GRU and the normalization from here."""

    def __init__(
        self,
        rnn_channels=512,
        ch=512,
        layers_per_stack=3,
        input_keys=("ld_scaled", "f0_scaled"),
        output_splits=(("amps", 1), ("harmonic_distribution", 60), ("noise_magnitudes", 65)),
        **kwargs,
    ):
        super().__init__(
            rnn_channels, "gru", ch, layers_per_stack, False, input_keys, output_splits, **kwargs
        )
        # In ddsp's order and under ddsp's names, for weights to go from one to the other.
        self.input_stacks = [Stack(ch, layers_per_stack) for _ in input_keys]
        self.rnn = ddsp.training.nn.Rnn(rnn_channels, "gru")
        self.rnn.rnn = Gru(rnn_channels, return_sequences=True)
        self.out_stack = Stack(ch, layers_per_stack)
        self.dense_out = layers.Dense(sum(n_channels for _, n_channels in output_splits))


@gin.register
class ConvDecoder(ddsp.training.nn.OutputSplitsLayer):
    """Scaled features to raw synthesizer controls by dilated causal convolutions.

    Every frame sees the frames before it as far as the dilations reach, as in WaveNet (van den
    Oord et al. 2016), with residual connections. Where ddsp's GRU takes a clip frame after
    frame, a convolution takes all frames at once.
    """

    def __init__(
        self,
        channels=128,
        kernel_size=3,
        dilations=(1, 2, 4, 8, 16, 1, 2, 4, 8, 16),
        input_keys=("ld_scaled", "f0_scaled"),
        output_splits=(("amps", 1), ("harmonic_distribution", 60), ("noise_magnitudes", 65)),
        **kwargs,
    ):
        super().__init__(input_keys=input_keys, output_splits=output_splits, **kwargs)
        self.input_stack = Stack(channels, 2)
        self.norms = [LayerNorm() for _ in dilations]
        self.convolutions = [
            layers.Conv1D(channels, kernel_size, padding="causal", dilation_rate=rate)
            for rate in dilations
        ]
        self.output_stack = Stack(channels, 2)

    def compute_output(self, *inputs):
        """Inputs of shape [batch, n_frames, channels] each to [batch, n_frames, channels]."""
        # Of several inputs Keras casts the first alone to the precision of the layer.
        inputs = tf.concat([tf.cast(x, self.compute_dtype) for x in inputs], axis=-1)
        x = self.input_stack(inputs)
        for convolve, normalize in zip(self.convolutions, self.norms, strict=True):
            x = x + tf.nn.leaky_relu(normalize(convolve(x)))
        return self.output_stack(tf.concat([x, inputs], axis=-1))
