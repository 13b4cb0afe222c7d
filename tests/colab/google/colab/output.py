"""The page of a notebook in Colab, where somebody records one second of 440 Hz."""

import base64
import types

import numpy as np

SAMPLE_RATE = 48000

_widgets = types.SimpleNamespace(_installed_url=None)


def enable_custom_widget_manager():
    """From here on what is displayed may hold widgets that are not ipywidgets' own."""
    _widgets._installed_url = "https://example.com/manager.min.js"


def eval_js(script):
    """Answers as the page would once helpers/interface/recorder.js has recorded there."""
    if "recordOnce" in script:
        return {"sample_rate": SAMPLE_RATE, "count": 1}
    assert script == "window.finishedRecording.part(0)", script
    times_s = np.arange(SAMPLE_RATE) / SAMPLE_RATE
    return base64.b64encode(np.sin(2 * np.pi * 440 * times_s).astype("<f4")).decode()
