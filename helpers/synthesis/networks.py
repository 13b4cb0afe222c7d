"""The networks between the features of a clip and the controls of its synthesizers.

Shapes: all are [batch, n_frames, channels]. All are registered with gin.
"""

from collections.abc import Sequence
from typing import Any

import gin
import numpy as np

from helpers.synthesis.ddsp_import import ddsp
from helpers.synthesis.gru import Gru
from helpers.synthesis.xla import compiled
from helpers.tensorflow_import import tf

layers = tf.keras.layers

# What decoders give to the synthesizers, and how many channels of each.
SPLITS = (("amps", 1), ("harmonic_distribution", 60), ("noise_magnitudes", 65))


@gin.register
class ScaleFeatures(ddsp.training.nn.DictLayer):
    """Brings f0 and loudness into the range of 0 to 1, as ddsp's F0LoudnessPreprocessor does.

    It does not resample the features. Nor does it compute the loudness again from the audio, as
    ddsp does, which would undo every edit of the loudness.
    """

    def __init__(self, loudness_range_db: float = 80.0, **kwargs: Any) -> None:
        """Takes the range of loudness in dB that becomes 0 to 1: 80, or 120 before ddsp 2.0."""
        super().__init__(**kwargs)
        self.loudness_range_db = loudness_range_db

    # ddsp reads the names of what a layer takes and returns from its signature.
    def call(self, loudness_db: tf.Tensor, f0_hz: tf.Tensor) -> ["f0_hz", "f0_scaled", "ld_scaled"]:  # type: ignore  # noqa: F821
        """Scales f0 and loudness and gives them a channel: [batch, n_frames] to [..., 1]."""
        f0_hz = ddsp.training.preprocessing.at_least_3d(f0_hz)
        loudness_db = ddsp.training.preprocessing.at_least_3d(loudness_db)
        f0_scaled = ddsp.training.preprocessing.scale_f0_hz(f0_hz)
        return f0_hz, f0_scaled, loudness_db / self.loudness_range_db + 1.0


@gin.register
class PitchFeatures(ddsp.training.nn.DictLayer):
    """Scales pitch to about -1 to 1, and tells where in the octave it lies, by sine and cosine.

    Unlike `ScaleFeatures` it leaves the loudness to the decoder.
    """

    # ddsp reads the names of what a layer takes and returns from its signature.
    def call(
        self, loudness_db: tf.Tensor, f0_hz: tf.Tensor
    ) -> ["f0_hz", "loudness_db", "f0_scaled", "pitch_class"]:  # type: ignore  # noqa: F821
        """Features of [batch, n_frames] to [..., 1], and `pitch_class` [..., 2]."""
        f0_hz = ddsp.training.preprocessing.at_least_3d(f0_hz)
        loudness_db = ddsp.training.preprocessing.at_least_3d(loudness_db)
        octaves = tf.math.log(f0_hz / 440.0) / np.float32(np.log(2.0))
        turns = 2.0 * np.pi * octaves
        place = tf.concat([tf.sin(turns), tf.cos(turns)], axis=-1)
        return f0_hz, loudness_db, octaves / 2.0, place


class LayerNorm(tf.keras.layers.LayerNormalization):
    """Keras' layer normalization of the last axis, compiled into one pass in training.

    Keras calls a kernel for batch normalization, which takes several times as long on a CPU.
    """

    def call(self, inputs: tf.Tensor, training: bool | None = None) -> tf.Tensor:
        """Normalizes [..., channels]."""
        normalize = _normalize_and_back if training else _normalize
        return normalize(inputs, self.gamma, self.beta, tf.constant(self.epsilon))


def _normalize(inputs, gamma, beta, epsilon):
    whole = tf.cast(inputs, tf.float32)  # squares easily exceed the range of float16
    centred = whole - tf.reduce_mean(whole, axis=-1, keepdims=True)
    variance = tf.reduce_mean(tf.square(centred), axis=-1, keepdims=True)
    return tf.cast(centred * tf.math.rsqrt(variance + epsilon) * gamma + beta, inputs.dtype)


@tf.custom_gradient
def _normalize_and_back(inputs, gamma, beta, epsilon):
    """As `_normalize`, with a gradient for which only the inputs are kept in memory."""
    arguments = inputs, gamma, beta, epsilon
    return (
        _compiled_normalize(*arguments),
        lambda upstream: (*_normalize_gradients(*arguments, upstream), None),
    )


@compiled
def _normalize_gradients(inputs, gamma, beta, epsilon, upstream):
    with tf.GradientTape() as tape:
        tape.watch((inputs, gamma, beta))
        outputs = _normalize(inputs, gamma, beta, epsilon)
    return tape.gradient(outputs, (inputs, gamma, beta), upstream)


_compiled_normalize = compiled(_normalize)


class Stack(tf.keras.Sequential):
    """ddsp's `FcStack`: several times a dense layer, normalization and leaky ReLU."""

    def __init__(self, channels: int, n_layers: int) -> None:
        super().__init__([self._layer(channels) for _ in range(n_layers)])

    @staticmethod
    def _layer(channels):
        parts = layers.Dense(channels), LayerNorm(), layers.Activation(tf.nn.leaky_relu)
        return tf.keras.Sequential(parts)


@gin.register
class GruDecoder(ddsp.training.decoders.RnnFcDecoder):
    """ddsp's decoder of dense stacks around a GRU, with the faster GRU and normalization."""

    def __init__(
        self,
        rnn_channels: int = 512,
        ch: int = 512,
        layers_per_stack: int = 3,
        input_keys: Sequence[str] = ("ld_scaled", "f0_scaled"),
        output_splits: Sequence[tuple[str, int]] = SPLITS,
        **kwargs: Any,
    ) -> None:
        super().__init__(
            rnn_channels, "gru", ch, layers_per_stack, False, input_keys, output_splits, **kwargs
        )
        # In ddsp's order and under ddsp's names, so that ddsp's checkpoints fit.
        self.input_stacks = [Stack(ch, layers_per_stack) for _ in input_keys]
        self.rnn = ddsp.training.nn.Rnn(rnn_channels, "gru")
        self.rnn.rnn = Gru(rnn_channels, return_sequences=True)
        self.out_stack = Stack(ch, layers_per_stack)
        self.dense_out = layers.Dense(sum(n_channels for _, n_channels in output_splits))

    def start(self) -> tf.Tensor:
        """The state before the first frame, for `step`."""
        return tf.zeros([1, self.rnn.rnn.units], self.compute_dtype)

    def step(
        self, features: dict[str, tf.Tensor], state: tf.Tensor
    ) -> tuple[dict[str, tf.Tensor], tf.Tensor]:
        """Decodes frames that follow those which left a state; returns controls and new state."""
        inputs = [
            stack(features[key])
            for stack, key in zip(self.input_stacks, self.input_keys, strict=True)
        ]
        states = self.rnn.rnn(tf.concat(inputs, axis=-1), initial_state=state)
        outputs = self.dense_out(self.out_stack(tf.concat([*inputs, states], axis=-1)))
        return ddsp.training.nn.split_to_dict(outputs, self.output_splits), states[:, -1]


@gin.register
class ConvDecoder(ddsp.training.nn.OutputSplitsLayer):
    """Decodes scaled features to raw synthesizer controls by dilated causal convolutions.

    Every frame depends on the frames before it as far as the dilations reach, as in WaveNet (van
    den Oord et al. 2016), with residual connections. ddsp's GRU computes frame after frame, a
    convolution all frames at once.
    """

    def __init__(
        self,
        channels: int = 128,
        kernel_size: int = 3,
        dilations: Sequence[int] = (1, 2, 4, 8, 16, 1, 2, 4, 8, 16),
        input_keys: Sequence[str] = ("ld_scaled", "f0_scaled"),
        output_splits: Sequence[tuple[str, int]] = SPLITS,
        **kwargs: Any,
    ) -> None:
        super().__init__(input_keys=input_keys, output_splits=output_splits, **kwargs)
        self.input_stack = Stack(channels, 2)
        self.norms = [LayerNorm() for _ in dilations]
        self.convolutions = [
            layers.Conv1D(channels, kernel_size, padding="causal", dilation_rate=rate)
            for rate in dilations
        ]
        self.output_stack = Stack(channels, 2)

    def compute_output(self, *inputs: tf.Tensor) -> tf.Tensor:
        """Inputs of shape [batch, n_frames, channels] each to [batch, n_frames, channels]."""
        # Keras casts only the first of several inputs to the precision of the layer.
        inputs = tf.concat([tf.cast(x, self.compute_dtype) for x in inputs], axis=-1)
        x = self.input_stack(inputs)
        for convolve, normalize in zip(self.convolutions, self.norms, strict=True):
            x = x + tf.nn.leaky_relu(normalize(convolve(x)))
        return self.output_stack(tf.concat([x, inputs], axis=-1))

    def start(self) -> list[tf.Tensor]:
        """The state before the first frame, for `step`: past inputs of the convolutions, zeros."""
        return [
            tf.zeros([1, self._reach(convolve), convolve.filters], self.compute_dtype)
            for convolve in self.convolutions
        ]

    def step(
        self, features: dict[str, tf.Tensor], state: list[tf.Tensor]
    ) -> tuple[dict[str, tf.Tensor], list[tf.Tensor]]:
        """Decodes frames that follow those which left a state; returns controls and new state."""
        inputs = tf.concat(
            [tf.cast(features[key], self.compute_dtype) for key in self.input_keys], axis=-1
        )
        x, new_state = self.input_stack(inputs), []
        for convolve, normalize, past in zip(self.convolutions, self.norms, state, strict=True):
            reach = past.shape[1]
            seen = tf.concat([past, x], axis=1)
            new_state.append(seen[:, seen.shape[1] - reach :])
            x = x + tf.nn.leaky_relu(normalize(convolve(seen)[:, reach:]))
        outputs = self.dense_out(self.output_stack(tf.concat([x, inputs], axis=-1)))
        return ddsp.training.nn.split_to_dict(outputs, self.output_splits), new_state

    @staticmethod
    def _reach(convolve):
        """Number of past frames on which a convolution depends."""
        return (convolve.kernel_size[0] - 1) * convolve.dilation_rate[0]
