"""What the doctor says of recordings whose truth is known, because they were made for it."""

import dataclasses
import os

import numpy as np
import pytest
import soundfile
from scipy.signal import fftconvolve

from helpers import config
from helpers.analysis import audio as sound
from helpers.analysis import doctor, features, findings, pitch, recording_quality

SAMPLE_RATE = 16000


@pytest.fixture(scope="module", autouse=True)
def cache(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(config, "CACHE", tmp_path_factory.mktemp("cache"))
        yield


def note(f0_hz, seconds=1.0, amplitude=0.1, sample_rate=SAMPLE_RATE):
    """Eight harmonics, faded in and out within 20 ms."""
    times_s = np.arange(round(seconds * sample_rate)) / sample_rate
    fade = np.minimum(1, 50 * np.minimum(times_s, times_s[-1] - times_s))
    partials = [np.sin(2 * np.pi * k * f0_hz * times_s + k * k) / k for k in range(1, 9)]
    return amplitude * fade * np.sum(partials, axis=0)


def rest(seconds=0.8):
    return np.zeros(round(seconds * SAMPLE_RATE))


def midi_to_hz(midi):
    return 440.0 * 2 ** ((midi - 69) / 12)


def melody(midis, seconds=1.0, amplitude=0.1):
    parts = [(note(midi_to_hz(midi), seconds, amplitude), rest(0.8)) for midi in midis]
    return np.concatenate([part for pair in parts for part in pair])


def noise(n_samples, level_db):
    return np.random.default_rng(0).normal(0, 10 ** (level_db / 20), n_samples)


def examine(folder, **recordings):
    """Writes recordings, and has them examined."""
    for name, audio in recordings.items():
        soundfile.write(folder / f"{name}.wav", audio, SAMPLE_RATE, "FLOAT")
    return doctor.examine(folder)


def examine_one(folder, audio):
    return examine(folder, take=audio).files[0]


def said(report, *words):
    """The findings that have all these words."""
    return [finding for finding in report.findings if all(word in finding for word in words)]


@pytest.mark.parametrize("base_hz", [147.0, 330.0])
@pytest.mark.parametrize("semitones", [3, 4, 5, 7, 9, 16])
def test_two_notes_at_a_time_are_heard(tmp_path, semitones, base_hz):
    """Beside the melody, the same with a second note that is 6 dB softer."""
    bases_hz = [base_hz * 2 ** (step / 12) for step in (0, 2, 4)]
    above = 2 ** (semitones / 12)
    two = [note(f0_hz) + note(f0_hz * above, amplitude=0.05) for f0_hz in bases_hz]
    one = [note(f0_hz) for f0_hz in bases_hz]
    report = examine(tmp_path, one=np.concatenate(one), two=np.concatenate(two))
    alone, together = report.files
    assert alone.polyphony < 0.02 and together.polyphony > 0.9
    assert 0.4 < report.polyphony < 0.6
    assert said(report, "More than one note", "two.wav") and not said(report, "one.wav")
    assert together.usable_minutes < 0.1 * alone.usable_minutes


def test_a_chord_as_loud_as_its_lowest_note_is_heard_or_has_no_pitch(tmp_path):
    chord = sum(note(midi_to_hz(midi), 3.0) for midi in (60, 64, 67))
    file = examine_one(tmp_path, np.concatenate([chord, rest()]))
    assert file.unpitched > 0.3 or file.polyphony > 0.5
    assert file.usable_minutes < 0.6 * 3 / 60


def test_vibrato_and_glides_are_one_note(tmp_path):
    times_s = np.arange(3 * SAMPLE_RATE) / SAMPLE_RATE
    f0_hz = 300 * 2 ** (times_s / 3 + 0.4 / 12 * np.sin(2 * np.pi * 6 * times_s))
    phase = 2 * np.pi * np.cumsum(f0_hz) / SAMPLE_RATE
    file = examine_one(tmp_path, 0.1 * sum(np.sin(k * phase) / k for k in range(1, 9)))
    assert file.polyphony < 0.05


@pytest.mark.parametrize("level_db", [-70, -50, -35])
def test_noise_is_measured_in_the_pauses(tmp_path, level_db):
    audio = melody([57, 60, 64, 67])
    report = examine(tmp_path, take=audio + noise(len(audio), level_db))
    assert report.files[0].noise_floor_db == pytest.approx(level_db, abs=2)
    assert report.noise_floor_db == report.files[0].noise_floor_db
    playing = np.abs(audio) > 0
    rms_db = 10 * np.log10(np.mean(audio[playing] ** 2))
    assert report.files[0].note_level_db == pytest.approx(rms_db, abs=1.5)
    noisy = rms_db - level_db < 35
    assert bool(said(report, "noise in the pauses of take.wav")) == noisy
    assert bool(said(report, "Fine", "little noise")) != noisy


def test_a_breath_in_a_pause_is_not_the_noise(tmp_path):
    audio = melody([57, 60, 64, 67])
    audio = audio + noise(len(audio), -70)
    audio[20000:26000] += noise(6000, -35)  # in the first rest
    assert examine_one(tmp_path, audio).noise_floor_db == pytest.approx(-70, abs=2)


def test_digital_silence_between_notes_is_not_the_room(tmp_path):
    audio = melody([57, 60, 64, 67])
    audio = np.concatenate([rest(2.0), audio + noise(len(audio), -60), rest(2.0)])
    assert examine_one(tmp_path, audio).noise_floor_db == pytest.approx(-60, abs=2)


def test_without_a_pause_no_noise_is_made_up(tmp_path):
    report = examine(tmp_path, take=note(330.0, 2.0))
    assert np.isnan(report.noise_floor_db) and said(report, "no pause in which")


@pytest.mark.parametrize("ceiling", [1.0, 0.6])
def test_clipping_is_counted(tmp_path, ceiling):
    audio = melody([57, 60, 64], amplitude=1.0)
    loud = np.clip(audio, -ceiling, ceiling)
    share = np.mean(np.abs(audio) >= ceiling)
    report = examine(tmp_path, loud=loud, tame=0.4 * audio)
    assert report.files[0].clipped == pytest.approx(share, rel=0.2) and share > 0.01
    assert report.files[1].clipped == 0.0
    assert said(report, "are cut off", "loud.wav") and not said(report, "are cut off", "tame.wav")


@pytest.mark.parametrize("subtype", ["PCM_16", "PCM_24"])
def test_clipping_is_counted_before_resampling(tmp_path, subtype):
    audio = note(220.0, 2.0, amplitude=1.5, sample_rate=44100)
    soundfile.write(tmp_path / "hot.wav", np.clip(audio, -1, 1), 44100, subtype)
    (file,) = doctor.examine(tmp_path).files
    assert file.clipped == pytest.approx(np.mean(np.abs(audio) >= 1), rel=0.2)


def test_a_long_file_is_counted_block_by_block():
    """With flat tops over every edge of the blocks of 2**20 samples."""
    audio = (0.5 * np.random.default_rng(0).uniform(-1, 1, 3 * 2**20)).astype(np.float32)
    for edge in (2**20, 2**21):
        audio[edge - 2 : edge + 2] = 0.9
    audio[100:104] = -0.9
    audio[200] = audio[300:302] = 0.9  # too short to be flat
    assert round(recording_quality.clipped(audio) * len(audio)) == 12


@pytest.mark.parametrize("rt60_s", [0.3, 0.6, 1.5])
def test_the_time_of_reverberation(tmp_path, rt60_s):
    """Notes in a room: noise that dies away as a statistical room does (Moorer 1979)."""
    times_s = np.arange(round(1.2 * rt60_s * SAMPLE_RATE)) / SAMPLE_RATE
    room = noise(len(times_s), 0) * 10 ** (-3 * times_s / rt60_s)
    scale = [note(midi_to_hz(midi), 0.4) for midi in range(57, 69, 2)]
    dry = np.concatenate([part for sounding in scale for part in (sounding, rest(1.6))])
    wet = fftconvolve(dry, room)
    wet *= 0.3 / np.abs(wet).max()
    report = examine(tmp_path, take=wet + noise(len(wet), -80))
    assert report.rt60_s == pytest.approx(rt60_s, rel=0.25)
    assert bool(said(report, "s to die away")) == (rt60_s > 0.8)


def test_where_nothing_dies_away_the_room_is_not_judged(tmp_path):
    report = examine(tmp_path, take=note(330.0, 2.0)[800:-800])
    assert np.isnan(report.rt60_s) and said(report, "the room cannot be judged")


def test_notes_are_counted_where_and_as_loud_as_they_are(tmp_path):
    """An octave, chromatic: each for a second; a fifth of it once more, 20 dB softer."""
    scale, soft = list(range(57, 70)), list(range(57, 65))
    audio = np.concatenate([melody(scale), melody(soft, amplitude=0.01)])
    report = examine(tmp_path, take=audio)
    wanted = np.zeros(128)
    wanted[scale] += 1
    wanted[soft] += 1
    np.testing.assert_allclose(report.pitch_seconds, wanted, atol=0.15)
    assert report.usable_minutes == pytest.approx(21 / 60, rel=0.08)
    loudness_db = np.arange(-80, 20)
    medians_db = [
        np.average(loudness_db, weights=report.seconds_played[list(midis)].sum(axis=0))
        for midis in (range(65, 70), range(57, 65))
    ]
    assert report.loudness_seconds.sum() == pytest.approx(report.pitch_seconds.sum())
    assert medians_db[0] - medians_db[1] == pytest.approx(10, abs=3)  # half of them 20 dB softer
    assert said(report, "The notes go from A3 to A4")


def test_what_to_record_next():
    """3 s of each note from C4 to C5 at each loudness, but of none from G4 on softly."""
    played = np.zeros((128, 100))
    played[60:73, [60, 70, 80]] = 3.0
    played[67:73, 60] = 0.1
    sentences = findings.coverage(played)
    assert "Record A♭4" not in " ".join(sentences)
    assert [s for s in sentences if s.startswith("Record")] == [
        "Record G♯4 to C5 softly: so far you have 0 s of it."
    ]
    played[67:73, 60] = 3.0
    assert "All notes between are there, at every loudness." in findings.coverage(played)
    played[64:69] = 0.0
    (advice,) = [s for s in findings.coverage(played) if s.startswith("Record")]
    assert advice == "Record F4 to G4: so far you have 0 s of it."


def test_little_variety_is_told(tmp_path):
    report = examine(tmp_path, take=melody([60, 62]))
    assert said(report, "from C4 to D4 only: record a scale")
    assert said(report, "All is about equally loud")
    assert said(report, "too little, record at least 3")


def test_files_that_are_no_use_are_named_and_kept(tmp_path):
    (tmp_path / "more").mkdir()
    (tmp_path / "more" / "broken.wav").write_text("These are the notes that I took.\n")
    soundfile.write(tmp_path / "wind.wav", noise(2 * SAMPLE_RATE, -20), SAMPLE_RATE)
    report = examine(tmp_path, take=melody([60, 62]))
    assert [file.name for file in report.files] == ["take.wav", "wind.wav"]
    assert list(report.passed_over) == ["more/broken.wav"]
    assert said(report, "more/broken.wav was passed over: broken.wav is not a sound file")
    assert said(report, "wind.wav has no clear pitch")
    assert (tmp_path / "more" / "broken.wav").exists()
    assert str(report).count("\n") == len(report.findings) - 1
    assert all(finding.endswith(".") and "nan" not in finding for finding in report.findings)


def test_names_of_other_encodings_can_be_printed(tmp_path):
    soundfile.write(tmp_path / "take.wav", melody([60, 62]), SAMPLE_RATE)
    for latin_1, content in {b"caf\xe9.wav": None, b"th\xe9.wav": b"no sound"}.items():
        path = tmp_path / os.fsdecode(latin_1)
        try:
            path.write_bytes(content or (tmp_path / "take.wav").read_bytes())
        except OSError:
            pytest.skip("the file system takes no such names")
    report = doctor.examine(tmp_path)
    assert len(report.files) == 2 and len(report.passed_over) == 1
    "".join([str(report), *(file.name for file in report.files)]).encode("utf-8")


@pytest.mark.parametrize("audio", [np.zeros(SAMPLE_RATE), noise(2 * SAMPLE_RATE, -20)])
def test_where_there_is_no_note_that_is_said(tmp_path, audio):
    report = examine(tmp_path, take=audio)
    assert said(report, "There is hardly a note in these recordings")
    assert report.usable_minutes < 0.01


def test_a_folder_without_recordings_is_refused(tmp_path, refused):
    with refused("holds no sound files"):
        doctor.examine(tmp_path)


def test_many_files_are_not_all_named():
    file = doctor.FileReport("0.wav", 1, 1, 0.5, 0, -20, -80, 0, 0.2)
    names = findings.named([dataclasses.replace(file, name=f"{i}.wav") for i in range(40)])
    assert names == "0.wav, 1.wav and 38 other files"
    assert findings.named([file]) == "0.wav"


def test_what_the_doctor_heard_is_not_listened_to_again(tmp_path, monkeypatch):
    examine(tmp_path, take=melody([59, 61]))
    monkeypatch.setattr(pitch, "track", None)
    for path, file in features.extract_files(sound.find(tmp_path)):
        assert file.result()[1].voiced.any(), path
