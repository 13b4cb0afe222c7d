"""helpers.transfer against what it promises, in closed form."""

from dataclasses import fields, replace
from types import SimpleNamespace

import numpy as np
import pytest

from helpers import features, model, transfer

PERCENTILES_DB = np.linspace(-55.0, -10.0, 101) ** 3 / 55.0**2  # no straight line
STATISTICS = {
    "feature_profile": features.PROFILE,
    "pitch_midi": {"low": 55.0, "mean": 69.0, "high": 90.0},
    "loudness_db_percentiles": PERCENTILES_DB.tolist(),
}
REST_FRAMES = 20


def a_recording(n_notes=1001, n_rests=200, center_hz=220.0, seed=0):
    """Notes around a pitch with random loudness, and rests of 0.16 s, half of them loud noise."""
    random = np.random.default_rng(seed)
    n_frames = n_notes + n_rests
    f0_hz = center_hz * 2.0 ** random.uniform(-0.2, 0.2, n_frames)
    starts = np.linspace(0, n_frames - REST_FRAMES, n_rests // REST_FRAMES).astype(int)
    rests = (starts[:, None] + np.arange(REST_FRAMES)).ravel()
    f0_hz[rests] = np.nan
    loudness_db = random.uniform(-45.0, -12.0, n_frames)
    loudness_db[rests[: n_rests // 2]] -= 30.0
    arrays = [np.arange(n_frames) / 125, f0_hz, np.isfinite(f0_hz), loudness_db]
    arrays = [array.astype(np.float32) for array in arrays]
    for array in arrays:
        array.flags.writeable = False  # an edit in place is an error
    return features.Features(*arrays, frame_rate=125)


@pytest.mark.parametrize(
    "center_hz, octaves, words",
    [
        (440.0, 0, "Register left as it is"),
        (220.0, 1, "Shifted up 1 octave;"),
        (110.0, 2, "Shifted up 2 octaves;"),
        (330.0, 0, "Register"),  # 5 semitones below
        (300.0, 1, "Shifted up 1 octave"),  # 7 below: the octave above is nearer
        (1800.0, -2, "Shifted down 2 octaves"),
    ],
)
def test_the_register_moves_by_the_nearest_octaves(center_hz, octaves, words):
    curves = a_recording(center_hz=center_hz)
    fitted, sentence = transfer.fit(curves, STATISTICS)
    np.testing.assert_allclose(fitted.f0_hz, curves.f0_hz * 2.0**octaves, rtol=1e-6)
    assert sentence.startswith(words) and sentence.endswith(".") and "\n" not in sentence


def test_notes_take_the_percentiles_of_the_training_notes():
    curves = a_recording()
    fitted, sentence = transfer.fit(curves, STATISTICS)
    found = np.percentile(fitted.loudness_db[curves.voiced], range(101))
    np.testing.assert_allclose(found, PERCENTILES_DB, atol=1e-3)
    raised_db = PERCENTILES_DB[50] - np.median(curves.loudness_db[curves.voiced])
    assert f"loudness raised {raised_db:.0f} dB" in sentence
    louder = np.argsort(curves.loudness_db[curves.voiced])
    assert (np.diff(fitted.loudness_db[curves.voiced][louder]) >= 0).all()


@pytest.mark.parametrize("range_db", [0.0, 1e-4, 0.5, 3.0])
def test_a_held_tone_stays_held(range_db):
    """Its last decibels are not stretched over all that the instrument can do."""
    curves = a_recording()
    loudness_db = -20 + range_db * np.random.default_rng(1).uniform(-0.5, 0.5, len(curves.f0_hz))
    curves = replace(curves, loudness_db=loudness_db.astype(np.float32))
    fitted = transfer.fit(curves, STATISTICS)[0].loudness_db[curves.voiced]
    assert np.diff(np.percentile(fitted, [5, 95]))[0] <= 3.0 * range_db + 1e-4
    assert abs(np.median(fitted) - PERCENTILES_DB[50]) < 1.0


def test_rests_end_below_the_quietest_note():
    curves = a_recording()
    fitted, _ = transfer.fit(curves, STATISTICS)
    rests = ~curves.voiced
    assert fitted.loudness_db[rests].max() <= PERCENTILES_DB[0] - transfer.REST_DB + 1e-3
    assert fitted.loudness_db.min() >= features.LOUDNESS_FLOOR_DB
    assert (fitted.voiced == curves.voiced).all()


@pytest.mark.parametrize("gap_seconds, is_rest", [(0.04, False), (0.08, False), (0.12, True)])
def test_a_short_gap_between_notes_is_no_rest(gap_seconds, is_rest):
    curves = a_recording(n_rests=0)
    f0_hz = curves.f0_hz.copy()
    gap = slice(500, 500 + round(gap_seconds * 125))
    f0_hz[gap] = np.nan
    fitted, _ = transfer.fit(replace(curves, f0_hz=f0_hz), STATISTICS)
    hushed = fitted.loudness_db[gap] <= PERCENTILES_DB[0] - transfer.REST_DB + 1e-3
    assert hushed.all() if is_rest else not hushed.any()


def test_only_pitch_and_loudness_are_fitted():
    curves = a_recording()
    fitted, _ = transfer.fit(curves, STATISTICS)
    for field in ("times_s", "confidence", "frame_rate"):
        assert getattr(fitted, field) is getattr(curves, field)
    for field in fields(curves)[:-1]:
        assert getattr(fitted, field.name).dtype == np.float32


def test_nothing_with_a_pitch(refused):
    curves = a_recording(n_notes=0)
    with refused("No note was found"):
        transfer.fit(curves, STATISTICS)


@pytest.mark.parametrize("statistics", [{}, {"feature_profile": "ddsp-1"}])
def test_another_feature_profile(statistics, refused):
    with refused(f"profile.*{features.PROFILE}"):
        transfer.fit(a_recording(), statistics)


@pytest.mark.parametrize("octaves, semitones", [(1, 0), (-2, 0), (0, 7), (1, -1), (0, 0.5)])
def test_pitch_shifts_by_exact_ratios(octaves, semitones):
    curves = a_recording()
    shifted = transfer.shift(curves, octaves, semitones)
    cents = 1200 * np.log2(shifted.f0_hz.astype(float) / curves.f0_hz)
    np.testing.assert_allclose(cents[curves.voiced], 1200 * octaves + 100 * semitones, atol=1e-3)
    np.testing.assert_array_equal(shifted.loudness_db, curves.loudness_db)
    assert (shifted.voiced == curves.voiced).all()


@pytest.mark.parametrize("change_db", [-60.0, -6.0, 0.0, 6.0, 30.0])
def test_loudness_moves_by_decibels_down_to_the_floor(change_db):
    curves = a_recording()
    shifted = transfer.shift(curves, loudness_db=change_db)
    expected = np.maximum(curves.loudness_db + change_db, features.LOUDNESS_FLOOR_DB)
    np.testing.assert_allclose(shifted.loudness_db, expected, atol=1e-5)


def test_silence_stays_silence():
    curves = a_recording()
    silent = replace(curves, loudness_db=np.full_like(curves.loudness_db, -80.0))
    assert (transfer.shift(silent, loudness_db=30.0).loudness_db == -80.0).all()


def an_instrument(frame_rate=125):
    """Gives back what it was asked to play."""
    return SimpleNamespace(frame_rate=frame_rate, play=lambda *curves: curves)


def test_an_instrument_is_given_a_pitch_in_every_frame():
    curves = a_recording()
    f0_hz, loudness_db = transfer.render(curves, an_instrument())
    assert np.isfinite(f0_hz).all()
    np.testing.assert_allclose(f0_hz[curves.voiced], curves.f0_hz[curves.voiced], rtol=1e-5)
    np.testing.assert_array_equal(loudness_db, curves.loudness_db)


def test_features_of_another_frame_rate(refused):
    with refused("125 frames a second.*250"):
        transfer.render(a_recording(), an_instrument(frame_rate=250))


SMALL = [
    "ConvDecoder.channels = 8",
    "ConvDecoder.dilations = (1, 2)",
    "DecayingReverb.reverb_length = 99",
]


@pytest.fixture(scope="module", params=[16000, 44100])
def instrument(request):
    instrument = model.build("small", request.param, SMALL)
    instrument.statistics = STATISTICS
    return instrument


@pytest.mark.parametrize("sample_rate, n_samples", [(16000, 12001), (44100, 33333), (48000, 36000)])
def test_the_result_is_as_long_as_the_recording(instrument, sample_rate, n_samples):
    audio = 0.3 * np.sin(2 * np.pi * 440 * np.arange(n_samples) / sample_rate)
    audio = audio.astype(np.float32)
    audio.flags.writeable = False
    played = transfer.transfer(audio, sample_rate, instrument, octaves=1, loudness_db=-3.0)
    assert played.shape == (round(n_samples * instrument.sample_rate / sample_rate),)
    assert played.dtype == np.float32 and np.isfinite(played).all() and played.any()
