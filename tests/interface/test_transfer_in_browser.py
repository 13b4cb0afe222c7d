"""Notebook 03 in a real JupyterLab: sliders are moved, and the page receives other sounds."""

import shutil

import librosa
import numpy as np
import pytest
from jupyter_browser import open_notebook, run_cells, sound_of

from helpers import config

pytestmark = pytest.mark.slow

# The panel's two players, recording and result, are the widgets' own audio elements.
PLAYER = "audio.jupyter-widgets >> nth=1"
SAYS = ".widget-html-content:has-text('Instrument:')"
SECONDS_UNTIL_HEARD = """async ([was]) => {
  const start = performance.now();
  const player = () => document.querySelectorAll("audio.jupyter-widgets")[1];
  while (!player().src || player().src === was)
    await new Promise((resolve) => setTimeout(resolve, 2));
  return (performance.now() - start) / 1000;
}"""


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


class Panel:
    """The panel in the page."""

    def __init__(self, page):
        self.page, self.player = page, page.locator(PLAYER)

    def sound(self):
        return sound_of(self.player)

    def press(self, label, key):
        """Moves a slider by a key; returns the seconds until the page has another sound."""
        row = self.page.locator(f".widget-slider:has(.widget-label:text-is('{label}'))")
        handle = row.locator(".noUi-handle")
        handle.scroll_into_view_if_needed()
        handle.focus()
        return self.seconds_until_heard(lambda: self.page.keyboard.press(key))

    def seconds_until_heard(self, act):
        source = self.player.get_attribute("src")
        act()
        self.page.set_default_timeout(60_000)
        return self.page.evaluate(SECONDS_UNTIL_HEARD, [source])


def test_sliders_change_the_sound_in_the_page(notebook):
    with open_notebook(notebook) as page:
        run_cells(page, "above", 7, timeout_seconds=240)  # as far as the panel
        page.locator(PLAYER).wait_for(timeout=60_000)
        page.wait_for_function(
            "document.querySelectorAll('audio.jupyter-widgets')[1].src.length > 0", timeout=60_000
        )
        panel = Panel(page)
        page.locator(SAYS).wait_for(timeout=60_000)
        page.wait_for_timeout(2000)  # until the new panel has taken the place of the one saved
        before, sample_rate = panel.sound()
        panel.press("Octaves", "ArrowRight")
        octave_up, _ = panel.sound()
        panel.player.evaluate("player => player.play()")
        page.wait_for_timeout(1000)
        assert panel.player.evaluate("player => player.currentTime") > 0
        seconds = [panel.press("Loudness (dB)", "ArrowRight") for _ in range(5)]
        print(f"from the key to the sound in the page: {np.median(seconds):.2f} s")
        panel.seconds_until_heard(page.locator("button:has-text('Reset')").click)
        assert "egister" in page.locator(SAYS).inner_text()
        # For the pictures, which come after the sound; and the sound that was heard first may be
        # that of the last slider, on its way when the button was pressed.
        page.wait_for_timeout(4000)
        reset, _ = panel.sound()
        page.screenshot(path=config.RESULTS / "panel.png")
    assert len(before) == len(octave_up)
    octave = median_pitch_hz(octave_up, sample_rate) / median_pitch_hz(before, sample_rate)
    assert octave == pytest.approx(2, rel=0.02)
    np.testing.assert_array_equal(reset, before)
