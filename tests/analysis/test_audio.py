"""Every kind of file is read right, or refused in one sentence. Oracles: closed forms."""

import contextlib
import errno
import io
import os
import re
import tempfile
import warnings

import av
import numpy as np
import pytest
import soundfile

from helpers.analysis import audio as sound
from helpers.analysis import decoding
from helpers.errors import InputError, InputWarning

SAMPLE_RATE = 16000


def sine(f0_hz=440.0, seconds=1.0, sample_rate=SAMPLE_RATE, amplitude=0.5):
    times_s = np.arange(round(seconds * sample_rate)) / sample_rate
    return (amplitude * np.sin(2 * np.pi * f0_hz * times_s)).astype(np.float32)


def encode(path, audio, sample_rate, codec="aac", **options):
    """Writes audio [n_samples] or [n_samples, n_channels] with FFmpeg, as libsndfile cannot."""
    planes = np.atleast_2d(audio.T)
    layout = {1: "mono", 2: "stereo", 8: "7.1"}[len(planes)]
    with av.open(str(path), "w", options=options) as container:
        stream = container.add_stream(codec, rate=sample_rate, layout=layout, bit_rate=128_000)
        for start in range(0, planes.shape[1], 1024):
            block = planes[:, start : start + 1024].T.reshape(1, -1)
            frame = av.AudioFrame.from_ndarray(block.copy(), format="flt", layout=layout)
            frame.sample_rate = sample_rate
            (frame,) = av.AudioResampler(format="fltp").resample(frame)
            frame.sample_rate, frame.pts = sample_rate, start
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))


def assert_sine(audio, sample_rate, f0_hz=440.0, amplitude=0.5, tolerance_db=0.1):
    """Projects the middle of audio on a sine and cosine: level, frequency, little else."""
    middle = audio[len(audio) // 4 : -len(audio) // 4]
    phase = 2 * np.pi * f0_hz * np.arange(len(middle)) / sample_rate
    basis = np.stack([np.sin(phase), np.cos(phase)], axis=1)
    weights, *_ = np.linalg.lstsq(basis, middle, rcond=None)
    level = np.hypot(*weights)
    assert abs(20 * np.log10(level / amplitude)) < tolerance_db
    assert np.std(middle - basis @ weights) < 0.05 * amplitude


ENDINGS = "wav flac mp3 ogg aiff caf w64 au opus m4a mp4 mov 3gp aac webm mka mkv wma".split()
CODECS = {"webm": "libopus", "mka": "libopus", "mkv": "libopus", "wma": "wmav2"} | dict.fromkeys(
    ["m4a", "mp4", "mov", "3gp", "aac"], "aac"
)


@pytest.mark.parametrize("ending", ENDINGS)
@pytest.mark.parametrize("channels", [1, 2])
def test_any_format_keeps_pitch_level_and_length(tmp_path, ending, channels):
    path, sample_rate = tmp_path / f"take.{ending}", 48000
    audio = sine(sample_rate=sample_rate)
    audio = audio if channels == 1 else np.stack([audio, audio], axis=1)
    if ending in CODECS:
        encode(path, audio, sample_rate, CODECS[ending])
    elif ending == "opus":
        soundfile.write(path, audio, sample_rate, "OPUS", format="OGG")
    else:
        soundfile.write(path, audio, sample_rate)
    assert sound.listing(tmp_path) == [path]
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # nothing is missing
        read, read_rate = sound.load(path)
    assert read_rate == sample_rate and read.dtype == np.float32 and read.ndim == 1
    assert abs(len(read) / sample_rate - 1.0) < 0.1  # encoders pad
    assert_sine(read, sample_rate)


@pytest.mark.parametrize("subtype", ["PCM_U8", "PCM_16", "PCM_24", "PCM_32", "FLOAT", "DOUBLE"])
def test_any_sample_format_has_the_same_level(tmp_path, subtype):
    soundfile.write(tmp_path / "take.wav", sine(), SAMPLE_RATE, subtype=subtype)
    read, _ = sound.load(tmp_path / "take.wav")
    np.testing.assert_allclose(read, sine(), atol=1 / 120 if subtype == "PCM_U8" else 1e-4)


def test_channels_are_averaged(tmp_path):
    left, right = sine(440.0), sine(660.0)
    soundfile.write(tmp_path / "take.wav", np.stack([left, right], axis=1), SAMPLE_RATE)
    read, _ = sound.load(tmp_path / "take.wav")
    np.testing.assert_allclose(read, (left + right) / 2, atol=1e-4)


@pytest.mark.parametrize("ending", ["wav", "flac", "ogg", "opus", "caf", "m4a"])
@pytest.mark.parametrize("n_channels", [8, 16])
def test_files_of_many_channels(tmp_path, ending, n_channels):
    """Those of 7.1 sound, and of more: the decoding of these ended the process."""
    path, sample_rate = tmp_path / f"surround.{ending}", 48000
    gains = np.arange(1, n_channels + 1) / n_channels
    audio = sine(sample_rate=sample_rate, amplitude=0.8)[:, np.newaxis] * gains.astype(np.float32)
    if n_channels > 8 and ending in ("flac", "m4a"):
        pytest.skip("there is no such file")
    if ending == "m4a":
        encode(path, audio, sample_rate)
    elif ending == "opus":
        soundfile.write(path, audio, sample_rate, "OPUS", format="OGG")
    else:
        soundfile.write(path, audio, sample_rate)
    read, _ = sound.load(path)
    if ending in ("opus", "m4a"):  # these keep only the bass of one channel
        wave = sine(sample_rate=sample_rate)
        assert np.abs(np.fft.rfft(read[:48000])).argmax() == np.abs(np.fft.rfft(wave)).argmax()
    else:
        assert_sine(read, sample_rate, amplitude=0.8 * np.mean(gains), tolerance_db=0.5)


@pytest.mark.parametrize("how", ["load", "load_to_disk"])
def test_where_channels_cancel_the_loudest_is_taken(tmp_path, how):
    audio = np.stack([sine(amplitude=0.4), -sine(amplitude=0.41)], axis=1)
    soundfile.write(tmp_path / "wide.wav", audio, SAMPLE_RATE, "FLOAT")
    read, _ = getattr(sound, how)(tmp_path / "wide.wav")
    np.testing.assert_allclose(read, audio[:, 1], atol=1e-6)


@pytest.mark.parametrize("file_rate", [16000, 44100])
@pytest.mark.parametrize("how", ["load", "load_to_disk"])
def test_a_constant_offset_is_removed(tmp_path, how, file_rate):
    pause = np.zeros(file_rate // 2, np.float32)
    audio = np.concatenate([pause, sine(sample_rate=file_rate, amplitude=0.1), pause])
    for name, offset in {"plain": 0.0, "shifted": 0.5}.items():
        soundfile.write(tmp_path / f"{name}.wav", audio + offset, file_rate, "FLOAT")
    plain, shifted = (
        getattr(sound, how)(tmp_path / f"{name}.wav", SAMPLE_RATE)[0]
        for name in ("plain", "shifted")
    )
    # At the ends the resampler sees a step.
    np.testing.assert_allclose(shifted[200:-200], plain[200:-200], atol=1e-4)


def test_little_is_not_silence(tmp_path, refused):
    """24 bits hold clean sound at -75 dB; 16 bits hold their own noise at -90."""
    quiet = sine(amplitude=10 ** (-75 / 20))
    soundfile.write(tmp_path / "quiet.wav", quiet, SAMPLE_RATE, "PCM_24")
    np.testing.assert_allclose(sound.load(tmp_path / "quiet.wav")[0], quiet, atol=2e-7)
    rng = np.random.default_rng(0)
    dither = (rng.uniform(-1, 1, SAMPLE_RATE) + rng.uniform(-1, 1, SAMPLE_RATE)) / 2
    soundfile.write(tmp_path / "dither.wav", np.rint(dither).astype(np.int16), SAMPLE_RATE)
    with refused("dither.wav is silent"):
        sound.load(tmp_path / "dither.wav")
    soundfile.write(tmp_path / "constant.wav", np.full(SAMPLE_RATE, 0.5), SAMPLE_RATE)
    with refused("constant.wav is silent"):
        sound.load(tmp_path / "constant.wav")


@pytest.mark.parametrize("name", ["10:30.wav", "concat:a.wav", "pipe:.wav", "-", "%03d.wav"])
def test_any_name_is_that_of_a_file(tmp_path, monkeypatch, name):
    monkeypatch.chdir(tmp_path)
    soundfile.write(tmp_path / "take.wav", sine(), SAMPLE_RATE)
    (tmp_path / "take.wav").rename(name)
    assert_sine(*sound.load(name))
    assert sound.rate_of(name) == SAMPLE_RATE


@pytest.mark.parametrize("folder", [b"caf\xe9", "Flöte ♯1".encode()])
def test_names_need_not_be_utf_8(tmp_path, folder, refused):
    folder = tmp_path / os.fsdecode(folder)
    try:
        folder.mkdir()
    except OSError:
        pytest.skip("the file system takes no such names")
    take = folder / "take.wav"
    soundfile.write(tmp_path / "take.wav", sine(), SAMPLE_RATE)
    (tmp_path / "take.wav").rename(take)
    assert sound.find(folder) == [take]
    assert_sine(*sound.load(take))
    take.write_text("These are the notes that I took.")
    with refused("take.wav is not a sound file"):
        sound.load(take)


@pytest.mark.parametrize(
    "text",
    [
        "ffconcat version 1.0\nfile 'other.wav'\n",
        "#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\nother.wav\n#EXT-X-ENDLIST\n",
        "v=0\no=- 0 0 IN IP4 127.0.0.1\nc=IN IP4 127.0.0.1\nm=audio 5004 RTP/AVP 0\n",
    ],
    ids=["concat", "m3u8", "sdp"],
)
def test_a_playlist_plays_nothing(tmp_path, monkeypatch, refused, text):
    monkeypatch.chdir(tmp_path)
    soundfile.write(tmp_path / "other.wav", sine(), SAMPLE_RATE)
    (tmp_path / "list.wav").write_text(text)
    with refused("list.wav is not a sound file"):
        sound.load("list.wav")


def test_what_cannot_be_read_is_not_called_no_sound_file(tmp_path, refused, monkeypatch):
    (tmp_path / "folder.wav").mkdir()
    with refused("folder.wav is a folder"):
        sound.load(tmp_path / "folder.wav")
    os.mkfifo(tmp_path / "pipe.wav")
    with refused("pipe.wav is not an ordinary file"):  # and does not wait for a writer
        sound.load(tmp_path / "pipe.wav")
    with pytest.raises(InputError, match="name.*cannot be read|cannot be read.*name"):
        sound.load(tmp_path / f"{64 * 'long'}.wav")
    with refused("There is no file"):
        sound.load("null\0byte.wav")
    soundfile.write(tmp_path / "take.wav", sine(), SAMPLE_RATE)

    def refuse(*args, **options):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("builtins.open", refuse)
    with refused("take.wav cannot be read: permission"):
        sound.load(tmp_path / "take.wav")


def test_a_disk_that_fails_is_not_called_damage(tmp_path, refused, monkeypatch):
    soundfile.write(tmp_path / "take.wav", sine(seconds=20), SAMPLE_RATE)

    class Failing(io.BufferedReader):
        def read(self, size=-1):
            if self.tell() > 2**17:
                raise OSError(5, "Input/output error")
            return super().read(size)

    monkeypatch.setattr("builtins.open", lambda path, mode: Failing(io.FileIO(path)))
    with refused("take.wav cannot be read: "):
        sound.load(tmp_path / "take.wav")


@pytest.mark.filterwarnings("ignore:radio.*damaged or cut off")
def test_where_the_number_of_channels_changes_the_first_part_is_used(tmp_path):
    """As in chained Ogg files of radio stations."""
    for name, audio in {"one": sine(), "two": np.stack([sine(), sine()], axis=1)}.items():
        soundfile.write(tmp_path / f"{name}.ogg", audio, SAMPLE_RATE)
    content = [(tmp_path / f"{name}.ogg").read_bytes() for name in ("one", "two")]
    (tmp_path / "radio.ogg").write_bytes(b"".join(content))
    read, _ = sound.load(tmp_path / "radio.ogg")
    assert_sine(read[: SAMPLE_RATE - 500], SAMPLE_RATE)


def test_linked_folders_are_followed_once(tmp_path):
    takes, elsewhere = tmp_path / "takes", tmp_path / "elsewhere"
    for path in (takes / "a.wav", elsewhere / "b.wav"):
        path.parent.mkdir()
        path.touch()
    (takes / "linked").symlink_to(elsewhere, target_is_directory=True)
    (elsewhere / "back").symlink_to(takes, target_is_directory=True)
    (takes / "nowhere.wav").symlink_to(tmp_path / "gone.wav")
    assert sound.listing(takes) == [takes / "a.wav", takes / "linked" / "b.wav"]


def test_a_folder_that_cannot_be_read_is_told(tmp_path, monkeypatch):
    for name in ("a.wav", "closed/b.wav"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()

    def scandir(path, scandir=os.scandir):
        if os.fspath(path).endswith("closed"):
            raise PermissionError(13, "Permission denied", path)
        return scandir(path)

    monkeypatch.setattr(os, "scandir", scandir)
    with pytest.warns(InputWarning, match="closed is passed over.*ermission"):
        assert sound.listing(tmp_path) == [tmp_path / "a.wav"]


@pytest.mark.parametrize("file_rate", [8000, 11025, 22050, 44100, 48000, 192000])
def test_resampling_keeps_pitch_level_and_length(tmp_path, file_rate):
    soundfile.write(tmp_path / "take.wav", sine(sample_rate=file_rate), file_rate)
    read, sample_rate = sound.load(tmp_path / "take.wav", SAMPLE_RATE)
    assert sample_rate == SAMPLE_RATE and read.dtype == np.float32
    assert abs(len(read) - SAMPLE_RATE) <= 1
    assert_sine(read, SAMPLE_RATE, tolerance_db=0.01)


def test_resampling_lets_nothing_alias():
    high = sine(10_000.0, sample_rate=48000)  # above half of the new rate
    assert np.abs(sound.resample(high, 48000, SAMPLE_RATE))[1000:-1000].max() < 1e-3


@pytest.mark.parametrize("factor", [1.2, 32768.0])
def test_float_files_beyond_full_scale_are_turned_down(tmp_path, factor):
    soundfile.write(tmp_path / "hot.wav", factor * sine(amplitude=1.0), SAMPLE_RATE, "FLOAT")
    read, _ = sound.load(tmp_path / "hot.wav")
    assert np.abs(read).max() == pytest.approx(1.0)
    assert_sine(read, SAMPLE_RATE, amplitude=1.0)


def test_resampling_does_not_leave_full_scale(tmp_path):
    square = np.sign(sine(441.0, sample_rate=44100))
    soundfile.write(tmp_path / "square.wav", square, 44100)
    assert np.abs(sound.load(tmp_path / "square.wav", SAMPLE_RATE)[0]).max() <= 1.0


def test_ten_minutes_are_read(tmp_path):
    noise = np.random.default_rng(0).uniform(-0.1, 0.1, 600 * 8000).astype(np.float32)
    soundfile.write(tmp_path / "long.wav", noise, 8000)
    read, _ = sound.load(tmp_path / "long.wav")
    np.testing.assert_allclose(read, noise, atol=1e-4)


@pytest.mark.parametrize("ending", ["wav", "m4a"])
def test_what_is_too_long_is_refused_before_all_of_it_is_read(
    tmp_path, refused, monkeypatch, ending
):
    path = tmp_path / f"long.{ending}"
    if ending == "wav":
        soundfile.write(path, sine(seconds=6.0), SAMPLE_RATE)
    else:
        encode(path, sine(seconds=6.0), SAMPLE_RATE)
    lengths = []

    @contextlib.contextmanager
    def opened(path, opened=decoding.opened):
        with opened(path) as (rate, blocks):
            yield rate, (lengths.append(len(block)) or block for block in blocks)

    monkeypatch.setattr(decoding, "opened", opened)
    with refused(f"long.{ending} is longer than 0.05 minutes: cut it"):
        sound.load(path, max_seconds=3.0)
    assert sum(lengths) < 4 * SAMPLE_RATE
    assert len(sound.load(path, max_seconds=np.inf)[0]) >= 6 * SAMPLE_RATE


@pytest.mark.parametrize(
    "name, audio, sentence",
    [
        ("none.wav", sine(seconds=0.0), "none.wav is not a sound file, is empty, or"),
        ("short.wav", sine(seconds=0.1), "short.wav holds 0.10 s of sound: choose"),
        ("silent.wav", 0 * sine(), "silent.wav is silent: check"),
        ("hum.wav", 5e-5 * sine(), "hum.wav is silent: check"),
        ("nan.wav", np.where(np.arange(16000) == 9, np.nan, sine()), "nan.wav has 1 samples that"),
        ("inf.wav", np.where(np.arange(16000) > 15990, np.inf, sine()), "inf.wav has 9 samples"),
    ],
)
def test_sound_that_is_no_use_is_refused(tmp_path, refused, name, audio, sentence):
    soundfile.write(tmp_path / name, audio, SAMPLE_RATE, subtype="FLOAT")
    with refused(sentence):
        sound.load(tmp_path / name)


@pytest.mark.parametrize(
    "name, content",
    [
        ("empty.wav", b""),
        ("empty.mp3", b""),
        ("text.wav", b"These are the notes that I took.\n" * 99),
        ("text.mp3", b"These are the notes that I took.\n" * 99),
        ("page.m4a", b"<!DOCTYPE html><html><title>404</title></html>"),
        ("header only.wav", b"RIFF\x24\x00\x00\x00WAVEfmt "),
        ("zeros.flac", bytes(5000)),
    ],
)
def test_what_is_no_sound_is_refused(tmp_path, refused, name, content):
    (tmp_path / name).write_bytes(content)
    with refused(f"{name} is not a sound file.*export it again"):
        sound.load(tmp_path / name)


def test_a_film_without_sound_is_refused(tmp_path, refused):
    with av.open(str(tmp_path / "mute.mp4"), "w") as container:
        stream = container.add_stream("mpeg4", rate=25)
        stream.width = stream.height = 64
        stream.pix_fmt = "yuv420p"
        for _ in range(10):
            container.mux(stream.encode(av.VideoFrame(64, 64, "yuv420p")))
        container.mux(stream.encode(None))
    with refused("mute.mp4 is not a sound file"):
        sound.load(tmp_path / "mute.mp4")


def test_a_missing_file_is_named(tmp_path, refused):
    with refused("There is no file .*nowhere.wav: check"):
        sound.load(tmp_path / "nowhere.wav")


@pytest.mark.parametrize(
    "ending", ["wav", "flac", "mp3", "ogg", "opus", "m4a", "webm", "aiff", "au"]
)
def test_of_a_truncated_file_the_beginning_is_used_and_how_much_is_told(tmp_path, ending):
    audio = np.random.default_rng(0).normal(0, 0.1, 6 * SAMPLE_RATE).astype(np.float32)
    if ending in CODECS:  # where the index of an MP4 is at its end, as phones write it, all is lost
        encode(tmp_path / f"whole.{ending}", audio, 48000, CODECS[ending], movflags="faststart")
    elif ending == "opus":
        long = np.tile(audio, 3)  # pages of an Opus file are a second long
        soundfile.write(tmp_path / "whole.opus", long, 48000, "OPUS", format="OGG")
    else:
        soundfile.write(tmp_path / f"whole.{ending}", audio, SAMPLE_RATE)
    content = (tmp_path / f"whole.{ending}").read_bytes()
    (tmp_path / f"half.{ending}").write_bytes(content[: len(content) // 2])
    whole, _ = sound.load(tmp_path / f"whole.{ending}")
    with pytest.warns(InputWarning, match=f"half.{ending} is damaged or cut off") as warned:
        half, rate = sound.load(tmp_path / f"half.{ending}")
    (sentence,) = {str(warning.message) for warning in warned}
    seconds = [float(number) for number in re.findall(r"([\d.]+) s\b", sentence)]
    assert seconds[0] == pytest.approx(len(half) / rate, abs=0.06)
    if ending not in ("ogg", "opus"):  # whose header states no duration
        assert seconds[1] == pytest.approx(len(whole) / rate, abs=0.06)
    assert 0.25 < len(half) / len(whole) < 0.6
    n_certain = len(half) - 2000  # of MP3 the last frames overlap with what is missing
    np.testing.assert_allclose(half[:n_certain], whole[:n_certain], atol=1e-3)


def test_a_film_is_heard(tmp_path):
    """With its pictures first, as a telephone has them."""
    path = tmp_path / "film.mp4"
    with av.open(str(path), "w") as container:
        film = container.add_stream("mpeg4", rate=25)
        film.width = film.height = 64
        film.pix_fmt = "yuv420p"
        track = container.add_stream("aac", rate=48000, layout="mono")
        for _ in range(25):
            container.mux(film.encode(av.VideoFrame(64, 64, "yuv420p")))
        for start in range(0, 48000, 1000):
            block = sine(sample_rate=48000)[None, start : start + 1000]
            frame = av.AudioFrame.from_ndarray(block, format="fltp", layout="mono")
            frame.sample_rate, frame.pts = 48000, start
            container.mux(track.encode(frame))
        container.mux(film.encode(None))
        container.mux(track.encode(None))
    assert_sine(*sound.load(path))


@pytest.mark.parametrize("new_rate", [None, 16000, 44100])
@pytest.mark.parametrize("factor", [1.0, 1.5])
def test_what_is_loaded_to_disk_is_what_is_loaded(tmp_path, new_rate, factor):
    audio = factor * np.random.default_rng(0).uniform(-1, 1, 3 * 22050 + 11)
    soundfile.write(tmp_path / "take.wav", audio, 22050, "FLOAT")
    wanted, wanted_rate = sound.load(tmp_path / "take.wav", new_rate)
    read, rate = sound.load_to_disk(tmp_path / "take.wav", new_rate)
    assert isinstance(read, np.memmap) and read.dtype == np.float32 and rate == wanted_rate
    np.testing.assert_allclose(read, wanted, atol=1e-6)
    assert np.abs(read).max() <= 1.0


def test_block_by_block_is_resampled_as_at_once(tmp_path):
    audio = np.random.default_rng(0).uniform(-0.5, 0.5, 3 * 44100 + 11).astype(np.float32)
    soundfile.write(tmp_path / "take.wav", audio, 44100, "FLOAT")
    read, _ = sound.load(tmp_path / "take.wav", SAMPLE_RATE)
    wanted = sound.resample(audio, 44100, SAMPLE_RATE)[: len(read)]
    assert abs(len(read) - len(audio) * SAMPLE_RATE / 44100) < 2
    np.testing.assert_allclose(read, wanted, atol=1e-6)


def test_a_full_temporary_folder_is_told(tmp_path, refused, monkeypatch):
    soundfile.write(tmp_path / "take.wav", sine(), SAMPLE_RATE)

    class Full(io.BytesIO):
        def write(self, content):
            raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(tempfile, "TemporaryFile", Full)
    with refused("temporary folder.*: the disk is full"):
        sound.load_to_disk(tmp_path / "take.wav")


@pytest.mark.parametrize("name", ["mute.wav", "text.wav", "nowhere.wav"])
def test_what_is_no_use_is_not_loaded_to_disk(tmp_path, refused, name):
    soundfile.write(tmp_path / "mute.wav", 0 * sine(), SAMPLE_RATE)
    (tmp_path / "text.wav").write_text("These are the notes that I took.")
    with refused(name):
        sound.load_to_disk(tmp_path / name)


@pytest.mark.parametrize("ending", ["wav", "flac", "mp3", "ogg", "m4a"])
def test_of_a_file_truncated_at_its_start_nothing_is_used(tmp_path, refused, ending):
    path = tmp_path / f"stump.{ending}"
    if ending == "m4a":
        encode(path, sine(), SAMPLE_RATE)
    else:
        soundfile.write(path, sine(), SAMPLE_RATE)
    path.write_bytes(path.read_bytes()[:60])
    with refused(f"stump.{ending} (is not a sound file|holds 0.00 s of sound)"):
        sound.load(path)


@pytest.mark.parametrize("ending", ["wav", "flac"])
def test_what_is_saved_is_loaded_again(tmp_path, ending):
    path = tmp_path / "new folder" / f"take.{ending}"
    sound.save(path, sine(), SAMPLE_RATE)
    read, sample_rate = sound.load(path)
    assert sample_rate == SAMPLE_RATE
    np.testing.assert_allclose(read, sine(), atol=2 / 32768)


def test_saving_clips_instead_of_wrapping(tmp_path):
    sound.save(tmp_path / "hot.wav", 3.0 * sine(), SAMPLE_RATE)
    read, _ = soundfile.read(tmp_path / "hot.wav")
    np.testing.assert_allclose(read, np.clip(3.0 * sine(), -1, 1), atol=2 / 32768)


def test_an_error_while_saving_leaves_the_old_file_and_no_litter(tmp_path, monkeypatch, refused):
    path = tmp_path / "take.wav"
    sound.save(path, sine(), SAMPLE_RATE)
    before = path.read_bytes()

    def write_half(file, audio, write=soundfile.SoundFile.write):
        write(file, audio[: len(audio) // 2])
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(soundfile.SoundFile, "write", write_half)
    with refused("take.wav cannot be written: the disk is full"):
        sound.save(path, 0.1 * sine(), SAMPLE_RATE)
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("name", ["take.xyz", "take", "take.mp3"])
def test_saving_as_something_else_is_refused(tmp_path, refused, name):
    with refused("saved as .wav or .flac, not as .*: rename"):
        sound.save(tmp_path / name, sine(), SAMPLE_RATE)
    assert not any(tmp_path.iterdir())


def test_sound_files_are_found_in_folders_within_folders(tmp_path, refused):
    wanted = ["a.WAV", "b/c.m4a", "b/d/e.flac"]
    for name in [*wanted, "notes.txt", ".hidden.wav", "b/.unfinished-1/f.wav", "g.mp3/readme"]:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    assert sound.find(tmp_path) == sound.listing(tmp_path) == [tmp_path / name for name in wanted]
    assert sound.find(str(tmp_path)) == sound.find(tmp_path)


def test_a_folder_without_sound_is_refused(tmp_path, refused):
    (tmp_path / "notes.txt").touch()
    assert sound.listing(tmp_path) == []
    with refused("holds no sound files: put recordings into it"):
        sound.find(tmp_path)
    with refused("There is no folder .*nowhere: make it"):
        sound.find(tmp_path / "nowhere")


@pytest.mark.parametrize("ending", [".wav", ".flac"])
@pytest.mark.parametrize("broken", [np.nan, np.inf])
def test_samples_that_are_not_finite_are_never_saved(tmp_path, refused, ending, broken):
    path = tmp_path / f"out{ending}"
    path.write_text("mine")
    with refused("not finite"):
        sound.save(path, np.array([0.0, broken, 0.1], np.float32), 16000)
    assert path.read_text() == "mine" and list(tmp_path.iterdir()) == [path]
