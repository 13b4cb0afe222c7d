"""notes against the scores of the clips that ship, music theory and drawn curves."""

import csv
import dataclasses
from dataclasses import replace

import librosa
import numpy as np
import pytest
from scipy.signal import butter, sosfilt

from helpers.analysis import audio, features, keys, notes
from helpers.config import DATA

FRAME_RATE = 125


def curves_of(f0_midi, confidence=0.9, loudness_db=-10.0, frame_rate=FRAME_RATE):
    """`Features` of a drawn pitch, NaN where there is none."""
    f0_midi = np.asarray(f0_midi, float)
    pitched = np.isfinite(f0_midi)
    confidence = np.where(pitched, confidence, 0.1)
    loudness_db = np.where(pitched, loudness_db, -60.0)
    arrays = [np.arange(len(f0_midi)) / frame_rate, librosa.midi_to_hz(f0_midi)]
    arrays = [array.astype(np.float32) for array in [*arrays, confidence, loudness_db]]
    for array in arrays:
        array.flags.writeable = False  # an edit in place is an error
    return features.Features(*arrays, frame_rate)


def held(*notes_and_seconds, frame_rate=FRAME_RATE):
    """A pitch from (MIDI number or None, seconds)."""
    return np.concatenate(
        [
            np.full(round(seconds * frame_rate), np.nan if midi is None else midi)
            for midi, seconds in notes_and_seconds
        ]
    )


def true_f0_hz(clip):
    """What the score of a clip that ships says: NaN where no note sounds."""
    with open(DATA / f"{clip}.f0.csv", encoding="utf-8") as file:
        f0_hz = np.array([float(row["f0_hz"]) for row in csv.DictReader(file)])
    return np.where(f0_hz > 0, f0_hz, np.nan)


# Which frames are notes


@pytest.mark.parametrize("clip", ["flute/flute_phrase", "voice/oohs_melody"])
def test_the_notes_of_a_score_are_found(clip):
    sound, sample_rate = audio.load(DATA / f"{clip}.flac", 16000)
    sound = sound[: 10 * sample_rate]
    found = notes.find(features.extract(sound, sample_rate)).sounding
    true = np.isfinite(true_f0_hz(clip))[: len(found)]
    found = found[: len(true)]
    assert np.mean(found[true]) > 0.99
    assert np.mean(true[found]) > 0.96  # a frame or two at the edges of each note


def test_hiss_between_vowels_is_no_note():
    """Words: a buzz, then s, t or breath, and again, as loud in A-weighted loudness."""
    random = np.random.default_rng(0)
    times_s = np.arange(int(0.4 * 16000)) / 16000
    vowel = sum(np.sin(2 * np.pi * k * 140 * times_s) / k for k in range(1, 20)) * 0.1
    sounds, hissing = [], []
    for band_hz in ((4000, 7900), (2000, 6000), (500, 5000)):
        band = butter(4, band_hz, "bandpass", fs=16000, output="sos")
        hiss = sosfilt(band, random.normal(size=3200))
        sounds += [vowel, 0.1 * hiss / hiss.std()]
        hissing += [np.zeros(len(vowel), bool), np.ones(len(hiss), bool)]
    curves = features.extract(np.concatenate(sounds).astype(np.float32), 16000)
    hissing = np.concatenate(hissing)[:: 16000 // FRAME_RATE]
    found = notes.find(curves).sounding[: len(hissing)]
    assert np.mean(found[~hissing]) > 0.95
    assert np.mean(found[hissing]) < 0.1  # a frame or two at the edges


def test_a_pitch_that_jumps_about_is_no_note():
    """What a tracker finds in noise, however sure it says it is."""
    random = np.random.default_rng(0)
    f0_midi = np.concatenate([held((60, 1.0)), random.uniform(40, 90, 50), held((62, 1.0))])
    found = notes.find(curves_of(f0_midi)).sounding
    assert found[:120].all() and found[-120:].all()
    assert np.mean(found[130:170]) < 0.1


@pytest.mark.parametrize("frame_rate", [50, 125, 250])
@pytest.mark.parametrize("gap_seconds, is_rest", [(0.04, False), (0.08, False), (0.12, True)])
def test_a_short_gap_between_notes_is_no_rest(gap_seconds, is_rest, frame_rate):
    f0_midi = held((60, 0.6), (None, gap_seconds), (64, 0.6), frame_rate=frame_rate)
    found = notes.find(curves_of(f0_midi, frame_rate=frame_rate)).sounding
    assert (found == (np.isfinite(f0_midi) | (not is_rest))).all()


@pytest.mark.parametrize("frame_rate", [50, 125, 250])
@pytest.mark.parametrize("island_seconds, is_note", [(0.02, False), (0.05, False), (0.1, True)])
def test_a_tiny_island_is_no_note(island_seconds, is_note, frame_rate):
    island = (67, island_seconds)
    f0_midi = held((60, 0.6), (None, 0.2), island, (None, 0.2), frame_rate=frame_rate)
    curves = curves_of(f0_midi, frame_rate=frame_rate)
    found = notes.find(curves).pitched
    assert (found == (np.isfinite(f0_midi) & ((f0_midi == 60) | is_note))).all()


def test_a_flicker_to_another_octave_is_bridged_over():
    f0_midi = held((60, 0.6), (72, 0.04), (60, 0.6))
    pitched = notes.find(curves_of(f0_midi)).pitched
    assert not pitched[75:80].any()
    assert notes.find(curves_of(f0_midi)).sounding.all()
    np.testing.assert_allclose(notes.find(curves_of(f0_midi)).f0_midi, 60.0, atol=1e-5)


def test_a_flicker_at_the_start_of_a_note_is_part_of_it():
    f0_midi = held((None, 0.4), (75, 0.05), (60, 0.6), (None, 0.4))
    curves = curves_of(f0_midi)
    assert (notes.find(curves).sounding == np.isfinite(f0_midi)).all()
    assert (notes.find(curves).pitched == (f0_midi == 60)).all()


def test_the_pitch_of_notes_is_measured_or_held_and_none_between_them():
    f0_midi = held((60, 0.6), (None, 0.08), (64, 0.6), (None, 0.4))
    found = notes.find(curves_of(f0_midi))
    np.testing.assert_array_equal(np.isfinite(found.f0_midi), found.sounding)
    np.testing.assert_allclose(found.f0_midi[found.pitched], f0_midi[found.pitched], atol=1e-5)
    gap = slice(74, 86)
    np.testing.assert_allclose(found.f0_midi[gap], np.repeat([60, 64], 6), atol=1e-5)
    with pytest.raises(dataclasses.FrozenInstanceError):
        found.f0_midi = f0_midi


def test_fast_notes_stay_whole():
    """Sixteenths of a tenth of a second, leaping up and down, are music and no flicker."""
    f0_midi = held(*[(midi, 0.1) for midi in (60, 72, 64, 76, 67, 79) * 3])
    assert np.mean(notes.find(curves_of(f0_midi)).pitched) > 0.9


def test_a_slide_stays_whole():
    f0_midi = np.concatenate([held((60, 0.3)), np.linspace(60, 72, 25), held((72, 0.3))])
    assert notes.find(curves_of(f0_midi)).pitched.all()


def a_doubtful_recording():
    """Notes less and less sure, and a soft one."""
    sure = [0.95, 0.85, 0.75, 0.65, 0.55, 0.9]
    f0_midi = held(*[part for _ in sure for part in ((60, 0.4), (None, 0.2))])
    loudness_db = np.full(len(f0_midi), -10.0)
    loudness_db[-75:] = -55.0
    return curves_of(f0_midi, np.repeat(sure, 75), loudness_db), len(sure)


def test_the_threshold_goes_from_everything_to_the_surest():
    curves, n_notes = a_doubtful_recording()
    found = [notes.find(curves, threshold).sounding for threshold in np.linspace(0, 1, 11)]
    assert (found[0] == curves.voiced).all()
    for more, fewer in zip(found, found[1:], strict=False):
        assert (more | ~fewer).all()
    counts = [len(notes.runs(mask)) for mask in found]
    assert counts[0] == n_notes and 1 <= counts[-1] < 3


@pytest.mark.parametrize("threshold", [0.0, 0.5, 1.0])
def test_silence_has_no_notes(threshold):
    assert not notes.find(curves_of(held((None, 1.0))), threshold).sounding.any()


# Keys


@pytest.mark.parametrize(
    "clip, key",
    [
        ("violin/violin_1", "D major"),
        ("violin/violin_2", "A# major"),  # B flat
        ("violin/violin_3", "A major"),
        ("violin/violin_4", "G minor"),
        ("violin/violin_5", "E minor"),
        ("voice/oohs_melody", "A minor"),
        ("flute/flute_phrase", "D major"),
    ],
)
def test_the_key_of_a_score(clip, key):
    """As data/README.md names it."""
    assert notes.detect_key(librosa.hz_to_midi(true_f0_hz(clip)), FRAME_RATE) == key


def test_the_key_moves_with_the_melody():
    melody = np.array([0, 4, 7, 5, 2, 0, 9, 7, 11, 12, 0])
    for up in range(12):
        f0_midi = held(*[(60 + up + step, 0.3) for step in melody])
        assert notes.detect_key(f0_midi, FRAME_RATE) == f"{keys.PITCH_CLASSES[up]} major"


def test_only_notes_have_a_key(refused):
    f0_midi = held(*[(60 + step, 0.3) for step in (0, 4, 7, 0)], (None, 9.0))
    assert notes.detect_key(f0_midi, FRAME_RATE) == "C major"
    with refused("No note.*threshold"):
        notes.detect_key(np.full(50, np.nan), FRAME_RATE)


@pytest.mark.parametrize("key", ["chromatic", *keys.KEYS])
def test_the_nearest_note_of_a_key(key):
    """Against librosa's degrees and a search through all notes."""
    f0_midi = np.random.default_rng(0).uniform(30, 100, 200)
    degrees = np.arange(12)
    if key != "chromatic":
        tonic, mode = key.split()
        degrees = librosa.key_to_degrees(f"{tonic}:{mode[:3]}")
    scale = np.array([midi for midi in range(20, 111) if midi % 12 in degrees])
    wanted = scale[np.abs(scale - f0_midi[:, np.newaxis]).argmin(axis=1)]
    np.testing.assert_array_equal(notes.nearest_midi(f0_midi, key), wanted)


def test_no_pitch_stays_no_pitch_and_numbers_stay_numbers():
    nearest = notes.nearest_midi(np.array([np.nan, 60.4]), "C major")
    np.testing.assert_array_equal(nearest, [np.nan, 60.0])
    assert notes.nearest_midi(61.2, "C major") == 62.0


@pytest.mark.parametrize("key", ["H major", "detected", "D", ""])
def test_no_such_key(key, refused):
    with refused("no key"):
        notes.nearest_midi(np.array([60.0]), key)


# Steps


def test_a_scale_has_eight_steps():
    scale = [60, 62, 64, 65, 67, 69, 71, 72]
    f0_midi = held(*[(midi + 0.2, 0.2) for midi in scale])
    found = notes.split(f0_midi, FRAME_RATE)
    assert [(step.start, step.stop) for step in found] == [(25 * i, 25 * i + 25) for i in range(8)]


@pytest.mark.parametrize("centre", [60.0, 60.2, 59.8])
def test_vibrato_makes_no_steps(centre):
    times_s = np.arange(250) / FRAME_RATE
    f0_midi = centre + 0.7 * np.sin(2 * np.pi * 5.5 * times_s)
    assert notes.split(f0_midi, FRAME_RATE) == [slice(0, 250)]


def test_a_rest_parts_notes_and_a_key_leaves_its_steps():
    f0_midi = held((60, 0.4), (None, 0.2), (60, 0.4), (61, 0.4))
    ends = [50, 125, 175]
    assert [step.stop for step in notes.split(f0_midi, FRAME_RATE)] == ends
    in_c = notes.split(f0_midi, FRAME_RATE, "C major")  # where 61 is between two notes
    assert [step.stop for step in in_c[:2]] == [50, 175]


def test_curves_are_not_edited():
    curves = curves_of(held((60, 0.4), (None, 0.05), (64, 0.4)))
    before = replace(curves, f0_hz=curves.f0_hz.copy())
    notes.find(curves)
    np.testing.assert_array_equal(curves.f0_hz, before.f0_hz)
