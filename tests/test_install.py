"""helpers.install with pip replaced by a notepad, and once with pip itself."""

import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
from packaging.version import InvalidVersion, Version

from helpers import install

ROOT = Path(__file__).parent.parent


@pytest.fixture
def project(tmp_path):
    """A project whose requirements are written by the test."""

    def write(requirements="", no_deps=""):
        (tmp_path / "requirements.txt").write_text(requirements)
        (tmp_path / "requirements-no-deps.txt").write_text(no_deps)
        return tmp_path

    return write


@pytest.fixture
def pip(monkeypatch):
    """Notes each call of pip, with the constraints that it was given, and lets it succeed."""
    pip = SimpleNamespace(calls=[], constraints=[], result=(0, ""))

    def run(command, **options):
        pip.calls.append(command)
        if "--constraint" in command:
            path = Path(command[command.index("--constraint") + 1])
            pip.constraints += path.read_text().splitlines()
        return subprocess.CompletedProcess(command, pip.result[0], "", pip.result[1])

    monkeypatch.setattr(subprocess, "run", run)
    return pip


def installed(monkeypatch, **versions):
    """Makes these the only distributions; a name's underscores stay as they are."""
    found = [SimpleNamespace(metadata={"Name": n}, version=v) for n, v in versions.items()]
    monkeypatch.setattr(install, "distributions", lambda: found)


def test_nothing_missing_calls_nothing(project, pip, capsys):
    assert install.install_missing(project("numpy\n# a comment\n\npytest>=1  # another\n")) == []
    assert pip.calls == [] and capsys.readouterr().out == ""


def test_this_project_is_complete_here(pip):
    assert install.install_missing() == []
    assert pip.calls == []


@pytest.mark.parametrize(
    "requirement, name",
    [
        ("tf-keras>=2.19", "tf_keras"),
        ("Tf.Keras", "tf-keras"),
        ("a-b_c.d", "A_B-C--D"),
        ("plain[extra]==1; python_version>'3'", "Plain"),
    ],
)
def test_names_are_compared_as_pypi_does(project, pip, monkeypatch, requirement, name):
    installed(monkeypatch, **{name: "1.0"})
    assert install.install_missing(project(requirement)) == []
    assert pip.calls == []


def test_a_longer_name_is_another_package(project, pip, monkeypatch):
    installed(monkeypatch, **{"tensorflow-probability": "0.25", "librosa2": "1"})
    assert install.install_missing(project("tensorflow\nlibrosa")) == ["tensorflow", "librosa"]


def test_what_is_missing_is_installed_and_all_else_held(project, pip, monkeypatch, capsys):
    installed(monkeypatch, numpy="2.1.3", torch="2.6.0+cu124", TF_Keras="2.20.1")
    root = project("numpy\nabsent-one>=3,<4  # why\nAbsent_Two\n", "ddsp==3.7.0\n")
    assert install.install_missing(root) == ["absent-one", "absent-two", "ddsp"]
    first, second = pip.calls
    assert first[:4] == [sys.executable, "-m", "pip", "install"]
    assert first[-2:] == ["absent-one>=3,<4", "Absent_Two"]
    assert "--no-deps" not in first and "--upgrade" not in first
    assert set(pip.constraints) == {"numpy==2.1.3", "torch==2.6.0+cu124", "tf-keras==2.20.1"}
    assert second[:4] == first[:4] and second[-2:] == ["--no-deps", "ddsp==3.7.0"]
    shown = capsys.readouterr().out
    assert "absent-one" in shown and "ddsp" in shown and "constraint" not in shown


def test_the_no_deps_file_alone(project, pip, monkeypatch):
    installed(monkeypatch, numpy="2.1.3")
    assert install.install_missing(project("numpy", "ddsp==3.7.0  # why")) == ["ddsp"]
    assert [call[5:] for call in pip.calls] == [["--no-deps", "ddsp==3.7.0"]]


def test_the_first_of_two_installed_versions_is_held(project, pip, monkeypatch):
    """Python imports what comes first on its path: Colab has some packages twice."""
    found = [SimpleNamespace(metadata={"Name": "six"}, version=v) for v in ("1.17.0", "1.16.0")]
    monkeypatch.setattr(install, "distributions", lambda: found)
    install.install_missing(project("absent"))
    assert pip.constraints == ["six==1.17.0"]


@pytest.mark.parametrize("version", ["1.1build1", "2.4.0ubuntu4.1", "1.0-unknown", "", None])
def test_versions_that_stop_pip_are_left_out(project, pip, monkeypatch, version):
    """Debian and Ubuntu have such ones: pip 24 ends with "Invalid requirement"."""
    installed(monkeypatch, **{"distro-info": version, "numpy": "2.1.3"})
    install.install_missing(project("absent"))
    assert pip.constraints == ["numpy==2.1.3"]


@pytest.mark.parametrize(
    "version",
    ["1", "2.1.3", "1!2.0", "3.0a1", "3.0b2", "3.0rc1", "1.0.post1", "1.0.dev3", "1.0a1.post2.dev3"]
    + ["2.6.0+cu124", "0.0.0", "2026.1.4", "1.1build1", "1.0-x", "v", "1.", ".1", "1..2", "1.0+"],
)
def test_a_version_is_what_packaging_takes_for_one(version):
    try:
        valid = bool(Version(version))
    except InvalidVersion:
        valid = False
    assert bool(install.re.fullmatch(install.VERSION, version)) == valid


@pytest.mark.parametrize(
    "stderr, reason",
    [
        (
            "ERROR: No matching distribution found for x\n\n[notice] A new release of pip",
            "No match",
        ),
        ("/usr/bin/python3: No module named pip\n", "No module named pip"),
        ("", "does not say"),
    ],
)
def test_a_failure_is_one_sentence(project, pip, stderr, reason):
    pip.result = 1, stderr
    with pytest.raises(
        RuntimeError, match=f"absent-package.*{reason}.*run this cell again"
    ) as caught:
        install.install_missing(project("absent-package"))
    assert "\n" not in str(caught.value) and str(caught.value).endswith(".")


def test_pip_itself_fails_with_its_reason(project, monkeypatch):
    monkeypatch.setenv("PIP_NO_INDEX", "1")  # as without a network, but at once
    with pytest.raises(RuntimeError, match="No matching distribution found for absent-package"):
        install.install_missing(project("absent-package==1.0"))
