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
        self.input_stack = ddsp.training.nn.FcStack(channels, layers=2)
        self.norms = [layers.LayerNormalization() for _ in dilations]
        self.convolutions = [
            layers.Conv1D(channels, kernel_size, padding="causal", dilation_rate=rate)
            for rate in dilations
        ]
        self.output_stack = ddsp.training.nn.FcStack(channels, layers=2)

    def compute_output(self, *inputs):
        """Inputs of shape [batch, n_frames, 1] each to [batch, n_frames, channels]."""
        inputs = tf.concat(inputs, axis=-1)
        x = self.input_stack(inputs)
        for convolve, normalize in zip(self.convolutions, self.norms, strict=True):
            x = x + tf.nn.leaky_relu(normalize(convolve(x)))
        return self.output_stack(tf.concat([x, inputs], axis=-1))
