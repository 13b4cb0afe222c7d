"""helpers.transfer: recordings in, sounds and files out."""

import json
from dataclasses import fields, replace

import av
import librosa
import numpy as np
import pytest
import soundfile
import tiny_instrument

from helpers import config
from helpers.analysis import features
from helpers.instruments import bundles, configurations
from helpers.transfer import session
from helpers.transfer.settings import Settings

AS_IT_IS = Settings(fit_register=False, fit_loudness=False, reverb=0.0)


@pytest.fixture(scope="module")
def instrument():
    return tiny_instrument.build()


@pytest.fixture(scope="module")
def bundle(instrument, tmp_path_factory):
    path = tmp_path_factory.mktemp("bundles") / "tiny"
    bundles.save(instrument, path)
    return path


def a_note(f0_hz=220.0, seconds=0.8, sample_rate=16000, level=0.3):
    """A note with overtones between two rests."""
    times_s = np.arange(round(seconds * sample_rate)) / sample_rate
    wave = sum(np.sin(2 * np.pi * k * f0_hz * times_s) / k for k in (1, 2, 3, 4))
    shape = np.clip(10 * np.minimum(times_s - 0.1, seconds - 0.1 - times_s), 0.0, 1.0)
    return (level * shape * wave / np.abs(wave).max()).astype(np.float32)


@pytest.fixture
def recording(tmp_path):
    """Path of a stereo file at another rate, of 0.8 s."""
    path = tmp_path / "a song.flac"
    note = a_note(sample_rate=22050)
    soundfile.write(path, np.stack([note, 0.5 * note], axis=1), 22050)
    return path


def rms(audio):
    return np.sqrt(np.mean(np.square(audio, dtype=np.float64)))


# Sounds


@pytest.mark.parametrize("sample_rate, n_samples", [(16000, 12001), (44100, 33333)])
def test_the_result_is_as_long_as_the_recording(instrument, sample_rate, n_samples):
    audio = a_note(seconds=n_samples / sample_rate, sample_rate=sample_rate)
    audio.flags.writeable = False
    played = session.transfer_audio(audio, sample_rate, instrument, Settings(octaves=1))
    assert played.shape == (round(n_samples * 16000 / sample_rate),)
    assert played.dtype == np.float32 and np.isfinite(played).all() and played.any()
    kept = session.transfer_audio(
        audio, sample_rate, instrument, Settings(octaves=1), keep_rate=True
    )
    assert kept.shape == (n_samples,)
    resampled = librosa.resample(played, orig_sr=16000, target_sr=sample_rate)[:n_samples]
    middle = slice(n_samples // 10, -n_samples // 10)
    differs = kept[middle] - resampled[: len(kept)][middle]
    assert rms(differs) < 0.01 * rms(kept)


@pytest.mark.parametrize(
    "settings, ratio", [({}, 1.0), ({"octaves": 1}, 2.0), ({"semitones": -5}, 2 ** (-5 / 12))]
)
def test_the_pitch_follows(instrument, settings, ratio):
    """The untrained instrument sounds at all multiples of f0: the distance of its lines is f0."""
    played = session.transfer_audio(
        a_note(220.0, 1.2), 16000, instrument, replace(AS_IT_IS, noise_db=-30.0, **settings)
    )[4800:14400]
    spectrum = np.abs(np.fft.rfft(played * np.hanning(len(played)), 2**17)) ** 2
    lags = np.fft.irfft(spectrum)[: len(played) // 2]
    shortest = round(16000 / 220.0 / ratio / 1.5)
    period = shortest + np.argmax(lags[shortest : 3 * shortest])
    assert abs(1200 * np.log2(16000 / period / (220.0 * ratio))) < 30  # periods of whole samples


@pytest.mark.parametrize("level", [0.02, 0.3])
def test_the_notes_keep_the_level_of_the_recording(instrument, level):
    audio = a_note(level=level)
    played = session.transfer_audio(audio, 16000, instrument, keep_loudness=True)
    note = slice(1600, 11200)
    assert rms(played[note]) == pytest.approx(rms(audio[note]), rel=0.02)


def test_what_is_too_loud_is_turned_down_as_a_whole(instrument):
    square = np.sign(a_note())  # no other sound of this peak has its level
    played = session.transfer_audio(square, 16000, instrument, keep_loudness=True)
    assert np.abs(played).max() == pytest.approx(1.0, abs=1e-5)
    assert np.count_nonzero(np.abs(played) == np.abs(played).max()) == 1  # no peak is cut flat


def test_an_instrument_with_z_hears_the_recording():
    autoencoder = configurations.build("autoencoder", bindings=tiny_instrument.SMALL)
    autoencoder.statistics = tiny_instrument.STATISTICS
    settings = replace(AS_IT_IS, noise_db=-30.0)
    played = session.transfer_audio(a_note(sample_rate=22050), 22050, autoencoder, settings)
    assert played.shape == (12800,) and rms(played[3200:9600]) > 0


@pytest.mark.parametrize("audio", [np.zeros((2, 16000)), np.full(16000, np.nan)])
def test_what_is_no_mono_sound(instrument, audio, refused):
    with refused("one channel"):
        session.transfer_audio(audio, 16000, instrument)


def test_a_recording_without_notes(instrument, refused):
    hiss = np.random.default_rng(0).uniform(-0.1, 0.1, 16000)
    with refused("No note was found"):
        session.transfer_audio(hiss, 16000, instrument)


# Files


@pytest.mark.parametrize("ending", [".wav", ".flac"])
def test_a_file_says_what_made_it(instrument, recording, ending):
    target = recording.with_name(f"out{ending}")
    settings = Settings(octaves=1, vibrato=0.25)
    says = session.transfer_file(recording, target, instrument, settings, keep_rate=True)
    assert says.endswith(".")
    with soundfile.SoundFile(target) as file:
        assert (file.samplerate, file.channels, file.frames) == (22050, 1, round(0.8 * 22050))
        assert np.abs(file.read()).max() > 0.001
        tags = {name: getattr(file, name) for name in ("title", "comment", "software")}
    assert tags["title"] == "a song"
    assert tags["software"].startswith(f"timbre-notebooks {config.VERSION}")
    who, _, made = tags["comment"].partition("; settings: ")
    assert who == "Played on tiny (Zoë, CC0)"
    assert json.loads(made) == {"octaves": 1, "vibrato": 0.25, "keep_rate": True}
    with av.open(str(target)) as container:  # FFmpeg's names for the same
        assert container.metadata["title"] == tags["title"]
        assert container.metadata["comment"] == tags["comment"]


def test_a_file_sounds_as_its_samples(instrument, recording):
    """But for the rates' order: a file is resampled while it is read."""
    target = recording.with_name("out.wav")
    session.transfer_file(recording, target, instrument, AS_IT_IS)
    stereo, rate = soundfile.read(recording)
    played = session.transfer_audio(stereo.mean(axis=1), rate, instrument, AS_IT_IS)
    read, rate = soundfile.read(target)
    assert rate == 16000 and read.shape == played.shape
    assert rms(read - played) < 0.05 * rms(played)


def test_results_are_not_overwritten_unasked(instrument, recording, refused):
    target = recording.with_name("out.wav")
    target.write_text("mine")
    with refused("is there already"):
        session.transfer_file(recording, target, instrument)
    assert target.read_text() == "mine"
    session.transfer_file(recording, target, instrument, overwrite=True)
    assert soundfile.info(target).frames == 12800


def test_what_is_wrong_is_said_before_anything_is_heard(
    instrument, recording, monkeypatch, refused
):
    monkeypatch.setattr(features, "extract_files", lambda *_: pytest.fail("heard"))
    with refused("as .wav or .flac"):
        session.transfer_file(recording, "out.mp3", instrument)
    with refused("no instrument kazoo"):
        session.transfer_file(recording, "out.wav", "kazoo")
    with refused("There is no file hall.wav"):
        session.transfer_file(recording, "out.wav", instrument, room="hall.wav")
    with refused("among the recordings"):
        session.transfer_folder(recording.parent, recording.parent / "out", instrument)


def test_instruments_and_rooms_by_path(bundle, instrument, recording):
    room = recording.with_name("room.wav")
    taps = np.concatenate([[1.0], np.zeros(3999), [0.5], np.zeros(4000)])
    soundfile.write(room, taps, 16000, "FLOAT")
    soft = replace(AS_IT_IS, noise_db=-30.0, reverb=1.0, mix=0.5)
    audio, _ = soundfile.read(recording)
    options = {"second": bundle, "room": room, "keep_loudness": True}
    wet = session.transfer_audio(audio[:, 0], 22050, str(bundle), soft, **options)
    options["room"] = [1.0]
    dry = session.transfer_audio(audio[:, 0], 22050, instrument, soft, **options)
    echoed = dry[4800:8000] + 0.5 * dry[800:4000]
    similarity = np.corrcoef(wet[4800:8000], echoed)[0, 1]
    assert similarity > 0.999 > np.corrcoef(wet[4800:8000], dry[4800:8000])[0, 1]


# Folders


def test_a_folder_but_for_what_is_broken(instrument, tmp_path):
    source, target = tmp_path / "songs", tmp_path / "played"
    (source / "inner").mkdir(parents=True)
    for name in ("a.wav", "a.flac", "inner/b.wav", "silent.wav"):
        soundfile.write(source / name, a_note() * (name != "silent.wav"), 16000)
    (source / "broken.wav").write_text("no sound")
    (target / "inner").mkdir(parents=True)
    (target / "inner/b.wav").write_text("mine")
    batch = session.transfer_folder(source, target, instrument, AS_IT_IS)
    assert set(batch.played) == {source / "a.wav", source / "a.flac"}
    assert batch.left == [source / "inner/b.wav"]
    reasons = {path.name: reason for path, reason in batch.passed_over.items()}
    assert "not a sound file" in reasons.pop("broken.wav")
    assert "silent" in reasons.pop("silent.wav") and not reasons
    written = {str(path.relative_to(target)) for path in target.rglob("*") if path.is_file()}
    assert written == {"a.wav.wav", "a.flac.wav", "inner/b.wav"}
    assert soundfile.info(target / "a.flac.wav").frames == 12800


def test_a_folder_without_recordings(instrument, tmp_path, refused):
    (tmp_path / "songs").mkdir()
    with refused("no sound files"):
        session.transfer_folder(tmp_path / "songs", tmp_path / "played", instrument)


# Command line


def test_the_command_line(bundle, recording, capsys):
    target = recording.with_name("out.flac")
    arguments = [str(recording), str(target), "--checkpoint", str(bundle)]
    assert session.main([*arguments, "--octaves", "-1", "--no-fit-register"]) == 0
    assert capsys.readouterr().out.strip().endswith(".")
    with soundfile.SoundFile(target) as file:
        made = json.loads(file.comment.partition("; settings: ")[2])
    assert made == {"octaves": -1, "fit_register": False}


@pytest.mark.parametrize(
    "arguments, sentence",
    [
        (["nothing.wav", "out.wav"], "There is no file nothing.wav"),
        (
            ["nothing.wav", "out.wav", "--octaves", "9"],
            "Octaves is 9: choose a whole number from -3 to 3.",
        ),
        (["nothing.wav", "out.wav", "--mix", "0.5", "--second", "x"], "There is no instrument x"),
        (["nothing.wav", "out.ogg"], "as .wav or .flac"),
    ],
)
def test_the_command_line_says_in_one_sentence_what_is_wrong(
    bundle, arguments, sentence, capsys, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    assert session.main([*arguments, "--checkpoint", str(bundle)]) == 1
    said = capsys.readouterr().err.strip().split("\n")[-1]
    assert sentence in said and "Traceback" not in said and said.endswith(".")
    assert not list(tmp_path.iterdir())


def test_a_folder_on_the_command_line(bundle, recording, tmp_path_factory, capsys):
    (recording.parent / "broken.wav").write_text("no sound")
    target = tmp_path_factory.mktemp("played")
    arguments = [str(recording.parent), str(target), "--checkpoint", str(bundle)]
    assert session.main(arguments) == 1
    said = capsys.readouterr()
    assert "a song.flac: " in said.out and "broken.wav is passed over: " in said.err
    assert (target / "a song.wav").is_file()
    session.main(arguments)
    assert "a song.flac: its result was there already" in capsys.readouterr().out


def test_every_setting_is_on_the_command_line(capsys):
    with pytest.raises(SystemExit):
        session.main(["--help"])
    listed = capsys.readouterr().out
    for setting in fields(Settings):
        assert f"--{setting.name.replace('_', '-')}" in listed
    given = session._parser().parse_args(["a", "b"])
    assert Settings(**{s.name: getattr(given, s.name) for s in fields(Settings)}) == Settings()
