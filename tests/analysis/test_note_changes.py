"""Changes of note against melodies whose f0 is known to the sample."""

import librosa
import numpy as np
import pytest
from mir_eval import melody

from helpers import config
from helpers.analysis import audio as sound
from helpers.analysis import note_changes, pitch

SAMPLE_RATE = 16000


def played(midi, starts=(), brightness=1.0):
    """A tone of a pitch [n_samples], whose harmonics begin anew, at other phases, at each start."""
    random = np.random.default_rng(0)
    note = np.searchsorted(np.asarray(starts), np.arange(len(midi)), side="right")
    f0_hz = librosa.midi_to_hz(midi)
    phase = 2 * np.pi * np.cumsum(f0_hz) / SAMPLE_RATE
    audio = 0.003 * random.standard_normal(len(midi))
    for k in range(1, 20):
        begun = random.uniform(0, 2 * np.pi, len(starts) + 1)[note]
        audio += 0.2 * k**-brightness * np.sin(k * phase + begun) * (k * f0_hz < 7600)
    return audio.astype(np.float32)


def analysed(audio, frame_rate):
    """Pitch in semitones before and after it is sharpened, and its confidence: [n_frames] each."""
    f0_hz, confidence = pitch.track(audio, SAMPLE_RATE, frame_rate)
    f0_hz = pitch.refine(audio, f0_hz, SAMPLE_RATE, frame_rate)
    sharp_hz = note_changes.sharpen(audio, f0_hz, confidence >= 0.5, SAMPLE_RATE, frame_rate)
    assert sharp_hz.dtype == np.float32 and sharp_hz.shape == f0_hz.shape
    return librosa.hz_to_midi(f0_hz), librosa.hz_to_midi(sharp_hz), confidence


def at_frames(midi, n_frames, frame_rate):
    return midi[np.minimum(np.arange(n_frames) * SAMPLE_RATE // frame_rate, len(midi) - 1)]


def n_between(midi, one, other):
    """Frames that are more than 20 cents from both of two notes."""
    return np.sum((np.abs(midi - one) > 0.2) & (np.abs(midi - other) > 0.2))


@pytest.mark.parametrize("frame_rate", [100, 125, 250])
@pytest.mark.parametrize("interval", [1, -2, 3, 7, 12, 19, -24])
def test_a_step_is_a_step_at_its_time(interval, frame_rate):
    low = 55.0 + max(0, -interval)
    midi = np.repeat([low, low + interval], SAMPLE_RATE // 2)
    audio = played(midi, [SAMPLE_RATE // 2])
    _, sharp, _ = analysed(audio, frame_rate)
    inside = slice(frame_rate // 10, -frame_rate // 10)
    assert n_between(sharp[inside], low, low + interval) <= 1
    step_s = np.flatnonzero(np.abs(sharp - low - interval) < 0.2)[0] / frame_rate
    assert step_s == pytest.approx(0.5, abs=0.013)


def test_a_smeared_step_was_no_step_before():
    """What the test above asks for is not there without sharpening."""
    midi = np.repeat([50.0, 52.0], SAMPLE_RATE // 2)
    smeared, sharp, _ = analysed(played(midi, [SAMPLE_RATE // 2], brightness=3.0), 125)
    assert n_between(smeared[10:-10], 50, 52) >= 3
    assert n_between(sharp[10:-10], 50, 52) <= 1


@pytest.mark.parametrize("brightness", [1.0, 3.0])
@pytest.mark.parametrize(
    ("depth", "rate_hz"), [(0.4, 5.0), (0.5, 6.0), (0.6, 7.0), (1.0, 3.0), (1.0, 5.5)]
)
def test_a_vibrato_stays(depth, rate_hz, brightness):
    times_s = np.arange(2 * SAMPLE_RATE) / SAMPLE_RATE
    midi = 65 + depth * np.sin(2 * np.pi * rate_hz * times_s)
    tracked, sharp, _ = analysed(played(midi, brightness=brightness), 125)
    np.testing.assert_allclose(sharp, tracked, atol=1e-4)


@pytest.mark.parametrize("interval", [1.0, -3.0, 5.0])
@pytest.mark.parametrize("slide_s", [0.1, 0.2, 0.4])
def test_a_portamento_stays_a_slide(slide_s, interval):
    times_s = np.arange(SAMPLE_RATE) / SAMPLE_RATE
    midi = 65 + interval * np.clip((times_s - 0.5) / slide_s + 0.5, 0, 1)
    tracked, sharp, _ = analysed(played(midi), 125)
    true = at_frames(midi, len(sharp), 125)
    before, after = (np.abs(found - true)[10:-10] for found in (tracked, sharp))
    assert after.mean() < before.mean() + 1e-3 and after.max() < 0.25


def test_a_scoop_stays():
    """A singer reaches a note from below, with the most of it in the first 0.1 s."""
    times_s = np.arange(SAMPLE_RATE) / SAMPLE_RATE
    midi = np.where(times_s < 0.5, 60.0, 64.0 - 2 * np.exp(-(times_s - 0.5) / 0.1))
    tracked, sharp, _ = analysed(played(midi, [SAMPLE_RATE // 2]), 125)
    true = at_frames(midi, len(sharp), 125)
    off = np.abs(sharp - true)[10:-10]
    assert off.mean() <= np.abs(tracked - true)[10:-10].mean()
    assert off[55 + 4 :].max() < 0.3  # from 30 ms after its beginning


@pytest.mark.parametrize("name", ["violin/violin_1", "violin/violin_3", "instruments/clarinet"])
def test_clips_that_ship_come_nearer_to_their_scores(name):
    """Raw pitch accuracy (mir_eval); the scores' own slides take 50 ms (`data/render.py`)."""
    audio, _ = sound.load(config.DATA / f"{name}.flac", SAMPLE_RATE)
    table = np.genfromtxt(config.DATA / f"{name}.f0.csv", delimiter=",", names=True)
    audio, true_hz = audio[: 8 * SAMPLE_RATE], table["f0_hz"]
    tracked, sharp, confidence = analysed(audio, 125)
    voiced = (true_hz[: len(sharp)] > 0) & (confidence[: len(true_hz)] >= 0.5)
    true_hz, n = true_hz[: len(voiced)], len(voiced)
    accuracy = [
        melody.raw_pitch_accuracy(
            voiced,
            melody.hz2cents(true_hz),
            voiced,
            melody.hz2cents(librosa.midi_to_hz(found[:n])),
            cent_tolerance=cents,
        )
        for cents in (10, 50)
        for found in (tracked, sharp)
    ]
    assert accuracy[1] > accuracy[0] and accuracy[3] >= accuracy[2]


@pytest.mark.parametrize("n_samples", [0, 1, 100, 8000])
@pytest.mark.parametrize("frame_rate", [10, 125, 1000])
def test_short_and_silent_audio_is_left_alone(n_samples, frame_rate):
    f0_hz = np.full(1 + n_samples * frame_rate // SAMPLE_RATE, 330.0)
    f0_hz[len(f0_hz) // 2 :] = 440.0
    silence, sure = np.zeros(n_samples, np.float32), np.ones(len(f0_hz), bool)
    found_hz = note_changes.sharpen(silence, f0_hz, sure, SAMPLE_RATE, frame_rate)
    np.testing.assert_allclose(found_hz, f0_hz, rtol=1e-6)
