"""An instrument that learns from an analysis, as small as can be, and tones of known powers."""

import numpy as np
import tensorflow as tf
from tiny_training import FRAME_RATE, SAMPLE_RATE, STATISTICS, tones

from helpers.analysis import features
from helpers.instruments.configurations import build as build_configuration
from helpers.training import dataset

N_HARMONICS, N_BANDS, N_KNOWN = 8, 17, 4
FLOOR = np.log(1e-12)  # power of the noise for each Hz, of tones that have none
BINDINGS = [
    "ConvDecoder.channels = 8",
    "ConvDecoder.dilations = (1,)",
    "FramewiseMfccEncoder.rnn_channels = 8",
    "FramewiseMfccEncoder.z_dims = 3",
    f"hop_size = {SAMPLE_RATE // FRAME_RATE}",
    f"harmonics = {N_HARMONICS}",
    f"noise_bands = {N_BANDS}",
    "fft_sizes = (256,)",
]


def examples(pitches_hz):
    """`tones` with their powers; above the fourth harmonic and 6 kHz nothing is known."""
    fields = tones(pitches_hz)
    shape = fields["f0_hz"].shape
    fields["loudness_db"] = np.stack(
        [features.loudness(audio, SAMPLE_RATE, FRAME_RATE) for audio in fields["audio"]]
    )
    swell = 0.1 + 0.4 * np.sin(np.pi * np.arange(shape[1]) / FRAME_RATE)
    numbers = np.arange(1, N_HARMONICS + 1)
    powers = np.log((swell[:, np.newaxis] / numbers) ** 2 / 2)
    powers[:, N_KNOWN:] = np.nan
    noise = np.where(np.arange(N_BANDS) * 8000 / N_BANDS < 6000, FLOOR, np.nan)
    fields["harmonic_log_power"] = np.broadcast_to(powers, (*shape, N_HARMONICS)).astype("f2")
    fields["noise_log_density"] = np.broadcast_to(noise, (*shape, N_BANDS)).astype("f2")
    fields["bandwidth_hz"] = np.full(shape, 60.0, np.float32)
    return fields


EXAMPLES = dataset.Dataset(
    examples([220.0, 330.0, 440.0]),
    examples([277.0]),
    STATISTICS | {"band_edge_hz": 8000.0, "loudness_db_percentiles": [-20.0] * 101},
)


def build(seed=0, configuration="analysis", **options):
    """An `Instrument`, which starts at the means of what it is to learn."""
    tf.keras.utils.set_random_seed(seed)
    made = build_configuration(configuration, SAMPLE_RATE, BINDINGS, **options)
    made.network.decoder.set_means(np.full(N_HARMONICS, -3.0), np.full(N_BANDS, FLOOR), 8000.0)
    return made
