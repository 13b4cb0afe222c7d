"""Decoders, batches and rates compared at equal time: what `small` was chosen from.

    python tests/benchmarks/model_size.py FOLDER_OF_RECORDINGS [--seconds 90] [VARIANT ...]

Times a training step of each variant, trains it for as many steps as go into the seconds, each
with its own fall of the learning rate, and prints parameters, seconds a step, seconds of audio
trained on a second, and the spectral loss on held-out audio. The machine has to be idle.
"""

import argparse
import statistics
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from helpers.instruments import configurations
from helpers.tensorflow_import import tf
from helpers.training import dataset, steps
from helpers.training.objectives import RESYNTHESIS

GRU = (
    "Autoencoder.decoder = @GruDecoder()",
    "GruDecoder.rnn_channels = 128",
    "GruDecoder.ch = 128",
    "GruDecoder.layers_per_stack = 2",
    "GruDecoder.input_keys = ('ld_scaled', 'f0_scaled')",
    "GruDecoder.output_splits = (('amps', 1), ('harmonic_distribution', %harmonics), "
    "('noise_magnitudes', %noise_bands))",
)
# Clips a batch, seconds a clip, learning rate, gin bindings.
VARIANTS = {
    "default": (4, 2.0, 2e-3, ()),
    "batch of 8": (8, 2.0, 2e-3, ()),
    "batch of 2": (2, 2.0, 2e-3, ()),
    "batch of 8, rate 1e-3": (8, 2.0, 1e-3, ()),
    "rate 3e-3": (4, 2.0, 3e-3, ()),
    "clips of 1 s": (8, 1.0, 2e-3, ()),
    "64 channels": (4, 2.0, 2e-3, ("ConvDecoder.channels = 64",)),
    "192 channels": (4, 2.0, 2e-3, ("ConvDecoder.channels = 192",)),
    "5 layers": (4, 2.0, 2e-3, ("ConvDecoder.dilations = (1, 2, 4, 8, 16)",)),
    "GRU of 128": (4, 2.0, 2e-3, GRU),
    "100 frames a second": (4, 2.0, 2e-3, ("hop_size = 160",)),
    "100 harmonics": (4, 2.0, 2e-3, ("harmonics = 100",)),
}
TIMED = 12  # steps


def prepared(instrument, batch_size, clip_seconds, examples, n_steps, learning_rate):
    """The steps of a training, and a function that draws the batch of one."""
    objective = replace(RESYNTHESIS, batch_size=batch_size, clip_seconds=clip_seconds)
    made = steps.Steps(
        instrument.network, objective, tf.distribute.get_strategy(), n_steps, learning_rate, 0, 1
    )

    def draw(step):
        return made.spread(steps.draw_batch(instrument, examples.train, objective, 0, step))

    return made, draw


def build(bindings):
    """The instrument of a variant, with the same first weights each time."""
    tf.keras.utils.set_random_seed(0)
    return configurations.build("small", bindings=bindings)


def seconds_a_step(bindings, batch_size, clip_seconds, examples):
    """Median over some steps that change nothing."""
    made, draw = prepared(build(bindings), batch_size, clip_seconds, examples, 10, 0.0)
    batch, times = draw(0), []
    for _ in range(TIMED + 1):
        start = time.perf_counter()
        made.train(batch)
        made.losses(0)
        times.append(time.perf_counter() - start)
    return statistics.median(times[1:])


def heldout_loss(bindings, batch_size, clip_seconds, learning_rate, examples, n_steps):
    """After training, and the number of parameters."""
    instrument = build(bindings)
    made, draw = prepared(instrument, batch_size, clip_seconds, examples, n_steps, learning_rate)
    for step in range(n_steps):
        made.train(draw(step))
    batches = steps.heldout_batches(instrument, examples.heldout, RESYNTHESIS)
    losses = [made.evaluate(batch)[0] for batch in batches]
    return float(np.mean(losses)), instrument.parameters


def main():
    """See the module's docstring."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("recordings", type=Path)
    parser.add_argument("variants", nargs="*", default=list(VARIANTS), metavar="VARIANT")
    parser.add_argument("--seconds", type=float, default=90.0)
    options = parser.parse_args()
    columns = "variant", "parameters", "s a step", "steps", "audio/s", "held out"
    print("{:24}{:>11}{:>10}{:>7}{:>9}{:>10}".format(*columns))
    for name in options.variants:
        batch_size, clip_seconds, learning_rate, bindings = VARIANTS[name]
        with tempfile.TemporaryDirectory() as work:
            instrument, folder = build(bindings), Path(work) / "dataset"
            rates = instrument.sample_rate, instrument.frame_rate
            examples = dataset.prepare(options.recordings, folder, *rates)
            step_s = seconds_a_step(bindings, batch_size, clip_seconds, examples)
            n_steps = int(options.seconds / step_s)
            loss, parameters = heldout_loss(
                bindings, batch_size, clip_seconds, learning_rate, examples, n_steps
            )
        audio_s = batch_size * clip_seconds / step_s
        print(f"{name:24}{parameters:11,}{step_s:10.3f}{n_steps:7}{audio_s:9.0f}{loss:10.2f}")


if __name__ == "__main__":
    main()
