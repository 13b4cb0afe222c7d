"""adjustment: every control's direction and amount, on drawn curves."""

from dataclasses import fields, replace

import numpy as np
import pytest

from helpers.analysis import features
from helpers.transfer import adjustment
from helpers.transfer.settings import Settings

FRAME_RATE = 125
PERCENTILES_DB = np.linspace(-40.0, -10.0, 101) ** 3 / 40.0**2  # no straight line
STATISTICS = {
    "feature_profile": features.PROFILE,
    "pitch_midi": {"low": 55.0, "mean": 69.0, "high": 83.0},
    "loudness_db_percentiles": PERCENTILES_DB.tolist(),
}
UNFITTED = Settings(fit_register=False, fit_loudness=False, quiet_db=0.0)
REST = slice(250, 300)  # half of it hiss, half of it silence
SILENCE = slice(275, 300)
NOTES = np.r_[0:250, 300:550]
FAR = np.r_[265:285]  # from all notes


def a_recording(center_midi=69.0):
    """Two long notes, slightly out of tune, swelling, and a rest between them."""
    f0_midi = np.full(550, center_midi - 1.8)
    f0_midi[300:] = center_midi + 2.3
    f0_midi[REST] = np.nan
    loudness_db = np.tile(-25.0 + 10.0 * np.sin(np.linspace(0, np.pi, 50)), 11)
    loudness_db[REST], loudness_db[SILENCE] = -20.0, -80.0
    confidence = np.where(np.isfinite(f0_midi), 0.9, 0.2)
    arrays = [np.arange(550) / FRAME_RATE, 440.0 * 2.0 ** ((f0_midi - 69.0) / 12.0)]
    arrays = [array.astype(np.float32) for array in [*arrays, confidence, loudness_db]]
    for array in arrays:
        array.flags.writeable = False  # an edit in place is an error
    return features.Features(*arrays, FRAME_RATE)


def adjusted(curves=None, statistics=STATISTICS, **changes):
    """The curves of a recording with nothing fitted, but for some settings."""
    curves = a_recording() if curves is None else curves
    return adjustment.adjust(curves, statistics, replace(UNFITTED, **changes)).features


def cents(after, before):
    return 1200.0 * np.log2(after.f0_hz[NOTES].astype(float) / before.f0_hz[NOTES])


# By themselves


@pytest.mark.parametrize(
    "center_midi, octaves, words",
    [
        (69, 0, "Register left as it is"),
        (57, 1, "Shifted up 1 octave;"),
        (45, 2, "Shifted up 2 octaves;"),
        (64, 0, "Register"),
        (74, 0, "Register"),
        (60, 0, "Register"),  # 9 below the middle, but inside of the range: it stays
        (93, -2, "Shifted down 2 octaves"),
    ],
)
def test_the_register_moves_by_whole_octaves(center_midi, octaves, words):
    curves = a_recording(center_midi)
    found = adjustment.adjust(curves, STATISTICS)
    np.testing.assert_allclose(cents(found.features, curves), 1200 * octaves, atol=1e-2)
    assert found.summary.startswith(words) and found.summary.endswith(".")


def test_the_register_covers_most_of_a_lopsided_instrument():
    """Far more below its mean than above: a mean that is near is not all."""
    lopsided = STATISTICS | {"pitch_midi": {"low": 45.0, "mean": 69.0, "high": 73.0}}
    curves = a_recording(62.5)
    assert cents(adjusted(curves, lopsided, fit_register=True), curves).max() < 1.0
    opposite = STATISTICS | {"pitch_midi": {"low": 65.0, "mean": 69.0, "high": 93.0}}
    assert cents(adjusted(curves, opposite, fit_register=True), curves).min() > 1199.0


def test_statistics_without_extremes_have_a_register():
    only_mean = STATISTICS | {"pitch_midi": {"mean": 69.0}}
    curves = a_recording(57.0)
    np.testing.assert_allclose(
        cents(adjusted(curves, only_mean, fit_register=True), curves), 1200.0, atol=1e-2
    )


def test_notes_are_as_soft_and_as_loud_as_in_training():
    random = np.random.default_rng(0)
    curves = a_recording()
    loudness_db = np.where(curves.voiced, random.uniform(-45, -12, 550), -70.0)
    curves = replace(curves, loudness_db=loudness_db.astype(np.float32))
    found = adjustment.adjust(curves, STATISTICS)
    fitted_db = found.features.loudness_db[NOTES]
    wanted_db = PERCENTILES_DB[95] - PERCENTILES_DB[5]
    assert np.diff(np.percentile(fitted_db, [5, 95]))[0] == pytest.approx(wanted_db, abs=0.1)
    assert np.median(fitted_db) == pytest.approx(PERCENTILES_DB[50], abs=1e-3)
    raised_db = PERCENTILES_DB[50] - np.median(loudness_db[NOTES])
    assert f"loudness raised {raised_db:.0f} dB" in found.summary
    loud = loudness_db[NOTES] > np.percentile(loudness_db[NOTES], 6)
    assert np.corrcoef(fitted_db[loud], loudness_db[NOTES][loud])[0, 1] > 1 - 1e-6  # a line


@pytest.mark.parametrize("range_db", [0.0, 1e-4, 0.5, 3.0])
def test_a_held_tone_stays_held(range_db):
    """Its last decibels are not stretched over all that the instrument can do."""
    loudness_db = -20 + range_db * np.random.default_rng(1).uniform(-0.5, 0.5, 550)
    curves = replace(a_recording(), loudness_db=loudness_db.astype(np.float32))
    fitted_db = adjusted(curves, fit_loudness=True).loudness_db[NOTES]
    assert np.ptp(fitted_db) <= 2.0 * range_db + 1e-4
    assert np.median(fitted_db) == pytest.approx(PERCENTILES_DB[50], abs=0.1)


def test_what_fits_is_left_nearly_alone():
    """By default, a recording of the instrument itself: each note swells through its loudness."""
    curves = a_recording()
    swell = np.concatenate([np.linspace(0, 100, 125), np.linspace(100, 0, 125)])
    played_db = np.full(550, -80.0)
    played_db[NOTES] = np.interp(np.tile(swell, 2), np.arange(101), PERCENTILES_DB)
    curves = replace(curves, loudness_db=played_db.astype(np.float32))
    found = adjustment.adjust(curves, STATISTICS)
    np.testing.assert_allclose(cents(found.features, curves), 0.0, atol=1e-3)
    assert np.abs(found.features.loudness_db - curves.loudness_db).max() < 0.2
    assert found.summary == "Register left as it is; loudness left as it is."


def test_nothing_fitted_and_nothing_moved_by_hand():
    curves = a_recording()
    found = adjustment.adjust(curves, STATISTICS, UNFITTED)
    np.testing.assert_allclose(found.features.f0_hz[NOTES], curves.f0_hz[NOTES], rtol=1e-6)
    np.testing.assert_array_equal(found.features.loudness_db[NOTES], curves.loudness_db[NOTES])
    assert found.summary == "Nothing was fitted."
    for field in ("times_s", "confidence", "frame_rate", "profile"):
        assert getattr(found.features, field) is getattr(curves, field)
    for field in ("f0_hz", "loudness_db"):
        assert getattr(found.features, field).dtype == np.float32


# Between notes


def test_nothing_is_played_between_notes():
    curves = a_recording()
    found = adjustment.adjust(curves, STATISTICS)
    assert (found.notes.sounding == curves.voiced).all()
    assert not found.features.voiced[FAR].any()
    assert found.features.voiced[NOTES].all()


@pytest.mark.parametrize("quiet_db", [0.0, 6.0, 20.0])
def test_what_is_no_note_is_quieted(quiet_db):
    curves = a_recording()
    quieted = adjusted(curves, quiet_db=quiet_db)
    hiss = slice(262, 275)
    expected_db = curves.loudness_db[249] - quiet_db  # hiss is no louder than the note before it
    np.testing.assert_allclose(quieted.loudness_db[hiss], expected_db, atol=1e-3)
    np.testing.assert_array_equal(quieted.loudness_db[NOTES], curves.loudness_db[NOTES])


def test_a_note_fades_at_its_pitch():
    curves = a_recording()
    faded = adjusted(curves, quiet_db=30.0)
    fading = slice(250, 259)
    np.testing.assert_allclose(faded.f0_hz[fading], curves.f0_hz[249], rtol=1e-6)
    np.testing.assert_allclose(faded.f0_hz[292:300], curves.f0_hz[300], rtol=1e-6)
    steps_db = np.diff(faded.loudness_db[249:261])
    assert (steps_db <= 1e-4).all() and steps_db.min() > -4.0


def test_hiss_in_a_bridged_gap_is_not_louder_than_the_notes():
    curves = a_recording()
    f0_hz, loudness_db = curves.f0_hz.copy(), curves.loudness_db.copy()
    f0_hz[100:108], loudness_db[100:108] = np.nan, 0.0
    found = adjustment.adjust(
        replace(curves, f0_hz=f0_hz, loudness_db=loudness_db), STATISTICS, UNFITTED
    )
    assert found.notes.sounding[:250].all()
    np.testing.assert_allclose(found.features.f0_hz[100:108], f0_hz[99], rtol=1e-6)
    assert found.features.loudness_db[100:108].max() <= max(loudness_db[[99, 108]])


def test_the_threshold_leaves_doubtful_notes_out():
    curves = a_recording()
    doubtful = replace(curves, confidence=np.where(curves.times_s < 2.1, 0.9, 0.55))
    first, second = slice(0, 250), slice(300, 550)
    for threshold, is_note in ((0.0, True), (0.5, True), (0.9, False)):
        found = adjustment.adjust(doubtful, STATISTICS, Settings(threshold=threshold))
        sounding = found.notes.sounding
        assert sounding[first].all() and (sounding[second] == is_note).all()


# By hand


@pytest.mark.parametrize(
    "octaves, semitones, by_cents", [(1, 0, 0), (-2, 0, 0), (0, 7, 0), (1, -1, 0), (0, 0, -50)]
)
def test_pitch_shifts_by_exact_ratios(octaves, semitones, by_cents):
    curves = a_recording()
    shifted = adjusted(curves, octaves=octaves, semitones=semitones, cents=by_cents)
    expected = 1200 * octaves + 100 * semitones + by_cents
    np.testing.assert_allclose(cents(shifted, curves), expected, atol=1e-2)
    np.testing.assert_array_equal(shifted.loudness_db[NOTES], curves.loudness_db[NOTES])


@pytest.mark.parametrize("change_db", [-30.0, -6.0, 0.0, 6.0, 30.0])
def test_loudness_moves_by_decibels_down_to_the_floor(change_db):
    curves = a_recording()
    moved = adjusted(curves, loudness_db=change_db)
    expected = np.maximum(curves.loudness_db + change_db, features.LOUDNESS_FLOOR_DB)
    np.testing.assert_allclose(moved.loudness_db[NOTES], expected[NOTES], atol=1e-5)
    assert (moved.loudness_db[SILENCE] == features.LOUDNESS_FLOOR_DB).all()


@pytest.mark.parametrize("amount", [0.0, 0.5, 1.0])
def test_autotune_draws_notes_to_the_key(amount):
    """Notes at 67.2 and 71.3 are drawn to G and, in C major, B."""
    curves = a_recording()
    found = adjustment.adjust(curves, STATISTICS, replace(UNFITTED, autotune=amount, key="C major"))
    inner = np.r_[0:240, 310:550] if amount else NOTES
    f0_midi = 69.0 + 12.0 * np.log2(found.features.f0_hz[inner].astype(float) / 440.0)
    expected = np.where(inner < 250, 67.2 - 0.2 * amount, 71.3 - 0.3 * amount)
    np.testing.assert_allclose(f0_midi, expected, atol=1e-3)
    assert found.summary == (
        f"Autotune {100 * amount:.0f} % to C major." if amount else "Nothing was fitted."
    )


def test_autotune_is_heard_in_the_key_that_was_chosen():
    """After the shift, and before the fine tuning, which would else be undone."""
    tuned = adjusted(autotune=1.0, key="D major", semitones=1, cents=20)
    f0_midi = 69.0 + 12.0 * np.log2(tuned.f0_hz[[100, 400]].astype(float) / 440.0)
    # 68.2 lies nearest G (67) or A (69), 72.3 nearest C# (73)
    np.testing.assert_allclose(f0_midi, [69.2, 73.2], atol=1e-3)


def test_autotune_says_which_key_it_found():
    found = adjustment.adjust(a_recording(), STATISTICS, replace(UNFITTED, autotune=0.5))
    assert found.summary.startswith("Autotune 50 % to ") and found.summary.split()[-1] in (
        "major.",
        "minor.",
    )
    found = adjustment.adjust(
        a_recording(), STATISTICS, replace(UNFITTED, autotune=0.5, key="chromatic")
    )
    assert found.summary == "Autotune 50 % to the nearest semitones."


@pytest.mark.parametrize("amount", [0.5, 1.0])
def test_vibrato_is_added_to_held_notes(amount):
    curves = a_recording()
    off = cents(adjusted(curves, vibrato=amount), curves)[80:230]
    assert np.abs(off).max() == pytest.approx(50.0 * amount, rel=0.02)
    assert np.abs(np.mean(off)) < 3.0


@pytest.mark.parametrize("amount", [-0.5, -1.0])
def test_vibrato_is_taken_out(amount):
    curves = a_recording()
    swing = 2.0 ** (0.4 * np.sin(2 * np.pi * 6.0 * curves.times_s) / 12.0)
    swung = replace(curves, f0_hz=(curves.f0_hz * swing).astype(np.float32))
    off = cents(adjusted(swung, vibrato=amount), curves)
    assert np.abs(off).max() == pytest.approx(40.0 * (1.0 + amount), abs=3.0)


@pytest.mark.parametrize("attack_s", [0.08, 0.16])
def test_notes_begin_softly(attack_s):
    curves = a_recording()
    softened = adjusted(curves, attack_s=attack_s)
    change_db = softened.loudness_db - curves.loudness_db
    n_rising = round(attack_s * FRAME_RATE)
    for onset in (0, 300):
        rise_db = change_db[onset : onset + n_rising]
        assert (np.diff(rise_db) > 0).all() and rise_db[0] < -25.0
        halfway_db = np.interp((n_rising - 1) / 2, np.arange(n_rising), rise_db)
        assert halfway_db == pytest.approx(20 * np.log10(0.5), abs=1.0)
        np.testing.assert_allclose(change_db[onset + n_rising : onset + 250], 0.0, atol=1e-5)
    assert softened.loudness_db[291:300].max() <= softened.loudness_db[300]


def test_what_is_for_the_sound_changes_no_curve():
    curves = a_recording()
    found = adjusted(curves, noise_db=10.0, reverb=0.0, mix=0.5)
    for field in fields(curves):
        np.testing.assert_array_equal(
            getattr(found, field.name), getattr(adjusted(curves), field.name)
        )


@pytest.mark.parametrize(
    "changes, words",
    [
        ({}, []),
        ({"semitones": 12}, []),  # 79.2 and 83.3: in the range
        ({"octaves": 1, "semitones": 7}, ["50 %", "far outside"]),  # of 86.2 and 90.3 the higher
        ({"octaves": 3, "semitones": 12}, ["50 %", "far outside", "silent"]),  # 6345 and 8040 Hz
    ],
)
def test_notes_that_the_instrument_did_not_learn_are_counted(changes, words):
    curves = a_recording()
    found = adjustment.adjust(curves, STATISTICS, replace(UNFITTED, **changes))
    for word in words or ["Nothing was fitted."]:
        assert word in found.summary


@pytest.mark.parametrize("sample_rate, share", [(880, "50 %"), (700, "100 %")])
def test_notes_that_the_sample_rate_cannot_hold_are_counted(sample_rate, share):
    """The notes are at 396.6 and 502.5 Hz."""
    statistics = STATISTICS | {"sample_rate": sample_rate}
    summary = adjustment.adjust(a_recording(), statistics, UNFITTED).summary
    assert summary.startswith(f"{share} of the notes are silent")


# What cannot be adjusted


def test_nothing_with_a_pitch(refused):
    curves = a_recording()
    silent = replace(curves, f0_hz=np.full_like(curves.f0_hz, np.nan))
    with refused("No note was found.*threshold"):
        adjustment.adjust(silent, STATISTICS)


@pytest.mark.parametrize("profile", [None, "ddsp-1", "another"])
def test_another_feature_profile(profile, refused):
    statistics = STATISTICS | {"feature_profile": profile}
    with refused(f"profile.*{features.PROFILE}"):
        adjustment.adjust(a_recording(), statistics)


@pytest.mark.parametrize("missing", ["pitch_midi", "loudness_db_percentiles"])
def test_incomplete_statistics(missing, refused):
    statistics = {name: value for name, value in STATISTICS.items() if name != missing}
    with refused(f"lack '{missing}'"):
        adjustment.adjust(a_recording(), statistics)
    adjustment.adjust(a_recording(), statistics, UNFITTED)


def test_loudness_as_it_was_before_ddsp_2():
    """Silence lies at another floor."""
    curves = replace(a_recording(), profile=features.PROFILE_BEFORE)
    curves = replace(
        curves, loudness_db=np.where(curves.loudness_db == -80, -120, curves.loudness_db - 30)
    )
    statistics = STATISTICS | {"feature_profile": features.PROFILE_BEFORE}
    found = adjustment.adjust(curves, statistics, Settings(loudness_db=10.0)).features
    assert (found.loudness_db[SILENCE] == -120.0).all()
    median_db = np.median(found.loudness_db[NOTES])
    assert median_db == pytest.approx(PERCENTILES_DB[50] + 10.0, abs=0.1)
