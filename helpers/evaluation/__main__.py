"""The two tables of results: `python -m helpers.evaluation --help`."""

import sys

from helpers.evaluation.results import main

sys.exit(main())
