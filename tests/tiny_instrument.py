"""An instrument that is small enough to be made anew in a test, and played the same each time."""

import numpy as np
import tensorflow as tf

from helpers.instruments import bundles, configurations

SMALL = [
    "ConvDecoder.channels = 8",
    "ConvDecoder.dilations = (1, 2)",
    "DecayingReverb.reverb_length = 99",
    "fft_sizes = (256,)",
    "FramewiseMfccEncoder.rnn_channels = 8",
    "FramewiseMfccEncoder.z_dims = 3",
]
WITHOUT_NOISE = "FramewiseNoise.initial_bias = -16.0"
STATISTICS = {
    "feature_profile": "ddsp-2",
    "sample_rate": 16000,
    "frame_rate": 125,
    "files": 2,
    "examples": 10,
    "pitch_midi": {"low": 55.0, "mean": 69.0, "high": 90.0},
    "loudness_db_percentiles": np.linspace(-60.0, -20.0, 101).tolist(),
}


def build(configuration="small"):
    """The instrument, with statistics and a card as after training; the same weights each time."""
    tf.keras.utils.set_random_seed(0)
    instrument = configurations.build(configuration, bindings=SMALL)
    instrument.statistics = STATISTICS
    heldout, spectrum = (
        {"loudness_l1_db": 1.23456},
        {"level_db": {"200-500": -0.5, "below f0": None}},
    )
    instrument.card = bundles.card("tiny", instrument, 0, heldout, "Zoë", "CC0", spectrum=spectrum)
    return instrument


def play(instrument, n_frames=50):
    """A glide, with the same noise each time."""
    tf.random.get_global_generator().reset_from_seed(0)
    return instrument.play(
        np.geomspace(200.0, 900.0, n_frames), np.linspace(-60.0, -10.0, n_frames)
    )


def set_in(bundle, *lines):
    """Adds lines to the configuration of a bundle."""
    with open(bundle / "operative_config.gin", "a") as config:
        config.write("".join(f"\n{line}\n" for line in lines))
