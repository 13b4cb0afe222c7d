"""Training from the command line: `python -m helpers.training --help`."""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from helpers.command_line import run
from helpers.errors import InputError


def main(arguments: Sequence[str] | None = None) -> int:
    """Trains, saves the bundle and returns the exit code."""
    return run(_train, arguments)


def _train(arguments: Sequence[str] | None) -> int:
    # Imported late, so that Ctrl-C while TensorFlow is imported is one sentence too.
    from helpers.training import recipe

    options = vars(_parser().parse_args(arguments))
    given = {"configuration", "sample_rate", "precision"} & options.keys()
    if given and "fine_tuned_from" in options:
        raise InputError(
            "The instrument of --from keeps its own configuration, sample rate and precision: "
            "leave out --config, --sample-rate and --precision."
        )
    training = recipe.follow(recipe.Recipe(**options))
    if training is None:
        return 130  # stopped from the keyboard, as shells say it
    print(f"Bundle: {training.save()}")
    return 0


def _parser() -> argparse.ArgumentParser:
    """Options by the names of the fields of a `Recipe`; those that are not given are left out."""
    parser = argparse.ArgumentParser(
        prog="python -m helpers.training",
        description="Trains an instrument on a folder of recordings. The same command again goes "
        "on where it was stopped.",
        argument_default=argparse.SUPPRESS,
    )

    def add(option, field, kind, description, required=False):
        metavar = option.removeprefix("--").upper()
        parser.add_argument(
            option, dest=field, type=kind, help=description, required=required, metavar=metavar
        )

    add("--data", "recordings", Path, "folder of recordings of one instrument", required=True)
    add("--save", "folder", Path, "folder for all that is made; names the bundle", required=True)
    add("--steps", "steps", int, "in all (1000; 5000 for models that learn by ear alone)")
    add("--config", "configuration", str, "which model, such as analysis_z or small (analysis)")
    add("--sample-rate", "sample_rate", int, "in Hz, such as 16000 (44100)")
    add("--precision", "precision", str, "such as mixed_float16, on a GPU (float32)")
    add("--from", "fine_tuned_from", Path, "bundle to fine-tune, instead of these three")
    add("--learning-rate", "learning_rate", float, "the highest (0.002)")
    add("--seed", "seed", int, "the same seed, the same training (0)")
    add("--credit", "credit", str, "who made the recordings, for the model card")
    add("--licence", "licence", str, "of the recordings, for the model card")
    return parser


if __name__ == "__main__":
    sys.exit(main())
