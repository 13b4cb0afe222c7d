"""f0 against what was synthesised, and the melody's path against an exhaustive search."""

import itertools

import numpy as np
import pytest

from helpers.analysis import crepe, pitch

SAMPLE_RATE = 16000
FRAME_RATE = 125
HOP_SIZE = SAMPLE_RATE // FRAME_RATE
REACH = 512 // HOP_SIZE  # frames on either side of which CREPE hears something


def harmonic_tone(f0_hz, amplitude=0.2):
    """A tone of f0 [n_samples], with harmonics falling like 1 / k; silent where f0 is NaN."""
    phase = 2 * np.pi * np.cumsum(np.nan_to_num(f0_hz)) / SAMPLE_RATE
    harmonics = [np.sin(k * phase) / k * (k * f0_hz < 7600) for k in range(1, 20)]  # NaN: False
    return (amplitude * np.sum(harmonics, axis=0)).astype(np.float32)


def cents(f0_hz, true_hz):
    return 1200 * np.log2(f0_hz / true_hz)


@pytest.mark.parametrize("frame_rate", [100, 125, 250])
def test_frames_are_centred_and_counted(frame_rate):
    f0_hz, confidence = pitch.track(harmonic_tone(np.full(8001, 330.0)), SAMPLE_RATE, frame_rate)
    assert f0_hz.shape == confidence.shape == (1 + 8001 * frame_rate // SAMPLE_RATE,)
    assert f0_hz.dtype == confidence.dtype == np.float32
    assert 0 <= confidence.min() and confidence.max() <= 1


def test_a_vibrato_is_followed():
    times_s = np.arange(SAMPLE_RATE) / SAMPLE_RATE
    true_hz = 440 * 2 ** (0.5 * np.sin(2 * np.pi * 5 * times_s) / 12)
    f0_hz, confidence = pitch.track(harmonic_tone(true_hz), SAMPLE_RATE, FRAME_RATE)
    inside = slice(REACH, -REACH)
    off = cents(f0_hz[:-1], true_hz[::HOP_SIZE])[inside]
    assert np.abs(off).max() < 25 and np.abs(off).mean() < 10
    assert confidence[inside].min() > 0.7


def test_every_note_begins_at_its_own_pitch():
    """Leaps and rests: crepe's own decoding slides into such notes from pitches nobody played."""
    notes_hz = [220.0, 880.0, np.nan, 147.0, np.nan, 523.0, 262.0, np.nan, 330.0]
    true_hz = np.repeat(notes_hz, SAMPLE_RATE // 2)
    f0_hz, confidence = pitch.track(harmonic_tone(true_hz), SAMPLE_RATE, FRAME_RATE)
    true_hz = np.append(true_hz, np.nan)[::HOP_SIZE][: len(f0_hz)]
    sounding = np.isfinite(true_hz) & (confidence > 0.5)
    gross = np.abs(cents(f0_hz, true_hz)) > 50
    assert np.isfinite(true_hz).sum() - sounding.sum() < 10  # nearly all of the notes are heard
    # Where the frame straddles two notes either may be heard.
    starts = np.flatnonzero(np.diff(np.nan_to_num(true_hz)))
    straddling = np.abs(np.subtract.outer(np.arange(len(f0_hz)), starts)).min(axis=1) <= 4
    assert not (gross & sounding & ~straddling).any()


def test_the_melody_is_the_likeliest_of_all_paths():
    """On few bins and frames all paths can be scored, by the model as the docstring has it."""
    n_frames, bins = 4, (100, 101, 105, 112, 200)
    weights = np.maximum(12 - np.abs(np.subtract.outer(bins, bins)), 0)
    with np.errstate(divide="ignore"):
        log_moves = np.maximum(np.log(weights / 144), np.log(1e-6 / crepe.N_BINS))
    rng = np.random.default_rng(0)
    for _ in range(20):
        activation = np.zeros((n_frames, crepe.N_BINS), np.float32)
        activation[:, bins] = rng.uniform(0.01, 1, (n_frames, len(bins))) ** 3
        log_activation = np.log(activation[:, bins].clip(1e-3))

        def score(path, log_activation=log_activation):
            moves = sum(log_moves[a, b] for a, b in itertools.pairwise(path))
            return moves + sum(log_activation[t, b] for t, b in enumerate(path))

        best = max(itertools.product(range(len(bins)), repeat=n_frames), key=score)
        np.testing.assert_array_equal(pitch._melody(activation), np.take(bins, best))


def test_a_short_slip_is_ironed_out_and_a_leap_is_kept():
    activation = np.full((60, crepe.N_BINS), 1e-3, np.float32)
    activation[:, 100] = 0.9
    activation[20:22, [100, 160]] = 0.1, 0.8  # two frames an octave higher
    activation[40:, [100, 160]] = 0.001, 0.9
    path = pitch._melody(activation)
    assert (path[:40] == 100).all() and (path[40:] == 160).all()


def vibrato(f0_hz, depth_cents=25, n_samples=SAMPLE_RATE):
    times_s = np.arange(n_samples) / SAMPLE_RATE
    return f0_hz * 2 ** (depth_cents / 1200 * np.sin(2 * np.pi * 5.5 * times_s))


@pytest.mark.parametrize("frame_rate", [100, 125, 250])
@pytest.mark.parametrize("f0_hz", [82.0, 220.0, 440.0, 1500.0])
def test_a_vibrato_is_refined_from_15_cents_off(f0_hz, frame_rate):
    true_hz = vibrato(f0_hz)
    audio = harmonic_tone(true_hz)
    true_hz = true_hz[:: SAMPLE_RATE // frame_rate]
    nearly_hz = f0_hz * np.full(len(true_hz) + 1, 2 ** (15 / 1200))  # no vibrato, and 15 cents up
    refined_hz = pitch.refine(audio, nearly_hz, SAMPLE_RATE, frame_rate)
    assert refined_hz.dtype == np.float32 and refined_hz.shape == nearly_hz.shape
    inside = slice(frame_rate // 20, -frame_rate // 20)
    assert np.abs(cents(refined_hz[:-1], true_hz))[inside].max() < 2.5


def test_refining_helps_crepe_in_noise():
    true_hz = vibrato(440.0, n_samples=2 * SAMPLE_RATE)
    noise = np.random.default_rng(0).standard_normal(len(true_hz))
    audio = harmonic_tone(true_hz) + 0.05 * noise.astype(np.float32)  # 10 dB below
    tracked_hz, _ = pitch.track(audio, SAMPLE_RATE, FRAME_RATE)
    refined_hz = pitch.refine(audio, tracked_hz, SAMPLE_RATE, FRAME_RATE)
    before, after = (
        np.median(np.abs(cents(f0_hz[:-1], true_hz[::HOP_SIZE])))
        for f0_hz in (tracked_hz, refined_hz)
    )
    assert after < 1.0 < 2.0 < before


@pytest.mark.parametrize("frame_rate", [10, 125, 1000])
@pytest.mark.parametrize("n_samples", [0, 1, 100, 8000])
def test_a_pitch_that_nothing_confirms_stays_near(n_samples, frame_rate):
    noise = np.random.default_rng(0).standard_normal(n_samples).astype(np.float32)
    f0_hz = np.full(1 + n_samples * frame_rate // SAMPLE_RATE, 330.0)
    for audio in (noise, np.zeros_like(noise)):
        refined_hz = pitch.refine(audio, f0_hz, SAMPLE_RATE, frame_rate)
        assert np.abs(cents(refined_hz, f0_hz)).max() <= 50.01
    np.testing.assert_allclose(refined_hz, f0_hz)  # in silence


@pytest.mark.parametrize("broken", [np.nan, np.inf])
def test_what_is_no_number_spoils_nothing_else(broken):
    true_hz = vibrato(330.0)
    audio, nearly_hz = harmonic_tone(true_hz), np.full(126, 330.0 * 2 ** (10 / 1200))
    refined_hz = pitch.refine(audio, nearly_hz, SAMPLE_RATE, FRAME_RATE)
    audio[8000], nearly_hz[100] = broken, broken
    again_hz = pitch.refine(audio, nearly_hz, SAMPLE_RATE, FRAME_RATE)
    assert np.isnan(again_hz[100]) and np.isfinite(np.delete(again_hz, 100)).all()
    assert np.abs(cents(again_hz, refined_hz))[:99].max() < 1
    assert np.abs(cents(again_hz, refined_hz))[102:].max() < 1


def test_gaps_between_notes_hold_the_nearer_one():
    gap = np.nan
    f0_hz = np.array([110, gap, gap, gap, gap, 880, gap, 440, gap, gap, gap, 220], np.float32)
    filled = pitch.fill_unvoiced(f0_hz)
    expected = [110, 110, 110, 880, 880, 880, 880, 440, 440, 440, 220, 220]
    np.testing.assert_allclose(filled, expected, rtol=1e-6)
    assert filled.dtype == np.float32


def test_gaps_within_a_note_take_a_straight_line_in_pitch():
    cents = np.array([0.0, 60, 40, 10, 60])
    f0_hz = 440 * 2 ** (cents / 1200)
    with_gaps = np.where([True, False, True, False, True], f0_hz, np.nan).astype(np.float32)
    expected = 440 * 2 ** (np.array([0.0, 20, 40, 50, 60]) / 1200)
    np.testing.assert_allclose(pitch.fill_unvoiced(with_gaps), expected, rtol=1e-6)


def test_the_nearest_pitch_is_held_at_the_edges():
    f0_hz = np.array([np.nan, np.nan, 200, np.nan, 300, np.nan], np.float32)
    filled = pitch.fill_unvoiced(f0_hz)
    np.testing.assert_allclose(filled, [200, 200, 200, 200, 300, 300], rtol=1e-6)


def test_filling_changes_nothing_that_is_voiced():
    f0_hz = np.random.default_rng(0).uniform(50, 1000, 100).astype(np.float32)
    before = f0_hz.copy()
    np.testing.assert_allclose(pitch.fill_unvoiced(f0_hz), f0_hz, rtol=1e-6)
    np.testing.assert_array_equal(f0_hz, before)


def test_without_any_pitch_there_is_a_number_all_the_same():
    assert np.isfinite(pitch.fill_unvoiced(np.full(5, np.nan, np.float32))).all()
