"""Losses of a sound and of an analysis.

ddsp's multi-scale spectral loss (Engel et al., ICLR 2020), faster and for any sample rate, and the
likelihood of the powers that `analysis.harmonics` finds.
"""

import functools
from collections.abc import Sequence

import gin
import librosa
import numpy as np

from helpers.analysis import features
from helpers.config import DB_PER_NEPER, SAMPLE_RATE
from helpers.synthesis.ddsp_import import ddsp
from helpers.synthesis.xla import compiled
from helpers.tensorflow_import import tf

MOST_NEPERS = 4.0  # by which a power may exceed the expected one before its loss grows no more
MEDIAN_OF_NOISE = np.float32(np.log(np.log(2.0)))  # its logarithm, where the mean is 1


@gin.register
class FusedSpectralLoss(ddsp.losses.Loss):
    """ddsp's `SpectralLoss` of magnitudes and their logarithms, with its gradient at once.

    Loss and gradient of a spectrogram are computed in one compiled pass. A frame may have any
    multiple of 4 samples, not only a power of two, so that frames can have the same length in
    seconds at other sample rates. There is no gradient for the target.

    `loudness_weight` adds the difference in dB of the frames' A-weighted loudness, as in
    `features`, for the frames that are nearest in length to those of the features. (ddsp's weight
    of that name is for frames of 2048 samples.) Without it the loss of a sound that cannot match
    each bin, such as noise, is lowest if the sound is too soft.
    """

    def __init__(
        self,
        fft_sizes: Sequence[int] = (2048, 1024, 512, 256, 128, 64),
        loss_type: str = "L1",
        mag_weight: float = 1.0,
        logmag_weight: float = 0.0,
        loudness_weight: float = 0.0,
        sample_rate: int = 16000,
        name: str = "spectral_loss",
    ) -> None:
        super().__init__(name=name)
        self.fft_sizes = fft_sizes
        self.loss_type = loss_type
        self.mag_weight = mag_weight
        self.logmag_weight = logmag_weight
        self.loudness_weight = loudness_weight
        self.sample_rate = sample_rate
        window = features.N_FFT * sample_rate / SAMPLE_RATE
        self._loudness_size = min(fft_sizes, key=lambda size: abs(size - window))
        # One for each size: TensorFlow warns of a function that is compiled for many shapes.
        self._value_and_slopes = {
            size: compiled(functools.partial(self._differentiate)) for size in fft_sizes
        }

    def call(self, target_audio: tf.Tensor, audio: tf.Tensor) -> tf.Tensor:
        """Loss of audio [batch, n_samples] against a target of the same shape."""
        return sum(self._at_scale(target_audio, audio, size) for size in self.fft_sizes)

    def _at_scale(self, target_audio, audio, size):
        target = tf.stop_gradient(tf.abs(spectra(target_audio, size)))

        @tf.custom_gradient
        def loss_of(audio):
            value, slopes = self._value_and_slopes[size](target, spectra(audio, size))
            return value, lambda upstream: upstream * _add_up(slopes, size, audio.shape[1])

        return loss_of(audio)

    def _differentiate(self, target, spectra):
        """The loss of one spectrogram, and its slopes in the direction of each complex number."""
        magnitudes = tf.abs(spectra)
        with tf.GradientTape() as tape:
            tape.watch(magnitudes)
            value = self.mag_weight * self._difference(target, magnitudes)
            if self.logmag_weight > 0:
                logarithms = [ddsp.spectral_ops.safe_log(x) for x in (target, magnitudes)]
                value += self.logmag_weight * self._difference(*logarithms)
            if self.loudness_weight > 0 and magnitudes.shape[2] == self._loudness_size // 2 + 1:
                loudness_db = [self._loudness_db(x) for x in (target, magnitudes)]
                value += self.loudness_weight * self._difference(*loudness_db)
        slopes = tf.math.divide_no_nan(tape.gradient(value, magnitudes), magnitudes)
        return value, spectra * tf.cast(slopes, spectra.dtype)

    def _loudness_db(self, magnitudes):
        weights_db = features.a_weighting_db(self.sample_rate, self._loudness_size)
        weights = librosa.db_to_power(weights_db).astype(np.float32)
        power = tf.reduce_mean(tf.square(magnitudes) * weights, axis=-1)
        floor = librosa.db_to_power(features.LOUDNESS_FLOOR_DB)
        return tf.math.log(tf.maximum(power, floor)) * np.float32(DB_PER_NEPER)

    def _difference(self, target, value):
        return ddsp.losses.mean_difference(target, value, self.loss_type)


def analysis_loss(
    target_harmonic_log_power: tf.Tensor,
    target_noise_log_density: tf.Tensor,
    bandwidth_hz: tf.Tensor,
    harmonic_log_power: tf.Tensor,
    noise_log_density: tf.Tensor,
    f0_hz: tf.Tensor,
    sample_rate: int,
) -> tuple[tf.Tensor, tf.Tensor]:
    """How unlikely the powers that were found in a recording are, if a model's were the true ones.

    A power in a spectrum is distributed exponentially around its mean, which is here that of a
    harmonic and of the noise beneath it: the negative logarithm of its likelihood is the distance
    of Itakura and Saito (1968; Fevotte et al. 2009). Noise comes in bursts, whose mean would sound
    as a louder, steady hiss. So of the noise the median is learned.

    Args:
      target_harmonic_log_power: Natural logarithm of the mean square of each harmonic, the noise
        beneath it included; NaN where it is not known. Shape [batch, n_frames, n_harmonics].
      target_noise_log_density: Natural logarithm of the noise's power for each Hz in bands of
        equal width; NaN where it is not known. Shape [batch, n_frames, n_bands].
      bandwidth_hz: Of the window of the harmonics. Shape [batch, n_frames].
      harmonic_log_power: The model's, without noise. Shape as its target.
      noise_log_density: The model's. Shape as its target.
      f0_hz: Shape [batch, n_frames].
      sample_rate: Hz.

    Returns:
      Loss of the harmonics, and of the noise: means over what is known, scalars.
    """
    n_harmonics, n_bands = harmonic_log_power.shape[-1], noise_log_density.shape[-1]
    harmonics_hz = f0_hz[..., tf.newaxis] * tf.range(1, n_harmonics + 1, dtype=tf.float32)
    band = tf.cast(harmonics_hz * (2 * n_bands / sample_rate), tf.int32)
    density = tf.gather(noise_log_density, tf.minimum(band, n_bands - 1), batch_dims=2)
    # Harmonics shall not be explained by more noise.
    beneath = tf.stop_gradient(tf.exp(density)) * bandwidth_hz[..., tf.newaxis]
    expected = tf.math.log(tf.exp(harmonic_log_power) + beneath)
    return (
        _mean_of_known(target_harmonic_log_power, expected, _itakura_saito),
        _mean_of_known(target_noise_log_density, noise_log_density + MEDIAN_OF_NOISE, _half_l1),
    )


def _mean_of_known(target, value, difference):
    known = tf.math.is_finite(target)
    weights = tf.cast(known, tf.float32)
    differences = difference(tf.where(known, target, 0.0) - value)
    return tf.reduce_sum(weights * differences) / (tf.reduce_sum(weights) + 1.0)


def _itakura_saito(nepers):
    nepers = tf.minimum(nepers, MOST_NEPERS)
    return tf.exp(nepers) - nepers - 1.0


def _half_l1(nepers):
    return tf.abs(nepers) / 2


def spectra(audio: tf.Tensor, size: int) -> tf.Tensor:
    """Spectra of frames under Hann windows that overlap by three quarters.

    Args:
      audio: Shape [batch, n_samples]; its end is filled up with zeros.
      size: Samples of a frame, a multiple of 4.

    Returns:
      Complex, of shape [batch, ceil(4 * n_samples / size), size // 2 + 1].
    """
    hop_size = size // 4
    n_frames = -(-audio.shape[1] // hop_size)
    audio = tf.pad(audio, [[0, 0], [0, (n_frames + 3) * hop_size - audio.shape[1]]])
    quarters = tf.reshape(audio, [-1, n_frames + 3, hop_size])
    frames = tf.concat([quarters[:, k : k + n_frames] for k in range(4)], axis=-1)
    return tf.signal.rfft(frames * tf.signal.hann_window(size))


def _add_up(slopes, size, n_samples):
    """Gradient of `spectra`: from the slopes of the spectra to the slopes of the audio."""
    # The inverse transform counts each bin twice but the first and the last, and divides by n.
    weights = np.full(size // 2 + 1, size / 2, np.float32)
    weights[[0, -1]] = size
    frames = tf.signal.irfft(slopes * weights, [size]) * tf.signal.hann_window(size)
    quarters = tf.split(frames, 4, axis=-1)
    padded = [tf.pad(q, [[0, 0], [k, 3 - k], [0, 0]]) for k, q in enumerate(quarters)]
    return tf.reshape(tf.add_n(padded), [slopes.shape[0], -1])[:, :n_samples]
