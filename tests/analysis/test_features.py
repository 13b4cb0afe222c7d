"""Loudness against ddsp and closed forms, f0 against what was synthesised, files round trip."""

import csv
import dataclasses
import errno
import hashlib
import re
import tracemalloc

import librosa
import numpy as np
import pandas as pd
import pytest
import soundfile

from helpers import config
from helpers.analysis import audio as sound
from helpers.analysis import crepe, features, pitch
from helpers.synthesis.ddsp_import import ddsp

SAMPLE_RATE = 16000


def tone(f0_hz, seconds=1.0, n_harmonics=8, amplitude=0.2, sample_rate=SAMPLE_RATE):
    times_s = np.arange(round(seconds * sample_rate)) / sample_rate
    phase = 2 * np.pi * f0_hz * times_s
    partials = [np.sin(k * phase) / k for k in range(1, n_harmonics + 1)]
    return (amplitude * np.sum(partials, axis=0)).astype(np.float32)


def noise(seconds, level_db):
    samples = np.random.default_rng(0).normal(size=round(seconds * SAMPLE_RATE))
    return (10 ** (level_db / 20) * samples).astype(np.float32)


def silence(seconds):
    return np.zeros(round(seconds * SAMPLE_RATE), np.float32)


def melody():
    """Notes that die away, with rests and a faint noise."""
    notes = [tone(f0_hz, 0.4) * np.exp(-np.arange(6400) / 2000) for f0_hz in (196, 247, 294, 587)]
    rests = [silence(0.2)] * len(notes)
    played = np.concatenate([part for pair in zip(notes, rests, strict=True) for part in pair])
    return played.astype(np.float32) + noise(len(played) / SAMPLE_RATE, -80)


@pytest.fixture(scope="module")
def found():
    return features.extract(np.concatenate([tone(330.0), silence(0.5)]), SAMPLE_RATE)


@pytest.mark.parametrize("frame_rate", [125, 250])
@pytest.mark.parametrize(
    "audio",
    [noise(2, -20), noise(2.00013, -70), melody(), tone(65.4), tone(3520.0, n_harmonics=1)],
    ids=["noise", "faint noise of odd length", "melody", "low tone", "high sine"],
)
def test_loudness_is_ddsps(audio, frame_rate, monkeypatch):
    # ddsp takes the logarithm of 0 Hz, and then the floor; that of 1e-9 Hz has the same floor.
    weighting = librosa.A_weighting
    monkeypatch.setattr(librosa, "A_weighting", lambda hz: weighting(np.maximum(hz, 1e-9)))
    wanted_db = ddsp.spectral_ops.compute_loudness(audio, SAMPLE_RATE, frame_rate)
    loudness_db = features.loudness(audio, SAMPLE_RATE, frame_rate)
    assert loudness_db.shape == wanted_db.shape and loudness_db.dtype == np.float32
    np.testing.assert_allclose(loudness_db, wanted_db, atol=1e-3)


def test_twice_the_amplitude_is_6_db_louder():
    audio = noise(1, -30)
    raised_db = features.loudness(2 * audio, SAMPLE_RATE) - features.loudness(audio, SAMPLE_RATE)
    np.testing.assert_allclose(raised_db, 20 * np.log10(2), atol=1e-4)


def test_loudness_of_a_sine_at_1_khz():
    """Where A weighting is 0 dB: by Parseval the mean power over bins is the windowed energy."""
    amplitude, n_fft = 0.5, 512
    window = np.sin(np.pi * np.arange(n_fft) / n_fft) ** 2
    energy = n_fft * np.sum(window**2) * amplitude**2 / 2  # over all n_fft bins, half of them kept
    wanted_db = 10 * np.log10(energy / 2 / (n_fft / 2 + 1))
    audio = tone(1000.0, n_harmonics=1, amplitude=amplitude)
    middle_db = features.loudness(audio, SAMPLE_RATE)[4:-4]
    np.testing.assert_allclose(middle_db, wanted_db, atol=0.1)


def test_the_ear_hears_the_middle_louder_than_the_bass():
    """A weighting at 100 Hz is -19.1 dB (IEC 61672-1)."""
    low, middle = (
        features.loudness(tone(f0_hz, n_harmonics=1), SAMPLE_RATE)[50] for f0_hz in (100.0, 1000.0)
    )
    assert low - middle == pytest.approx(-19.1, abs=1.0)  # bins are 31 Hz wide


def test_loudness_before_ddsp_2():
    """As its version 1.9 had it, written out: dB of each bin, then their mean; in float64."""
    audio, n_fft, hop = melody(), 2048, 64
    frequencies_hz = np.fft.rfftfreq(n_fft, 1 / SAMPLE_RATE)
    f2 = np.maximum(frequencies_hz, 1.0) ** 2  # IEC 61672-1
    weights = 12194.0**2 * f2**2 / ((f2 + 20.6**2) * (f2 + 12194.0**2))
    weights /= np.sqrt((f2 + 107.7**2) * (f2 + 737.9**2))
    weights_db = np.maximum(20 * np.log10(weights) + 2.0, -80.0)
    window = np.sin(np.pi * np.arange(n_fft) / n_fft) ** 2
    padded = np.pad(audio.astype(float), n_fft // 2)
    frames = np.lib.stride_tricks.sliding_window_view(padded, n_fft)[::hop]
    decibels = 20 * np.log10(np.maximum(np.abs(np.fft.rfft(frames * window)), 1e-20))
    wanted_db = np.maximum(decibels + weights_db - 20.7, -120.0).mean(axis=1)
    loudness_db = features.loudness_before(audio, SAMPLE_RATE, 250)
    assert loudness_db.shape == wanted_db.shape
    np.testing.assert_allclose(loudness_db, wanted_db, atol=0.01)


def test_a_profile_changes_the_loudness_alone(tmp_path):
    audio = np.concatenate([tone(330.0), silence(0.5)])
    since, before = (
        features.extract(audio, SAMPLE_RATE, profile=name) for name in ("ddsp-2", "ddsp-1")
    )
    assert (since.profile, since.floor_db, before.profile, before.floor_db) == (
        *("ddsp-2", -80.0),
        *("ddsp-1", -120.0),
    )
    np.testing.assert_array_equal(before.f0_hz, since.f0_hz)
    np.testing.assert_array_equal(before.loudness_db, features.loudness_before(audio, SAMPLE_RATE))
    assert before.loudness_db[-1] == -120.0
    features.save(before, tmp_path / "curves.npz")
    assert features.load(tmp_path / "curves.npz").profile == "ddsp-1"


def test_a_profile_that_there_is_not(refused):
    with refused("'ddsp-0'.*ddsp-2, ddsp-1"):
        features.extract(tone(330.0), SAMPLE_RATE, profile="ddsp-0")


def test_silence_is_at_the_floor():
    np.testing.assert_array_equal(features.loudness(silence(1), SAMPLE_RATE), -80.0)


@pytest.mark.parametrize("frame_rate", [100, 125, 250])
@pytest.mark.parametrize("n_samples", [8000, 8001, 8127])
def test_all_curves_have_the_same_centred_frames(frame_rate, n_samples):
    found = features.extract(tone(330.0)[:n_samples], SAMPLE_RATE, frame_rate)
    n_frames = 1 + n_samples // (SAMPLE_RATE // frame_rate)
    for name in ("times_s", "f0_hz", "confidence", "loudness_db"):
        assert getattr(found, name).shape == (n_frames,)
    np.testing.assert_allclose(found.times_s, np.arange(n_frames) / frame_rate)
    assert found.frame_rate == frame_rate


def test_a_frame_is_centred_on_its_time():
    audio = silence(1)
    audio[8000] = 1.0  # a click at 0.5 s
    loudness_db = features.loudness(audio, SAMPLE_RATE, 125)
    sounding = np.flatnonzero(loudness_db > -80)
    assert loudness_db.argmax() == round(0.5 * 125) and sounding.mean() == pytest.approx(
        62.5, abs=0.5
    )


@pytest.mark.parametrize("n_harmonics", [1, 8])
@pytest.mark.parametrize("f0_hz", [110.0, 196.0, 440.0, 880.0])
def test_the_pitch_of_a_tone_and_of_nothing_after_it(f0_hz, n_harmonics):
    parts = [tone(f0_hz, 1.0, n_harmonics), silence(0.5), noise(0.5, -70)]
    found = features.extract(np.concatenate(parts), SAMPLE_RATE)
    inside = slice(5, 119)  # up to 36 ms on either side of a frame's centre count
    off_cents = 1200 * np.log2(found.f0_hz[inside] / f0_hz)
    assert found.voiced[inside].all()
    assert np.abs(off_cents).max() < 3  # CREPE alone is up to 10 off
    assert not found.voiced[130:].any() and np.isnan(found.f0_hz[130:]).all()


def test_any_rate_gives_the_same_curves():
    at_16k, at_48k = (
        features.extract(tone(330.0, sample_rate=rate), rate) for rate in (16000, 48000)
    )
    inside = slice(6, 119)
    np.testing.assert_allclose(at_48k.f0_hz[inside], at_16k.f0_hz[inside], rtol=1e-3)
    np.testing.assert_allclose(at_48k.loudness_db[inside], at_16k.loudness_db[inside], atol=0.05)


def test_voiced_is_where_there_is_a_pitch(found):
    np.testing.assert_array_equal(found.voiced, ~np.isnan(found.f0_hz))
    assert found.voiced.any() and not found.voiced.all()


def test_loud_is_what_few_voiced_frames_are_louder_than():
    loudness_db = np.r_[np.arange(-50.0, -30.0, 0.1), 10.0]  # the last, loudest frame has no pitch
    f0_hz = np.where(loudness_db < 0, 220.0, np.nan)
    made = features.Features(loudness_db * 0, f0_hz, f0_hz, loudness_db, 125)
    assert made.n_frames == 201
    assert np.mean(loudness_db[made.voiced] > made.loud_db) == pytest.approx(0.05)
    silent = dataclasses.replace(made, f0_hz=f0_hz * np.nan)
    assert np.isnan(silent.loud_db)


@pytest.mark.parametrize("sample_rate", [16000, 44100])
@pytest.mark.parametrize("profile", features.FLOORS_DB)
def test_a_constant_offset_changes_nothing(profile, sample_rate):
    audio = np.concatenate([silence(0.3), tone(330.0), silence(0.5), tone(247.0, amplitude=0.02)])
    shifted, plain = (
        features.extract(audio + offset, sample_rate, profile=profile)
        for offset in (np.float32(0.5), 0.0)
    )
    np.testing.assert_array_equal(shifted.voiced, plain.voiced)
    np.testing.assert_allclose(shifted.f0_hz, plain.f0_hz, rtol=1e-3)
    np.testing.assert_allclose(shifted.loudness_db, plain.loudness_db, atol=0.1)


@pytest.mark.parametrize("sample_rate", [16000, 44100])
@pytest.mark.parametrize("f0_hz", [55.0, 330.0])
def test_of_a_tone_no_part_is_taken_for_an_offset(sample_rate, f0_hz):
    audio = tone(f0_hz, seconds=0.995, sample_rate=sample_rate)
    assert sound.offset(audio) == 0.0
    assert sound.offset(audio + np.float32(0.02)) == pytest.approx(0.02, abs=1e-4)


def test_a_constant_is_silence():
    found = features.extract(np.full(SAMPLE_RATE, 0.5, np.float32), SAMPLE_RATE)
    assert not found.voiced.any() and (found.loudness_db == -80.0).all()


@pytest.mark.parametrize("profile", features.FLOORS_DB)
def test_a_file_and_its_audio_have_the_same_features(tmp_path, tracked, monkeypatch, profile):
    """A soft whistle beside a clap: loudness before ddsp 2.0 does not decide what has a pitch."""
    monkeypatch.setattr(features, "PIECE_SECONDS", 0.7)
    audio = np.concatenate([tone(1500.0, 1.0, 1, 0.01), silence(0.5), tone(660.0, 1.0)])
    audio[20000:20400] += noise(400 / SAMPLE_RATE, -3)
    soundfile.write(tmp_path / "take.wav", audio, SAMPLE_RATE, "FLOAT")
    ((_, file),) = features.extract_files([tmp_path / "take.wav"], profile=profile)
    audio_of_file, of_file = file.result()
    of_audio = features.extract(audio_of_file, SAMPLE_RATE, profile=profile)
    assert of_file.voiced[10:115].all()
    for name in features.ARRAYS:
        np.testing.assert_array_equal(getattr(of_file, name), getattr(of_audio, name))


@pytest.mark.parametrize("shape", [(0,), (16000, 2), ()])
def test_audio_of_another_shape_is_refused(refused, shape):
    with refused("shape"):
        features.extract(np.zeros(shape, np.float32), SAMPLE_RATE)


@pytest.mark.parametrize("sample_rate", [16000, 44100])
@pytest.mark.parametrize(
    "f0_hz, words",
    [
        (30.0, "higher"),
        (2500.0, "250[01] Hz.* lower"),
        (4000.0, "4000 Hz.* lower"),
        (np.nan, "no clear pitch.*microphone"),
    ],
)
def test_why_there_is_no_pitch(f0_hz, words, sample_rate):
    hiss = 1e-3 if np.isfinite(f0_hz) else 0.1
    audio = np.random.default_rng(0).normal(0, hiss, 2 * sample_rate).astype(np.float32)
    if np.isfinite(f0_hz):
        audio += tone(f0_hz, 2.0, 1, sample_rate=sample_rate)
    found = features.extract(audio, sample_rate)
    assert found.voiced.mean() < 0.02
    sentence = features.why_no_pitch(audio, sample_rate, found)
    assert re.search(words, sentence) and sentence.endswith(".") and "\n" not in sentence


def test_where_there_is_pitch_the_threshold_is_named(found):
    audio = tone(330.0)
    assert "threshold" in features.why_no_pitch(audio, SAMPLE_RATE, found)


def test_features_are_not_edited_in_place(found):
    with pytest.raises(dataclasses.FrozenInstanceError):
        found.f0_hz = found.f0_hz * 2
    higher = dataclasses.replace(found, f0_hz=found.f0_hz * 2)
    np.testing.assert_array_equal(higher.f0_hz, found.f0_hz * 2)


@pytest.mark.parametrize("frame_rate", [60, 0, 44100])
def test_frames_of_a_broken_number_of_samples_are_refused(refused, frame_rate):
    with refused(f"{frame_rate} frames a second do not divide 16000 Hz: choose"):
        features.extract(tone(330.0), SAMPLE_RATE, frame_rate)


def test_an_unknown_model_size_is_refused(refused):
    with refused("choose one of " + ", ".join(crepe.CAPACITY_MULTIPLIERS)):
        features.extract(tone(330.0), SAMPLE_RATE, crepe_model="huge")


def test_what_is_saved_for_numpy_is_loaded_again(found, tmp_path):
    features.save(found, tmp_path / "new" / "take.npz")
    loaded = features.load(tmp_path / "new" / "take.npz")
    assert loaded.frame_rate == found.frame_rate
    for name in ("times_s", "f0_hz", "confidence", "loudness_db"):
        np.testing.assert_array_equal(getattr(loaded, name), getattr(found, name))
        assert getattr(loaded, name).dtype == getattr(found, name).dtype


def test_the_table_is_read_by_others(found, tmp_path):
    path = tmp_path / "take.csv"
    features.save(found, path)
    table = np.genfromtxt(path, delimiter=",", names=True)
    for name in ("times_s", "f0_hz", "confidence", "loudness_db"):
        np.testing.assert_allclose(table[name], getattr(found, name), atol=1e-5, rtol=1e-6)
    with open(path, newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == len(found.times_s)
    assert float(rows[50]["f0_hz"]) == pytest.approx(found.f0_hz[50], abs=1e-4)


def test_the_table_is_read_by_pandas(found, tmp_path):
    features.save(found, tmp_path / "take.csv")
    table = pd.read_csv(tmp_path / "take.csv")
    assert list(table) == ["times_s", "f0_hz", "confidence", "loudness_db"]
    np.testing.assert_array_equal(table.f0_hz.isna(), ~found.voiced)


def test_other_endings_are_refused(found, tmp_path, refused):
    for name in ("take.xlsx", "take"):
        with refused("saved as .npz or .csv, not as .*: rename it"):
            features.save(found, tmp_path / name)
    assert not any(tmp_path.iterdir())


def test_an_error_while_saving_leaves_the_old_file(found, tmp_path, monkeypatch, refused):
    path = tmp_path / "take.npz"
    features.save(found, path)
    before = path.read_bytes()

    def write_half(path, **arrays):
        path.write_bytes(b"half")
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(np, "savez_compressed", write_half)
    with refused("take.npz cannot be written: the disk is full"):
        features.save(found, path)
    assert path.read_bytes() == before and list(tmp_path.iterdir()) == [path]


def test_what_holds_no_features_is_refused(found, tmp_path, refused):
    (tmp_path / "empty.npz").touch()
    (tmp_path / "text.npz").write_text("These are notes.")
    np.savez(tmp_path / "other.npz", weights=np.zeros(3))
    np.savez(tmp_path / "pickle.npz", times_s=np.array([print], dtype=object))
    np.save(tmp_path / "array.npy", np.zeros(3))
    features.save(found, tmp_path / "half.npz")
    content = (tmp_path / "half.npz").read_bytes()
    (tmp_path / "half.npz").write_bytes(content[: len(content) // 2])
    features.save(found, tmp_path / "take.csv")
    paths = [*tmp_path.iterdir(), tmp_path / "nowhere.npz"]
    assert len(paths) == 8
    for path in paths:
        with refused(f"{path.name} holds no features: choose the .npz file"):
            features.load(path)


@pytest.fixture
def tracked(monkeypatch, tmp_path):
    """The length in samples of all that CREPE tracks, with an empty cache."""
    monkeypatch.setattr(config, "CACHE", tmp_path / "cache")
    lengths = []

    def track(audio, *args, track=pitch.track, **options):
        lengths.append(len(audio))
        return track(audio, *args, **options)

    monkeypatch.setattr(pitch, "track", track)
    return lengths


def extract_file(path, *settings):
    ((taken, file),) = features.extract_files([path], *settings)
    assert taken == path
    return file.result()


def test_a_file_sounds_as_its_audio_does(tmp_path, tracked):
    soundfile.write(tmp_path / "take.wav", melody(), SAMPLE_RATE, "FLOAT")
    audio, found = extract_file(tmp_path / "take.wav")
    np.testing.assert_array_equal(audio, melody())
    wanted = features.extract(melody(), SAMPLE_RATE)
    for name in features.ARRAYS:
        np.testing.assert_array_equal(getattr(found, name), getattr(wanted, name))
        assert getattr(found, name).dtype == getattr(wanted, name).dtype


@pytest.mark.parametrize("sample_rate", [16000, 22000, 48000])
def test_piece_by_piece_is_as_at_once(tmp_path, tracked, monkeypatch, sample_rate):
    """At the edges of the pieces too, which cut notes in two, and for a rest as long as a piece."""
    audio = np.concatenate([melody(), noise(1.6, -66), melody()[:-777]])
    soundfile.write(tmp_path / "take.wav", audio, SAMPLE_RATE, "FLOAT")
    read, _ = sound.load(tmp_path / "take.wav", sample_rate)
    wanted = features.extract(read, sample_rate)
    assert len(tracked) == 1
    monkeypatch.setattr(features, "PIECE_SECONDS", 0.7)
    _, found = extract_file(tmp_path / "take.wav", sample_rate)
    assert len(tracked) == 11 and max(tracked[1:]) < 2 * SAMPLE_RATE
    assert_as_at_once(found, wanted)


@pytest.mark.parametrize("name", ["voice/oohs_melody.flac", "instruments/trumpet.flac"])
def test_pieces_of_played_music_are_as_at_once(monkeypatch, name):
    audio, _ = sound.load(config.DATA / name, SAMPLE_RATE)
    wanted = features.extract(audio[: 8 * SAMPLE_RATE], SAMPLE_RATE)
    monkeypatch.setattr(features, "PIECE_SECONDS", 0.9)
    assert_as_at_once(features.extract(audio[: 8 * SAMPLE_RATE], SAMPLE_RATE), wanted)


def assert_as_at_once(found, wanted):
    np.testing.assert_array_equal(found.voiced, wanted.voiced)
    np.testing.assert_allclose(found.f0_hz, wanted.f0_hz, rtol=1e-5)
    np.testing.assert_allclose(found.confidence, wanted.confidence, atol=1e-5)
    np.testing.assert_allclose(found.loudness_db, wanted.loudness_db, atol=1e-3)
    np.testing.assert_array_equal(found.times_s, wanted.times_s)


@pytest.mark.slow
def test_memory_does_not_grow_with_the_length(monkeypatch, tmp_path):
    """Three minutes against fifteen, at a rate that is resampled."""

    def track(audio, sample_rate, frame_rate, **options):
        n_frames = 1 + len(audio) * frame_rate // sample_rate
        return np.full(n_frames, 220, np.float32), np.full(n_frames, 0.9, np.float32)

    monkeypatch.setattr(pitch, "track", track)
    peaks_mb = []
    for minutes in (3, 15):
        audio = np.memmap(tmp_path / "audio", np.float32, "w+", shape=(minutes * 60 * 22050,))
        audio[:] = np.random.default_rng(0).uniform(-0.1, 0.1, len(audio))
        tracemalloc.start()
        features.extract(audio, 22050, refined=False)
        peaks_mb.append(tracemalloc.get_traced_memory()[1] / 2**20)
        tracemalloc.stop()
    assert peaks_mb[1] - peaks_mb[0] < 10, peaks_mb  # the audio itself has 63 MB more


def test_the_same_sound_is_tracked_once(tmp_path, tracked):
    """Under another name too; not with other settings, and not other sound."""
    samples = np.round(2**15 * melody()).astype(np.int16)
    for name in ("take.wav", "copy.flac"):
        soundfile.write(tmp_path / name, samples, SAMPLE_RATE)
    _, found = extract_file(tmp_path / "take.wav")
    _, again = extract_file(tmp_path / "copy.flac")
    assert len(tracked) == 1
    np.testing.assert_array_equal(again.f0_hz, found.f0_hz)
    extract_file(tmp_path / "take.wav", SAMPLE_RATE, 250)
    extract_file(tmp_path / "take.wav", 48000, 125)
    soundfile.write(tmp_path / "take.wav", melody()[::-1], SAMPLE_RATE)
    extract_file(tmp_path / "take.wav")
    assert len(tracked) == 4
    assert not list(config.CACHE.glob(".*"))


def test_the_size_of_crepe_is_told_apart_and_the_profile_is_not_tracked_anew(tmp_path, tracked):
    soundfile.write(tmp_path / "take.wav", melody(), SAMPLE_RATE)
    for profile in ("ddsp-2", "ddsp-1"):
        dict(features.extract_files([tmp_path / "take.wav"], profile=profile))
    assert len(tracked) == 1
    dict(features.extract_files([tmp_path / "take.wav"], crepe_model="full"))
    assert len(tracked) == 2


def test_the_voicing_threshold_holds_for_what_is_cached(tmp_path, tracked, monkeypatch):
    soundfile.write(tmp_path / "take.wav", melody(), SAMPLE_RATE)
    _, loose = extract_file(tmp_path / "take.wav")
    monkeypatch.setattr(features, "VOICED_CONFIDENCE", 0.9)
    _, strict = extract_file(tmp_path / "take.wav")
    assert loose.confidence[loose.voiced].min() < 0.9 <= strict.confidence[strict.voiced].min()


def entry(f0_hz, confidence):
    """The content of an entry of the cache: both as float32, and their digest."""
    content = np.concatenate([f0_hz, confidence]).astype("<f4").tobytes()
    return content + hashlib.sha256(content).digest()


DAMAGE = {
    "empty": lambda whole, n: b"",
    "half": lambda whole, n: whole[: len(whole) // 2],
    "flipped": lambda whole, n: whole[:400] + bytes(100) + whole[500:],
    "other": lambda whole, n: b"These are notes.",
    "too short": lambda whole, n: entry(np.full(n - 1, 220.0), np.full(n - 1, 0.9)),
    "too long": lambda whole, n: entry(np.full(2 * n, 220.0), np.full(2 * n, 0.9)),
    "no numbers": lambda whole, n: entry(np.full(n, np.nan), np.full(n, 0.9)),
    "too certain": lambda whole, n: entry(np.full(n, 220.0), np.full(n, 7.0)),
    "too high": lambda whole, n: entry(np.full(n, 9000.0), np.full(n, 0.9)),
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_a_damaged_or_crafted_cache_is_made_anew(tmp_path, tracked, damage):
    soundfile.write(tmp_path / "take.wav", melody(), SAMPLE_RATE)
    _, found = extract_file(tmp_path / "take.wav")
    (path,) = config.CACHE.iterdir()
    whole = path.read_bytes()
    path.write_bytes(DAMAGE[damage](whole, found.n_frames))
    _, again = extract_file(tmp_path / "take.wav")
    np.testing.assert_array_equal(again.f0_hz, found.f0_hz)
    np.testing.assert_array_equal(again.confidence, found.confidence)
    assert len(tracked) == 2 and path.read_bytes() == whole


@pytest.mark.parametrize("obstacle", ["a file for the folder", "a folder for the entry"])
def test_a_cache_that_cannot_be_used_stops_nothing(tmp_path, tracked, obstacle, monkeypatch):
    soundfile.write(tmp_path / "take.wav", melody(), SAMPLE_RATE)
    _, found = extract_file(tmp_path / "take.wav")
    (path,) = config.CACHE.iterdir()
    path.unlink()
    if obstacle == "a folder for the entry":
        path.mkdir()
    else:
        config.CACHE.rmdir()
        config.CACHE.write_text("This is no folder.")
    _, again = extract_file(tmp_path / "take.wav")
    np.testing.assert_array_equal(again.f0_hz, found.f0_hz)
    assert not list(tmp_path.glob(".*"))


def test_a_file_that_is_no_use_does_not_stop_the_others(tmp_path, tracked, refused):
    for name in ("a.wav", "c.wav"):
        soundfile.write(tmp_path / name, tone(330.0), SAMPLE_RATE)
    (tmp_path / "b.wav").write_text("These are notes.")
    analysed = dict(features.extract_files(sorted(tmp_path.glob("*.wav"))))
    assert [path.name for path in analysed] == ["a.wav", "b.wav", "c.wav"]
    with refused("b.wav is not a sound file"):
        analysed[tmp_path / "b.wav"].result()
    assert analysed[tmp_path / "c.wav"].result()[1].voiced.any()


def test_files_are_not_analysed_long_before_they_are_taken(tmp_path, tracked):
    """Or all their audio would lie about."""
    paths = [tmp_path / f"{i}.wav" for i in range(8)]
    for i, path in enumerate(paths):
        soundfile.write(path, tone(220.0 + i), SAMPLE_RATE)
    analysed = features.extract_files(paths, workers=2)
    next(analysed)
    assert len(tracked) <= 3
    analysed.close()
    assert len(tracked) <= 4
