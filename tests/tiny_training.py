"""What a training needs, so small that it takes seconds: recordings, and a network for the loop.

The network is a stand-in for an instrument's: it is built, called and differentiated in the same
way, and draws its noise as the synthesizers do, but its graph is made in half a second.
"""

import numpy as np
import tensorflow as tf

from helpers.instruments.instrument import Instrument
from helpers.training import dataset, steps
from helpers.training.objectives import RESYNTHESIS

SAMPLE_RATE, FRAME_RATE, HOP_SIZE = 16000, 125, 128


def tones(pitches_hz):
    """Seconds of four harmonics that swell, with their true f0 and a loudness that follows."""
    times_s = np.arange(SAMPLE_RATE) / SAMPLE_RATE
    swell = 0.1 + 0.4 * np.sin(np.pi * times_s)
    audio = [
        swell * sum(np.sin(2 * np.pi * k * f * times_s) / k for k in range(1, 5))
        for f in pitches_hz
    ]
    loudness_db = 20 * np.log10(np.append(swell, swell[0])[::HOP_SIZE])
    fields = {
        "audio": audio,
        "f0_hz": [np.full(1 + FRAME_RATE, f) for f in pitches_hz],
        "f0_confidence": [np.ones(1 + FRAME_RATE)] * len(pitches_hz),
        "loudness_db": [loudness_db] * len(pitches_hz),
    }
    return {name: np.array(values, np.float32) for name, values in fields.items()}


STATISTICS = {"sample_rate": SAMPLE_RATE, "frame_rate": FRAME_RATE}
EXAMPLES = dataset.Dataset(tones([220.0, 330.0, 440.0]), tones([277.0]), STATISTICS, {})


class Network(tf.keras.Model):
    """Noise that learns to be as loud as a sound: a loss with something in it to learn."""

    encoder = decoder = None

    def __init__(self, loss_weight, noise, dtype):
        super().__init__()
        self.loss_weight, self.noise = loss_weight, noise
        self.hidden = tf.keras.layers.Dense(8, "tanh", dtype=dtype)
        self.output_layer = tf.keras.layers.Dense(1, dtype=dtype)

    def call(self, batch, training=None, return_losses=False):
        curves = tf.stack([batch["f0_hz"] / 500.0, batch["loudness_db"] / 20.0], axis=-1)
        volumes = tf.cast(self.output_layer(self.hidden(curves)), tf.float32)
        n_clips, n_frames = batch["f0_hz"].shape
        noise = tf.random.get_global_generator().uniform([n_clips, n_frames, HOP_SIZE], -1.0, 1.0)
        frames = volumes * (1.0 + self.noise * noise)
        energies = tf.abs(tf.reshape(batch["audio"], frames.shape))
        loss = self.loss_weight * tf.reduce_mean(tf.abs(energies - frames))
        return {"audio_synth": tf.reshape(frames, [n_clips, -1])}, {"total_loss": loss}


def build(seed=0, loss_weight=1.0, noise=1.0, dtype="float32"):
    """An `Instrument` of such a network."""
    tf.keras.utils.set_random_seed(seed)
    network = Network(loss_weight, noise, dtype)
    made = Instrument(network, "", SAMPLE_RATE, HOP_SIZE)
    network(steps.heldout_batches(made, EXAMPLES.heldout, RESYNTHESIS)[0])
    return made
