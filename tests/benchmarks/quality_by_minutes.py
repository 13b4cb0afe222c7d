"""Held-out quality against minutes of training: Google's configuration and `small`.

    python tests/benchmarks/quality_by_minutes.py train ddsp FOLDER_OF_RECORDINGS --steps 1800
    python tests/benchmarks/quality_by_minutes.py train small FOLDER_OF_RECORDINGS --steps 4000
    python tests/benchmarks/quality_by_minutes.py draw

`train` trains a configuration, resumably, into results/quality and writes down the spectral loss,
Loudness L1 and F0 L1 on held-out audio by step. `draw` measures on this machine, in turns, how
long a step takes, ddsp's own step for Google's configuration, and draws docs/quality.png by
minutes. So Google's curve is that of its configuration and settings (4 clips of 4 s, Adam at
3e-4), computed by our engine, whose loss for given weights is ddsp's (tests/test_instrument.py),
on the clock of ddsp itself.
"""

import argparse
import json
import statistics
import sys
import time
from dataclasses import replace
from pathlib import Path

import matplotlib.pyplot as plt

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT), str(Path(__file__).parent)]

import train_step

from helpers import config
from helpers.evaluation import metrics
from helpers.files import replacing
from helpers.instruments import configurations
from helpers.synthesis.losses import FusedSpectralLoss
from helpers.tensorflow_import import tf
from helpers.training import dataset, loop, steps
from helpers.training.objectives import RESYNTHESIS

FOLDER = config.RESULTS / "quality"
PICTURE = ROOT / "docs" / "quality.png"
# Clips a batch, seconds a clip, learning rate, and its final share: Google's notebook's, where
# the batch is the one that its step is timed with here.
GOOGLES = 4, 4.0, 3e-4, 1.0
METRICS_EVERY = 200  # steps
LABELS = {"ddsp": "Google's configuration, ddsp's step", "small": "ours, small"}
MEASURES = {
    "spectral_loss": "spectral loss",
    "loudness_l1_db": "Loudness L1 (dB)",
    "f0_l1_semitones": "F0 L1 (semitones)",
}
RUNS = 5


def train(name, recordings, n_steps):
    """Trains one configuration and writes its held-out quality by step."""
    objective, rate = RESYNTHESIS, loop.LEARNING_RATE
    if name == "ddsp":
        batch_size, clip_seconds, rate, steps.FINAL_LEARNING_RATE = GOOGLES
        objective = replace(RESYNTHESIS, batch_size=batch_size, clip_seconds=clip_seconds)
    tf.keras.utils.set_random_seed(0)
    instrument = configurations.build(name)
    rates = instrument.sample_rate, instrument.frame_rate
    examples = dataset.prepare(recordings, FOLDER / name / "dataset", *rates)
    path = FOLDER / f"{name}.json"
    measured = json.loads(path.read_text())["metrics"] if path.is_file() else {}

    def write_down(progress):
        if progress.step % METRICS_EVERY == 0 or progress.step == progress.steps:
            row = metrics.resynthesis(instrument, examples.heldout)
            row["spectral_loss"] = spectral_loss(instrument, examples.heldout)
            measured[str(progress.step)] = row
        with replacing(path) as unfinished:
            content = {"metrics": measured, "parameters": instrument.parameters}
            unfinished.write_text(json.dumps(content))

    loop.train(
        instrument,
        examples,
        FOLDER / name / "checkpoints",
        n_steps,
        rate,
        objective=objective,
        report=write_down,
    )


def spectral_loss(instrument, heldout):
    """ddsp's loss alone: `small` is trained with a term for loudness beside it."""
    loss = FusedSpectralLoss(logmag_weight=1.0)
    losses = []
    for batch in steps.heldout_batches(instrument, heldout, RESYNTHESIS):
        played = instrument.network(dict(batch), training=True)["audio_synth"]
        losses.append(float(loss(batch["audio"], played)))
    return statistics.fmean(losses)


def seconds_a_step():
    """Median seconds of a step: ddsp's own at Google's settings, and ours of `small`."""
    batch_size, seconds, *_ = GOOGLES
    google = train_step.google_step(
        train_step.clips(batch_size, int(seconds), train_step.FRAME_RATE)
    )
    instrument = configurations.build("small")
    size = RESYNTHESIS.batch_size, int(RESYNTHESIS.clip_seconds)
    clips = train_step.clips(*size, instrument.frame_rate)
    runs = {"ddsp": google, "small": train_step.our_step(clips, instrument)}
    times = {name: [] for name in runs}
    for i in range(RUNS + 1):
        for name, run in runs.items():
            start = time.perf_counter()
            for result in tf.nest.flatten(run()):
                float(tf.reduce_sum(result))
            if i > 0:  # the first compiles
                times[name].append(time.perf_counter() - start)
    return {name: statistics.median(each) for name, each in times.items()}


def draw(step_s):
    """Draws the curves by minutes, and prints where they end."""
    fig, axes = plt.subplots(1, 3, figsize=(12, 3.6), layout="constrained")
    for name, label in LABELS.items():
        written = json.loads((FOLDER / f"{name}.json").read_text())
        minutes = [int(step) * step_s[name] / 60 for step in written["metrics"]]
        for ax, (measure, title) in zip(axes, MEASURES.items(), strict=True):
            values = [row[measure] for row in written["metrics"].values()]
            ax.plot(minutes, values, label=f"{label} ({step_s[name]:.2f} s)")
            ax.set(title=title, xlabel="minutes of training", xscale="log")
            print(f"{name} {measure}: {values[-1]:.3f} after {minutes[-1]:.1f} minutes")
            print(f"    at its best {min(values):.3f}")
    fig.legend(*axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=2)
    fig.suptitle("Held-out violin, two CPU cores")
    fig.savefig(PICTURE, dpi=110)
    print(f"seconds a step: {step_s}; drawn to {PICTURE.relative_to(ROOT)}")


def main():
    """See the module's docstring."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    commands = parser.add_subparsers(dest="command", required=True)
    training_of = commands.add_parser("train")
    training_of.add_argument("configuration", choices=LABELS)
    training_of.add_argument("recordings", type=Path)
    training_of.add_argument("--steps", type=int, required=True)
    drawing = commands.add_parser("draw")
    drawing.add_argument(
        "--step-seconds",
        type=float,
        nargs=2,
        metavar=("DDSP", "OURS"),
        help="of a step, as measured when the machine was idle, instead of measuring now",
    )
    options = parser.parse_args()
    if options.command == "draw":
        given = options.step_seconds
        draw(dict(zip(LABELS, given, strict=True)) if given else seconds_a_step())
    else:
        train(options.configuration, options.recordings, options.steps)


if __name__ == "__main__":
    main()
