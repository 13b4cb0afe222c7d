"""The panel of a training without a browser: what it says, plays and draws."""

import io

import ipywidgets
import matplotlib.pyplot as plt
import numpy as np
import soundfile

from helpers.interface import training_panel
from helpers.training import history

SAMPLE_RATE = 16000


def tone(f0_hz):
    return 0.3 * np.sin(2 * np.pi * f0_hz * np.arange(SAMPLE_RATE) / SAMPLE_RATE)


def heard(flac):
    return soundfile.read(io.BytesIO(flac))


def pitch_hz(audio):
    return np.argmax(np.abs(np.fft.rfft(audio))) * SAMPLE_RATE / len(audio)


def audios(panel):
    """The bytes of the players in a widget, in order."""
    return [widget.value for widget in every(panel) if isinstance(widget, ipywidgets.Audio)]


def every(widget):
    """A widget and all in it."""
    yield widget
    for child in getattr(widget, "children", ()):
        yield from every(child)


def test_training_panel_lets_hear_and_see_what_is_learned(shown):
    panel = training_panel.TrainingPanel(SAMPLE_RATE)
    losses = history.History()
    for step, f0_hz in ((50, 100), (100, 200)):
        losses = losses.and_then(step, 9.0, 500 / step)
        panel(history.Progress(losses, tone(440), tone(f0_hz), step, 150, seconds_left=90.0))
        original, played = (heard(flac) for flac in audios(panel))
        assert original[1] == played[1] == SAMPLE_RATE
        assert len(original[0]) == len(played[0]) == SAMPLE_RATE
        assert [pitch_hz(original[0]), pitch_hz(played[0])] == [440, f0_hz]
    (says,) = (w.value for w in every(panel) if "Step" in str(getattr(w, "value", "")))
    assert "Step 100 of 150, 90 s left: the held-out loss is 5.00, its best" in says
    curves = [line.get_xydata().tolist() for line in shown[-1].axes[0].lines]
    assert curves == [[[50, 9], [100, 9]], [[50, 10], [100, 5]]]
    assert len(shown) == 2
    assert plt.get_fignums() == []
