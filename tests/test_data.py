import os
import subprocess
import sys

import librosa
import numpy as np
import pytest
import soundfile
from conftest import need

from helpers.config import DATA, FRAME_RATE

SCRIPT = DATA / "render.py"
SOUND_BANK = "/usr/share/sounds/sf2/FluidR3_GM.sf2"
SECONDS = {  # (shortest, longest)
    "violin/violin_1": (20, 40),
    "violin/violin_2": (20, 40),
    "violin/violin_3": (15, 40),
    "violin/violin_4": (20, 40),
    "violin/violin_5": (20, 40),
    "voice/oohs_melody": (19, 23),
    "flute/flute_phrase": (10, 13),
}
CLIPS = sorted(SECONDS)


def read_f0(name, folder=DATA):
    table = np.genfromtxt(folder / f"{name}.f0.csv", delimiter=",", names=True)
    return table["times_s"], table["f0_hz"]


def track(name, start_s, seconds):
    """pYIN's f0 (NaN where unvoiced) and the true f0 (0 where silent) of a part of a clip."""
    audio, _ = librosa.load(DATA / f"{name}.flac", sr=16000)
    _, f0_hz = read_f0(name)
    first, last = round(start_s * FRAME_RATE), round((start_s + seconds) * FRAME_RATE)
    hop = 16000 // FRAME_RATE
    true_f0_hz = f0_hz[first:last]
    tracked_f0_hz, _, _ = librosa.pyin(
        audio[first * hop : last * hop],
        sr=16000,
        fmin=150,
        fmax=1600,
        frame_length=1024,
        hop_length=hop,
        max_transition_rate=200,  # by default it cannot follow an arpeggio at this frame rate
    )
    return tracked_f0_hz[: len(true_f0_hz)], true_f0_hz


def cents_off(tracked_f0_hz, true_f0_hz):
    with np.errstate(divide="ignore"):
        cents = 1200 * np.abs(np.log2(tracked_f0_hz / true_f0_hz))
    return cents[np.isfinite(cents)]


def render(*arguments, path=None):
    environment = dict(os.environ, PATH=str(path)) if path else None
    command = [sys.executable, str(SCRIPT), *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, env=environment)


def test_clips_are_few_and_small():
    shipped = [DATA / f"{name}{ending}" for name in CLIPS for ending in (".flac", ".f0.csv")]
    assert all(path.is_file() for path in shipped)
    assert sum(path.stat().st_size for path in shipped) < 10e6
    violin = [soundfile.info(DATA / f"{name}.flac").duration for name in CLIPS if "violin" in name]
    assert 110 < sum(violin) < 150


@pytest.mark.parametrize("name", CLIPS)
def test_format(name):
    info = soundfile.info(DATA / f"{name}.flac")
    assert (info.format, info.subtype, info.channels) == ("FLAC", "PCM_16", 1)
    assert info.samplerate == 44100
    assert SECONDS[name][0] <= info.duration <= SECONDS[name][1]
    times_s, f0_hz = read_f0(name)
    np.testing.assert_allclose(times_s, np.arange(len(times_s)) / FRAME_RATE, atol=1e-9)
    assert len(times_s) == int(info.duration * FRAME_RATE) + 1
    assert np.all((f0_hz == 0) | ((f0_hz > 190) & (f0_hz < 1400)))


@pytest.mark.parametrize("name", CLIPS)
def test_levels(name):
    audio, _ = soundfile.read(DATA / f"{name}.flac")
    _, f0_hz = read_f0(name)
    assert 20 * np.log10(np.abs(audio).max()) == pytest.approx(-3, abs=0.1)
    rms = librosa.feature.rms(y=audio, frame_length=1024, hop_length=44100 // FRAME_RATE)[0]
    times_s = np.arange(len(rms)) * (44100 // FRAME_RATE) / 44100
    frames = np.minimum(np.round(times_s * FRAME_RATE).astype(int), len(f0_hz) - 1)
    levels_db = 20 * np.log10(rms[f0_hz[frames] > 0] + 1e-9)
    soft_db, loud_db = np.percentile(levels_db, (5, 95))
    assert loud_db - soft_db > 15
    # Frames that are far from any note are digital silence: no release rings into a rest.
    far = np.convolve(f0_hz > 0, np.ones(15), "same")[frames] == 0
    assert far.any() and rms[far].max() < 1e-4


@pytest.mark.parametrize("name", CLIPS)
def test_true_f0_is_what_is_heard(name):
    tracked_f0_hz, true_f0_hz = track(name, start_s=5, seconds=3)
    cents = cents_off(tracked_f0_hz, true_f0_hz)
    assert len(cents) > 0.95 * np.count_nonzero(true_f0_hz)
    assert np.mean(cents < 50) >= 0.95
    assert np.median(cents) < 20  # the violin samples have a vibrato of their own


def test_true_f0_is_aligned_in_time():
    # In the voice, whose samples have no vibrato of their own, slides and vibrato tell the time.
    tracked_f0_hz, true_f0_hz = track("voice/oohs_melody", start_s=5.8, seconds=2)
    errors = [cents_off(np.roll(tracked_f0_hz, -lag), true_f0_hz).mean() for lag in range(-3, 4)]
    assert np.argmin(errors) == 3


def test_missing_fluidsynth_is_one_sentence(tmp_path):
    result = render(tmp_path / "clips", path=tmp_path)
    assert result.returncode == 1
    assert result.stderr.count("\n") == 1 and "apt install fluidsynth" in result.stderr


def test_missing_sound_bank_is_one_sentence(tmp_path):
    fluidsynth = tmp_path / "fluidsynth"
    fluidsynth.write_text("#!/bin/sh\n")
    fluidsynth.chmod(0o755)
    result = render(tmp_path / "clips", "--sound-bank", tmp_path / "none.sf2", path=tmp_path)
    assert result.returncode == 1
    assert result.stderr.count("\n") == 1 and "none.sf2" in result.stderr


@pytest.mark.slow
def test_script_makes_the_shipped_clips(tmp_path):
    need(os.path.isfile(SOUND_BANK), f"there is no sound bank at {SOUND_BANK}")
    result = render(tmp_path)
    need("no `fluidsynth` command" not in result.stderr, "there is no fluidsynth command")
    assert result.returncode == 0, result.stderr
    assert sorted(path.name for path in tmp_path.glob("*/*")) == sorted(
        f"{name.split('/')[1]}{ending}" for name in CLIPS for ending in (".flac", ".f0.csv")
    )
    for name in CLIPS:
        for ours, shipped in zip(read_f0(name, tmp_path), read_f0(name), strict=True):
            np.testing.assert_allclose(ours, shipped, atol=0.011)
        ours, _ = soundfile.read(tmp_path / f"{name}.flac")
        shipped, _ = soundfile.read(DATA / f"{name}.flac")
        assert len(ours) == len(shipped)
        assert np.corrcoef(ours, shipped)[0, 1] > 0.99
