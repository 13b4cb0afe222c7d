"""How every command ends: with a sentence and an exit status, never with a traceback."""

import contextlib
import sys
import warnings
from collections.abc import Callable, Iterator

from helpers.errors import InputError
from helpers.files import explaining

STOPPED = 130  # the exit status of what was stopped from the keyboard, as shells have it


def run(function: Callable[..., int], *arguments: object) -> int:
    """Calls the function of a command, and returns the exit status of the process.

    Names of files that the terminal cannot show are printed with escapes. Warnings, those of
    libraries too, are printed without the line of code that warns.

    >>> run(lambda name: print("Played:", name) or 0, "song.wav")
    Played: song.wav
    0

    Args:
      function: What the command does; it returns the exit status.
      arguments: What it is called with.

    Returns:
      What the function returns; 1 after an `InputError` or an error of the system, of which a
      sentence is printed, and 130 after Ctrl-C, where the sentence of the `KeyboardInterrupt` is
      printed if it has one.
    """
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):  # a notebook's and a test's streams have none
            stream.reconfigure(errors="backslashreplace")
    try:
        with _plain_warnings(), explaining("The command cannot go on"):
            return function(*arguments)
    except InputError as error:
        print(error, file=sys.stderr)
        return 1
    except KeyboardInterrupt as interrupted:
        print(str(interrupted) or "Stopped from the keyboard.", file=sys.stderr)
        return STOPPED


@contextlib.contextmanager
def _plain_warnings() -> Iterator[None]:
    standard = warnings.formatwarning
    warnings.formatwarning = lambda message, *_, **__: f"⚠ {message}\n"
    try:
        yield
    finally:
        warnings.formatwarning = standard
