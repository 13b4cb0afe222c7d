"""Harmonics and noise against sums of sines and noise whose levels are known."""

import numpy as np
import pytest
import scipy.signal

from helpers.analysis import harmonics

SAMPLE_RATE, FRAME_RATE = 44100, 100
HOP = SAMPLE_RATE // FRAME_RATE
EDGES_HZ = np.linspace(0.0, SAMPLE_RATE / 2, 46)
SIGMA = 0.01  # of the noise; white noise has the density 2 sigma^2 / sample rate
WHITE = 2 * SIGMA**2 / SAMPLE_RATE
INSIDE = slice(10, -10)  # frames whose windows the clip fills


def vibrato(f0_hz, seconds=1.0, depth_semitones=0.5):
    """f0 at each sample."""
    times_s = np.arange(round(seconds * SAMPLE_RATE)) / SAMPLE_RATE
    return f0_hz * 2 ** (depth_semitones / 12 * np.sin(2 * np.pi * 5.5 * times_s))


def tone(f0_hz, amplitudes):
    phase = 2 * np.pi * np.cumsum(f0_hz) / SAMPLE_RATE
    return sum(a * np.sin(k * phase + k * k) for k, a in enumerate(amplitudes, 1))


def white_noise(n_samples, seed=0):
    return SIGMA * np.random.default_rng(seed).standard_normal(n_samples)


def analyze(audio, f0_hz, n_harmonics=60, **options):
    """Of audio whose pitch is known at each sample."""
    at_frames = f0_hz[::HOP]
    return harmonics.analyze(
        audio, at_frames, SAMPLE_RATE, FRAME_RATE, n_harmonics, EDGES_HZ, **options
    )


@pytest.mark.parametrize("f0_hz", [60.0, 110.0, 330.0, 1200.0])
def test_amplitudes_of_a_tone_with_vibrato(f0_hz):
    n_harmonics = min(60, int(20000 / (f0_hz * 2 ** (1 / 24))))
    amplitudes = 0.3 / np.arange(1, n_harmonics + 1) ** 1.5
    curve = vibrato(f0_hz)
    found = analyze(tone(curve, amplitudes), curve, n_harmonics + 2)
    measured = found.amplitudes[INSIDE, :n_harmonics]
    np.testing.assert_allclose(20 * np.log10(measured / amplitudes), 0.0, atol=0.15)
    assert 20 * np.log10(found.amplitudes[INSIDE, n_harmonics:].max() + 1e-9) < -90
    assert 10 * np.log10(found.noise_density[INSIDE].max() + 1e-18) < -85  # no noise: none found


def test_amplitudes_follow_a_swell():
    curve = vibrato(440.0)
    swell = np.linspace(0.0, 0.5, len(curve))
    found = analyze(swell * tone(curve, [1.0]), curve, 1)
    np.testing.assert_allclose(found.amplitudes[INSIDE, 0], swell[::HOP][INSIDE], atol=0.005)


@pytest.mark.parametrize("f0_hz", [110.0, 440.0, 1500.0])
def test_level_of_white_noise(f0_hz):
    curve = vibrato(f0_hz, seconds=2.0)
    found = analyze(white_noise(len(curve)), curve, int(20000 / f0_hz))
    density = found.noise_density[INSIDE]
    assert np.mean(density[density > 0]) == pytest.approx(WHITE, rel=0.05)
    measured = found.band_density[INSIDE][found.is_measured[INSIDE]]
    assert np.mean(measured) == pytest.approx(WHITE, rel=0.05)
    # Noise has no harmonics: what is taken for them is its own level, and cancels on average.
    beneath = np.mean(found.noise_beneath[INSIDE] * found.bandwidth_hz[INSIDE, np.newaxis])
    assert abs(np.mean(found.harmonic_power[INSIDE])) < 0.1 * beneath


def test_a_tone_in_noise_is_parted_from_it():
    amplitudes = 0.02 / np.arange(1, 31)  # from far above the noise to beneath it
    curve = vibrato(300.0, seconds=4.0)
    found = analyze(tone(curve, amplitudes) + white_noise(len(curve)), curve, 31)
    powers = found.harmonic_power[INSIDE].mean(axis=0)
    np.testing.assert_allclose(powers[:20], amplitudes[:20] ** 2 / 2, rtol=0.25)
    np.testing.assert_allclose(powers[:20].sum(), np.sum(amplitudes[:20] ** 2) / 2, rtol=0.02)
    assert np.mean(found.noise_density[INSIDE]) == pytest.approx(WHITE, rel=0.05)


def test_bands_show_the_spectrum_of_the_noise():
    curve = vibrato(500.0, seconds=4.0)
    low_pass = scipy.signal.firwin(511, 6000.0, fs=SAMPLE_RATE)
    noise = scipy.signal.oaconvolve(white_noise(len(curve)), low_pass, mode="same")
    found = analyze(tone(curve, [0.1] * 10) + noise, curve, 40)
    levels = found.band_density[INSIDE].mean(axis=0) / WHITE
    centres_hz = (EDGES_HZ[1:] + EDGES_HZ[:-1]) / 2
    np.testing.assert_allclose(levels[(centres_hz > 300) & (centres_hz < 5000)], 1.0, atol=0.2)
    assert levels[(centres_hz > 7500) & (centres_hz < 20000)].max() < 1e-3


def test_noise_is_not_measured_beyond_its_points():
    curve = vibrato(2000.0, depth_semitones=0.0)
    found = analyze(white_noise(len(curve)), curve, n_harmonics=3)
    centres_hz = (EDGES_HZ[1:] + EDGES_HZ[:-1]) / 2
    assert found.is_measured[:, (centres_hz > 600) & (centres_hz < 5500)].all()
    assert not found.is_measured[:, centres_hz > 6000].any()


def test_harmonics_above_half_the_sample_rate_are_zero():
    curve = vibrato(8000.0)
    found = analyze(white_noise(len(curve)), curve, 5)
    assert (found.amplitudes[:, :2] > 0).all()
    assert not found.amplitudes[:, 2:].any()
    assert not found.noise_density[:, 3:].any()


def test_blocks_are_the_whole(monkeypatch):
    curve = vibrato(200.0, seconds=2.0)
    audio = tone(curve, [0.1, 0.05]) + white_noise(len(curve))
    whole = analyze(audio, curve, 5)
    monkeypatch.setattr(harmonics, "BLOCK_FRAMES", 37)
    pieces = analyze(audio, curve, 5)
    for name, values in vars(whole).items():
        np.testing.assert_allclose(vars(pieces)[name], values, rtol=1e-3, atol=1e-12)


@pytest.mark.parametrize("f0_hz", [150.0, 600.0])
def test_share_of_the_power_on_the_harmonics(f0_hz):
    """With noise of a known density the share is a ratio of two known powers."""
    curve = vibrato(f0_hz, seconds=4.0)
    n_harmonics = int(12000 / f0_hz)
    power_a_harmonic = WHITE * f0_hz  # as much as the noise has in the width of f0
    audio = tone(curve, [np.sqrt(2 * power_a_harmonic)] * n_harmonics)
    audio += white_noise(len(curve))
    found = analyze(audio, curve, int(20000 / f0_hz))
    every = np.ones(len(found.f0_hz), bool)
    assert harmonics.harmonic_share(found, 1000, 9000, every) == pytest.approx(0.5, abs=0.03)
    assert harmonics.harmonic_share(found, 14000, 18000, every) == pytest.approx(0.0, abs=0.05)
    assert np.isnan(harmonics.harmonic_share(found, 21000, 22000, every))


@pytest.mark.parametrize("interval", [1.189, 1.26, 1.335, 1.5, 1.587])  # thirds to a sixth
def test_two_notes_are_told_from_one(interval):
    curve, amplitudes = vibrato(294.0), 0.2 / np.arange(1, 9)
    one = tone(curve, amplitudes) + white_noise(len(curve)) / 3
    other = tone(vibrato(294.0 * interval, depth_semitones=0.0), amplitudes)
    assert harmonics.is_single_note(analyze(one, curve))[INSIDE].mean() > 0.95
    assert harmonics.is_single_note(analyze(one + other, curve))[INSIDE].mean() < 0.05


def test_what_may_be_learned_from():
    curve = vibrato(400.0)
    low_pass = scipy.signal.firwin(1023, 9000.0, fs=SAMPLE_RATE)
    audio = tone(curve, [0.1, 0.1, 1e-7] + [0.01] * 47)
    audio = scipy.signal.oaconvolve(audio, low_pass, mode="same")
    found = analyze(audio + 1e-3 * white_noise(len(curve)), curve, 50)
    sure = np.arange(len(found.f0_hz)) < 60
    amplitudes, bands = harmonics.is_known(found, sure, EDGES_HZ, 9000.0)
    assert amplitudes[15:60, :2].all() and amplitudes[15:60, 3:20].all()
    assert not amplitudes[60:].any() and not bands[60:].any()  # the pitch is not sure
    assert not amplitudes[15:60, 2].any()  # -140 dB
    assert not amplitudes[15:60, 23:].any()  # above the band edge
    assert not bands[15:60, EDGES_HZ[1:] > 9000].any()


@pytest.mark.parametrize("edge_hz", [7000.0, 16000.0])
def test_the_band_edge_is_found(edge_hz):
    """As a codec leaves it: steep, whether noise or harmonics reach up to it."""
    curve = vibrato(440.0, seconds=3.0)
    sound = tone(curve, 0.1 / np.arange(1, 45)) + white_noise(len(curve))
    steep = scipy.signal.firwin(2047, edge_hz, fs=SAMPLE_RATE)
    cut = scipy.signal.oaconvolve(sound, steep, mode="same")
    found_hz = harmonics.find_band_edge_hz(cut, SAMPLE_RATE)
    assert found_hz == pytest.approx(edge_hz, abs=60)


def test_a_sound_that_is_weak_in_its_highs_has_no_band_edge():
    curve = vibrato(880.0, seconds=3.0)
    pink = scipy.signal.lfilter([1.0], [1.0, -0.98], white_noise(len(curve)))
    sound = tone(curve, 0.3 / np.arange(1, 20) ** 3) + 0.01 * pink
    assert harmonics.find_band_edge_hz(sound, SAMPLE_RATE) == SAMPLE_RATE / 2


def test_a_steep_fall_above_a_formant_is_no_band_edge():
    """As that of a sung "ooh", whose harmonics go on 40 dB below."""
    curve = vibrato(220.0, seconds=3.0)
    sound = tone(curve, 0.1 / np.arange(1, 100)) + white_noise(len(curve))
    formant = scipy.signal.firwin2(
        2047, [0, 1700, 1900, SAMPLE_RATE / 2], [1, 1, 0.1, 0.1], fs=SAMPLE_RATE
    )
    sound = scipy.signal.oaconvolve(sound, formant, mode="same")
    assert harmonics.find_band_edge_hz(sound, SAMPLE_RATE) == SAMPLE_RATE / 2


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("audio", [white_noise(500), np.zeros(500), np.zeros(SAMPLE_RATE)])
def test_the_shortest_sound_and_silence_have_no_band_edge(audio):
    assert harmonics.find_band_edge_hz(audio, SAMPLE_RATE) == SAMPLE_RATE / 2
