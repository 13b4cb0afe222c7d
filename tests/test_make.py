"""The Makefile, on machines that are not like ours: a fake Python, and what would be run."""

import os
import re
import shutil
import subprocess
import sys

import pytest
from conftest import need

from helpers.config import ROOT

FAKE_PYTHON = """#!{python}
import sys
if sys.argv[1] != "-c":
    sys.exit("installing")
sys.version_info = {version}
exec(sys.argv[2])
"""


@pytest.fixture
def make(tmp_path):
    """Runs make in a copy of the project in which nothing is installed."""
    need(shutil.which("make"), "make is not installed")
    for name in ("Makefile", "requirements.txt", "requirements-no-deps.txt"):
        shutil.copy(ROOT / name, tmp_path)
    (tmp_path / "tests").mkdir()
    shutil.copy(ROOT / "tests" / "requirements.txt", tmp_path / "tests")

    # Without what `make test` itself tells the commands that it runs.
    environment = {name: os.environ[name] for name in os.environ if not name.startswith("MAKE")}

    def run(*arguments, version=sys.version_info[:3], path=""):
        python = tmp_path / "fake_python"
        python.write_text(FAKE_PYTHON.format(python=sys.executable, version=version))
        python.chmod(0o755)
        return subprocess.run(
            ["make", f"PYTHON={python}", *arguments],
            cwd=tmp_path,
            env={**environment, "PATH": f"{path}{os.pathsep}{os.environ['PATH']}"},
            capture_output=True,
            text=True,
        )

    return run


@pytest.mark.parametrize("version", [(2, 7, 18), (3, 9, 18), (3, 14, 0)])
def test_a_python_that_is_too_old_or_too_new_is_one_sentence(make, version):
    done = make("demo", version=version)
    sentence, *others = done.stderr.splitlines()
    assert done.returncode and "3.10 to 3.13" in sentence and "PYTHON=" in sentence
    assert f"Python {version[0]}.{version[1]}" in sentence
    assert [line for line in others if not line.startswith("make: ***")] == []


@pytest.mark.parametrize("version", [(3, 10, 0), (3, 13, 9)])
def test_other_pythons_are_installed_with(make, version, tmp_path):
    folder = tmp_path / "bin"
    folder.mkdir()
    (folder / "apt-get").write_text("#!/bin/sh\nexit 1\n")  # nothing is installed by this test
    (folder / "apt-get").chmod(0o755)
    done = make("demo", version=version, path=folder)
    assert done.returncode and "installing" in done.stderr and "3.10 to" not in done.stderr


def test_the_readme_and_make_name_the_same_pythons():
    (named,) = re.findall(r"Python (3\.\d+ to 3\.\d+) is", (ROOT / "Makefile").read_text())
    assert named in (ROOT / "README.md").read_text(encoding="utf-8")


def test_jupyter_starts_for_root_too(make, tmp_path):
    folder = tmp_path / "bin"
    folder.mkdir()
    for user, flag in (("0", True), ("1000", False)):
        (folder / "id").write_text(f"#!/bin/sh\necho {user}\n")
        (folder / "id").chmod(0o755)
        shown = make("-n", "lab", path=folder).stdout
        assert ("--allow-root" in shown) == flag


@pytest.mark.parametrize("target", ["demo", "test", "test-fast", "lint", "lab", "results", "docs"])
def test_every_command_installs_first(make, target):
    shown = make("-n", target).stdout
    assert "-m venv .venv" in shown.split(".venv/bin/")[0]
