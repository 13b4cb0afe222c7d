"""Instruments: networks that play features of f0 and loudness, built from a gin configuration.

Beside `gin_settings`, which reads configurations and calls nothing, this is the only module that
uses gin.
"""

import contextlib
import functools
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import gin
import numpy as np

from helpers.config import SAMPLE_RATE
from helpers.errors import InputError
from helpers.instruments import gin_settings
from helpers.synthesis import encoders, losses, networks, powers, synths, wavernn  # noqa: F401
from helpers.synthesis.ddsp_import import ddsp
from helpers.synthesis.xla import compiled
from helpers.tensorflow_import import tf

SAMPLE_RATES = (16000, 24000, 32000, 44100, 48000)  # Hz, to which configurations can be brought
PRECISIONS = ("float32", "mixed_float16", "mixed_bfloat16")
BLOCK_FRAMES = 250  # that are encoded at once


@dataclass
class Instrument:
    """A model that plays features of f0, loudness and, where it has an encoder, z.

    Attributes:
      network: ddsp's Autoencoder, built.
      config: The operative gin configuration, as text.
      sample_rate: Hz.
      hop_size: Samples a frame.
      statistics: What the training data played, from `dataset`; empty before training.
      card: The model card; empty before training.
    """

    network: tf.keras.Model
    config: str
    sample_rate: int
    hop_size: int
    statistics: dict = field(default_factory=dict)
    card: dict = field(default_factory=dict)

    @property
    def frame_rate(self) -> int:
        """Frames a second of the features that it plays."""
        return self.sample_rate // self.hop_size

    @property
    def parameters(self) -> int:
        """Number of weights, with those of the reverb's impulse response."""
        return self.network.count_params()

    @property
    def z_dims(self) -> int:
        """Dimensions of z; 0 for an instrument without an encoder."""
        return self.network.encoder.z_dims if self.network.encoder else 0

    @property
    def analysis_size(self) -> tuple[int, int] | None:
        """Numbers of harmonics and noise bands that it learns from an analysis of recordings.

        None for an instrument that learns by ear alone.
        """
        decoder = self.network.decoder
        if not isinstance(decoder, powers.PowerDecoder):
            return None
        return decoder.n_harmonics, decoder.noise_bands

    def play(
        self, f0_hz: np.ndarray, loudness_db: np.ndarray, z: np.ndarray | None = None
    ) -> np.ndarray:
        """Plays features; each call draws its noise anew.

        Args:
          f0_hz: Fundamental frequency, without NaN. Shape [n_frames].
          loudness_db: Shape [n_frames].
          z: From `encode`, for an instrument with an encoder. Shape [n_frames, z_dims].

        Returns:
          Audio. Shape [n_frames * hop_size].

        Raises:
          InputError: z is missing, of another shape, or given to an instrument without it.
        """
        features = self._scaled(f0_hz, loudness_db, z)
        return self.network.decode(features, training=False).numpy()[0]

    def learned_powers(
        self, f0_hz: np.ndarray, loudness_db: np.ndarray, z: np.ndarray | None = None
    ) -> tuple[np.ndarray, np.ndarray]:
        """The powers that it has learned from an analysis, for features.

        Args:
          f0_hz, loudness_db, z: As for `play`.

        Returns:
          Natural logarithms of the mean square of each harmonic [n_frames, n_harmonics], and of
          the noise's power for each Hz [n_frames, noise_bands].

        Raises:
          InputError: It does not learn from an analysis, or z is wrong.
        """
        if self.analysis_size is None:
            raise InputError(
                "This instrument does not learn from an analysis: choose the configuration "
                "'analysis'."
            )
        harmonics, noise = self.network.decoder.powers(self._scaled(f0_hz, loudness_db, z))
        return harmonics.numpy()[0], noise.numpy()[0]

    def encode(self, audio: np.ndarray) -> np.ndarray:
        """Encodes what a recording has beside f0 and loudness, such as its vowels.

        Args:
          audio: At the instrument's sample rate. Shape [n_samples].

        Returns:
          z, in frames centred as those of `Features`. Shape [1 + n_samples // hop_size, z_dims].

        Raises:
          InputError: The instrument has no encoder.
        """
        return np.concatenate(list(self.encode_blocks(audio)))

    def encode_blocks(
        self, audio: np.ndarray, block_frames: int = BLOCK_FRAMES
    ) -> Iterator[np.ndarray]:
        """Encodes a recording of any length block by block, in memory for one block.

        Args:
          audio: At the instrument's sample rate; it may be memory-mapped. Shape [n_samples].
          block_frames: Frames in each block but the last.

        Yields:
          z of the next frames, all blocks together as `encode` returns it. Shape
          [up to block_frames, z_dims].

        Raises:
          InputError: The instrument has no encoder.
        """
        if not self.z_dims:
            raise InputError("This instrument has no z: play it from f0 and loudness alone.")
        encoder = self.network.encoder
        before, after = encoders.margins(self.sample_rate)
        n_frames, state = 1 + len(audio) // self.hop_size, encoder.start()
        for first in range(0, n_frames, block_frames):
            start = first * self.hop_size
            # All blocks are filled up to one length, so that they are compiled once.
            end = start + (block_frames - 1) * self.hop_size
            z, state = encoder.step(_batch(_cut(audio, start - before, end + after)), state)
            yield tf.cast(z, tf.float32).numpy()[0, : n_frames - first]

    @property
    def echoes(self) -> np.ndarray:
        """Impulse response of the instrument's room without the direct sound. Shape [n_taps]."""
        for processor in self._processors:
            if isinstance(processor, ddsp.effects.Reverb):
                echoes = np.ravel(processor.get_controls(tf.zeros([1, 1]))["ir"])
                return np.concatenate([[0.0], echoes[1:]]).astype(np.float32)
        return np.zeros(1, np.float32)

    @property
    def noise_bands(self) -> int:
        """Number of the noise's bands, of equal width, from 0 Hz to half the sample rate."""
        self._synthesizer(synths.FramewiseNoise)  # or there are none
        if self.analysis_size:
            return self.analysis_size[1]
        return dict(self.network.decoder.output_splits)["noise_magnitudes"]

    def decode(
        self,
        f0_hz: np.ndarray,
        loudness_db: np.ndarray,
        z: np.ndarray | None = None,
        state: Any = None,
    ) -> tuple[tuple[np.ndarray, np.ndarray, np.ndarray], Any]:
        """Decodes features to the controls of the synthesizers, one block of frames after another.

        It is compiled anew for each number of frames.

        Args:
          f0_hz, loudness_db, z: As for `play`.
          state: The state that the call for the block before returned; None for the first block.

        Returns:
          (amplitudes [n_frames, 1], harmonic_distribution [n_frames, n_harmonics] with the sum 1,
          noise magnitudes [n_frames, n_bands]), and the state for the next block.
        """
        if state is None:
            state = self.network.decoder.start()
        z = None if z is None else _batch(z)
        controls, state = self._decode(_batch(f0_hz), _batch(loudness_db), z, state)
        return tuple(control[0].numpy() for control in controls), state

    def check_z(self, z: np.ndarray | None, n_frames: int) -> None:
        """Refuses z that the instrument cannot play.

        Raises:
          InputError: z is missing, of another shape, or given to an instrument without it.
        """
        if z is None and self.z_dims:
            raise InputError(
                "This instrument plays from z too: encode a sound first and give what "
                "instrument.encode(audio) returns."
            )
        if z is not None and not self.z_dims:
            raise InputError("This instrument has no z: play it from f0 and loudness alone.")
        if z is not None and np.shape(z) != (n_frames, self.z_dims):
            raise InputError(
                f"z has the shape {np.shape(z)} and needs {n_frames} frames of {self.z_dims} "
                "numbers: cut it to the frames of f0."
            )

    def _scaled(self, f0_hz, loudness_db, z):
        """What the decoder takes, as a batch of one."""
        self.check_z(z, len(f0_hz))
        features = {"f0_hz": _batch(f0_hz), "loudness_db": _batch(loudness_db)}
        features |= self.network.preprocessor(features, training=False)
        if z is not None:
            features["z"] = _batch(z)
        return features

    @functools.cached_property
    def _decode(self):
        # TensorFlow identifies functions by their code. It would take the methods of several
        # instruments for one that is compiled over and over, and warn of it.
        return compiled(functools.partial(self._controls))

    def _controls(self, f0_hz, loudness_db, z, state):
        features = self.network.preprocessor({"f0_hz": f0_hz, "loudness_db": loudness_db})
        if z is not None:
            features["z"] = z
        raw, state = self.network.decoder.step(features, state)
        raw = {name: tf.cast(control, tf.float32) for name, control in raw.items()}
        harmonic = self._synthesizer(synths.FramewiseHarmonic).get_controls(
            raw["amps"], raw["harmonic_distribution"], features["f0_hz"]
        )
        noise = self._synthesizer(synths.FramewiseNoise).get_controls(raw["noise_magnitudes"])
        amplitudes, distribution = harmonic["amplitudes"], harmonic["harmonic_distribution"]
        return (amplitudes, distribution, noise["magnitudes"]), state

    @property
    def _processors(self):
        group = self.network.processor_group
        return group.processors if group else []  # WaveRNN has none

    def _synthesizer(self, kind):
        for processor in self._processors:
            if isinstance(processor, kind):
                return processor
        raise InputError(
            f"This instrument has no {kind.__name__}: choose one with harmonics and noise for "
            "timbre transfer."
        )


def make(
    text: str,
    name: str = "The configuration",
    sample_rate: int | None = None,
    precision: str = "float32",
) -> Instrument:
    """Checks a gin configuration and builds the instrument that it describes.

    Args:
      text: The configuration.
      name: What the configuration is called in errors.
      sample_rate: Hz, to which the configuration is brought from 16 kHz; None leaves it as it is.
      precision: Of the decoder's and the encoder's layers, as Keras names its policies.

    Raises:
      InputError: It sets what a configuration may not, or describes no instrument.
    """
    gin_settings.check_config(text, name)
    try:
        gin.clear_config()
        with gin.unlock_config():
            gin.parse_config(text)
            if sample_rate is not None:
                scale(sample_rate)
        rates = _number("sample_rate"), _number("hop_size")
        _check_frames(*rates, name)
        network = ddsp.training.models.get_model()
        _set_precision(network, precision)
        made = Instrument(network, "", *rates)
        n_played, n_samples = _play_a_second(made)
    except InputError:
        raise
    except Exception as error:  # gin, ddsp, Keras and TensorFlow each have their own
        reason = str(error).strip().partition("\n")[0]
        raise InputError(f"{name} describes no instrument ({reason}): correct it.") from error
    if n_played != n_samples:
        raise InputError(f"{name} gives its synthesizers different hop sizes: make them equal.")
    made.config = gin.operative_config_str()
    return made


def scale(sample_rate: int) -> None:
    """Brings the numbers at the top of a configuration from 16 kHz to another sample rate.

    The loss's windows keep their length in seconds, the noise's bands keep their width in Hz, and
    the harmonics still fill the spectrum. So their numbers grow with the rate, in steps of a
    quarter, which keeps the windows at sizes for which an FFT is fast. The frame rate stays, or
    becomes the next lower one at which a frame is a whole number of samples at this rate and at
    16 kHz, at which features are extracted.
    """
    exact = sample_rate / SAMPLE_RATE
    ratio = round(4 * exact) / 4
    most = SAMPLE_RATE // _number("hop_size")
    common = np.gcd(sample_rate, SAMPLE_RATE)
    frame_rate = max(rate for rate in range(1, most + 1) if common % rate == 0)
    scaled = {
        "sample_rate": sample_rate,
        "hop_size": sample_rate // frame_rate,
        "fft_sizes": tuple(int(size * ratio) for size in _number("fft_sizes")),
        "harmonics": round(_number("harmonics") * ratio),
        "noise_bands": 1 + round((_number("noise_bands") - 1) * ratio),
    }
    with contextlib.suppress(ValueError):  # an instrument without a room has none
        scaled["reverb_length"] = round(_number("reverb_length") * exact)
    for macro, value in scaled.items():
        gin.bind_parameter(f"{macro}/macro.value", value)


def _number(macro):
    """The value of a macro of the configuration."""
    return gin.query_parameter(f"{macro}/macro.value")


def _check_frames(sample_rate, hop_size, name):
    """Refuses rates at which a frame is no whole number of samples at 16 kHz, for features."""
    if (
        min(sample_rate, hop_size) < 1
        or sample_rate % hop_size
        or SAMPLE_RATE % (sample_rate // hop_size)
    ):
        raise InputError(
            f"{name} makes {sample_rate} / {hop_size} frames a second: choose a sample rate and a "
            f"hop size that give a whole divisor of {SAMPLE_RATE}, such as 100 or 125."
        )


def _set_precision(network, precision):
    """Has the layers of decoder and encoder compute in half precision, their weights in float32.

    Keras sets the precision globally, or of each layer when it is made, which here gin does. All
    else stays in float32: a phase or an impulse response in half precision is audible.
    """
    for part in filter(None, (network.encoder, network.decoder)):
        for layer in (part, *part.submodules):
            layer._set_dtype_policy(precision)


def _play_a_second(made):
    """Builds the variables; returns the numbers of samples played and expected."""
    n_frames = made.frame_rate
    n_samples = n_frames * made.hop_size
    played = made.network(
        {
            "f0_hz": tf.fill([1, n_frames], 440.0),
            "loudness_db": tf.fill([1, n_frames], -80.0),
            "audio": tf.zeros([1, n_samples]),
        },
        training=False,
    )
    return played["audio_synth"].shape[1], n_samples


def _cut(audio, start, end):
    """Samples from start to end, with zeros where audio has none. Shape [end - start]."""
    inside = audio[max(0, start) : max(0, end)]
    missing_before = max(0, -start)
    return np.pad(inside, (missing_before, end - start - missing_before - len(inside)))


def _batch(curve):
    """A batch of one, in float32."""
    return tf.constant(np.asarray(curve, np.float32)[np.newaxis])
