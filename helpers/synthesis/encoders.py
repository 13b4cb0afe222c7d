"""Encoders of z(t): what a sound has beside its f0 and loudness, such as a vowel.

Registered with gin.
"""

from typing import Any

import gin

from helpers.synthesis.ddsp_import import ddsp
from helpers.synthesis.gru import Gru
from helpers.tensorflow_import import tf

layers = tf.keras.layers

WINDOW_SECONDS = 0.064
MEL_BANDS = 128
MEL_RANGE_HZ = (20.0, 8000.0)  # at every sample rate, so that z means the same
N_MFCCS = 30
MFCC_SCALE = 2.0  # the usual standard deviation of each but the first, over instruments and time
FLOOR = 1e-5  # of all magnitudes before their logarithm; ddsp's replaces zeros alone


def mfccs(audio: tf.Tensor, hop_size: int, sample_rate: int) -> tf.Tensor:
    """Mel-frequency cepstral coefficients, as `ddsp.spectral_ops.compute_mfcc` computes them.

    A frame of ddsp's begins at its time, and only a few frame rates are possible. A frame here is
    centred on its time, as the frames of f0 and loudness are, at any hop size.

    Args:
      audio: Shape [batch, n_samples].
      hop_size: Samples from frame to frame.
      sample_rate: Hz.

    Returns:
      Shape [batch, 1 + n_samples // hop_size, 30].
    """
    before, after = margins(sample_rate)
    return mfccs_of_windows(tf.pad(audio, [[0, 0], [before, after]]), hop_size, sample_rate)


def margins(sample_rate: int) -> tuple[int, int]:
    """Samples that the window of a frame takes in before and after the time of the frame."""
    window_size = round(WINDOW_SECONDS * sample_rate)
    return window_size // 2, window_size - window_size // 2


def mfccs_of_windows(audio: tf.Tensor, hop_size: int, sample_rate: int) -> tf.Tensor:
    """The coefficients of all windows that lie within the audio.

    Args:
      audio: It begins and ends with the `margins` of its first and last frame. Shape
        [batch, n_samples].
      hop_size: Samples from frame to frame.
      sample_rate: Hz.

    Returns:
      Shape [batch, n_frames, 30].
    """
    window_size = sum(margins(sample_rate))
    magnitudes = tf.abs(tf.signal.stft(audio, window_size, hop_size))
    to_mel = tf.signal.linear_to_mel_weight_matrix(
        MEL_BANDS, magnitudes.shape[-1], sample_rate, *MEL_RANGE_HZ
    )
    log_mel = tf.math.log(tf.maximum(tf.matmul(magnitudes, to_mel), FLOOR))
    return tf.signal.mfccs_from_log_mel_spectrograms(log_mel)[..., :N_MFCCS]


@gin.register
class FramewiseMfccEncoder(ddsp.training.nn.DictLayer):
    """Encodes MFCCs by a GRU, as ddsp's MfccTimeDistributedRnnEncoder, with two differences.

    z has the frames of the other features, for a clip of any length. And ddsp normalizes each
    coefficient over the clip, which removes what distinguishes one instrument from another. This
    encoder removes only the first coefficient, the level, which loudness has already.
    """

    def __init__(
        self,
        rnn_channels: int = 512,
        z_dims: int = 16,
        hop_size: int = 64,
        sample_rate: int = 16000,
        **kwargs: Any,
    ) -> None:
        # The inner layers cast their inputs; in half precision the spectrum would be noise.
        super().__init__(autocast=False, **kwargs)
        self.z_dims = z_dims
        self.hop_size = hop_size
        self.sample_rate = sample_rate
        self.rnn = Gru(rnn_channels, return_sequences=True)
        self.dense_out = layers.Dense(z_dims)

    # ddsp reads the names of what a layer takes and returns from its signature.
    def call(self, audio: tf.Tensor, f0_scaled: tf.Tensor) -> ["z"]:  # type: ignore  # noqa: F821
        """[batch, n_samples] to z [batch, n_frames, z_dims], of as many frames as f0 has."""
        coefficients = mfccs(audio, self.hop_size, self.sample_rate)[:, : f0_scaled.shape[1]]
        return self.dense_out(self.rnn(coefficients[:, :, 1:] / MFCC_SCALE))

    def start(self) -> tf.Tensor:
        """The state before the first frame, for `step`. Shape [1, rnn_channels]."""
        return tf.zeros([1, self.rnn.units], self.compute_dtype)

    def step(self, audio: tf.Tensor, state: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """Encodes frames that follow those which left a state.

        Args:
          audio: The frames' samples and their `margins`. Shape [1, n_samples].
          state: From `start`, or from the step before.

        Returns:
          z [1, n_frames, z_dims], and the new state.
        """
        coefficients = mfccs_of_windows(audio, self.hop_size, self.sample_rate)
        states = self.rnn(coefficients[:, :, 1:] / MFCC_SCALE, initial_state=state)
        return self.dense_out(states), states[:, -1]
