"""Powers of harmonics and noise from features: the decoder of instruments that learn an analysis.

A network gives logarithms of powers, which `analysis.harmonics` measures in recordings, so that it
can learn them without making a sound. Shapes: all are [batch, n_frames, channels].
"""

from typing import Any

import gin
import librosa
import numpy as np

from helpers.analysis.features import N_FFT
from helpers.config import DB_PER_NEPER
from helpers.synthesis.ddsp_import import ddsp
from helpers.tensorflow_import import tf

SCALE = 3.0  # nepers of power for an output of 1: about how far a power goes from its mean
MEL_CORNER_HZ = 500.0  # below it channels are evenly spaced, above it in octaves
LOUDNESS_SCALE_DB = 8.0  # about how far loudness goes from its mean
MEAN_LOUDNESS_DB = -35.0  # before it is known
LOUDNESS_EDGE_HZ = 7900.0  # above it the loudness, which is measured at 16 kHz, has nothing
FADE_HZ = 1000.0  # up to the band edge: codecs leave more noise there than there was


@gin.register
class PowerDecoder(ddsp.training.nn.DictLayer):
    """Decodes scaled features to finished controls of the synthesizers, as loud as was asked.

    The logarithm of a harmonic's power is the sum of one number for the harmonic and of a spectral
    envelope at its frequency. The envelope is for what stays at its frequency whatever note is
    played, such as the resonances of a body; so notes that were not recorded have it too.

    The network's outputs are moved by the means of what it is to learn. The loudness of a frame is
    a closed form of its powers. So all of them are brought to the loudness of the features, and
    the network need only learn how the power is spread.
    """

    def __init__(
        self,
        network: tf.keras.layers.Layer,
        harmonics: int = 60,
        envelope_channels: int = 48,
        noise_bands: int = 65,
        noise_channels: int = 24,
        sample_rate: int = 16000,
        **kwargs: Any,
    ) -> None:
        """Takes the network and the sizes.

        Args:
          network: A decoder whose outputs are `harmonic_powers` [harmonics], `envelope`
            [envelope_channels] and `noise_powers` [noise_channels]. It may take
            `loudness_centred` beside the scaled features.
          harmonics: How many.
          envelope_channels: Of the spectral envelope, in steps of a mel scale; straight lines in
            decibels lie between them.
          noise_bands: Of equal width, from 0 Hz to half the sample rate.
          noise_channels: Of the noise, as those of the envelope.
          sample_rate: Hz.
        """
        inputs = [key for key in network.input_keys if key != "loudness_centred"]
        sizes = {
            "harmonic_powers": harmonics,
            "envelope": envelope_channels,
            "noise_powers": noise_channels,
        }
        super().__init__(
            input_keys=[*inputs, "f0_hz", "loudness_db"],
            output_keys=["amps", "harmonic_distribution", "noise_magnitudes"],
            autocast=False,  # the network casts its inputs; f0 in half precision is out of tune
            **kwargs,
        )
        if dict(network.output_splits) != sizes:
            raise ValueError(f"the network's outputs are not {sizes}")
        self.network = network
        self.n_harmonics = harmonics
        self.noise_bands = noise_bands
        self.envelope_channels = envelope_channels
        self.sample_rate = sample_rate
        self._spread = _spread(noise_bands, noise_channels, sample_rate)
        self._harmonic_means, self._noise_means = (
            self.add_weight(name, [size], tf.float32, "zeros", trainable=False)
            for name, size in (("harmonic_means", harmonics), ("noise_means", noise_channels))
        )
        # In kHz: a bundle's weights are no larger than 1000.
        self._band_edge_khz, self._mean_loudness_db = (
            self.add_weight(
                name, [1], tf.float32, tf.keras.initializers.Constant(value), trainable=False
            )
            for name, value in (
                ("band_edge_khz", sample_rate / 2000.0),
                ("mean_loudness_db", MEAN_LOUDNESS_DB),
            )
        )

    def set_means(
        self,
        harmonic_log_power: np.ndarray,
        noise_log_density: np.ndarray,
        band_edge_hz: float,
        loudness_db: float = MEAN_LOUDNESS_DB,
    ) -> None:
        """Sets the means of what the network gives and takes, and where the sound ends.

        Args:
          harmonic_log_power: Mean logarithm of the mean square of each harmonic. Shape
            [n_harmonics].
          noise_log_density: Mean logarithm of the noise's power for each Hz. Shape [noise_bands].
          band_edge_hz: Of the recordings, above which the instrument is silent.
          loudness_db: Mean loudness of the recordings.
        """
        self._harmonic_means.assign(harmonic_log_power)
        nearest, *_ = np.linalg.lstsq(self._spread.T, noise_log_density, rcond=None)
        self._noise_means.assign(nearest)
        self._band_edge_khz.assign([band_edge_hz / 1000.0])
        self._mean_loudness_db.assign([loudness_db])

    def powers(
        self, features: dict[str, tf.Tensor], training: bool = False, held: bool = False
    ) -> tuple[tf.Tensor, tf.Tensor]:
        """Decodes features to natural logarithms of powers.

        Args:
          features: What the preprocessor, and the encoder where there is one, made.
          training: As Keras has it.
          held: Only the last layer's weights for the noise have a gradient.

        Returns:
          Mean square of each harmonic [batch, n_frames, n_harmonics], and the noise's power for
          each Hz in each band [batch, n_frames, noise_bands].
        """
        inputs = self._inputs(features)
        if held:
            outputs = self._held(inputs)
        else:
            outputs = self.network(inputs, training=training)
        return self._scaled(outputs, features)

    def controls(
        self, harmonic_log_power: tf.Tensor, noise_log_density: tf.Tensor, f0_hz: tf.Tensor
    ) -> dict[str, tf.Tensor]:
        """Controls of the synthesizers from what `powers` returns, silent above the band edge."""
        harmonics_hz = f0_hz * _numbers(self.n_harmonics)
        # The root is taken of the logarithm: that of a power has no gradient at 0.
        amplitudes = np.sqrt(2.0) * tf.exp(harmonic_log_power / 2) * self._fade(harmonics_hz)
        total = tf.reduce_sum(amplitudes, axis=-1, keepdims=True)
        # The filter has its points where two bands meet.
        before = tf.concat([noise_log_density[..., :1], noise_log_density[..., :-1]], axis=-1)
        points_hz = np.linspace(0.0, self.sample_rate / 2, self.noise_bands, dtype=np.float32)
        # White noise of the filter's input, even in [-1, 1], has the mean square 1 / 3.
        unit = np.sqrt(3.0 * self.sample_rate / 2)
        magnitudes = unit * tf.exp((before + noise_log_density) / 4) * self._fade(points_hz)
        return {
            "amps": total,
            "harmonic_distribution": tf.math.divide_no_nan(amplitudes, total),
            "noise_magnitudes": magnitudes,
        }

    def call(self, *inputs: tf.Tensor, training: bool = False) -> tuple[tf.Tensor, ...]:
        """Decodes what `input_keys` name to amplitudes, their distribution and the noise's."""
        features = dict(zip(self.input_keys, inputs, strict=True))
        harmonics, noise = self.powers(features, training)
        return tuple(self.controls(harmonics, noise, features["f0_hz"]).values())

    def start(self) -> Any:
        """The state before the first frame, for `step`."""
        return self.network.start()

    def step(self, features: dict[str, tf.Tensor], state: Any) -> tuple[dict[str, tf.Tensor], Any]:
        """Decodes frames that follow those which left a state; returns controls and new state."""
        outputs, state = self.network.step(self._inputs(features), state)
        harmonics, noise = self._scaled(outputs, features)
        return self.controls(harmonics, noise, features["f0_hz"]), state

    def _held(self, inputs):
        """The network's outputs; of the weights only those for the noise have a gradient."""
        hidden = self.network.compute_output(*(inputs[key] for key in self.network.input_keys))
        outputs = ddsp.training.nn.split_to_dict(
            self.network.dense_out(tf.stop_gradient(hidden)), self.network.output_splits
        )
        for name in ("harmonic_powers", "envelope"):
            outputs[name] = tf.stop_gradient(outputs[name])
        return outputs

    def _inputs(self, features):
        loudness_centred = (features["loudness_db"] - self._mean_loudness_db) / LOUDNESS_SCALE_DB
        return {**features, "loudness_centred": loudness_centred}

    def _scaled(self, outputs, features):
        """Logarithms of powers from the network's outputs, brought to the asked loudness."""
        outputs = {name: SCALE * tf.cast(value, tf.float32) for name, value in outputs.items()}
        harmonics = outputs["harmonic_powers"] + self._harmonic_means
        harmonics += self._at_harmonics(outputs["envelope"], features["f0_hz"])
        noise = tf.matmul(outputs["noise_powers"] + self._noise_means, self._spread)
        played_db = self._loudness_db(harmonics, noise, features["f0_hz"])
        louder = (features["loudness_db"] - played_db) / DB_PER_NEPER
        return harmonics + louder, noise + louder

    def _at_harmonics(self, envelope, f0_hz):
        """The envelope at the frequency of each harmonic. [batch, n_frames, n_harmonics]."""
        nyquist_hz = self.sample_rate / 2
        range_hz = (nyquist_hz / self.noise_bands / 2, nyquist_hz)
        harmonics_hz = f0_hz * _numbers(self.n_harmonics)
        weights = _channel_weights(harmonics_hz, range_hz, self.envelope_channels)
        # Sums over all channels: XLA joins them into one pass, and no gradient is scattered.
        return tf.reduce_sum(weights * envelope[..., tf.newaxis, :], axis=-1)

    def _loudness_db(self, harmonic_log_power, noise_log_density, f0_hz):
        """What `features.loudness` finds in a steady sound of these powers. [..., 1]."""
        harmonics_hz = f0_hz * _numbers(self.n_harmonics)
        width_hz = self.sample_rate / 2 / self.noise_bands
        centres_hz = (np.arange(self.noise_bands, dtype=np.float32) + 0.5) * width_hz
        weighted = tf.reduce_sum(
            tf.exp(harmonic_log_power) * self._heard(harmonics_hz), axis=-1, keepdims=True
        ) + width_hz * tf.reduce_sum(
            tf.exp(noise_log_density) * self._heard(centres_hz), axis=-1, keepdims=True
        )
        return DB_PER_NEPER * tf.math.log(weighted * _power_to_loudness() + 1e-30)

    def _heard(self, frequencies_hz):
        """By how much a power before the fade at each frequency counts for the loudness."""
        return loudness_weights(frequencies_hz) * tf.square(self._fade(frequencies_hz))

    def _fade(self, frequencies_hz):
        """Gain of an amplitude at each frequency: 1, and 0 from the band edge up."""
        below_hz = 1000.0 * self._band_edge_khz - frequencies_hz
        return tf.clip_by_value(below_hz / FADE_HZ, 0.0, 1.0)


def _numbers(n_harmonics):
    return tf.range(1, n_harmonics + 1, dtype=tf.float32)


def _mel(frequency_hz):
    return tf.math.log1p(frequency_hz / MEL_CORNER_HZ)


def _channel_weights(frequencies_hz, range_hz, n_channels):
    """Weights [..., n_channels] of channels that are even in mel over a range, at frequencies.

    Between two channels lies a straight line, and beyond the range what is at its end.
    """
    low, high = map(_mel, range_hz)
    at = (_mel(frequencies_hz) - low) / (high - low) * (n_channels - 1)
    at = tf.clip_by_value(at, 0.0, n_channels - 1.0)[..., tf.newaxis]
    return tf.maximum(0.0, 1.0 - tf.abs(at - tf.range(n_channels, dtype=tf.float32)))


def _spread(n_bands, n_channels, sample_rate):
    """Weights of the channels in each band. [channels, bands]."""
    centres_hz = (np.arange(n_bands, dtype=np.float32) + 0.5) * sample_rate / 2 / n_bands
    return np.transpose(_channel_weights(centres_hz, centres_hz[[0, -1]], n_channels))


def _power_to_loudness():
    """Mean over the bins of `features.loudness`, of a mean square of 1."""
    window = librosa.filters.get_window("hann", N_FFT)
    return np.float32(N_FFT * np.sum(window**2) / 2 / (N_FFT // 2 + 1))


def loudness_weights(frequencies_hz: tf.Tensor | np.ndarray) -> tf.Tensor:
    """By how much a power at each frequency counts for the loudness.

    That is A-weighting (IEC 61672), which librosa.A_weighting has in decibels, and 0 above what
    the loudness is measured of.

    Args:
      frequencies_hz: float32, of any shape.

    Returns:
      Shape as `frequencies_hz`.
    """
    squares = tf.square(tf.maximum(frequencies_hz, 1.0))
    c = np.square(np.array([12194.217, 20.598997, 107.65265, 737.86223], np.float32))
    gain = c[0] * tf.square(squares) / (squares + c[0]) / (squares + c[1])
    gain *= tf.math.rsqrt(squares + c[2]) * tf.math.rsqrt(squares + c[3])
    is_heard = tf.cast(frequencies_hz < LOUDNESS_EDGE_HZ, tf.float32)
    return np.float32(10.0**0.2) * tf.square(gain) * is_heard
