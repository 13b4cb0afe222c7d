"""Every kind of file is read right, or refused in one sentence. Oracles: closed forms."""

import av
import numpy as np
import pytest
import soundfile

from helpers.analysis import audio as sound

SAMPLE_RATE = 16000


def sine(f0_hz=440.0, seconds=1.0, sample_rate=SAMPLE_RATE, amplitude=0.5):
    times_s = np.arange(round(seconds * sample_rate)) / sample_rate
    return (amplitude * np.sin(2 * np.pi * f0_hz * times_s)).astype(np.float32)


def encode(path, audio, sample_rate, codec="aac", **options):
    """Writes audio [n_samples] or [n_samples, 2] with FFmpeg, as libsndfile cannot."""
    layout = "mono" if audio.ndim == 1 else "stereo"
    planes = np.atleast_2d(audio.T)
    with av.open(str(path), "w", options=options) as container:
        stream = container.add_stream(codec, rate=sample_rate, layout=layout, bit_rate=128_000)
        for start in range(0, planes.shape[1], 1024):
            block = np.ascontiguousarray(planes[:, start : start + 1024])
            frame = av.AudioFrame.from_ndarray(block, format="fltp", layout=layout)
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

    def decode(path, decode=sound._decode):
        for block, rate in decode(path):
            lengths.append(len(block))
            yield block, rate

    monkeypatch.setattr(sound, "_decode", decode)
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
        ("hum.wav", 1e-4 * sine(), "hum.wav is silent: check"),
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
    with refused("There is no file"):
        sound.load(tmp_path)


@pytest.mark.parametrize("ending", ["wav", "flac", "mp3", "ogg", "m4a", "webm"])
@pytest.mark.filterwarnings("ignore:half.*is damaged")
def test_of_a_truncated_file_the_beginning_is_used(tmp_path, ending):
    audio = np.random.default_rng(0).normal(0, 0.1, 6 * SAMPLE_RATE).astype(np.float32)
    if ending in CODECS:  # where the index of an MP4 is at its end, as phones write it, all is lost
        encode(tmp_path / f"whole.{ending}", audio, 48000, CODECS[ending], movflags="faststart")
    else:
        soundfile.write(tmp_path / f"whole.{ending}", audio, SAMPLE_RATE)
    content = (tmp_path / f"whole.{ending}").read_bytes()
    (tmp_path / f"half.{ending}").write_bytes(content[: len(content) // 2])
    whole, _ = sound.load(tmp_path / f"whole.{ending}")
    half, _ = sound.load(tmp_path / f"half.{ending}")
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


@pytest.mark.parametrize("name", ["mute.wav", "text.wav", "nowhere.wav"])
def test_what_is_no_use_is_not_loaded_to_disk(tmp_path, refused, name):
    soundfile.write(tmp_path / "mute.wav", 0 * sine(), SAMPLE_RATE)
    (tmp_path / "text.wav").write_text("These are the notes that I took.")
    with refused(name):
        sound.load_to_disk(tmp_path / name)


def test_damage_is_told(tmp_path):
    audio = np.random.default_rng(0).normal(0, 0.1, 6 * SAMPLE_RATE).astype(np.float32)
    soundfile.write(tmp_path / "take.flac", audio, SAMPLE_RATE)
    content = (tmp_path / "take.flac").read_bytes()
    (tmp_path / "take.flac").write_bytes(content[: len(content) // 2])
    with pytest.warns(UserWarning, match="take.flac is damaged after .* s: what comes before"):
        sound.load(tmp_path / "take.flac")


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


def test_an_error_while_saving_leaves_the_old_file_and_no_litter(tmp_path, monkeypatch):
    path = tmp_path / "take.wav"
    sound.save(path, sine(), SAMPLE_RATE)
    before = path.read_bytes()

    def write_half(file, audio, write=soundfile.SoundFile.write):
        write(file, audio[: len(audio) // 2])
        raise OSError("No space left on device")

    monkeypatch.setattr(soundfile.SoundFile, "write", write_half)
    with pytest.raises(OSError, match="No space left"):
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
