"""Loudness against ddsp and closed forms, f0 against what was synthesised, files round trip."""

import csv
import dataclasses

import numpy as np
import pandas as pd
import pytest

from helpers import crepe, features
from helpers.ddsp_import import ddsp

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
    sound = np.concatenate([part for pair in zip(notes, rests, strict=True) for part in pair])
    return sound.astype(np.float32) + noise(len(sound) / SAMPLE_RATE, -80)


@pytest.fixture(scope="module")
def curves():
    return features.extract(np.concatenate([tone(330.0), silence(0.5)]), SAMPLE_RATE)


@pytest.mark.parametrize("frame_rate", [125, 250])
@pytest.mark.parametrize(
    "audio",
    [noise(2, -20), noise(2.00013, -70), melody(), tone(65.4), tone(3520.0, n_harmonics=1)],
    ids=["noise", "faint noise of odd length", "melody", "low tone", "high sine"],
)
def test_loudness_is_ddsps(audio, frame_rate):
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


def test_silence_is_at_the_floor():
    np.testing.assert_array_equal(features.loudness(silence(1), SAMPLE_RATE), -80.0)


@pytest.mark.parametrize("frame_rate", [100, 125, 250])
@pytest.mark.parametrize("n_samples", [8000, 8001, 8127])
def test_all_curves_have_the_same_centred_frames(frame_rate, n_samples):
    curves = features.extract(tone(330.0)[:n_samples], SAMPLE_RATE, frame_rate)
    n_frames = 1 + n_samples // (SAMPLE_RATE // frame_rate)
    for name in ("times_s", "f0_hz", "confidence", "loudness_db"):
        assert getattr(curves, name).shape == (n_frames,)
    np.testing.assert_allclose(curves.times_s, np.arange(n_frames) / frame_rate)
    assert curves.frame_rate == frame_rate


def test_a_frame_is_centred_on_its_time():
    audio = silence(1)
    audio[8000] = 1.0  # a click at 0.5 s
    loudness_db = features.loudness(audio, SAMPLE_RATE, 125)
    heard = np.flatnonzero(loudness_db > -80)
    assert loudness_db.argmax() == round(0.5 * 125) and heard.mean() == pytest.approx(62.5, abs=0.5)


@pytest.mark.parametrize("n_harmonics", [1, 8])
@pytest.mark.parametrize("f0_hz", [110.0, 196.0, 440.0, 880.0])
def test_the_pitch_of_a_tone_and_of_nothing_after_it(f0_hz, n_harmonics):
    parts = [tone(f0_hz, 1.0, n_harmonics), silence(0.5), noise(0.5, -70)]
    curves = features.extract(np.concatenate(parts), SAMPLE_RATE)
    inside = slice(4, 120)  # CREPE hears 32 ms on either side of a frame's centre
    off_cents = 1200 * np.log2(curves.f0_hz[inside] / f0_hz)
    assert curves.voiced[inside].all()
    assert np.abs(off_cents).max() < 10
    assert not curves.voiced[130:].any() and np.isnan(curves.f0_hz[130:]).all()


def test_any_rate_gives_the_same_curves():
    at_16k, at_48k = (
        features.extract(tone(330.0, sample_rate=rate), rate) for rate in (16000, 48000)
    )
    inside = slice(6, 119)
    np.testing.assert_allclose(at_48k.f0_hz[inside], at_16k.f0_hz[inside], rtol=1e-3)
    np.testing.assert_allclose(at_48k.loudness_db[inside], at_16k.loudness_db[inside], atol=0.05)


def test_voiced_is_where_there_is_a_pitch(curves):
    np.testing.assert_array_equal(curves.voiced, ~np.isnan(curves.f0_hz))
    assert curves.voiced.any() and not curves.voiced.all()


def test_features_are_not_edited_in_place(curves):
    with pytest.raises(dataclasses.FrozenInstanceError):
        curves.f0_hz = curves.f0_hz * 2
    higher = dataclasses.replace(curves, f0_hz=curves.f0_hz * 2)
    np.testing.assert_array_equal(higher.f0_hz, curves.f0_hz * 2)


@pytest.mark.parametrize("frame_rate", [60, 0, 44100])
def test_frames_of_a_broken_number_of_samples_are_refused(refused, frame_rate):
    with refused(f"{frame_rate} frames a second do not divide 16000 Hz: choose"):
        features.extract(tone(330.0), SAMPLE_RATE, frame_rate)


def test_an_unknown_model_size_is_refused(refused):
    with refused("choose one of " + ", ".join(crepe.CAPACITY_MULTIPLIERS)):
        features.extract(tone(330.0), SAMPLE_RATE, crepe_model="huge")


def test_what_is_saved_for_numpy_is_loaded_again(curves, tmp_path):
    features.save(curves, tmp_path / "new" / "take.npz")
    loaded = features.load(tmp_path / "new" / "take.npz")
    assert loaded.frame_rate == curves.frame_rate
    for name in ("times_s", "f0_hz", "confidence", "loudness_db"):
        np.testing.assert_array_equal(getattr(loaded, name), getattr(curves, name))
        assert getattr(loaded, name).dtype == getattr(curves, name).dtype


def test_the_table_is_read_by_others(curves, tmp_path):
    path = tmp_path / "take.csv"
    features.save(curves, path)
    table = np.genfromtxt(path, delimiter=",", names=True)
    for name in ("times_s", "f0_hz", "confidence", "loudness_db"):
        np.testing.assert_allclose(table[name], getattr(curves, name), atol=1e-5, rtol=1e-6)
    with open(path, newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == len(curves.times_s)
    assert float(rows[50]["f0_hz"]) == pytest.approx(curves.f0_hz[50], abs=1e-4)


def test_the_table_is_read_by_pandas(curves, tmp_path):
    features.save(curves, tmp_path / "take.csv")
    table = pd.read_csv(tmp_path / "take.csv")
    assert list(table) == ["times_s", "f0_hz", "confidence", "loudness_db"]
    np.testing.assert_array_equal(table.f0_hz.isna(), ~curves.voiced)


def test_other_endings_are_refused(curves, tmp_path, refused):
    for name in ("take.xlsx", "take"):
        with refused("saved as .npz or .csv, not as .*: rename it"):
            features.save(curves, tmp_path / name)
    assert not any(tmp_path.iterdir())


def test_an_error_while_saving_leaves_the_old_file(curves, tmp_path, monkeypatch):
    path = tmp_path / "take.npz"
    features.save(curves, path)
    before = path.read_bytes()

    def write_half(path, **arrays):
        path.write_bytes(b"half")
        raise OSError("No space left on device")

    monkeypatch.setattr(np, "savez_compressed", write_half)
    with pytest.raises(OSError, match="No space left"):
        features.save(curves, path)
    assert path.read_bytes() == before and list(tmp_path.iterdir()) == [path]


def test_what_holds_no_features_is_refused(curves, tmp_path, refused):
    (tmp_path / "empty.npz").touch()
    (tmp_path / "text.npz").write_text("These are notes.")
    np.savez(tmp_path / "other.npz", weights=np.zeros(3))
    np.savez(tmp_path / "pickle.npz", times_s=np.array([print], dtype=object))
    np.save(tmp_path / "array.npy", np.zeros(3))
    features.save(curves, tmp_path / "half.npz")
    content = (tmp_path / "half.npz").read_bytes()
    (tmp_path / "half.npz").write_bytes(content[: len(content) // 2])
    features.save(curves, tmp_path / "take.csv")
    paths = [*tmp_path.iterdir(), tmp_path / "nowhere.npz"]
    assert len(paths) == 8
    for path in paths:
        with refused(f"{path.name} holds no features: choose the .npz file"):
            features.load(path)
