"""helpers.transfer: recordings in, sounds and files out."""

import errno
import json
import tempfile
from dataclasses import replace

import av
import librosa
import numpy as np
import pytest
import soundfile
import tiny_instrument

from helpers import config
from helpers.analysis import audio as sound
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


def test_an_instrument_with_z_plays_a_recording_at_another_rate():
    autoencoder = configurations.build("autoencoder", bindings=tiny_instrument.SMALL)
    autoencoder.statistics = tiny_instrument.STATISTICS
    settings = replace(AS_IT_IS, noise_db=-30.0)
    played = session.transfer_audio(a_note(sample_rate=22050), 22050, autoencoder, settings)
    assert played.shape == (12800,) and rms(played[3200:9600]) > 0


@pytest.mark.parametrize("audio", [np.zeros((2, 16000)), np.full(16000, np.nan)])
def test_samples_that_are_not_one_channel_of_numbers(instrument, audio, refused):
    with refused("one channel"):
        session.transfer_audio(audio, 16000, instrument)


def test_a_recording_without_notes(instrument, refused):
    hiss = np.random.default_rng(0).uniform(-0.1, 0.1, 16000)
    with refused("No note was found"):
        session.transfer_audio(hiss, 16000, instrument)


@pytest.mark.parametrize("f0_hz, remedy", [(3000.0, "lower"), (25.0, "higher")])
def test_a_tone_outside_of_the_trackers_range(instrument, f0_hz, remedy, refused):
    tone = 0.3 * np.sin(2 * np.pi * f0_hz * np.arange(16000) / 16000)
    with refused(f"between .* Hz.*{remedy}"):
        session.transfer_audio(tone, 16000, instrument)


# Files


@pytest.mark.parametrize("ending", [".wav", ".flac"])
def test_a_file_says_what_made_it(instrument, recording, ending):
    target = recording.with_name(f"out{ending}")
    settings = Settings(octaves=1, vibrato=0.25)
    summary = session.transfer_file(recording, target, instrument, settings, keep_rate=True)
    assert summary.endswith(".")
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


def test_wrong_arguments_are_refused_before_anything_is_analysed(
    instrument, recording, monkeypatch, refused
):
    monkeypatch.setattr(features, "extract_files", lambda *_, **__: pytest.fail("analysed"))
    with refused("as .wav or .flac"):
        session.transfer_file(recording, "out.mp3", instrument)
    with refused("no instrument kazoo"):
        session.transfer_file(recording, "out.wav", "kazoo")
    with refused("There is no file hall.wav"):
        session.transfer_file(recording, "out.wav", instrument, room="hall.wav")
    with refused("among the recordings"):
        session.transfer_folder(recording.parent, recording.parent / "out", instrument)
    with refused("no second instrument"):
        session.transfer_file(recording, "out.wav", instrument, Settings(mix=0.5))
    for source, target in (("", "out.wav"), (recording, "")):
        with refused("is empty"):
            session.transfer_file(source, target, instrument)
        with refused("is empty"):
            session.transfer_folder(source, target, instrument)


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


def test_each_recording_has_a_result_of_its_own(instrument, tmp_path):
    """On file systems that do not tell "A" from "a" too."""
    source, target = tmp_path / "songs", tmp_path / "played"
    source.mkdir()
    names = ("a.wav", "a.flac", "a.wav.flac", "A.wav", "b.wav", "B.flac", "c.wav")
    for name in names:
        soundfile.write(source / name, a_note(), 16000)
    batch = session.transfer_folder(source, target, instrument, AS_IT_IS)
    assert len(batch.played) == len(names)
    results = {path.name.casefold() for path in target.iterdir()}
    assert len(results) == len(names) and "c.wav" in results
    again = session.transfer_folder(source, target, instrument, AS_IT_IS)
    assert len(again.left) == len(names) and not again.played


@pytest.mark.parametrize("link", ["symlink_to", "hardlink_to", None])
def test_a_recording_is_never_replaced_by_its_result(instrument, recording, link, refused):
    before, target = recording.read_bytes(), recording.parent / "." / "." / recording.name
    if link:
        target = recording.with_name("link.flac")
        getattr(target, link)(recording)
    with refused("is the recording itself"):
        session.transfer_file(recording, target, instrument, overwrite=True)
    assert recording.read_bytes() == before == target.read_bytes()


def test_results_never_lie_among_the_recordings(instrument, tmp_path, refused):
    """Nor by a link, nor where the folder of results is around that of the recordings."""
    songs = tmp_path / "songs"
    (songs / "songs").mkdir(parents=True)
    soundfile.write(songs / "songs" / "a.wav", a_note(), 16000)
    before = (songs / "songs" / "a.wav").read_bytes()
    (tmp_path / "link").symlink_to(songs)
    for source, target in ((songs, tmp_path), (songs, songs), (songs, tmp_path / "link" / "new")):
        with refused("among the recordings"):
            session.transfer_folder(source, target, instrument, overwrite=True)
    assert (songs / "songs" / "a.wav").read_bytes() == before
    assert sorted(path.name for path in songs.rglob("*")) == ["a.wav", "songs"]


@pytest.fixture
def three_songs(tmp_path):
    folder = tmp_path / "songs"
    folder.mkdir()
    for name in ("a", "b", "c"):
        soundfile.write(folder / f"{name}.wav", a_note(), 16000)
    return folder


def fail_at_the_second(monkeypatch, error):
    """Has the writing of the second result end with an error of the system."""
    save, calls = sound.save, []

    def failing(path, *arguments):
        calls.append(path)
        if len(calls) == 2:
            raise error
        save(path, *arguments)

    monkeypatch.setattr(sound, "save", failing)


def test_an_interrupted_batch_tells_what_is_done_and_can_go_on(
    instrument, three_songs, tmp_path, monkeypatch
):
    fail_at_the_second(monkeypatch, KeyboardInterrupt)
    target = tmp_path / "played"
    with pytest.raises(KeyboardInterrupt, match="1 of 3 .* 2 are left"):
        session.transfer_folder(three_songs, target, instrument, AS_IT_IS)
    assert [path.name for path in target.iterdir()] == ["a.wav"]
    batch = session.transfer_folder(three_songs, target, instrument, AS_IT_IS)
    assert batch.left == [three_songs / "a.wav"] and len(batch.played) == 2


def test_a_full_disk_ends_a_batch_with_what_is_done(
    instrument, three_songs, tmp_path, monkeypatch, refused
):
    fail_at_the_second(monkeypatch, OSError(errno.ENOSPC, "No space left on device"))
    with refused("full.*1 of 3 .* 2 are left"):
        session.transfer_folder(three_songs, tmp_path / "played", instrument, AS_IT_IS)


def test_an_error_of_the_system_in_one_file_does_not_end_a_batch(instrument, three_songs, tmp_path):
    """A file is in the way of the results' folder."""
    (three_songs / "inner").mkdir()
    soundfile.write(three_songs / "inner" / "d.wav", a_note(), 16000)
    (tmp_path / "played").mkdir()
    (tmp_path / "played" / "inner").write_text("mine")
    batch = session.transfer_folder(three_songs, tmp_path / "played", instrument, AS_IT_IS)
    assert len(batch.played) == 3
    ((path, sentence),) = batch.passed_over.items()
    assert path.name == "d.wav" and sentence.endswith(".")
    assert (tmp_path / "played" / "inner").read_text() == "mine"


@pytest.mark.parametrize("name", [f"{'n' * 300}.wav", "a song.flac/out.wav"])
def test_a_result_that_the_system_refuses(instrument, recording, name, refused):
    with refused("cannot be written|name is too long"):
        session.transfer_file(recording, recording.parent / name, instrument, AS_IT_IS)


def test_a_folder_for_temporary_files_that_is_gone(instrument, recording, monkeypatch, refused):
    monkeypatch.setattr(tempfile, "tempdir", str(recording.parent / "gone"))
    target = recording.with_name("out.wav")
    with refused("temporary"):
        session.transfer_file(recording, target, instrument, AS_IT_IS)
    assert not target.exists()


# Pitch that cannot be played


@pytest.mark.parametrize("keep_rate", [False, True])
def test_a_pitch_above_half_the_rate_is_silent_and_counted(bundle, recording, keep_rate):
    target = recording.with_name("out.flac")
    settings = Settings(fit_register=False, octaves=3, semitones=12, fit_loudness=False)
    soundfile.write(recording, a_note(1200.0, 1.2, 44100), 44100)  # to 19 kHz
    summary = session.transfer_file(recording, target, bundle, settings, keep_rate=keep_rate)
    assert "100 % of the notes are silent" in summary and "8000 Hz" in summary
    played, _ = soundfile.read(target)
    assert np.isfinite(played).all() and np.abs(played).max() < 0.9
    mixed = session.transfer_audio(
        a_note(1200.0, 1.2), 16000, bundle, replace(settings, mix=0.5), second=bundle
    )
    assert np.isfinite(mixed).all()


def test_an_instrument_that_plays_no_numbers_is_refused(recording, refused):
    broken = tiny_instrument.build()
    decoder = broken.network.decoder
    decoder.set_weights([np.full_like(weights, np.nan) for weights in decoder.get_weights()])
    target = recording.with_name("out.wav")
    with refused("not finite"):
        session.transfer_file(recording, target, broken, AS_IT_IS)
    with refused("not finite"):
        session.transfer_audio(a_note(), 16000, broken, AS_IT_IS)
    assert not target.exists()


# What is kept between changes


@pytest.fixture
def two_bundles(tmp_path):
    for name in ("one", "two"):
        bundles.save(tiny_instrument.build(), tmp_path / name)
    return tmp_path / "one", tmp_path / "two"


@pytest.fixture
def clip(tmp_path):
    """A second of a tone at 44.1 kHz."""
    audio = 0.3 * np.sin(2 * np.pi * 330 * np.arange(44100) / 44100)
    soundfile.write(tmp_path / "tone.wav", audio, 44100)
    return tmp_path / "tone.wav"


@pytest.fixture
def counted(monkeypatch):
    """How often bundles are loaded and files analysed."""
    counts = {"load": 0, "extract_files": 0}

    def count(module, name):
        function = getattr(module, name)

        def counting(*args, **kwargs):
            counts[name] += 1
            return function(*args, **kwargs)

        monkeypatch.setattr(module, name, counting)

    count(bundles, "load")
    count(features, "extract_files")
    return counts


def test_only_what_changes_is_loaded(two_bundles, clip, counted):
    one = session.Session(two_bundles[0])
    for instrument, second, counts in (
        (two_bundles[0], None, (1, 1)),
        (two_bundles[0], None, (1, 1)),
        (two_bundles[1], None, (2, 1)),  # of the same rates
        (two_bundles[1], two_bundles[0], (2, 1)),
    ):
        one.choose(instrument, second=second)
        one.open(clip)
        assert tuple(counted.values()) == counts
    bundles.save(tiny_instrument.build(), two_bundles[0])  # trained again
    one.choose(two_bundles[0])
    one.open(clip)
    assert tuple(counted.values()) == (3, 1)


def test_a_file_that_was_replaced_is_read_again(two_bundles, clip):
    one = session.Session(two_bundles[0])
    one.open(clip)
    before = one.play(AS_IT_IS)
    soundfile.write(clip, a_note(440.0, 0.6), 16000)
    one.open(clip)
    assert len(one.play(AS_IT_IS)) == 9600 != len(before)


def test_a_room_that_was_replaced_is_read_again(two_bundles, clip, tmp_path):
    room = tmp_path / "room.wav"
    echoes = []
    for level in (0.1, 0.9):
        soundfile.write(room, np.r_[1.0, np.zeros(3999), level], 16000, subtype="FLOAT")
        if not echoes:
            one = session.Session(two_bundles[0], room=room)
        one.choose(two_bundles[0], room=room)
        one.open(clip)
        echoes.append(one.play(replace(AS_IT_IS, reverb=1.0)))
    assert np.abs(echoes[1] - echoes[0]).max() > 0.1 * np.abs(echoes[0]).max()


def test_the_result_is_that_of_a_transfer(two_bundles, clip):
    one = session.Session(two_bundles[0], second=two_bundles[1])
    one.open(clip)
    settings = Settings(octaves=1, reverb=0.2, mix=0.5)
    audio, sample_rate = soundfile.read(clip)
    expected = session.transfer_audio(
        audio, sample_rate, two_bundles[0], settings, second=two_bundles[1]
    )
    np.testing.assert_allclose(one.play(settings), expected, atol=0.02 * np.abs(expected).max())


def test_a_choice_that_cannot_be_used_leaves_all_as_it_was(two_bundles, clip, tmp_path, refused):
    one = session.Session(two_bundles[0])
    one.open(clip)
    result = one.play()
    (tmp_path / "no_sound.wav").write_bytes(b"words")
    with refused("no_sound"):
        one.open(tmp_path / "no_sound.wav")
    with refused("nothing"):
        one.choose(tmp_path / "nothing")
    np.testing.assert_array_equal(one.result, result)
    np.testing.assert_array_equal(one.play(), result)


def test_a_recording_without_notes_has_no_result(two_bundles, clip, tmp_path, refused):
    """Not that of the recording before, either."""
    one = session.Session(two_bundles[0])
    one.open(clip)
    one.play()
    hiss = 0.01 * np.random.default_rng(0).standard_normal(16000)
    soundfile.write(tmp_path / "hiss.wav", hiss, 16000)
    one.open(tmp_path / "hiss.wav")
    for _ in range(2):
        with refused("no result"):
            one.result  # noqa: B018
        with refused("no result"):
            one.adjusted  # noqa: B018
        with refused("ote"):
            one.play()


def test_a_room_takes_the_place_of_the_instruments(two_bundles, clip, tmp_path):
    echo = np.zeros(4000)
    echo[[0, 3999]] = 1.0, 0.5
    soundfile.write(tmp_path / "echo.wav", echo, 16000, subtype="FLOAT")
    one = session.Session(two_bundles[0])
    one.open(clip)
    dry = one.play(Settings(reverb=0.0))
    one.choose(two_bundles[0], room=tmp_path / "echo.wav")
    wet = one.play(Settings(reverb=1.0))
    later = np.concatenate([np.zeros(3999), dry])[: len(dry)]
    middle = slice(4200, -200)  # away from the fades at both ends
    np.testing.assert_allclose((wet - 0.5 * later)[middle], dry[middle], atol=1e-4)


@pytest.mark.parametrize("ending", [".wav", ".flac"])
def test_what_was_played_is_saved_with_what_made_it(two_bundles, clip, counted, tmp_path, ending):
    one = session.Session(two_bundles[0])
    one.open(clip)
    played = one.play(Settings(semitones=3))
    path = one.save(tmp_path / "results", ending=ending)
    assert path == tmp_path / "results" / f"tone_as_one{ending}"
    assert one.save(tmp_path / "results", ending=ending).name == f"tone_as_one_2{ending}"
    assert one.save(tmp_path / "results", ending=ending, overwrite=True) == path
    with soundfile.SoundFile(path) as file:
        assert '"semitones": 3' in file.comment
        np.testing.assert_allclose(file.read(), played, atol=1e-4)
    assert counted["extract_files"] == 1
