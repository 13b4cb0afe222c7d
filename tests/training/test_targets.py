"""Targets against tones and noise whose levels are known."""

import numpy as np
import pytest
import scipy.signal

from helpers import config
from helpers.analysis import harmonics
from helpers.training import targets

RATES = [(44100, 100, 100, 177), (16000, 100, 60, 65)]
ANALYSIS = targets.Analysis(*RATES[1])
N_FRAMES, F0_HZ = 301, 330.0
INSIDE = slice(10, -10)  # frames whose windows the clip fills
SIGMA = 1e-3  # of the noise, whose density is 2 sigma^2 / sample rate
AMPLITUDES = 0.1 / np.arange(1, 11)


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setattr(config, "CACHE", tmp_path / "cache")
    return tmp_path / "cache"


def vibrato(f0_hz=F0_HZ, sample_rate=16000):
    """f0 at each sample."""
    times_s = np.arange(3 * sample_rate) / sample_rate
    return f0_hz * 2 ** (0.3 / 12 * np.sin(2 * np.pi * 5.5 * times_s))


def tone(curve_hz, sample_rate=16000, amplitudes=AMPLITUDES):
    phase = 2 * np.pi * np.cumsum(curve_hz) / sample_rate
    return sum(a * np.sin(k * phase + k * k) for k, a in enumerate(amplitudes, 1))


def white_noise(n_samples, seed=0):
    return SIGMA * np.random.default_rng(seed).standard_normal(n_samples)


def find(audio, curve_hz, analysis=ANALYSIS, confidence=0.95, frames=None, band_edge_hz=None):
    hop = analysis.sample_rate // analysis.frame_rate
    f0_hz = np.append(curve_hz[::hop], curve_hz[-1]).astype(np.float32)
    return targets.find(
        audio.astype(np.float32),
        f0_hz,
        np.broadcast_to(np.float32(confidence), f0_hz.shape),
        frames or slice(0, len(f0_hz)),
        band_edge_hz or analysis.sample_rate / 2,
        analysis,
    )


def decibels(logarithms):
    """The level of a mean power, from logarithms."""
    return 10 * np.log10(np.exp(logarithms.astype(float)).mean(axis=0))


@pytest.mark.parametrize("rates", RATES)
def test_targets_of_a_tone_in_noise(rates):
    analysis = targets.Analysis(*rates)
    curve_hz = vibrato(sample_rate=analysis.sample_rate)
    audio = tone(curve_hz, analysis.sample_rate) + white_noise(len(curve_hz))
    found = find(audio, curve_hz, analysis)
    assert {name: (values.dtype, values.shape) for name, values in found.items()} == {
        "harmonic_log_power": (np.float16, (N_FRAMES, analysis.n_harmonics)),
        "noise_log_density": (np.float16, (N_FRAMES, analysis.n_noise_bands)),
        "bandwidth_hz": (np.float32, (N_FRAMES,)),
    }
    density = 2 * SIGMA**2 / analysis.sample_rate
    beneath = density * found["bandwidth_hz"][INSIDE].mean()
    levels_db = decibels(found["harmonic_log_power"][INSIDE, :10])
    np.testing.assert_allclose(levels_db, 10 * np.log10(AMPLITUDES**2 / 2 + beneath), atol=0.3)
    # The lowest band is beneath the first point where noise is measured, the last at the edge.
    noise = found["noise_log_density"][INSIDE, 2:-3]
    assert np.isfinite(noise).all()
    assert decibels(noise).mean() == pytest.approx(10 * np.log10(density), abs=0.3)


def test_what_is_above_half_the_sample_rate_is_unknown():
    curve_hz = vibrato()
    found = find(tone(curve_hz, amplitudes=[0.01] * 23), curve_hz)["harmonic_log_power"]
    assert np.isfinite(found[INSIDE, :23]).all()  # to 330 Hz * 23 * 1.017
    assert np.isnan(found[:, 24:]).all()


def test_an_unsure_pitch_is_unknown():
    curve_hz = vibrato()
    confidence = np.where(np.arange(N_FRAMES) < 150, 0.9, 0.8)
    found = find(tone(curve_hz), curve_hz, confidence=confidence)
    for name in ("harmonic_log_power", "noise_log_density"):
        assert np.isfinite(found[name][10:140]).any(axis=1).all()
        assert np.isnan(found[name][150:]).all()
    assert np.isfinite(found["bandwidth_hz"]).all()


def test_two_notes_at_once_are_unknown():
    curve_hz = vibrato()
    other = tone(vibrato(F0_HZ * 1.26))
    other[: len(other) // 2] = 0.0
    found = find(tone(curve_hz) + other, curve_hz)["harmonic_log_power"]
    assert np.isfinite(found[10:140, :10]).all()
    assert np.isnan(found[160:290]).mean() > 0.95


def test_what_is_above_the_band_edge_is_unknown():
    curve_hz, edge_hz = vibrato(), 4000.0
    low_pass = scipy.signal.firwin(1023, edge_hz, fs=16000)
    audio = tone(curve_hz, amplitudes=[0.01] * 20) + white_noise(len(curve_hz))
    audio = scipy.signal.oaconvolve(audio, low_pass, mode="same")
    found = find(audio, curve_hz, band_edge_hz=harmonics.find_band_edge_hz(audio, 16000))
    assert np.isfinite(found["harmonic_log_power"][INSIDE, :11]).all()
    assert np.isnan(found["harmonic_log_power"][:, 13:]).all()
    centres_hz = ANALYSIS.edges_hz[1:] - 4000 / 65
    assert np.isnan(found["noise_log_density"][:, centres_hz > edge_hz]).all()
    assert np.isfinite(
        found["noise_log_density"][INSIDE][:, (300 < centres_hz) & (centres_hz < 3700)]
    ).all()


AWKWARD = {
    "silence": np.zeros(48000),
    "offset": np.full(48000, 0.3),
    "clipped": np.clip(20 * tone(vibrato()), -1, 1),
    "an impulse": np.eye(1, 48000, 24000)[0],
    "after silence": np.where(np.arange(48000) < 24000, 0.0, tone(vibrato())),
}


@pytest.mark.parametrize("f0_hz", [32.0, F0_HZ, 2000.0])
@pytest.mark.parametrize("name", AWKWARD)
@pytest.mark.filterwarnings("error")
def test_awkward_audio_gives_numbers_or_unknowns(name, f0_hz):
    found = find(AWKWARD[name], vibrato(f0_hz))
    assert np.isfinite(found["bandwidth_hz"]).all() and (found["bandwidth_hz"] > 0).all()
    for values in (found["harmonic_log_power"], found["noise_log_density"]):
        assert not np.isinf(values).any()
        known = values[np.isfinite(values)].astype(float)
        assert (np.abs(known + 15) < 20).all()  # from -150 to 20 dB
    if name == "silence":
        assert np.isnan(found["harmonic_log_power"]).all()


def test_part_of_a_recording_is_analysed_as_the_whole():
    curve_hz = vibrato()
    audio = tone(curve_hz) + white_noise(len(curve_hz))
    whole, part = find(audio, curve_hz), find(audio, curve_hz, frames=slice(120, 200))
    for name, values in whole.items():
        np.testing.assert_allclose(part[name], values[120:200], rtol=0, atol=0.02)


@pytest.fixture
def analysed(monkeypatch):
    """The number of frames of each analysis."""
    lengths = []

    def analyze_blocks(audio, f0_hz, *args, analyze_blocks=harmonics.analyze_blocks, **options):
        lengths.append(len(f0_hz))
        return analyze_blocks(audio, f0_hz, *args, **options)

    monkeypatch.setattr(harmonics, "analyze_blocks", analyze_blocks)
    return lengths


def test_what_was_analysed_is_kept(analysed, cache):
    curve_hz = vibrato()
    audio = tone(curve_hz) + white_noise(len(curve_hz))
    once, again = find(audio, curve_hz), find(audio, curve_hz)
    assert len(analysed) == 1
    for name, values in once.items():
        np.testing.assert_array_equal(again[name], values)
    find(0.5 * audio, curve_hz)
    find(audio, 1.001 * curve_hz)
    find(audio, curve_hz, confidence=np.where(np.arange(N_FRAMES) == 7, 0.0, 0.9))
    find(audio, curve_hz, band_edge_hz=4000.0)
    find(audio, curve_hz, targets.Analysis(16000, 100, 60, 64))
    assert len(analysed) == 6


@pytest.mark.parametrize("damage", [lambda whole: whole[:-1], lambda whole: bytes(len(whole))])
def test_a_damaged_entry_is_made_anew(analysed, cache, damage):
    curve_hz = vibrato()
    once = find(tone(curve_hz), curve_hz)
    (path,) = cache.iterdir()
    whole = path.read_bytes()
    path.write_bytes(damage(whole))
    again = find(tone(curve_hz), curve_hz)
    assert len(analysed) == 2 and path.read_bytes() == whole
    for name, values in once.items():
        np.testing.assert_array_equal(again[name], values)
