"""Spectra of resyntheses against sounds whose levels and shares are known."""

import numpy as np
import pytest
import scipy.linalg
import tiny_instrument

from helpers.evaluation import spectrum

SAMPLE_RATE, FRAME_RATE, SECONDS = 44100, 100, 0.6
F0_HZ, N_HARMONICS = 440.0, 45
N_SAMPLES, N_FRAMES = round(SECONDS * SAMPLE_RATE), 1 + round(SECONDS * FRAME_RATE)
INNER = np.abs(np.arange(N_FRAMES) - N_FRAMES // 2) < 20  # frames that see no end of the sound


def tone(gain_of_harmonic=lambda hz: 1.0):
    """A tone of harmonics that fall off as those of a string."""
    times_s = np.arange(N_SAMPLES) / SAMPLE_RATE
    return 0.2 * sum(
        gain_of_harmonic(k * F0_HZ) / k * np.sin(2 * np.pi * k * F0_HZ * times_s + k * k)
        for k in range(1, N_HARMONICS + 1)
    )


def noise(density, seed=0):
    """White noise of a power for each Hz."""
    white = np.random.default_rng(seed).standard_normal(N_SAMPLES)
    return np.sqrt(density * SAMPLE_RATE / 2) * white


def recording(audio, band_edge_hz=SAMPLE_RATE / 2, sure=INNER):
    f0_hz = np.full(N_FRAMES, F0_HZ)
    return spectrum.Recording(audio, SAMPLE_RATE, FRAME_RATE, f0_hz, sure, band_edge_hz)


def test_the_same_is_perfect():
    audio = tone() + noise(1e-9)
    found = spectrum.compare([recording(audio)], [audio])
    assert set(found["level_db"].values()) == {0.0}
    assert found["harmonic_share"] == found["harmonic_share_of_recording"]
    assert found["mfcc_distance"] == pytest.approx(0.0, abs=0.1)
    assert found["band_edge_hz"] == 22050


def test_a_band_that_is_weaker_is_found_and_no_other():
    audio = tone() + noise(1e-9)
    weaker = tone(lambda hz: 0.5 if 5000 <= hz < 8000 else 1.0) + noise(1e-9)
    found = spectrum.level_differences_db([recording(audio)], [weaker])
    np.testing.assert_allclose(found, [0, 0, 0, 0, 0, -6, 0, 0, 0], atol=0.1)


def test_what_lies_below_the_fundamental():
    quiet, loud = (tone() + noise(density) for density in (1e-8, 1e-6))
    below_f0_db = spectrum.level_differences_db([recording(quiet)], [loud])[-1]
    assert below_f0_db == pytest.approx(20.0, abs=0.2)


def test_what_is_on_the_harmonics():
    """A tone and white noise have known powers in each band."""
    density = 1e-8
    found = spectrum.compare([recording(tone() + noise(density))], [tone()])
    for low, high in spectrum.SHARE_BANDS_HZ:
        name = f"{low}-{high}"
        inside = [k for k in range(1, N_HARMONICS + 1) if low <= k * F0_HZ < high]
        power = sum(0.2**2 / 2 / k**2 for k in inside)
        share = power / (power + density * F0_HZ * len(inside))
        assert found["harmonic_share_of_recording"][name] == pytest.approx(share, abs=0.02)
        assert found["harmonic_share"][name] > 0.99


def test_nothing_is_compared_above_the_band_edge():
    found = spectrum.compare([recording(tone(), band_edge_hz=8000)], [noise(1e-3)])
    assert found["level_db"]["8000-11000"] is None and found["level_db"]["11000-15000"] is None
    assert found["harmonic_share_of_recording"]["8000-15000"] is None


def test_only_sure_frames_count():
    sure = INNER & (np.arange(N_FRAMES) < N_FRAMES // 2)
    later = np.arange(N_SAMPLES) > 0.8 * N_SAMPLES
    wrong_later = np.where(later, noise(1e-3), tone())
    found = spectrum.level_differences_db([recording(tone(), sure=sure)], [wrong_later])
    np.testing.assert_allclose(found[:-1], 0.0, atol=0.1)
    nothing = spectrum.compare([recording(tone(), sure=np.zeros(N_FRAMES, bool))], [tone()])
    del nothing["band_edge_hz"]
    assert {value for each in nothing.values() for value in np.ravel(_values(each))} == {None}


def _values(found):
    return list(found.values()) if isinstance(found, dict) else found


def test_the_distance_is_that_of_normal_distributions():
    """By the root of a matrix, as Dowson and Landau have it."""
    random = np.random.default_rng(0)
    a = random.standard_normal((500, 4)) * [1, 2, 3, 4]
    b = random.standard_normal((400, 4)) @ random.standard_normal((4, 4)) + 1
    covariances = np.cov(a.T), np.cov(b.T)
    root = scipy.linalg.sqrtm(covariances[0] @ covariances[1]).real
    expected = np.sum((a.mean(axis=0) - b.mean(axis=0)) ** 2)
    expected += np.trace(sum(covariances) - 2 * root)
    assert spectrum.frechet_distance(a, b) == pytest.approx(expected, rel=1e-6)
    assert spectrum.frechet_distance(a, a) == pytest.approx(0.0, abs=1e-6)


def test_an_instrument_beside_examples_at_its_rate():
    n_frames = 126
    examples = {
        "audio": (tone() + noise(1e-6))[None, :16000].astype(np.float32),
        "f0_hz": np.full((1, n_frames), F0_HZ, np.float32),
        "f0_confidence": np.full((1, n_frames), 0.9, np.float32),
        "loudness_db": np.full((1, n_frames), -30.0, np.float32),
    }
    instrument = tiny_instrument.build()
    found = spectrum.resynthesis(instrument, examples)
    assert found["band_edge_hz"] == 8000 and found["level_db"]["8000-11000"] is None
    assert np.isfinite(found["level_db"]["500-1000"]) and found["mfcc_distance"] > 0
    assert found == spectrum.resynthesis(instrument, examples)  # with the same noise
    instrument.statistics = instrument.statistics | {"band_edge_hz": 4000.0}
    found = spectrum.resynthesis(instrument, examples)
    assert found["band_edge_hz"] == 4000 and found["level_db"]["4000-5000"] is None
