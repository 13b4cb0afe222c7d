"""Seconds from features to sound, of Google's programs and of ours; and from a slider to sound.

    python tests/benchmarks/transfer.py [--rounds 3] [--steps 5] [--checkpoints violin flute]
        [--tone-transfer SCRIPT]

Plays 10 s whose features are ready, in turns, each program in a process of its own: ddsp with
Google's configuration, as train_step.py measures it; ours, adjustment included, with checkpoints
that ship or paths of other bundles; and, with `--tone-transfer`, Google's published Tone Transfer
models, 5 s at a time, by a script whose `load(instrument)` returns a function of f0_hz [1250] and
loudness_db [1250]. Then every control is moved on the first checkpoint, with all else kept: what
was heard before is not timed, the new sound is. Prints medians over the rounds, of seconds and of
seconds of all cores together, their ratios to those of the first checkpoint, the peak of memory of
the process, TensorFlow itself included, and for each control the median and the slowest.
"""

import argparse
import dataclasses
import importlib.util
import json
import resource
import statistics
import subprocess
import sys
import time
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT), str(Path(__file__).parent)]

import train_step

from helpers import config
from helpers.analysis import audio as sound
from helpers.analysis import features
from helpers.instruments import bundles
from helpers.transfer.adjustment import adjust
from helpers.transfer.render import Player
from helpers.transfer.settings import Settings

CLIP = config.DATA / "voice" / "oohs_melody.flac"
SECONDS = train_step.TRANSFER_SECONDS
TONE_TRANSFER_FRAMES, TONE_TRANSFER_SECONDS = 1250, 5
COLUMNS = ("seconds", "cores_seconds", "peak_gb")
NEEDS = {"key": {"autotune": 1.0}}  # for a control to change anything, others have to be set


def prepared(checkpoint):
    """The checkpoint, and the features of the clip at its frame rate."""
    path = config.CHECKPOINTS / checkpoint
    instrument = bundles.load(path if path.exists() else checkpoint)
    audio, sample_rate = sound.load(CLIP, instrument.sample_rate)
    return instrument, features.extract(
        audio[: SECONDS * sample_rate], sample_rate, instrument.frame_rate
    )


def ours(options):
    """The whole clip, from features, as a function of nothing."""
    instrument, heard = prepared(options.checkpoint)
    return lambda: Player(instrument).play(adjust(heard, instrument.statistics).features)


def tone_transfer(options):
    """As many of its clips as ours has seconds."""
    spec = importlib.util.spec_from_file_location("tone_transfer", options.tone_transfer)
    script = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(script)
    play = script.load(options.checkpoint)
    tf = train_step.tf
    curves = [tf.fill([TONE_TRANSFER_FRAMES], value) for value in (440.0, -60.0)]
    return lambda: [play(*curves).numpy() for _ in range(SECONDS // TONE_TRANSFER_SECONDS)]


def seconds_of(run):
    """Seconds, and those of all cores together."""
    start, cores_start = time.perf_counter(), time.process_time()
    run()
    return time.perf_counter() - start, time.process_time() - cores_start


def measure(who, options):
    """Times a program in this process and prints one JSON line."""
    run = {"ours": ours, "tone_transfer": tone_transfer}[who](options)
    run()  # traces and compiles
    seconds = np.median([seconds_of(run) for _ in range(options.steps)], axis=0)
    peak_gb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6  # Linux counts in kB
    print(json.dumps(dict(zip(COLUMNS, [*seconds, peak_gb], strict=True))))


def measured(who, checkpoint, options):
    """Seconds and gigabytes of a program, measured in a process of its own."""
    if who == "ddsp":
        return {"cores_seconds": np.nan} | train_step.measured("ddsp", "transfer", options)
    command = [sys.executable, __file__, "--measure", who, "--checkpoint", checkpoint]
    command += ["--steps", str(options.steps)]
    if options.tone_transfer:
        command += ["--tone-transfer", str(options.tone_transfer)]
    result = subprocess.run(command, capture_output=True, text=True, check=True)
    return json.loads(result.stdout.strip().splitlines()[-1])


def compare(options):
    """All programs in turns, and the table of their medians."""
    programs = [("ours", checkpoint) for checkpoint in options.checkpoints]
    programs += [("ddsp", "")]
    programs += [("tone_transfer", options.checkpoints[0])] if options.tone_transfer else []
    runs = {program: [] for program in programs}
    for _ in range(options.rounds):
        for program in programs:
            runs[program].append(measured(*program, options))
    print(f"{SECONDS} s, features ready".ljust(40), "      s   ratio  all cores   ratio     GB")
    first = None
    for (who, checkpoint), each in runs.items():
        seconds, cores, peak_gb = np.median([[run[c] for c in COLUMNS] for run in each], axis=0)
        first = first or (seconds, cores)
        print(
            f"{who} {checkpoint}"[-40:].ljust(40),
            f"{seconds:7.3f}{seconds / first[0]:8.2f}"
            f"{cores:11.3f}{cores / first[1]:8.2f}{peak_gb:7.2f}",
        )


def values(setting, n):
    """Values of a control, each another than the one before, the first another than the default."""
    if "choices" in setting.metadata:
        others = [choice for choice in setting.metadata["choices"] if choice != setting.default]
    elif "range" in setting.metadata:
        lowest, highest, step = setting.metadata["range"]
        grid = np.arange(lowest, highest + step / 2, step).round(6)
        others = [type(setting.default)(value) for value in grid if value != setting.default]
    else:
        others = [not setting.default, setting.default]
    return [others[i * max(1, len(others) // n) % len(others)] for i in range(n)]


def controls(options):
    """Moves every control, and prints how long until there is new sound."""
    instrument, heard = prepared(options.checkpoints[0])
    second, _ = prepared(options.checkpoints[0])
    print(f"{'control':20}{'median s':>14}{'slowest s':>12}")
    for setting in dataclasses.fields(Settings):
        player = Player(instrument, second if setting.name == "mix" else None)
        seconds = []
        for value in values(setting, options.steps + 1):
            settings = Settings(**NEEDS.get(setting.name, {}) | {setting.name: value})
            seconds.append(seconds_of(lambda: moved(player, heard, settings))[0])  # noqa: B023
        seconds = seconds[1:]  # without what the first has to play whole
        print(f"{setting.name:20}{statistics.median(seconds):14.3f}{max(seconds):12.3f}")


def moved(player, heard, settings):
    adjusted = adjust(heard, player.instruments[0].statistics, settings)
    return player.play(adjusted.features, settings)


def main():
    """See the module's docstring."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--steps", type=int, default=5, help="timed runs in each round")
    parser.add_argument("--checkpoints", nargs="+", default=["violin"])
    parser.add_argument("--checkpoint", help=argparse.SUPPRESS)
    parser.add_argument("--tone-transfer", type=Path, metavar="SCRIPT")
    parser.add_argument("--measure", metavar="WHO", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.measure:
        measure(options.measure, options)
    else:
        options.batch, options.seconds = 1, SECONDS  # for train_step
        compare(options)
        controls(options)


if __name__ == "__main__":
    main()
