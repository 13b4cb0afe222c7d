"""Training from the command line: `python -m helpers.training --help`."""

import sys

from helpers.training.loop import main

sys.exit(main())
