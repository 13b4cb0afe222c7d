"""How every command ends: with a sentence and an exit status, never with a traceback."""

import sys
from collections.abc import Callable

from helpers.errors import InputError


def run(function: Callable[..., int], *arguments: object) -> int:
    """Calls the function of a command, and returns the exit status of the process.

    Names of files that the terminal cannot show are printed with escapes.

    Args:
      function: What the command does; it returns the exit status.
      arguments: What it is called with.

    Returns:
      What the function returns; 1 after an `InputError`, whose sentence is printed, and 130 after
      Ctrl-C, as shells have it.
    """
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):  # a notebook's and a test's streams have none
            stream.reconfigure(errors="backslashreplace")
    try:
        return function(*arguments)
    except InputError as error:
        print(error, file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("Stopped from the keyboard.", file=sys.stderr)
        return 130
