"""Timbre transfer from the command line: `python -m helpers.transfer --help`."""

import argparse
import functools
import sys
from collections.abc import Sequence
from dataclasses import fields
from pathlib import Path

from helpers import command_line, config
from helpers.errors import InputError
from helpers.transfer.settings import Settings, checked

EXAMPLE = "example: python -m helpers.transfer song.wav out.wav --checkpoint violin --octaves 1"


def main(arguments: Sequence[str] | None = None) -> int:
    """Plays what the arguments name; returns the exit status."""
    return command_line.run(_transfer, vars(_parser().parse_args(arguments)))


def _parser():
    shipped = sorted(card.parent.name for card in config.CHECKPOINTS.glob("*/model_card.json"))
    parser = argparse.ArgumentParser(
        prog="python -m helpers.transfer",
        description="Plays a recording, or every recording in a folder, on another instrument.",
        epilog=EXAMPLE,
    )
    add = parser.add_argument
    add("source", type=_path, help="a sound file, or a folder of them")
    add("target", type=_path, help=".wav or .flac, or a folder for the results")
    instruments = f"the instrument: {', '.join(shipped)}, or the path of a bundle [violin]"
    add("--checkpoint", type=_path, default="violin", metavar="INSTRUMENT", help=instruments)
    add("--second", type=_path, metavar="INSTRUMENT", help="another one to mix with, by --mix")
    add("--room", type=_path, metavar="FILE", help="an impulse response to replace the room")
    add("--keep-rate", action="store_true", help="keep the recording's sample rate")
    add("--keep-loudness", action="store_true", help="keep the level of the recording's notes")
    add("--overwrite", action="store_true", help="replace results that exist")
    for setting in fields(Settings):
        add(f"--{setting.name.replace('_', '-')}", **_as_argument(setting))
    return parser


def _path(text):
    if not text:
        raise argparse.ArgumentTypeError("the name is empty")
    return text


def _as_argument(setting):
    """How a field of `Settings` is read from the command line."""
    shown = setting.metadata
    text = f"{shown['help']} [{setting.default}{' ' * bool(shown['unit'])}{shown['unit']}]"
    argument = {"default": setting.default, "help": text.replace("%", "%%")}
    if isinstance(setting.default, bool):
        return {**argument, "action": argparse.BooleanOptionalAction}
    argument["type"] = functools.partial(_value, setting)
    if "choices" in shown:
        return {**argument, "metavar": setting.name.upper()}
    lowest, highest, _ = shown["range"]
    return {**argument, "metavar": f"{lowest:g}..{highest:g}"}


def _value(setting, text):
    """A value of a field of `Settings`, from its text."""
    try:
        return checked(setting, type(setting.default)(text))
    except InputError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def _transfer(given):
    # Imported late: TensorFlow takes seconds, and Ctrl-C meanwhile ends with a sentence too.
    from helpers.transfer import session

    settings = Settings(**{setting.name: given.pop(setting.name) for setting in fields(Settings)})
    source, target, checkpoint = (given.pop(name) for name in ("source", "target", "checkpoint"))
    if not Path(source).is_dir():
        print(session.transfer_file(source, target, checkpoint, settings, **given))
        return 0
    batch = session.transfer_folder(source, target, checkpoint, settings, **given)
    for path, sentence in batch.played.items():
        print(f"{path}: {sentence}")
    for path in batch.left:
        print(f"{path}: its result exists and is left as it is (--overwrite replaces it).")
    for path, sentence in batch.passed_over.items():
        print(f"{path} is passed over: {sentence}", file=sys.stderr)
    return 1 if batch.passed_over else 0


if __name__ == "__main__":
    sys.exit(main())
