"""Sentences for users: shown alone, and wherever they are shown."""

import subprocess
import sys

import pytest
from IPython.core.interactiveshell import InteractiveShell

from helpers.config import ROOT
from helpers.errors import InputError

WARNING = """
import warnings
from helpers.errors import InputWarning
warnings.warn("take.wav is clipped.", InputWarning)
warnings.warn("a library's own")
"""


def test_a_notebook_shows_the_sentence_alone(capsys):
    InteractiveShell.instance().run_cell(
        "from helpers.errors import InputError\nraise InputError('Give a recording.')"
    )
    shown = capsys.readouterr()
    assert (shown.out + shown.err).strip() == "⚠ Give a recording."


def test_a_warning_is_shown_without_the_line_that_warned():
    done = subprocess.run(
        [sys.executable, "-c", WARNING], cwd=ROOT, capture_output=True, encoding="utf-8"
    )
    ours, other = done.stderr.split("\n", 1)
    assert ours == "⚠ take.wav is clipped."
    assert "UserWarning: a library's own" in other


@pytest.mark.parametrize("name", ["caf\udce9.wav", "\ud83d.wav"])
def test_a_sentence_about_a_damaged_name_can_be_written_anywhere(name):
    str(InputError(f"{name} cannot be read.")).encode("utf-8")
