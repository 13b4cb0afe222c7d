"""What a command prints and returns, whatever happens in it."""

import signal
import subprocess
import sys
import warnings

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


@pytest.mark.parametrize("category", ["InputWarning", "RuntimeWarning"])
def test_warnings_are_one_sentence(category):
    code = (
        "import warnings\nfrom helpers import command_line\n"
        "from helpers.errors import InputWarning\n"
        f"command_line.run(warnings.warn, 'It is clipped.', {category})"
    )
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, cwd=config.ROOT, capture_output=True, encoding="utf-8")
    assert done.stderr == "⚠ It is clipped.\n"


def test_warnings_are_as_before_after_a_command():
    before = warnings.formatwarning
    run(lambda: 0)
    assert warnings.formatwarning is before


def test_the_systems_errors_are_one_sentence(capsys):
    assert run(fails, PermissionError(13, "Permission denied")) == 1
    out, err = capsys.readouterr()
    assert out == "" and "permission is denied" in err and err.count("\n") == 1


@pytest.mark.parametrize(
    "room, arguments", [("evaluation", []), ("training", []), ("transfer", ["in.wav", "out.wav"])]
)
def test_commands_can_be_stopped_from_the_first_moment_on(room, arguments):
    """By Ctrl-C while TensorFlow is imported."""
    code = (
        "import os, runpy, signal, sys\n"
        "class Stop:\n"
        "    def find_spec(self, name, *_):\n"
        "        if name == 'tensorflow': os.kill(os.getpid(), signal.SIGINT)\n"
        "sys.meta_path.insert(0, Stop())\n"
        f"runpy.run_module('helpers.{room}', run_name='__main__')"
    )
    command = [sys.executable, "-c", code, *arguments]
    done = subprocess.run(command, cwd=config.ROOT, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (128 + signal.SIGINT, "Stopped from the keyboard.\n")
