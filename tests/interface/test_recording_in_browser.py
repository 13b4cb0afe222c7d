"""The recorder in a real browser: in JupyterLab with its kernel, and as Colab would run it."""

import contextlib
import json
import re
import sys
import types

import numpy as np
import pytest
import soundfile
from jupyter_browser import browser_page, open_notebook, run_all_cells

from helpers import config
from helpers.errors import InputError
from helpers.interface import capture

pytestmark = pytest.mark.slow

PITCHES_HZ = (440, 660)
NOTE_SECONDS = 1.5
CELLS = [
    """from pathlib import Path
import numpy as np
from helpers import config
from helpers.interface import capture
config.RECORDINGS = Path("recordings")
recorder = capture.record(seconds=30, source="browser")
recorder.on_recording(lambda recording: np.save("heard.npy", recording.audio))
recorder""",
    'print(f"{len(recorder.audio)} samples at {recorder.sample_rate} Hz")',
]


# Keeps what the recorder opens where the test can see whether it is still open.
KEEP_STREAM = """() => {
  const devices = navigator.mediaDevices, open = devices.getUserMedia.bind(devices);
  devices.getUserMedia = async (wanted) => (window.stream = await open(wanted));
}"""


@pytest.fixture
def tape(tmp_path):
    """Half a second of silence, a note, another, and silence to the end of any recording."""
    sample_rate = 48000
    times_s = np.arange(int(NOTE_SECONDS * sample_rate)) / sample_rate
    notes = [0.5 * np.sin(2 * np.pi * f0_hz * times_s) for f0_hz in PITCHES_HZ]
    silence = np.zeros(sample_rate // 2)
    path = tmp_path / "tape.wav"
    soundfile.write(path, np.concatenate([silence, *notes, *[silence] * 20]), sample_rate)
    return path


def write_notebook(path, cells):
    notebook = {"nbformat": 4, "nbformat_minor": 5, "metadata": {}, "cells": []}
    notebook["metadata"]["kernelspec"] = {"name": "python3", "display_name": "Python 3"}
    for i, source in enumerate(cells):
        cell = {"cell_type": "code", "id": f"cell-{i}", "source": source, "metadata": {}}
        notebook["cells"].append({**cell, "outputs": [], "execution_count": None})
    path.write_text(json.dumps(notebook))
    return path


def strongest_hz(audio, sample_rate):
    """The highest peak of a long spectrum."""
    n_fft = 2**19
    spectrum = np.abs(np.fft.rfft(audio * np.hanning(len(audio)), n_fft))
    return np.argmax(spectrum) * sample_rate / n_fft


def assert_both_notes(audio, sample_rate):
    assert audio.dtype == np.float32
    heard = np.flatnonzero(np.abs(audio) > 0.05)
    notes = audio[heard[0] : heard[-1]]
    # A browser on a busy machine drops samples.
    assert len(notes) == pytest.approx(2 * NOTE_SECONDS * sample_rate, rel=0.2)
    eighth = len(notes) // 8
    for i, f0_hz in enumerate(PITCHES_HZ):
        middle = notes[(4 * i + 1) * eighth : (4 * i + 3) * eighth]
        assert strongest_hz(middle, sample_rate) == pytest.approx(f0_hz, rel=0.01)


def press_record_and_stop(page, seconds=2 * NOTE_SECONDS + 1.5):
    button = page.locator(".recorder-button")
    button.click()
    page.locator(".recorder-button[aria-pressed=true]").wait_for()
    page.wait_for_timeout(1000 * seconds)
    button.click()
    page.locator(".recorder-player").wait_for()


def test_record_in_jupyterlab(tape, tmp_path):
    folder = tmp_path / "notebooks"
    folder.mkdir()
    notebook = write_notebook(folder / "microphone.ipynb", CELLS)
    with open_notebook(notebook, tape) as page:
        run_all_cells(page)
        page.get_by_text(capture.NOTHING_RECORDED).wait_for()
        press_record_and_stop(page)
        page.get_by_text("Saved as recording_").wait_for()
        played_seconds = page.locator(".recorder-player").evaluate("player => player.duration")
        # "then run this cell again"
        page.locator(".jp-CodeCell .jp-InputArea-editor").nth(1).click()
        page.keyboard.press("Shift+Enter")
        printed = page.get_by_text(re.compile(r"\d+ samples at \d+ Hz")).text_content()
        page.evaluate(KEEP_STREAM)
        page.locator(".recorder-button").click()
        page.wait_for_function("window.stream?.active")
        run_all_cells(page)  # which removes the panel while it records
        page.wait_for_function("!window.stream.active")
    heard = np.load(folder / "heard.npy")
    n_samples, sample_rate = map(int, re.findall(r"\d+", printed))
    assert_both_notes(heard, sample_rate)
    assert len(heard) == n_samples == pytest.approx(played_seconds * sample_rate, abs=500)
    (recording,) = (folder / "recordings").iterdir()
    written, written_rate = soundfile.read(recording, dtype="float32")
    np.testing.assert_array_equal(written, heard)
    assert written_rate == sample_rate


def press_record(page):
    page.locator(".recorder-button").click()


@contextlib.contextmanager
def colab_cell(
    monkeypatch, tmp_path, press, microphone=None, address="http://localhost/cell", before="0"
):
    """A page that answers google.colab's eval_js, after `before` ran in it, with `press(page)`."""
    monkeypatch.setattr(config, "RECORDINGS", tmp_path / "recordings")
    with browser_page(microphone) as page:
        page.route("**/cell", lambda route: route.fulfill(body="", content_type="text/html"))
        page.goto(address)
        page.evaluate(f"() => {{ {before}; }}")

        def eval_js(script):
            page.evaluate(f"() => {{ window.answer = {script}; }}")
            if "recordOnce" in script:
                page.locator(".recorder-button").wait_for()
                press(page)
            return page.evaluate("window.answer")

        colab = types.ModuleType("google.colab")
        colab.output = types.SimpleNamespace(eval_js=eval_js)
        monkeypatch.setitem(sys.modules, "google.colab", colab)
        yield page


@pytest.mark.parametrize("worklet", [True, False])
def test_record_with_the_script_that_colab_runs(worklet, tape, tmp_path, monkeypatch):
    forbid = "AudioWorklet.prototype.addModule = () => Promise.reject()"  # as a page's policy can
    before = "0" if worklet else forbid
    with colab_cell(monkeypatch, tmp_path, press_record_and_stop, tape, before=before) as page:
        said = []
        page.on("console", lambda message: said.append(message.text))
        recording = capture.record(seconds=30)
    assert any("using ScriptProcessor" in text for text in said) != worklet
    assert_both_notes(recording.audio, recording.sample_rate)


def test_long_recording_is_whole_and_ends_by_itself(tmp_path, monkeypatch):
    """Chromium loses samples after 30 s in which a page that listens plays only zeros."""
    times_s = np.arange(60 * 48000) / 48000
    rising = 0.5 * np.sin(2 * np.pi * (200 + 5 * times_s) * times_s)  # 200 Hz and 10 more a second
    soundfile.write(tmp_path / "rising.wav", rising, 48000)
    with colab_cell(monkeypatch, tmp_path, press_record, tmp_path / "rising.wav"):
        recording = capture.record(seconds=45)
    audio, sample_rate = recording.audio, recording.sample_rate
    assert len(audio) == 45 * sample_rate
    first, last = (audio[i * sample_rate :][: sample_rate // 5] for i in (1, 44))
    rise_hz = strongest_hz(last, sample_rate) - strongest_hz(first, sample_rate)
    assert rise_hz / 10 == pytest.approx(43, abs=0.2)  # a sample lost is a step up


def refuse(name):
    error = f"new DOMException('because', '{name}')"
    return f"navigator.mediaDevices.getUserMedia = async () => {{ throw {error}; }}"


@pytest.mark.parametrize(
    ("address", "before", "sentence"),
    [
        ("http://localhost/cell", "0", "no microphone"),  # Chromium's own answer
        ("http://example.com/cell", "0", "not secure"),
        ("http://localhost/cell", refuse("NotAllowedError"), "not allowed"),
        ("http://localhost/cell", refuse("NotReadableError"), "close the program"),
        ("http://localhost/cell", refuse("OddError"), "could not be opened"),
    ],
)
def test_browser_errors_are_one_sentence(address, before, sentence, tmp_path, monkeypatch):
    cell = colab_cell(monkeypatch, tmp_path, press_record, address=address, before=before)
    with cell as page:
        with pytest.raises(InputError, match=sentence) as raised:
            capture.record()
        assert page.locator(".recorder-message").text_content() == str(raised.value)
