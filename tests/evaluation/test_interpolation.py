"""interpolation: what is asked for in closed form, and instruments that obey or do not."""

from types import SimpleNamespace

import numpy as np
import pytest

from helpers.analysis import features
from helpers.analysis.features import Features
from helpers.evaluation import interpolation

N_FRAMES = 251


def clip(f0_hz, loudness_db, confidence=0.95, unvoiced=()):
    f0_hz = np.full(N_FRAMES, f0_hz)
    confidence = np.full(N_FRAMES, confidence)
    f0_hz[list(unvoiced)], confidence[list(unvoiced)] = np.nan, 0.1
    loudness_db = np.full(N_FRAMES, loudness_db)
    return Features(np.arange(N_FRAMES) / 125, f0_hz, confidence, loudness_db, 125)


FIRST = clip(220.0, -40.0, unvoiced=range(10)), np.zeros((N_FRAMES, 2))
SECOND = clip(880.0, -20.0, 0.9, unvoiced=range(240, 251)), np.ones((N_FRAMES, 2))


def test_pairs():
    assert interpolation.pairs(4, 2) == [
        *[(0, 1), (0, 2), (1, 2), (1, 3)],
        *[(2, 3), (2, 0), (3, 0), (3, 1)],
    ]
    assert interpolation.pairs(2, 3) == [(0, 1), (1, 0)]  # none with itself


def test_reconstruction_moves_nothing():
    curves, z = interpolation.interpolate("reconstruction", FIRST, SECOND)
    assert (curves, z) == FIRST


def test_loudness_goes_straight_in_db():
    curves, z = interpolation.interpolate("loudness", FIRST, SECOND)
    np.testing.assert_allclose(curves.loudness_db, np.linspace(-40.0, -20.0, N_FRAMES))
    np.testing.assert_array_equal(curves.f0_hz, FIRST[0].f0_hz)
    assert z is FIRST[1]


def test_f0_goes_straight_in_semitones_where_both_are_sure():
    curves, z = interpolation.interpolate("f0", FIRST, SECOND)
    sure = np.arange(10, 240)
    np.testing.assert_allclose(
        12 * np.log2(curves.f0_hz[sure] / 220.0), np.linspace(0.0, 24.0, N_FRAMES)[sure], atol=1e-4
    )
    assert np.isnan(np.delete(curves.f0_hz, sure)).all()
    np.testing.assert_array_equal(curves.confidence[sure], 0.9)
    assert z is FIRST[1] and curves.loudness_db is FIRST[0].loudness_db


def test_z_goes_straight():
    curves, z = interpolation.interpolate("z", FIRST, SECOND)
    assert curves is FIRST[0]
    np.testing.assert_allclose(z, np.linspace(0.0, 1.0, N_FRAMES)[:, None] * [1.0, 1.0])


def wave(f0_hz, gain):
    """Eight harmonics, a gain and a frequency for each frame of 128 samples."""
    phase = 2 * np.pi * np.cumsum(np.repeat(f0_hz, 128)) / 16000
    return (np.repeat(gain, 128) * sum(np.sin(k * phase) for k in range(1, 9))).astype(np.float32)


def obedient(f0_hz, loudness_db, z):
    """Plays what it is asked for: its gain is set by how loud it is at first."""
    at_first = features.loudness(wave(f0_hz, np.full(len(f0_hz), 0.01)), 16000)[: len(f0_hz)]
    return wave(f0_hz, 0.01 * 10 ** ((loudness_db - at_first) / 20))


def one_loudness(f0_hz, loudness_db, z):
    return obedient(f0_hz, np.full_like(loudness_db, -20.0), z)


def a_tone_higher(f0_hz, loudness_db, z):
    return obedient(f0_hz * 2 ** (2 / 12), loudness_db, z)


@pytest.fixture(scope="module")
def examples():
    n_frames = 125
    pairs = [(220.0, -30.0), (330.0, -10.0)]
    audio = [obedient(np.full(n_frames, f), np.full(n_frames, db), None) for f, db in pairs]
    return {"audio": np.stack(audio)}


def evaluated(play, examples, z_dims=2):
    instrument = SimpleNamespace(
        sample_rate=16000,
        frame_rate=125,
        hop_size=128,
        z_dims=z_dims,
        play=play,
        encode=lambda audio: np.zeros((1 + len(audio) // 128, 2)),
    )
    return interpolation.evaluate_pairs(instrument, examples)


def test_who_obeys_is_perfect(examples):
    rows = evaluated(obedient, examples)
    assert list(rows) == list(interpolation.KINDS)
    for kind, of_kind in rows.items():
        assert len(of_kind) == 2, kind
        for row in of_kind:
            assert row["loudness_l1_db"] < 1.5 and row["f0_l1_semitones"] < 0.1, (kind, row)


def test_who_cannot_move_the_loudness_is_half_of_the_way_off(examples):
    rows = evaluated(one_loudness, examples)
    # From -30 to -10 dB, or back, it stays at -20.
    for row in rows["loudness"]:
        assert row["loudness_l1_db"] == pytest.approx(5.0, abs=1.5)
    for row in rows["reconstruction"]:
        assert row["loudness_l1_db"] == pytest.approx(10.0, abs=1.5)


def test_who_plays_a_tone_higher_is_two_semitones_off(examples):
    for of_kind in evaluated(a_tone_higher, examples).values():
        for row in of_kind:
            assert row["f0_l1_semitones"] == pytest.approx(2.0, abs=0.1)


def test_without_z_there_is_nothing_to_move_there(examples):
    rows = evaluated(lambda f0_hz, loudness_db: obedient(f0_hz, loudness_db, None), examples, 0)
    assert list(rows) == ["reconstruction", "loudness", "f0"]
