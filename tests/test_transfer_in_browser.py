"""Notebook 03 in a real JupyterLab: a slider is moved, and the page receives another sound."""

import shutil

import librosa
import numpy as np
import pytest
from jupyter_browser import open_notebook, run_all_cells, sound_of

from helpers import config

pytestmark = pytest.mark.slow

# The panel's two players, original and result, are the widgets' own audio elements.
PLAYER = "audio.jupyter-widgets >> nth=1"


@pytest.fixture
def notebook():
    """A copy of notebook 03 inside of the checkout, so that its set-up cell finds the project."""
    folder = config.RESULTS / "in_browser"
    folder.mkdir(parents=True, exist_ok=True)
    yield shutil.copy(config.ROOT / "notebooks" / "03_timbre_transfer.ipynb", folder)
    shutil.rmtree(folder)


def median_pitch_hz(audio, sample_rate):
    loud = audio[: 4 * sample_rate]
    f0_hz, voiced, _ = librosa.pyin(loud, fmin=100, fmax=2500, sr=sample_rate, hop_length=512)
    return np.median(f0_hz[voiced])


def test_slider_changes_the_sound_in_the_page(notebook):
    with open_notebook(notebook) as page:
        run_all_cells(page, timeout_seconds=240)
        page.locator(PLAYER).wait_for(timeout=60_000)
        before, sample_rate = sound_of(page.locator(PLAYER))
        source = page.locator(PLAYER).get_attribute("src")
        handle = page.locator(".widget-slider .noUi-handle").first
        handle.scroll_into_view_if_needed()
        handle.focus()
        page.keyboard.press("ArrowRight")  # the first slider: one octave up
        page.wait_for_function(
            "([selector, was]) => document.querySelectorAll(selector)[1].src !== was",
            arg=["audio.jupyter-widgets", source],
            timeout=60_000,
        )
        after, _ = sound_of(page.locator(PLAYER))
        page.locator(PLAYER).evaluate("player => player.play()")
        page.wait_for_timeout(1000)
        assert page.locator(PLAYER).evaluate("player => player.currentTime") > 0
        page.screenshot(path=config.RESULTS / "panel.png")
    assert len(before) == len(after)
    octave = median_pitch_hz(after, sample_rate) / median_pitch_hz(before, sample_rate)
    assert octave == pytest.approx(2, rel=0.02)
