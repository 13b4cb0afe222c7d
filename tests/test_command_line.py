"""What a command prints and returns, whatever happens in it."""

import subprocess
import sys

import pytest

from helpers import config
from helpers.command_line import run
from helpers.errors import InputError


def fails(error):
    raise error


def test_the_status_is_the_functions():
    assert run(lambda status: status, 3) == 3


@pytest.mark.parametrize(
    ("error", "status", "printed"),
    [
        (InputError("There is no file: choose one."), 1, "There is no file: choose one.\n"),
        (KeyboardInterrupt(), 130, "Stopped from the keyboard.\n"),
    ],
)
def test_no_traceback(capsys, error, status, printed):
    assert run(fails, error) == status
    assert capsys.readouterr().err == printed


def test_faults_of_the_program_are_not_hidden():
    with pytest.raises(ZeroDivisionError):
        run(lambda: 1 // 0)


@pytest.mark.parametrize("name", ["Zoë", "\udcff not UTF-8"])
def test_any_name_can_be_printed_anywhere(name):
    code = f"from helpers.command_line import run; run(lambda: print({ascii(name)}) or 0)"
    ascii_only = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=config.ROOT, env=ascii_only, capture_output=True
    )
    assert (done.returncode, done.stderr) == (0, b"")
    assert done.stdout.strip().isascii() and done.stdout.strip()


def test_our_warnings_are_the_sentence_alone():
    code = (
        "import warnings; from helpers.errors import InputWarning\n"
        "warnings.warn('Half of it is used.', InputWarning)\n"
        "warnings.warn('of someone else')"
    )
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, cwd=config.ROOT, capture_output=True, encoding="utf-8")
    ours, *others = done.stderr.splitlines()
    assert ours == "⚠ Half of it is used."
    assert "UserWarning: of someone else" in others[0]
