"""Drop-in parts for ddsp models: faster where ddsp is slow, and for clips of any length.

The mathematics is ddsp's (Engel et al., "DDSP: Differentiable Digital Signal Processing",
ICLR 2020). Shapes: controls are [batch, n_frames, channels], audio is [batch, n_samples], and
n_samples = n_frames * hop_size. All are registered with gin under their own names, so that
ddsp's classes of the same purpose can stand beside them.
"""

from collections.abc import Callable

import gin
import numpy as np
import scipy.fft

from helpers.synthesis.ddsp_import import ddsp
from helpers.synthesis.xla import compiled
from helpers.tensorflow_import import tf

ROWS_AT_ONCE = 1024  # frames; a block of them is what is compiled, whatever the length of a clip

# sin(2 pi x) = x (SINE[0] + SINE[1] x^2 + ...) for |x| <= 0.25: least squares at Chebyshev nodes.
SINE = (6.28318528, -41.34168058, 81.60247561, -76.58117502, 39.75994316)


def accumulate_phase(
    f0_hz: tf.Tensor, hop_size: int, sample_rate: int
) -> tuple[tf.Tensor, tf.Tensor]:
    """Phase of a sinusoid whose frequency moves linearly from frame to frame.

    Accumulated once, in float64 and wrapped, so that it does not drift: in float32, as ddsp
    accumulates it, the error is audible after some tens of seconds.

    Args:
      f0_hz: Frequency in Hz. Shape [batch, n_frames, 1].
      hop_size: Samples a frame.
      sample_rate: Samples a second.

    Returns:
      cycles: Phase in cycles, in [0, 1). Shape [batch, n_frames, hop_size].
      frequency_hz: Frequency at each sample. Shape [batch, n_frames, hop_size].
    """
    next_f0_hz = tf.concat([f0_hz[:, 1:], f0_hz[:, -1:]], axis=1)
    position = tf.range(hop_size, dtype=tf.float32) / hop_size
    frequency_hz = f0_hz + (next_f0_hz - f0_hz) * position
    steps = tf.cast(frequency_hz, tf.float64) / sample_rate
    within = tf.cumsum(steps, axis=2)
    before = tf.cumsum(within[:, :, -1:], axis=1, exclusive=True)
    return tf.cast(tf.math.floormod(before + within, 1.0), tf.float32), frequency_hz


def harmonic_synthesis(
    f0_hz: tf.Tensor,
    amplitudes: tf.Tensor,
    harmonic_distribution: tf.Tensor,
    hop_size: int,
    sample_rate: int,
) -> tf.Tensor:
    """Sums harmonics with frame-wise amplitudes, as `ddsp.core.harmonic_synthesis` does.

    ddsp draws an envelope for every harmonic and sample, each a tensor of its own in memory. Here
    a frame is a sum of sines times the two amplitudes at its ends, under the two halves of a Hann
    window, computed in blocks of a fixed size by one compiled function.

    Args:
      f0_hz: Fundamental frequency in Hz. Shape [batch, n_frames, 1].
      amplitudes: Shape [batch, n_frames, 1].
      harmonic_distribution: Shape [batch, n_frames, n_harmonics].
      hop_size: Samples a frame.
      sample_rate: Samples a second; harmonics from its half upward are silent.

    Returns:
      Audio. Shape [batch, n_frames * hop_size].
    """
    cycles, frequency_hz = accumulate_phase(f0_hz, hop_size, sample_rate)
    audible_up_to = tf.math.ceil(sample_rate / 2.0 / frequency_hz) - 1.0
    start = amplitudes * harmonic_distribution
    end = tf.concat([start[:, 1:], start[:, -1:]], axis=1)
    # From here on frames are independent: those of all clips become rows of one table.
    rows = [_as_rows(x) for x in (cycles, audible_up_to, start, end)]
    blocks = [
        _sum_harmonics(*(x[first : first + ROWS_AT_ONCE] for x in rows))
        for first in range(0, rows[0].shape[0], ROWS_AT_ONCE)
    ]
    batch_size, n_frames = f0_hz.shape[:2]
    audio = tf.concat(blocks, axis=0)[: batch_size * n_frames]
    return tf.reshape(audio, [batch_size, n_frames * hop_size])


def _as_rows(x):
    """[batch, n_frames, n] to [n_rows, n], filled up with zeros to whole blocks."""
    x = tf.reshape(x, [-1, x.shape[-1]])
    return tf.pad(x, [[0, -x.shape[0] % ROWS_AT_ONCE], [0, 0]])


@tf.custom_gradient
def _sum_harmonics(cycles, audible_up_to, start, end):
    """`sum_harmonics` with its gradients.

    Each gradient is a compiled function of its own, which TensorFlow only runs if it is needed. The
    gradient of the phase is not needed, as f0 is given.
    """

    def gradient(upstream):
        to_start, to_end = _amplitude_gradient(cycles, audible_up_to, upstream, start.shape[1])
        return _phase_gradient(cycles, audible_up_to, start, end, upstream), None, to_start, to_end

    return sum_harmonics(cycles, audible_up_to, start, end), gradient


@compiled
def sum_harmonics(
    cycles: tf.Tensor, audible_up_to: tf.Tensor, start: tf.Tensor, end: tf.Tensor
) -> tf.Tensor:
    """Audio [n_rows, hop_size] of independent frames.

    Args:
      cycles: Phase. Shape [n_rows, hop_size].
      audible_up_to: Number of the last harmonic below half the sample rate. Shape as `cycles`.
      start, end: Amplitudes at both ends of each frame. Shape [n_rows, n_harmonics].
    """
    sines = _sine(cycles[:, tf.newaxis] * _numbers(start.shape[1]))
    return tf.reduce_sum(sines * _envelopes(audible_up_to, start, end), axis=1)


@compiled
def _phase_gradient(cycles, audible_up_to, start, end, upstream):
    numbers = _numbers(start.shape[1])
    cosines = _sine(cycles[:, tf.newaxis] * numbers + 0.25) * numbers * 2.0 * np.pi
    envelopes = _envelopes(audible_up_to, start, end)
    return upstream * tf.reduce_sum(cosines * envelopes, axis=1)


@compiled
def _amplitude_gradient(cycles, audible_up_to, upstream, n_harmonics):
    numbers = _numbers(n_harmonics)
    sines = _sine(cycles[:, tf.newaxis] * numbers)
    sines = tf.where(numbers <= audible_up_to[:, tf.newaxis], sines, 0.0)
    fade_in = _fade_in(cycles.shape[1])
    return [
        tf.reduce_sum(sines * (upstream * fade)[:, tf.newaxis], axis=2)
        for fade in (1.0 - fade_in, fade_in)
    ]


def _numbers(n_harmonics):
    """1 to n_harmonics. Shape [n_harmonics, 1]."""
    return tf.range(1, n_harmonics + 1, dtype=tf.float32)[:, tf.newaxis]


def _fade_in(hop_size):
    return tf.signal.hann_window(2 * hop_size)[:hop_size]


def _envelopes(audible_up_to, start, end):
    """Amplitude of each harmonic at each sample. Shape [n_rows, n_harmonics, hop_size]."""
    fade_in = _fade_in(audible_up_to.shape[1])
    envelopes = start[..., tf.newaxis] * (1.0 - fade_in) + end[..., tf.newaxis] * fade_in
    audible = _numbers(start.shape[1]) <= audible_up_to[:, tf.newaxis]
    return tf.where(audible, envelopes, 0.0)


def _sine(cycles):
    """Sine of a phase in cycles, to 1e-8: a polynomial, which XLA joins with what is around it."""
    cycles -= tf.round(cycles)
    cycles = tf.where(tf.abs(cycles) > 0.25, tf.sign(cycles) * 0.5 - cycles, cycles)
    square = tf.square(cycles)
    polynomial = SINE[-1]
    for coefficient in SINE[-2::-1]:
        polynomial = polynomial * square + coefficient
    return polynomial * cycles


@gin.register
class FramewiseHarmonic(ddsp.synths.Harmonic):
    """ddsp's harmonic synthesizer by frame-wise matrix products, for any number of frames."""

    def __init__(
        self,
        hop_size: int = 64,
        sample_rate: int = 16000,
        scale_fn: Callable | None = ddsp.core.exp_sigmoid,
        name: str = "harmonic",
    ) -> None:
        """Takes the rates, and what makes amplitudes of a decoder's outputs; None: they are."""
        super().__init__(sample_rate=sample_rate, scale_fn=scale_fn, name=name)
        self.hop_size = hop_size

    def get_signal(
        self, amplitudes: tf.Tensor, harmonic_distribution: tf.Tensor, f0_hz: tf.Tensor
    ) -> tf.Tensor:
        """Audio of shape [batch, n_frames * hop_size] from valid controls."""
        return harmonic_synthesis(
            f0_hz, amplitudes, harmonic_distribution, self.hop_size, self.sample_rate
        )


@gin.register
class FramewiseNoise(ddsp.synths.FilteredNoise):
    """ddsp's filtered noise, for any number of frames."""

    def __init__(
        self,
        hop_size: int = 64,
        initial_bias: float = -5.0,
        scale_fn: Callable | None = ddsp.core.exp_sigmoid,
        name: str = "filtered_noise",
    ) -> None:
        """Takes the hop, and what makes magnitudes of a decoder's outputs; None: they are."""
        super().__init__(window_size=0, scale_fn=scale_fn, initial_bias=initial_bias, name=name)
        self.hop_size = hop_size

    def get_signal(self, magnitudes: tf.Tensor) -> tf.Tensor:
        """Audio of shape [batch, n_frames * hop_size] from magnitudes of the filter bands."""
        batch_size, n_frames = magnitudes.shape[:2]
        # Training sets the state of the global generator for each step.
        generator = tf.random.get_global_generator()
        noise = generator.uniform([batch_size, n_frames * self.hop_size], -1.0, 1.0)
        return ddsp.core.frequency_filter(noise, magnitudes, window_size=self.window_size)


@gin.register
class PlainReverb(ddsp.effects.Reverb):
    """ddsp's trainable reverb, computed by one pair of FFTs, for clips of any length."""

    def __init__(self, reverb_length: int = 48000, name: str = "reverb") -> None:
        super().__init__(trainable=True, reverb_length=reverb_length, name=name)

    def get_controls(self, audio: tf.Tensor) -> dict[str, tf.Tensor]:
        """The dry audio [batch, n_samples], and the echoes, of the whole batch, [n_taps]."""
        # The first tap is zero: the dry sound is added separately.
        return {"audio": audio, "ir": tf.concat([[0.0], self._ir[1:]], axis=0)}

    def get_signal(self, audio: tf.Tensor, ir: tf.Tensor) -> tf.Tensor:
        """Audio [batch, n_samples] with its echoes, from controls."""
        n_samples = audio.shape[1]
        n_fft = [scipy.fft.next_fast_len(n_samples + ir.shape[0] - 1, real=True)]
        spectrum = tf.signal.rfft(audio, n_fft) * tf.signal.rfft(ir, n_fft)
        return audio + tf.signal.irfft(spectrum, n_fft)[:, :n_samples]


@gin.register
class DecayingReverb(PlainReverb):
    """A trainable reverb with an envelope that falls by 60 dB over its length.

    Without the envelope all samples of the impulse response are equally free. From a few minutes of
    recordings such a reverb learns a second of noise, in which notes ring on.
    """

    SCALE = 0.1  # of the echoes to the direct sound: Adam moves all variables by equal steps

    def __init__(self, reverb_length: int = 16000, name: str = "reverb") -> None:
        super().__init__(reverb_length=reverb_length, name=name)
        decay_db = np.linspace(0.0, -60.0, reverb_length, dtype=np.float32)
        self._envelope = self.SCALE * 10.0 ** (decay_db / 20.0)

    def get_controls(self, audio: tf.Tensor) -> dict[str, tf.Tensor]:
        """The dry audio [batch, n_samples], and the echoes, of the whole batch, [n_taps]."""
        controls = super().get_controls(audio)
        return {**controls, "ir": controls["ir"] * self._envelope}
