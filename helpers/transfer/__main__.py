"""Timbre transfer from the command line: `python -m helpers.transfer --help`."""

import sys

from helpers.transfer.session import main

sys.exit(main())
