"""Steps from note to note, against slides of known length."""

import librosa
import numpy as np
import pytest

from helpers.evaluation import note_steps
from helpers.evaluation.spectrum import Recording

SAMPLE_RATE, FRAME_RATE = 44100, 100


def slide(slide_s, before=62.0, after=67.0):
    """A tone of 1 s that goes from one note to another around its middle, and its f0."""
    times_s = np.arange(SAMPLE_RATE) / SAMPLE_RATE
    midi = before + (after - before) * np.clip((times_s - 0.5) / slide_s + 0.5, 0, 1)
    phase = 2 * np.pi * np.cumsum(librosa.midi_to_hz(midi)) / SAMPLE_RATE
    f0_hz = librosa.midi_to_hz(np.append(midi[:: SAMPLE_RATE // FRAME_RATE], after))
    return sum(np.sin(k * phase) / k for k in range(1, 10)), f0_hz


@pytest.mark.parametrize("notes", [(62.0, 67.0), (80.0, 78.0), (57.0, 69.0)])
@pytest.mark.parametrize("slide_s", [1e-6, 0.03, 0.06, 0.1])
def test_a_slide_has_its_length(slide_s, notes):
    audio, _ = slide(slide_s, *notes)
    found_ms = note_steps.step_ms(audio, SAMPLE_RATE, (0.5, *notes))
    assert found_ms == pytest.approx(800 * slide_s, abs=11)  # from 10 % to 90 % of it


def test_changes_are_found_between_steady_sure_notes():
    audio, f0_hz = slide(0.02)
    sure = np.ones(len(f0_hz), bool)
    recording = Recording(audio, SAMPLE_RATE, FRAME_RATE, f0_hz, sure, SAMPLE_RATE / 2)
    ((time_s, before, after),) = note_steps.changes(recording)
    assert time_s == pytest.approx(0.5, abs=0.02)
    assert (before, after) == pytest.approx((62, 67), abs=0.01)
    sure[42] = False
    assert not note_steps.changes(recording)
