"""Trains on one and on two devices, of which a CPU can make any number, and prints what came of it.

A process of its own, since TensorFlow's devices cannot be changed once it has computed anything.

    python tests/two_devices.py FOLDER
"""

import json
import sys
from dataclasses import asdict
from pathlib import Path

import pytest
import tensorflow as tf

sys.path.insert(0, str(Path(__file__).parent.parent))
cpu = tf.config.list_physical_devices("CPU")[0]
tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)

import tiny_training
from training import test_loop

from helpers.errors import InputError
from helpers.training import loop, recipe, steps
from helpers.training.objectives import RESYNTHESIS

ONE = tf.distribute.get_strategy()
TWO = tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])


def run(folder, strategy, build=tiny_training.build, n_steps=30, **options):
    with strategy.scope():
        instrument = build(**options)
    return asdict(test_loop.train(instrument, folder, n_steps, strategy=strategy))


def noises():
    """What the noise adds to a loss on each device, of the same clip on both."""
    with TWO.scope():
        instrument = tiny_training.build()
    trained = steps.Steps(instrument.network, RESYNTHESIS, TWO, 10, 0.01, 0, 10)
    (clip,) = steps.heldout_batches(instrument, tiny_training.EXAMPLES.heldout, RESYNTHESIS)

    def loss():
        with trained._noise_of(tf.constant(0, tf.int64)):
            return RESYNTHESIS.measure(instrument.network, clip, training=True)[0]

    return [float(loss) for loss in TWO.experimental_local_results(TWO.run(loss))]


def main(folder):
    loop.EVALUATE_EVERY = test_loop.EVERY
    recipe.devices()
    found = {
        "one": run(folder / "one", ONE, noise=0.0),
        "two": run(folder / "two", TWO, noise=0.0),
        "at once": run(folder / "at once", TWO),
        "noises": noises(),
        "instrument": run(folder / "instrument", TWO, test_loop.build, n_steps=2),
    }
    with pytest.MonkeyPatch.context() as monkeypatch:
        test_loop.stop_at(25, monkeypatch)
        found["stopped"] = run(folder / "stopped", TWO)
    found["gone on"] = run(folder / "stopped", TWO, seed=1)
    try:
        test_loop.train(tiny_training.build(), folder / "refused", strategy=TWO)
    except InputError as error:
        found["refused"] = str(error)
    print(json.dumps(found))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
