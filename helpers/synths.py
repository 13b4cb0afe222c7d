"""Drop-in parts for ddsp models: faster where ddsp is slow, and for clips of any length.

The mathematics is ddsp's (Engel et al., "DDSP: Differentiable Digital Signal Processing",
ICLR 2020). Shapes: controls are [batch, n_frames, channels], audio is [batch, n_samples], and
n_samples = n_frames * hop_size. All are registered with gin under their own names, so that
ddsp's classes of the same purpose can stand beside them.
"""

import gin
import numpy as np

from helpers.ddsp_import import ddsp
from helpers.tensorflow_import import tf

FRAMES_AT_ONCE = 1024  # so that memory does not grow with the length of a clip times its harmonics


def accumulate_phase(f0_hz, hop_size, sample_rate):
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


def harmonic_synthesis(f0_hz, amplitudes, harmonic_distribution, hop_size, sample_rate):
    """Sums harmonics with frame-wise amplitudes, as `ddsp.core.harmonic_synthesis` does.

    ddsp draws an envelope for every harmonic and sample. Here the two Hann windows that overlap
    in a frame are the same for all harmonics, so a frame is one matrix product, of its sines
    [hop_size, n_harmonics] with the amplitudes at its two ends [n_harmonics, 2].

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
    start = amplitudes * harmonic_distribution
    end = tf.concat([start[:, 1:], start[:, -1:]], axis=1)
    controls = cycles, frequency_hz, tf.stack([start, end], axis=-1)
    n_frames = f0_hz.shape[1]
    blocks = [
        _sum_harmonics(*(c[:, first : first + FRAMES_AT_ONCE] for c in controls), sample_rate)
        for first in range(0, n_frames, FRAMES_AT_ONCE)
    ]
    return tf.reshape(tf.concat(blocks, axis=1), [-1, n_frames * hop_size])


def _sum_harmonics(cycles, frequency_hz, amplitudes_at_ends, sample_rate):
    """Audio [batch, n_frames, hop_size] from phases and the amplitudes at the ends of frames."""
    hop_size = cycles.shape[-1]
    harmonics = tf.range(1, amplitudes_at_ends.shape[2] + 1, dtype=tf.float32)
    sines = tf.sin(2.0 * np.pi * cycles[..., tf.newaxis] * harmonics)
    audible = frequency_hz[..., tf.newaxis] * harmonics < sample_rate / 2.0
    at_ends = tf.matmul(tf.where(audible, sines, 0.0), amplitudes_at_ends)
    fade_in = tf.signal.hann_window(2 * hop_size)[:hop_size]
    return at_ends[..., 0] * (1.0 - fade_in) + at_ends[..., 1] * fade_in


@gin.register
class FramewiseHarmonic(ddsp.synths.Harmonic):
    """ddsp's harmonic synthesizer by frame-wise matrix products, for any number of frames."""

    def __init__(self, hop_size=64, sample_rate=16000, name="harmonic"):
        super().__init__(sample_rate=sample_rate, name=name)
        self.hop_size = hop_size

    def get_signal(self, amplitudes, harmonic_distribution, f0_hz):
        """Audio of shape [batch, n_frames * hop_size] from valid controls."""
        return harmonic_synthesis(
            f0_hz, amplitudes, harmonic_distribution, self.hop_size, self.sample_rate
        )


@gin.register
class FramewiseNoise(ddsp.synths.FilteredNoise):
    """ddsp's filtered noise, for any number of frames."""

    def __init__(self, hop_size=64, initial_bias=-5.0, name="filtered_noise"):
        super().__init__(window_size=0, initial_bias=initial_bias, name=name)
        self.hop_size = hop_size

    def get_signal(self, magnitudes):
        """Audio of shape [batch, n_frames * hop_size] from magnitudes of the filter bands."""
        batch_size, n_frames = magnitudes.shape[:2]
        # The global generator is the one that training can set to the state of any step.
        generator = tf.random.get_global_generator()
        noise = generator.uniform([batch_size, n_frames * self.hop_size], -1.0, 1.0)
        return ddsp.core.frequency_filter(noise, magnitudes, window_size=self.window_size)


@gin.register
class DecayingReverb(ddsp.effects.Reverb):
    """ddsp's trainable reverb under an envelope that falls by 60 dB over its length.

    Without it each of thousands of samples of the impulse response is as free as any other, and
    a few minutes of recordings teach it a second of hiss in which notes ring on.
    """

    SCALE = 0.1  # of the echoes to the direct sound: Adam moves all variables by equal steps

    def __init__(self, reverb_length=16000, name="reverb"):
        super().__init__(trainable=True, reverb_length=reverb_length, name=name)
        decay_db = np.linspace(0.0, -60.0, reverb_length, dtype=np.float32)
        self._envelope = self.SCALE * 10.0 ** (decay_db / 20.0)

    def get_controls(self, audio):
        """The dry audio [batch, n_samples], and the impulse response for each of the batch."""
        return {"audio": audio, "ir": self._match_dimensions(audio, self._ir * self._envelope)}
