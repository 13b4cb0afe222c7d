"""The two tables of results from the command line: `python -m helpers.evaluation --help`."""

import sys

from helpers import command_line


def _main():
    # Imported late, so that Ctrl-C while TensorFlow is imported is one sentence too.
    from helpers.evaluation import results

    return results.main()


if __name__ == "__main__":
    sys.exit(command_line.run(_main))
