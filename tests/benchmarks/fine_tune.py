"""What a minute of a new instrument is worth: fine-tuned from the shipped violin, and from scratch.

    python tests/benchmarks/fine_tune.py FOLDER_OF_RECORDINGS

Takes the first minute of the folder, trains for as many steps from the violin's weights, at two
learning rates, as from random ones, and prints the held-out losses as a table.
"""

import argparse
import sys
import tempfile
from pathlib import Path

import pandas as pd

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from helpers import config
from helpers.analysis import audio as sound
from helpers.instruments import bundles, configurations
from helpers.tensorflow_import import tf
from helpers.training import dataset, loop

SECONDS, STEPS = 60, 400
STARTS = {
    "from scratch": (lambda: configurations.build("small"), loop.LEARNING_RATE),
    "from the violin": (lambda: bundles.load(config.CHECKPOINTS / "violin"), loop.LEARNING_RATE),
    "from the violin, gently": (lambda: bundles.load(config.CHECKPOINTS / "violin"), 3e-4),
}


def copy_first_minute(folder, target):
    """Saves the first minute of the recordings in a folder, file by file, to another one."""
    left = SECONDS * config.SAMPLE_RATE
    for i, path in enumerate(sound.find(folder)):
        audio, _ = sound.load(path, config.SAMPLE_RATE)
        sound.save(target / f"{i}.wav", audio[:left], config.SAMPLE_RATE)
        left -= len(audio[:left])
        if left < sound.MIN_SECONDS * config.SAMPLE_RATE:
            return


def main():
    """Prepares, trains, prints."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("folder", type=Path, help="recordings of the new instrument")
    folder = parser.parse_args().folder
    losses = {}
    with tempfile.TemporaryDirectory() as work:
        work = Path(work)
        (work / "minute").mkdir()
        copy_first_minute(folder, work / "minute")
        examples = dataset.prepare(work / "minute", work / "dataset")
        for name, (start, learning_rate) in STARTS.items():
            tf.keras.utils.set_random_seed(0)
            history = loop.train(start(), examples, work / name, STEPS, learning_rate)
            losses[name] = dict(zip(history.step, history.heldout_loss, strict=True))
    print(pd.DataFrame(losses).rename_axis("step").round(3).to_string())


if __name__ == "__main__":
    main()
