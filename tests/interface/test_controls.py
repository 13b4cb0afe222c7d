"""Every control of a transfer changes what the violin that ships plays, as it says, measured.

By libraries that know nothing of the curves: pitch by librosa's YIN, loudness and spectra.
"""

import json
from dataclasses import fields, replace

import librosa
import numpy as np
import pytest
import tiny_instrument

from helpers import config
from helpers.analysis import features
from helpers.instruments import bundles, configurations
from helpers.transfer.adjustment import adjust
from helpers.transfer.render import Player
from helpers.transfer.settings import Settings

VIOLIN = config.CHECKPOINTS / "violin"
STATISTICS = json.loads((VIOLIN / "statistics.json").read_text(encoding="utf-8"))
RATE, FRAME_RATE = STATISTICS["sample_rate"], STATISTICS["frame_rate"]
HOP = RATE // FRAME_RATE
NOTES_MIDI = (68.3, 71.7, 73.3, 69.7)  # all 30 cents off
NOTE_FRAMES, REST_FRAMES = round(0.6 * FRAME_RATE), round(0.32 * FRAME_RATE)
EDGE_FRAMES = round(0.12 * FRAME_RATE)  # of notes and rests, that are not measured
DOUBTFUL = 2  # the number of the note that is less surely pitched


def a_melody():
    """Curves of four notes with some vibrato, between rests."""
    f0_midi, loudness_db, confidence = [], [], []
    for number, note in enumerate(NOTES_MIDI):
        times_s = np.arange(NOTE_FRAMES) / FRAME_RATE
        f0_midi += [np.full(REST_FRAMES, np.nan), note + 0.3 * np.sin(2 * np.pi * 5.5 * times_s)]
        loudness_db += [np.full(REST_FRAMES, -38.0), -18 + 3 * np.sin(np.pi * times_s / 0.6)]
        sure = 0.62 if number == DOUBTFUL else 0.95
        confidence += [np.full(REST_FRAMES, 0.1), np.full(NOTE_FRAMES, sure)]
    f0_midi, loudness_db, confidence = (
        np.concatenate([*x, x[0]]).astype(np.float32) for x in (f0_midi, loudness_db, confidence)
    )
    f0_hz = librosa.midi_to_hz(f0_midi)
    times_s = np.arange(len(f0_hz)) / FRAME_RATE
    return features.Features(times_s, f0_hz, confidence, loudness_db, FRAME_RATE)


MELODY = a_melody()
STARTS = REST_FRAMES + (NOTE_FRAMES + REST_FRAMES) * np.arange(4)  # of the notes, in frames


@pytest.fixture(scope="module")
def player():
    """The violin and an untrained instrument, in a room that rings for a second."""
    second = configurations.build("small", RATE, tiny_instrument.SMALL)
    times_s = np.arange(RATE) / RATE
    echoes = np.random.default_rng(0).normal(size=RATE) * 10.0 ** (-3.0 * times_s)
    return Player(bundles.load(VIOLIN), second, room=np.concatenate([[30.0], echoes]))


@pytest.fixture(scope="module")
def played(player):
    """Plays the melody, or other curves, with settings; dry if not said otherwise."""

    def play(curves=MELODY, given=None, **settings):
        settings = given or Settings(**{"reverb": 0.0, **settings})
        adjusted = adjust(curves, player.instruments[0].statistics, settings)
        return player.play(adjusted.features, settings)

    return play


def during(audio, *numbers, skip=EDGE_FRAMES):
    """The held part of notes, [n_notes, n_samples]."""
    numbers = numbers or range(4)
    first, last = skip * HOP, (NOTE_FRAMES - skip) * HOP
    return np.stack([audio[STARTS[n] * HOP :][first:last] for n in numbers])


def between(audio):
    """The middle of the rests between notes, [n_rests, n_samples]."""
    ends = (STARTS[:-1] + NOTE_FRAMES) * HOP
    return np.stack([audio[end + EDGE_FRAMES * HOP : end + 2 * EDGE_FRAMES * HOP] for end in ends])


def level_db(audio):
    return 10 * np.log10(np.mean(np.square(audio, dtype=np.float64)) + 1e-20)


def pitch_midi(audio):
    """Of each note, [4, n_frames], by YIN."""
    notes = during(audio)
    at = {"fmin": 100, "fmax": 3200, "sr": RATE, "hop_length": HOP // 2}
    f0_hz = librosa.yin(notes, frame_length=8 * HOP, **at)
    return librosa.hz_to_midi(f0_hz[:, 8:-8])


def off_key(midi):
    """Mean distance of notes from whole semitones."""
    notes = np.median(midi, axis=1)
    return np.abs(notes - np.round(notes)).mean()


@pytest.mark.parametrize("change", [{"octaves": 1}, {"semitones": -3}, {"cents": 50.0}])
def test_pitch(played, change):
    (name, value), before = *change.items(), np.median(pitch_midi(played()), axis=1)
    after = np.median(pitch_midi(played(**change)), axis=1)
    semitones = value * {"octaves": 12.0, "semitones": 1.0, "cents": 0.01}[name]
    np.testing.assert_allclose(after - before, semitones, atol=0.15)


def test_the_register_is_fitted_only_if_asked(played):
    low = replace(MELODY, f0_hz=MELODY.f0_hz / 4)
    fitted, left = (
        np.median(pitch_midi(played(low, fit_register=fit)), axis=1) for fit in (True, False)
    )
    np.testing.assert_allclose(left, np.array(NOTES_MIDI) - 24, atol=0.25)
    np.testing.assert_allclose(fitted - left, 24, atol=0.25)


def test_loudness(played):
    softer, before, louder = (level_db(during(played(loudness_db=db))) for db in (-10.0, 0.0, 8.0))
    assert softer < before - 5 and louder > before + 3


def test_the_loudness_is_fitted_only_if_asked(played):
    soft = replace(MELODY, loudness_db=MELODY.loudness_db - 20)
    fitted, left = (level_db(during(played(soft, fit_loudness=fit))) for fit in (True, False))
    assert fitted > left + 10


def test_a_high_threshold_leaves_out_what_is_not_sure(played):
    every, sure = played(threshold=0.5), played(threshold=0.9)
    assert level_db(during(sure, DOUBTFUL)) < level_db(during(every, DOUBTFUL)) - 10
    assert abs(level_db(during(sure, 0, 1, 3)) - level_db(during(every, 0, 1, 3))) < 2


def test_quiet_lowers_what_is_between_notes(played):
    levels = [level_db(between(played(quiet_db=db))) for db in (0.0, 20.0, 50.0)]
    assert levels[1] < levels[0] - 3 and levels[2] < levels[1] - 3
    notes = [level_db(during(played(quiet_db=db))) for db in (0.0, 50.0)]
    assert abs(notes[1] - notes[0]) < 1.5


def test_autotune_draws_notes_to_the_scale(played):
    distances = [
        off_key(pitch_midi(played(autotune=amount, key="chromatic"))) for amount in (0.0, 0.5, 1.0)
    ]
    np.testing.assert_allclose(distances, [0.3, 0.15, 0.0], atol=0.12)  # YIN is 5 to 10 cents off


@pytest.mark.parametrize(
    "key, steps", [("C major", {0, 2, 4, 5, 7, 9, 11}), ("F# major", {6, 8, 10, 11, 1, 3, 5})]
)
def test_the_key_says_which_notes_autotune_knows(played, key, steps):
    notes = np.median(pitch_midi(played(autotune=1.0, key=key)), axis=1)
    np.testing.assert_allclose(notes, np.round(notes), atol=0.15)
    assert set(np.round(notes).astype(int) % 12) <= steps


def test_vibrato_is_taken_out(played):
    before, after = (np.ptp(pitch_midi(played(vibrato=amount)), axis=1) for amount in (0.0, -1.0))
    assert (before > 0.3).all() and (after < 0.15).all()


def test_vibrato_is_added(played):
    voiced = MELODY.f0_hz[STARTS[0] : STARTS[0] + NOTE_FRAMES]
    straight = replace(MELODY, f0_hz=np.where(MELODY.voiced, np.median(voiced), np.nan))
    before, half, after = (
        np.ptp(pitch_midi(played(straight, vibrato=amount)), axis=1).mean()
        for amount in (0.0, 0.5, 1.0)
    )
    assert before < 0.1 and half > before + 0.1 and after > half + 0.1


def test_a_soft_attack_begins_softly(played):
    onsets = [
        level_db(np.stack([audio[s * HOP : (s + EDGE_FRAMES // 2) * HOP] for s in STARTS]))
        for audio in (played(attack_s=0.0), played(attack_s=0.2))
    ]
    assert onsets[1] < onsets[0] - 3
    held = [level_db(during(played(attack_s=s), skip=2 * EDGE_FRAMES)) for s in (0.0, 0.2)]
    assert abs(held[1] - held[0]) < 1.5


def test_breath_is_between_the_harmonics(played):
    """Flatter spectra by more noise, of harmonics as strong as before."""
    flatness = [
        np.log10(librosa.feature.spectral_flatness(y=during(played(noise_db=db)))).mean()
        for db in (-20.0, 0.0, 15.0)
    ]
    assert flatness[0] < flatness[1] - 0.1 and flatness[2] > flatness[1] + 0.1


def test_the_room_rings_on(played):
    levels = [level_db(between(played(quiet_db=60.0, reverb=r))) for r in (0.0, 1.0, 2.0)]
    assert levels[1] > levels[0] + 3 and levels[2] > levels[1] + 3


def test_the_mix_goes_to_the_second_instrument(played):
    spectra = [
        np.log(np.abs(librosa.stft(during(played(mix=m)), n_fft=8 * HOP)) + 1e-4).mean(axis=(0, 2))
        for m in (0.0, 0.5, 1.0)
    ]
    way = [np.linalg.norm(spectra[i] - spectra[j]) for i, j in ((0, 1), (1, 2), (0, 2))]
    assert max(way[:2]) < 0.9 * way[2] and min(way) > 1.0


def test_as_it_is_the_melody_stays_where_it_is(played):
    """Else it would be two octaves higher, louder, and lowered between notes."""
    moved = replace(MELODY, f0_hz=MELODY.f0_hz / 4, loudness_db=MELODY.loudness_db - 20)
    settings = Settings(as_is=True)
    fitted, as_is = played(moved), played(moved, settings)
    np.testing.assert_allclose(
        np.median(pitch_midi(as_is), axis=1), np.array(NOTES_MIDI) - 24, atol=0.25
    )
    assert level_db(during(as_is)) < level_db(during(fitted)) - 10
    lowered = level_db(during(fitted)) - level_db(between(fitted))
    assert level_db(during(as_is)) - level_db(between(as_is)) < lowered - 5


def test_every_control_is_measured_here():
    tested = {
        "as_is",
        "fit_register",
        "fit_loudness",
        "octaves",
        "semitones",
        "cents",
        "loudness_db",
    }
    tested |= {"threshold", "quiet_db", "autotune", "key", "vibrato", "attack_s"}
    tested |= {"noise_db", "reverb", "mix"}
    assert tested == {setting.name for setting in fields(Settings)}
