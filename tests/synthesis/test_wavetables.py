"""wavetables against sums of sines in float64."""

import numpy as np
import pytest

from helpers.synthesis import wavetables

RATE, HOP = 44100, 441


def sung(f0_hz, amplitudes):
    """What `harmonic_audio` takes of f0 at every sample, and the sum of the sines."""
    cycles = np.cumsum(f0_hz / RATE).reshape(-1, HOP)
    numbers = np.arange(1, amplitudes.shape[1] + 1)
    below_half = numbers[:, np.newaxis, np.newaxis] * f0_hz.reshape(-1, HOP) < RATE / 2
    fade_in = 0.5 - 0.5 * np.cos(np.pi * np.arange(HOP) / HOP)
    ends = amplitudes.T[..., np.newaxis].astype(np.float64)
    envelopes = ends[:, :-1] * (1.0 - fade_in) + ends[:, 1:] * fade_in
    waves = envelopes * np.sin(2.0 * np.pi * numbers[:, np.newaxis, np.newaxis] * cycles)
    return (cycles, below_half.sum(axis=0), amplitudes), np.sum(below_half * waves, axis=0)


def random_amplitudes(n_frames, n_harmonics):
    """They sum to about 1 in each frame, and all are heard."""
    drawn = np.random.default_rng(0).random((n_frames + 1, n_harmonics))
    return (2.0 * drawn / n_harmonics).astype(np.float32)


@pytest.mark.parametrize(
    "low_hz, high_hz",
    [(41.0, 41.0), (440.0, 440.0), (55.0, 220.0), (440.0, 3000.0), (9000.0, 30000.0)],
)
def test_harmonics_are_those_of_the_sum(low_hz, high_hz):
    """Of a low note, whose 165 are all below half the rate, and of glides, where they leave it."""
    f0_hz = np.geomspace(low_hz, high_hz, 20 * HOP)
    arguments, expected = sung(f0_hz, random_amplitudes(20, 165))
    assert np.abs(expected).max() > 0.01
    audio = wavetables.harmonic_audio(*arguments)
    assert audio.shape == expected.shape and audio.dtype == np.float32
    np.testing.assert_allclose(audio, expected, atol=2e-6)


def test_frames_that_leap_and_frames_of_silence():
    f0_hz = np.repeat([100.0, 1200.0, 100.0, 60.0, 2500.0, 2500.0], HOP)
    amplitudes = random_amplitudes(6, 165)
    amplitudes[3:5] = 0.0
    arguments, expected = sung(f0_hz, amplitudes)
    np.testing.assert_allclose(wavetables.harmonic_audio(*arguments), expected, atol=2e-6)
    silent = wavetables.harmonic_audio(*arguments[:2], 0.0 * amplitudes)
    np.testing.assert_array_equal(silent, np.zeros((6, HOP)))


def test_what_the_table_holds_is_only_the_harmonics():
    """Beside the lines of one note there is nothing: -105 dB for the strongest other line."""
    amplitudes = np.repeat(random_amplitudes(1, 50)[:1], 101, axis=0)
    arguments, _ = sung(np.full(100 * HOP, 441.0), amplitudes)  # 441 lines of 100 Hz fill a period
    audio = wavetables.harmonic_audio(*arguments).ravel()
    spectrum = np.abs(np.fft.rfft(audio.astype(np.float64)))
    lines = 441 * np.arange(1, 50)
    others = np.delete(spectrum, lines)
    assert others.max() < 10 ** (-105 / 20) * spectrum[lines].max()
