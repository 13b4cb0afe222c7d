"""expression against closed forms."""

import numpy as np
import pytest

from helpers.transfer import expression

FRAME_RATE = 125


def swinging(centre, seconds, rate_hz=5.5, semitones=0.5, phase=0.0):
    times_s = np.arange(round(seconds * FRAME_RATE)) / FRAME_RATE
    return centre + semitones * np.sin(2 * np.pi * rate_hz * times_s + phase)


def rest(seconds):
    return np.full(round(seconds * FRAME_RATE), np.nan)


# Autotune


def test_each_held_note_is_centred_on_the_key():
    """Three singers' notes, off by up to 40 cents, with vibrato: within 3 cents."""
    centres, targets = (60.3, 63.6, 66.8), (60, 64, 67)
    f0_midi = np.concatenate([swinging(centre, 1.0, phase=1.0) for centre in centres])
    tuned = expression.tuned(f0_midi, FRAME_RATE, "C major", 1.0)
    for i, (centre, target) in enumerate(zip(centres, targets, strict=True)):
        held = slice(125 * i + 12, 125 * i + 113)
        np.testing.assert_allclose((tuned - f0_midi)[held] + centre, target, atol=0.03)


def test_autotune_keeps_vibrato():
    f0_midi = swinging(60.3, 2.0)
    tuned = expression.tuned(f0_midi, FRAME_RATE, "chromatic", 1.0)
    np.testing.assert_allclose(tuned - tuned.mean(), f0_midi - f0_midi.mean(), atol=1e-9)


def test_autotune_keeps_slides_and_has_no_corners():
    """From note to note the correction moves by a few cents a frame."""
    slide = np.linspace(60.3, 63.6, 25)
    f0_midi = np.concatenate([np.full(60, 60.3), slide, np.full(60, 63.6)])
    tuned = expression.tuned(f0_midi, FRAME_RATE, "C major", 1.0)
    assert np.abs(np.diff(tuned - f0_midi)).max() < 0.15
    assert (np.diff(tuned[58:87]) > -0.02).all()
    np.testing.assert_allclose(tuned[[0, 30, 120]], [60, 60, 64], atol=1e-6)


def test_autotune_corrects_each_side_of_a_rest_alone():
    f0_midi = np.concatenate([np.full(60, 60.3), rest(0.2), np.full(60, 63.6)])
    tuned = expression.tuned(f0_midi, FRAME_RATE, "C major", 0.5)
    np.testing.assert_allclose(tuned[:60], 60.15, atol=1e-9)
    np.testing.assert_allclose(tuned[-60:], 63.8, atol=1e-9)
    assert np.isnan(tuned[60:85]).all()


# Vibrato


@pytest.mark.parametrize("rate_hz", [3.5, 4.6, 5.5, 6.2, 7.9])
@pytest.mark.parametrize("phase", [0.0, 1.0, 2.5])
def test_vibrato_is_gone(rate_hz, phase):
    f0_midi = swinging(60.0, 1.5, rate_hz, 0.6, phase)
    without = expression.with_vibrato(f0_midi, FRAME_RATE, -1.0)
    assert np.abs(without - 60.0).max() < 0.06
    half = expression.with_vibrato(f0_midi, FRAME_RATE, -0.5)
    np.testing.assert_allclose(half, (f0_midi + without) / 2)


def test_vibrato_that_quickens_and_grows_is_gone():
    """As singers' do: from 5 to 6 Hz, from none to a semitone."""
    times_s = np.arange(250) / FRAME_RATE
    rate_hz = 5.0 + times_s / 2
    f0_midi = 60.0 + 0.5 * times_s * np.sin(2 * np.pi * np.cumsum(rate_hz) / FRAME_RATE)
    without = expression.with_vibrato(f0_midi, FRAME_RATE, -1.0)
    assert np.std(without - 60.0) < 0.15 * np.std(f0_midi - 60.0)


def test_a_drift_and_a_slide_stay_without_vibrato():
    drift = np.linspace(60.0, 60.4, 200)
    f0_midi = drift + swinging(0.0, 1.6)
    without = expression.with_vibrato(f0_midi, FRAME_RATE, -1.0)
    np.testing.assert_allclose(without, drift, atol=0.05)


@pytest.mark.parametrize("seconds", [0.1, 0.2])
def test_short_notes_have_no_vibrato_to_lose(seconds):
    f0_midi = np.concatenate([swinging(60.0, seconds), rest(0.2), swinging(67.0, seconds)])
    np.testing.assert_array_equal(expression.with_vibrato(f0_midi, FRAME_RATE, -1.0), f0_midi)


def test_a_vibrato_that_is_added_comes_late_and_grows():
    f0_midi = np.full(250, 60.0)
    added = expression.with_vibrato(f0_midi, FRAME_RATE, 1.0) - 60.0
    assert not added[: round(0.25 * FRAME_RATE)].any()
    early, whole = added[31:55], added[75:220]
    assert 0.0 < np.abs(early).max() < 0.3
    assert np.abs(whole).max() == pytest.approx(0.5, abs=0.01)
    spectrum = np.abs(np.fft.rfft(whole * np.hanning(len(whole)), 5000))
    assert np.fft.rfftfreq(5000, 1 / FRAME_RATE)[spectrum.argmax()] == pytest.approx(5.5, abs=0.1)
    assert added[-1] == 0.0
    assert np.abs(np.diff(added)).max() < 0.17  # 5.5 Hz and no jump


def test_every_note_has_its_own_vibrato_and_short_ones_none():
    f0_midi = np.concatenate([np.full(25, 60.0), np.full(125, 64.0), rest(0.1), np.full(125, 62.0)])
    added = expression.with_vibrato(f0_midi, FRAME_RATE, 1.0) - f0_midi
    assert not added[:25].any()
    np.testing.assert_allclose(added[25:150], added[-125:], atol=1e-9)


@pytest.mark.parametrize("amount", [-1.0, 0.0, 1.0])
def test_no_notes(amount):
    assert np.isnan(expression.with_vibrato(rest(1.0), FRAME_RATE, amount)).all()


# Attack


def test_an_attack_is_half_a_cosine():
    mask = np.zeros(200, bool)
    mask[50:150] = True
    rise_db = expression.attack_db(mask, FRAME_RATE, 0.16)
    expected = np.sin(np.pi / 2 * (np.arange(20) + 0.5) / 20) ** 2
    np.testing.assert_allclose(10 ** (rise_db[52:70] / 20), expected[2:], atol=1e-9)
    assert (rise_db[np.r_[0:50, 70:200]] == 0.0).all() and rise_db.min() >= -40.0


def test_no_attack():
    assert not expression.attack_db(np.ones(20, bool), FRAME_RATE, 0.0).any()
