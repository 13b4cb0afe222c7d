"""Rates, paths and defaults that several modules share. Standard library only."""

import math
import os
from pathlib import Path

# Where this project is published: the set-up cells and the Colab badges are stamped from it
# by `make notebooks`.
REPOSITORY_URL = "https://github.com/timbre-notebooks/timbre-notebooks"

VERSION = "0.5"  # written into the metadata of results

# Set by the tests and `make demo`: the notebooks train for a minute or two only.
QUICK = os.environ.get("TIMBRE_QUICK", "") not in ("", "0")

ROOT = Path(__file__).resolve().parent.parent
DATA = ROOT / "data"
CHECKPOINTS = ROOT / "checkpoints"
RECORDINGS = DATA / "recordings"
RESULTS = ROOT / "results"
# The user's datasets, checkpoints and bundles; quick runs have a folder of their own.
RUNS = RESULTS / "quick_runs" if QUICK else ROOT / "runs"
# Pitch and harmonics that were found before, so that they are not sought again; may be deleted at
# any time.
CACHE = ROOT / "runs" / "cache"
UPLOADS = DATA / "my_audio"
RECORDED_SETS = DATA / "my_recordings"  # a folder for each instrument to be learned

SAMPLE_RATE = 16000  # Hz
FRAME_RATE = 125  # feature frames a second
DB_PER_NEPER = 10.0 / math.log(10.0)  # for natural logarithms of powers
VOICED_CONFIDENCE = 0.5  # CREPE confidence from which a frame counts as voiced
MAX_SECONDS = 15 * 60  # longest clip that is read at once
