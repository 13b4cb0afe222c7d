"""Notebook 02 in a real JupyterLab: recordings are uploaded, learned, heard, and taken home."""

import json
import re
import shutil

import nbformat
import numpy as np
import pytest
import soundfile
from jupyter_browser import open_notebook, run_cells, sound_of
from tiny_analysis import BINDINGS

from helpers import config
from helpers.instruments import bundles

pytestmark = pytest.mark.slow

NAME = "my_bell"
SAMPLE_RATE = 44100
N_SAMPLES = 4 * SAMPLE_RATE  # of an example

# So short that it can be waited for: what is changed in the notebook, and what is run before it.
CHANGES = {
    "150 if config.QUICK else 1000": "4",
}
SETTINGS = f"""
import functools
from pathlib import Path

from helpers.instruments import configurations
from helpers.training import loop

configurations.build = functools.partial(configurations.build, bindings={BINDINGS})
loop.EVALUATE_EVERY = 2
for place in ("RECORDED_SETS", "RUNS", "CACHE"):
    setattr(config, place, Path("mine") / place.lower())
"""


@pytest.fixture
def notebook():
    """Notebook 02 up to the download, inside of the checkout so that its first cell finds that."""
    folder = config.RESULTS / "training_in_browser"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    path = config.ROOT / "notebooks" / "02_train_autoencoder.ipynb"
    text = path.read_text(encoding="utf-8")
    for before, after in CHANGES.items():
        before, after = json.dumps(before)[1:-1], json.dumps(after)[1:-1]
        assert text.count(before) == 1
        text = text.replace(before, after)
    content = nbformat.reads(text, as_version=4)
    del content.cells[cell_of(content, "training.save(") + 1 :]  # the tables, which take minutes
    content.cells[cell_of(content, "import pandas")].source += SETTINGS
    nbformat.write(content, folder / path.name)
    yield folder / path.name
    shutil.rmtree(folder)


@pytest.fixture
def recordings(tmp_path):
    """Two recordings of a few notes, one of them larger than Jupyter takes in one message."""
    paths = []
    for name, sample_rate, channels, subtype in (
        ("large.wav", 192000, 2, "FLOAT"),
        ("small.flac", 44100, 1, "PCM_16"),
    ):
        times_s = np.arange(7 * sample_rate) / sample_rate
        f0_hz = 440 * 2 ** (np.floor(times_s) / 12)
        note = np.sin(2 * np.pi * np.cumsum(f0_hz) / sample_rate) * np.exp(-2 * (times_s % 1))
        paths.append(tmp_path / name)
        soundfile.write(paths[-1], 0.5 * np.stack([note] * channels, 1), sample_rate, subtype)
    assert paths[0].stat().st_size > 10 * 2**20
    return paths


def cell_of(notebook, source):
    """The number of the cell that holds a piece of source."""
    (found,) = (i for i, cell in enumerate(notebook.cells) if source in cell.source)
    return found


def sounds(page):
    """The sounds that the panel's players in the page have, with their sample rates."""
    page.wait_for_function(
        "() => Array.from(document.querySelectorAll('audio.jupyter-widgets'))"
        ".filter((player) => player.duration > 0).length === 2"
    )
    return [sound_of(player) for player in page.locator("audio.jupyter-widgets").all()]


def test_own_recordings_become_an_instrument(notebook, recordings):
    content = nbformat.read(notebook, as_version=4)
    train = cell_of(content, "training.train(")
    mine = notebook.parent / "mine"
    with open_notebook(notebook) as page:
        run_cells(page, "above", cell_of(content, "doctor.examine"))
        page.get_by_label("Name").fill(NAME)
        page.get_by_label("Name").press("Enter")
        page.locator("input[type=file]").set_input_files(recordings)
        page.get_by_text(f"Chosen: {NAME}, with 2 recordings.").wait_for()
        for path in recordings:
            kept = mine / "recorded_sets" / NAME / path.name
            assert kept.read_bytes() == path.read_bytes()

        run_cells(page, "below", cell_of(content, "doctor.examine"), timeout_seconds=180)
        assert page.locator(".jp-OutputArea-output[data-mime-type*=error]").count() == 0
        page.get_by_text(
            re.compile(r"Stage 2 of 2.*Step 1 of 1.*: the held-out loss is \d")
        ).wait_for()
        cell = page.locator(".jp-Notebook .jp-Cell").nth(train)
        assert cell.locator("img").count() == 1  # drawn again in its place
        (original, rate), (played, played_rate) = sounds(page)
        assert rate == played_rate == SAMPLE_RATE
        assert len(original) == len(played) == N_SAMPLES
        assert np.abs(original).max() > 0.1
        assert not np.array_equal(original, played)
        cell.scroll_into_view_if_needed()
        page.screenshot(path=config.RESULTS / "training_panel.png")

        page.get_by_role("button", name=f"Download {NAME}.zip").click()
        with page.expect_download() as download:
            page.get_by_role("link", name=f"Save {NAME}.zip").click()
        taken_home = notebook.parent / download.value.suggested_filename
        download.value.save_as(taken_home)
    instrument = bundles.load(taken_home)
    assert instrument.card["name"] == NAME
    assert instrument.card["training_data"]["files"] == 2
    assert taken_home.name == f"{NAME}.zip"
