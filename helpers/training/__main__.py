"""Training from the command line: `python -m helpers.training --help`."""

import sys

from helpers import command_line


def _main():
    # Imported late, so that Ctrl-C while TensorFlow is imported is one sentence too.
    from helpers.training import loop

    return loop.main()


if __name__ == "__main__":
    sys.exit(command_line.run(_main))
