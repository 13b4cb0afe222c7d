"""Timbre transfer from the command line: `python -m helpers.transfer --help`."""

import sys

from helpers import command_line


def _main():
    # Imported late, so that Ctrl-C while TensorFlow is imported is one sentence too.
    from helpers.transfer import session

    return session.main()


if __name__ == "__main__":
    sys.exit(command_line.run(_main))
