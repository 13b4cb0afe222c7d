"""The demo as a user runs it: all notebooks executed, and what comes out of them listened to."""

import os
import re
import subprocess
import sys

import nbformat
import numpy as np
import pandas as pd
import pytest
import soundfile
from listening import cents_off

from helpers import config

NAMES = ("01_pitch_detection", "02_train_autoencoder", "03_timbre_transfer")
RESULTS = config.RESULTS
MELODY = config.DATA / "voice" / "oohs_melody"


@pytest.fixture(scope="module")
def demo():
    """Runs `make demo`'s command and returns what it printed."""
    command = [sys.executable, str(config.ROOT / "notebooks" / "run.py")]
    environment = {**os.environ, "TIMBRE_QUICK": "1"}
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout


@pytest.mark.slow
def test_demo_leaves_pages_sounds_and_pictures(demo):
    for name in NAMES:
        assert (RESULTS / f"{name}.html").stat().st_size > 100_000
        assert list((RESULTS / name).glob("plot_*.png"))
        sounds = list((RESULTS / name).glob("sound_*.wav"))
        assert sounds
        for path in sounds:
            audio, _ = soundfile.read(path)
            assert np.abs(audio).max() > 0.01
    assert str(RESULTS) in demo


@pytest.mark.slow
def test_sung_melody_stays_when_a_violin_plays_it(demo):
    true_f0 = pd.read_csv(f"{MELODY}.f0.csv")
    f0_hz = true_f0["f0_hz"].replace(0, np.nan).to_numpy()
    audio, sample_rate = soundfile.read(RESULTS / f"{MELODY.name}_as_violin.wav")
    cents = cents_off(audio, sample_rate, f0_hz)
    cents = cents[np.isfinite(cents)]
    assert len(cents) > 0.8 * np.isfinite(f0_hz).sum()
    assert np.mean(cents < 50) >= 0.9


@pytest.mark.slow
def test_saved_features_are_the_melody(demo):
    table = pd.read_csv(RESULTS / f"{MELODY.name}_features.csv")
    true_f0 = pd.read_csv(f"{MELODY}.f0.csv")["f0_hz"].replace(0, np.nan)
    n_frames = min(len(table), len(true_f0))
    cents = 1200 * np.log2(table["f0_hz"][:n_frames] / true_f0[:n_frames])
    assert np.nanmedian(np.abs(cents)) < 20


@pytest.mark.parametrize("name", NAMES)
def test_committed_notebook_shows_a_whole_run_without_errors(name):
    notebook = nbformat.read(config.ROOT / "notebooks" / f"{name}.ipynb", as_version=4)
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert [cell.execution_count for cell in code] == list(range(1, len(code) + 1))
    outputs = [output for cell in code for output in cell.outputs]
    assert not any(output.output_type == "error" for output in outputs)
    assert any("image/png" in output.get("data", {}) for output in outputs)


def shown_by(notebook):
    """All text that the cells of a notebook show."""
    outputs = [o for cell in notebook.cells for o in cell.get("outputs", [])]
    texts = [output.get("text", "") for output in outputs]
    return "\n".join(texts + [o.get("data", {}).get("text/plain", "") for o in outputs])


@pytest.mark.parametrize("name", NAMES)
def test_committed_notebook_shows_nothing_of_the_machine_that_ran_it(name):
    notebook = nbformat.read(config.ROOT / "notebooks" / f"{name}.ipynb", as_version=4)
    outputs = [output for cell in notebook.cells for output in cell.get("outputs", [])]
    assert not [output.text for output in outputs if output.get("name") == "stderr"]
    assert not re.findall(r"/(?:root|home|work|tmp|Users)/\S*", shown_by(notebook))


@pytest.mark.parametrize("name", NAMES)
def test_links_and_paths_in_the_text_of_a_notebook_lead_to_files(name):
    notebook = nbformat.read(config.ROOT / "notebooks" / f"{name}.ipynb", as_version=4)
    text = "\n".join(cell.source for cell in notebook.cells if cell.cell_type == "markdown")
    for link in re.findall(r"\]\(((?!https?:|#|data:)[^)\s]+)\)", text):
        assert (config.ROOT / "notebooks" / link.partition("#")[0]).exists(), link
    for path in re.findall(r"`((?:data|checkpoints|docs|helpers|notebooks)/[\w./-]+)`", text):
        own = ("data/my_audio", "data/my_recordings", "data/recordings")
        assert (config.ROOT / path).exists() or path.startswith(own), path
