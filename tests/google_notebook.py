"""Checkpoints as Google's notebook leaves them, made by ddsp itself, small."""

import pickle
from pathlib import Path
from unittest import mock

import gin
import numpy as np
import tensorflow as tf

from helpers.synthesis.ddsp_import import ddsp

GIN = Path(ddsp.__file__).parent / "training" / "gin"
SAMPLE_RATE, FRAME_RATE, SECONDS = 16000, 250, 1
N_FRAMES = FRAME_RATE * SECONDS
SMALL = [
    "FilteredNoise.initial_bias = -1.0",  # loud, for a comparison
    "RnnFcDecoder.ch = 8",
    "RnnFcDecoder.rnn_channels = 8",
    "Reverb.reverb_length = 300",
    f"F0LoudnessPreprocessor.time_steps = {N_FRAMES}",
    f"Harmonic.n_samples = {SAMPLE_RATE * SECONDS}",
    f"FilteredNoise.n_samples = {SAMPLE_RATE * SECONDS}",
]
# As in the operative configuration of a training, beside what describes the model.
TRAINING = """
batch_size = 16
evaluators = [@BasicEvaluator, @F0LdEvaluator]
evaluate.batch_size = 32
evaluate.data_provider = @data.TFRecordProvider()
evaluate.evaluator_classes = %evaluators
TFRecordProvider.file_pattern = '/content/data/train.tfrecord*'
TFRecordProvider.with_jukebox = False
train.batch_size = %batch_size
train.data_provider = @data.TFRecordProvider()
train_util.train.num_steps = 30000
trainers.Trainer.learning_rate = 0.0003
Trainer.restore_keys = None
"""


def build(model="solo_instrument"):
    """ddsp's model of a gin file, with weights that sound, and its operative configuration."""
    gin.clear_config()
    gin.add_config_file_search_path(str(GIN))
    with gin.unlock_config():
        gin.parse_config_files_and_bindings([f"models/{model}.gin"], SMALL)
    network = ddsp.training.models.get_model()
    curves = {"f0_hz": tf.fill([1, N_FRAMES], 440.0), "audio": tf.zeros([1, SAMPLE_RATE * SECONDS])}
    network({**curves, "loudness_db": tf.fill([1, N_FRAMES], -30.0)}, training=False)
    rng = np.random.default_rng(0)
    for weight in network.weights:
        scale = 0.05 if "reverb" in weight.name else 0.5
        mean = 1.0 if "gamma" in weight.name else 0.0
        weight.assign(rng.normal(mean, scale, weight.shape))
    return network, gin.operative_config_str()


def save(network, config, folder, statistics=True, step=30000):
    """Writes what Google's notebook zips, with an optimizer of the time."""
    folder.mkdir(parents=True, exist_ok=True)
    optimizer = tf.keras.optimizers.legacy.Adam()
    weights = network.trainable_variables
    # Moments of zero, without a step.
    optimizer.apply_gradients([(tf.zeros_like(weight), weight) for weight in weights])
    checkpoint = tf.train.Checkpoint(model=network, optimizer=optimizer)
    manager = tf.train.CheckpointManager(checkpoint, str(folder), max_to_keep=3)
    manager.save(checkpoint_number=step)
    (folder / "operative_config-0.gin").write_text(config + TRAINING)
    if statistics:
        (folder / "dataset_statistics.pkl").write_bytes(pickle.dumps(dataset_statistics()))
    return folder


def dataset_statistics():
    """ddsp's statistics of a glide that swells."""
    return ddsp.training.postprocessing.compute_dataset_statistics(
        _Glide(), power_frame_rate=FRAME_RATE
    )


class _Glide:
    """A data provider of two examples of one second."""

    def get_batch(self, batch_size, repeats=1):
        return [
            {
                "audio": np.full([1, SAMPLE_RATE], 0.1, np.float32),
                "f0_hz": np.geomspace(low_hz, 2 * low_hz, 251, dtype=np.float32)[np.newaxis],
                "f0_confidence": np.ones([1, 251], np.float32),
                "loudness_db": np.linspace(-40.0, -10.0, 251, dtype=np.float32)[np.newaxis],
            }
            for low_hz in (220.0, 440.0)
        ]


def play(network, f0_hz, loudness_db):
    """What ddsp plays: its audio [n_samples], and its outputs by name.

    But for the phase, which it adds up in float32: that is off by a percent after a second.
    """
    network.preprocessor.compute_loudness = False  # of the audio, which would undo the curve
    n_samples = len(f0_hz) * SAMPLE_RATE // FRAME_RATE
    curves = {"f0_hz": f0_hz, "loudness_db": loudness_db, "audio": np.zeros(n_samples)}
    batch = {name: tf.constant(np.float32(curve)[np.newaxis]) for name, curve in curves.items()}
    with mock.patch.object(ddsp.core.tf, "cumsum", _cumsum):
        outputs = network(batch, training=False)
    return outputs["audio_synth"].numpy()[0], outputs


def _cumsum(x, axis):
    """Radians, made with the 2 pi of float32, added up in float64 within a turn."""
    radians = tf.cast(x, tf.float64) * (2.0 * np.pi / np.float64(np.float32(2.0 * np.pi)))
    return tf.cast(tf.math.cumsum(radians, axis) % (2.0 * np.pi), x.dtype)
