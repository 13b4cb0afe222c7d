"""The choosers without a browser: what an upload, a recording or a click does."""

import io

import numpy as np
import pytest
import soundfile

from helpers import config
from helpers.errors import InputError
from helpers.interface import capture, choosers

SAMPLE_RATE = 16000


def tone(f0_hz):
    return 0.3 * np.sin(2 * np.pi * f0_hz * np.arange(SAMPLE_RATE) / SAMPLE_RATE)


def wav(f0_hz):
    """The bytes of a WAV file."""
    file = io.BytesIO()
    soundfile.write(file, tone(f0_hz), SAMPLE_RATE, format="WAV")
    return file.getvalue()


def every(widget):
    """A widget and all in it."""
    yield widget
    for child in getattr(widget, "children", ()):
        yield from every(child)


def upload(chooser, name, content, n_parts=2):
    """What the page sends when a file is uploaded."""
    size = -(-len(content) // n_parts)
    for index in range(n_parts):
        message = {"id": name, "index": index, "name": name, "is_last": index == n_parts - 1}
        part = memoryview(content)[index * size : (index + 1) * size]
        chooser._upload._handle_custom_msg(message, [part])


def test_upload_is_kept_and_chosen(tmp_path):
    chooser = choosers.Chooser([config.DATA / "voice" / "a.flac"], tmp_path, "audio/*")
    upload(chooser, "../my song.wav", b"a long sound", n_parts=5)
    assert chooser.path == tmp_path / "my song.wav"
    assert chooser.path.read_bytes() == b"a long sound"
    assert chooser._upload.n_taken == 5


def test_half_an_upload_changes_nothing(tmp_path):
    first = config.DATA / "voice" / "a.flac"
    chooser = choosers.Chooser([first], tmp_path, "audio/*")
    message = {"id": "1", "index": 0, "name": "song.wav", "is_last": False}
    chooser._upload._handle_custom_msg(message, [memoryview(b"so")])
    assert chooser.path == first
    assert not list(tmp_path.iterdir())


def test_no_upload_is_lost_to_another_of_its_name(tmp_path):
    chooser = choosers.Chooser([config.DATA / "voice" / "a.flac"], tmp_path, "audio/*")
    for content in (b"first", b"second", b"first", b"third"):
        upload(chooser, "song.wav", content)
        assert chooser.path.read_bytes() == content
    kept = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    assert kept == {"song.wav": b"first", "song_2.wav": b"second", "song_3.wav": b"third"}
    offered = [path for _, path in chooser._list.options]
    assert len(offered) == len(set(offered)) == 4


def test_upload_that_cannot_be_written_is_said(tmp_path):
    (tmp_path / "file").write_text("in the way")
    chooser = choosers.Chooser([tmp_path], tmp_path / "file", "audio/*")
    upload(chooser, "song.wav", b"sound")
    assert "song.wav cannot be written: a part of the path is a file" in chooser._says.value
    assert chooser.path == tmp_path


@pytest.fixture
def recordings(tmp_path, monkeypatch):
    """A `FolderChooser` of what ships and of one folder of one's own."""
    monkeypatch.setattr(config, "RECORDED_SETS", tmp_path / "sets")
    monkeypatch.setattr(config, "RECORDINGS", tmp_path / "recordings")
    (config.RECORDED_SETS / "flute").mkdir(parents=True)
    soundfile.write(config.RECORDED_SETS / "flute" / "a.wav", tone(440), SAMPLE_RATE)
    (config.RECORDED_SETS / "empty").mkdir()
    return choosers.recordings_chooser(["violin"])


def test_folder_chooser_offers_what_ships_and_ones_own(recordings):
    offered = [path for _, path in recordings._list.options]
    assert offered == [config.DATA / "violin", config.RECORDED_SETS / "flute"]
    assert recordings.folder == config.DATA / "violin"
    assert recordings.name == "my_violin"
    recordings._list.value = config.RECORDED_SETS / "flute"
    assert recordings.name == "flute"


def test_uploads_make_a_folder_of_the_name(recordings):
    recordings._name.value = "cello"
    for name in ("a.wav", "b.wav"):
        upload(recordings, name, wav(440))
    assert recordings.folder == config.RECORDED_SETS / "cello"
    assert recordings.name == "cello"
    assert [path.name for path in sorted(recordings.folder.iterdir())] == ["a.wav", "b.wav"]
    assert "2 recordings" in recordings._says.value
    recordings._list.value = config.RECORDED_SETS / "flute"
    upload(recordings, "a.wav", wav(220))
    assert recordings.folder == config.RECORDED_SETS / "flute"
    assert {path.name for path in recordings.folder.iterdir()} == {"a.wav", "a_2.wav"}


@pytest.mark.parametrize("name", ["notes.txt", "notes.wav"])
def test_an_upload_that_is_no_sound_is_a_sentence_and_nothing_else(recordings, name):
    recordings._name.value = "notes"
    upload(recordings, name, b"words")
    assert recordings.folder == config.DATA / "violin"
    assert name in recordings._says.value and recordings._says.value.endswith(".")
    assert not (config.RECORDED_SETS / "notes").exists()


@pytest.mark.parametrize(
    ("wanted", "name"),
    [
        ("cello", "cello"),
        ("Zoë's cello (2nd)", "Zoë_s_cello_2nd"),
        ("../../etc", "etc"),
        ("a" * 300, "a" * 40),
    ],
)
def test_name_is_made_fit_for_a_folder(recordings, wanted, name):
    recordings._name.value = wanted
    assert recordings.name == recordings._name.value == name


@pytest.mark.parametrize("wanted", ["", "  ", "..", "/", "♪"])
def test_name_that_says_nothing_is_refused_in_a_sentence(recordings, wanted):
    recordings._name.value = wanted
    assert recordings.name == "my_violin"
    assert "needs a letter or a digit" in recordings._says.value


def test_folder_is_chosen_by_its_path(recordings, tmp_path):
    folder = tmp_path / "Cello takes & more"
    folder.mkdir()
    recordings._path.value = str(folder)
    assert recordings.folder == config.DATA / "violin"
    assert "holds no sound files" in recordings._says.value
    soundfile.write(folder / "a.wav", tone(440), SAMPLE_RATE)
    recordings._path.value = f" {folder} "
    assert recordings.folder == folder
    assert recordings.name == "Cello_takes_more"
    assert "Cello takes &amp; more, with 1 recording" in recordings._says.value
    recordings._path.value = str(tmp_path / "nowhere")
    assert recordings.folder == folder
    assert "There is no folder" in recordings._says.value


def test_recordings_of_the_microphone_go_to_the_folder(recordings):
    recordings._name.value = "voice"
    message = {"type": "part", "id": "1", "index": 0, "count": 1, "sample_rate": SAMPLE_RATE}
    sine = tone(440).astype("<f4")
    recordings._recorder._handle_custom_msg(message, [memoryview(sine.tobytes())])
    assert recordings.folder == config.RECORDED_SETS / "voice"
    (kept,) = recordings.folder.iterdir()
    audio, sample_rate = soundfile.read(kept, dtype="float32")
    np.testing.assert_array_equal(audio, sine)
    assert sample_rate == SAMPLE_RATE
    assert not list(config.RECORDINGS.iterdir())


def test_microphone_is_shown_where_it_can_be_stopped(recordings):
    (button,) = (w for w in every(recordings) if getattr(w, "description", "") == "Microphone")
    button.click()
    assert recordings._recorder in list(every(recordings))


def test_clip_chooser_offers_what_ships_and_what_was_recorded(tmp_path, monkeypatch):
    monkeypatch.setattr(config, "UPLOADS", tmp_path / "none")
    monkeypatch.setattr(config, "RECORDINGS", tmp_path / "recordings")
    config.RECORDINGS.mkdir()
    soundfile.write(config.RECORDINGS / "recording_1.wav", tone(440), SAMPLE_RATE)
    chooser = choosers.clip_chooser(["voice", "flute"])
    offered = [path.name for _, path in chooser._list.options]
    assert offered == ["oohs_melody.flac", "flute_phrase.flac", "recording_1.wav"]
    assert chooser.path.name == offered[0]


def test_a_clip_that_is_no_sound_is_a_sentence_and_nothing_else(tmp_path, monkeypatch):
    monkeypatch.setattr(config, "UPLOADS", tmp_path / "uploads")
    chooser = choosers.clip_chooser(["voice"])
    before = chooser.path
    upload(chooser, "notes.wav", b"words")
    assert chooser.path == before and "notes.wav" in chooser._says.value
    assert not config.UPLOADS.exists()


def refuse(path):
    raise InputError(f"{path.name} cannot be used: choose another.")


def test_an_upload_that_is_refused_leaves_an_equal_file_that_is_there(tmp_path):
    (tmp_path / "a.zip").write_bytes(b"irreplaceable")
    chooser = choosers.Chooser([], tmp_path, ".zip", check=refuse)
    for content in (b"irreplaceable", b"something else"):
        upload(chooser, "a.zip", content)
        assert "choose another" in chooser._says.value
    assert [path.name for path in tmp_path.iterdir()] == ["a.zip"]
    assert (tmp_path / "a.zip").read_bytes() == b"irreplaceable"


@pytest.mark.parametrize(
    ("sent", "kept"),
    [
        ("song.wav", "song.wav"),
        ("/etc/passwd", "passwd"),
        ("C:\\takes\\song.wav", "song.wav"),
        ("..", "upload"),
        ("", "upload"),
        (".hidden.wav", "hidden.wav"),
        ("half \ud83d.wav", "half _.wav"),
        ("two\nlines\0.wav", "two_lines_.wav"),
        ("Zoë's take (2).wav", "Zoë's take (2).wav"),
    ],
)
def test_an_upload_of_any_name_is_kept_where_it_belongs(tmp_path, sent, kept):
    chooser = choosers.Chooser([], tmp_path / "uploads", "audio/*")
    upload(chooser, sent, b"sound")
    assert chooser.path == tmp_path / "uploads" / kept
    assert [path.name for path in (tmp_path / "uploads").iterdir()] == [kept]


@pytest.mark.parametrize("letter", ["a", "ß", "音"])
def test_very_long_names_keep_their_endings(tmp_path, letter):
    chooser = choosers.Chooser([], tmp_path, "audio/*")
    for content in (b"first", b"second"):  # which gets a number at the end of its name
        upload(chooser, letter * 250 + ".wav", content)
        assert chooser.path.read_bytes() == content and chooser.path.suffix == ".wav"


@pytest.mark.parametrize("path", ["~nobody_of_this_name/x", "a" * 300, "nul \0", "/etc/passwd"])
def test_a_path_that_is_no_folder_is_a_sentence(recordings, path):
    recordings._path.value = path
    assert recordings.folder == config.DATA / "violin"
    assert recordings._says.value.endswith(".")


def test_no_recording_is_lost_to_another_of_its_name(recordings, tmp_path):
    recordings._name.value = "voice"
    for content in (b"first", b"second"):
        path = tmp_path / "recording_1.wav"
        path.write_bytes(wav(440) + content)
        recordings._on_recording(capture.Recording(np.zeros(1), SAMPLE_RATE, path))
    assert len(list((config.RECORDED_SETS / "voice").iterdir())) == 2


def test_a_recording_that_cannot_be_moved_is_a_sentence(recordings, tmp_path):
    recordings._name.value = "voice"
    (config.RECORDED_SETS / "voice").write_text("in the way")
    path = tmp_path / "recording_1.wav"
    path.write_bytes(wav(440))
    recordings._on_recording(capture.Recording(np.zeros(1), SAMPLE_RATE, path))
    assert "recording_1.wav cannot be moved" in recordings._says.value
    assert path.exists()
