"""Spectra over the phase against the sums that define them, in double precision."""

import numpy as np
import pytest

from helpers.analysis.phase_spectra import PhaseSpectra

N_SAMPLES, PERIODS = 8000, 6
CENTRES = np.array([3000, 3001, 4500])
REACH = 1000


def glide(first, last):
    """f0 in cycles a sample."""
    return np.geomspace(first, last, N_SAMPLES)


def summed(audio, f0, centre, cycle, reach=REACH):
    """Power and bandwidth, sample by sample."""
    near = np.arange(max(0, centre - reach), min(N_SAMPLES, centre + reach + 1))
    cycles = np.cumsum(f0)
    cycles = (cycles[near] - cycles[centre]) / PERIODS
    window = np.where(np.abs(cycles) < 0.5, 1 + np.cos(2 * np.pi * cycles), 0.0) * f0[near]
    window /= window.sum()
    turned = np.sum(window * audio[near] * np.exp(-2j * np.pi * cycle * cycles))
    return np.abs(turned) ** 2, np.sum(window**2)


@pytest.mark.parametrize("f0", [glide(0.01, 0.01), glide(0.008, 0.02), glide(0.03, 0.006)])
def test_power_is_that_of_the_sums(f0):
    audio = np.random.default_rng(0).standard_normal(N_SAMPLES)
    lowest = f0[CENTRES].min()
    highest = int(0.5 / f0[CENTRES].max() * PERIODS)  # at half the sample rate
    spectra = PhaseSpectra(audio, f0, CENTRES, REACH, lowest)
    power, bandwidth = spectra.power(CENTRES, PERIODS, REACH, slice(2, highest, 3))
    for row, centre in enumerate(CENTRES):
        expected = [summed(audio, f0, centre, cycle) for cycle in range(2, highest, 3)]
        powers = [p for p, _ in expected]
        np.testing.assert_allclose(power[row], powers, rtol=0.01, atol=0.02 * np.mean(powers))
        assert bandwidth[row] == pytest.approx(expected[0][1], rel=0.01)


def test_a_window_ends_where_it_may_reach_at_most():
    """Before the middle f0 is a tenth: half of the periods there would last ten times as long."""
    f0 = np.where(np.arange(N_SAMPLES) < 4000, 0.002, 0.02)
    audio = np.random.default_rng(0).standard_normal(N_SAMPLES)
    centres = np.array([4000])
    spectra = PhaseSpectra(audio, f0, centres, 180, 0.02)
    power, bandwidth = spectra.power(centres, PERIODS, 180, slice(1, 100))
    expected = [summed(audio, f0, 4000, cycle, 180) for cycle in range(1, 100)]
    np.testing.assert_allclose(power[0], [p for p, _ in expected], rtol=0.05, atol=1e-4)
    assert bandwidth[0] == pytest.approx(expected[0][1], rel=0.05)


def test_samples_of_the_quietest_harmonic_are_not_lost_in_the_loudest():
    """120 dB apart, they still part: a codec's and 16 bits' range and more."""
    f0 = glide(0.009, 0.011)
    phase = 2 * np.pi * np.cumsum(f0)
    audio = np.sin(phase) + 1e-6 * np.sin(40 * phase)
    spectra = PhaseSpectra(audio, f0, CENTRES, REACH, f0[CENTRES].min())
    power, _ = spectra.power(CENTRES, PERIODS, REACH, slice(PERIODS, 41 * PERIODS, 39 * PERIODS))
    np.testing.assert_allclose(power[:, 0], 1 / 4, rtol=1e-3)
    np.testing.assert_allclose(power[:, 1], 1e-12 / 4, rtol=0.2)


def test_windows_at_the_ends_of_a_clip_have_silence_beyond():
    f0 = glide(0.01, 0.01)
    audio = np.sin(2 * np.pi * np.cumsum(f0))
    ends = np.array([0, N_SAMPLES - 1])
    power, _ = PhaseSpectra(audio, f0, ends, 400, 0.01).power(ends, 4, 400, slice(4, 5))
    assert np.isfinite(power).all() and (power > 0).all()
