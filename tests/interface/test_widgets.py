"""The widgets without a browser: what a click or a moved slider calls and changes."""

import base64
import io
import re

import ipywidgets
import matplotlib.pyplot as plt
import numpy as np
import pytest
import soundfile

from helpers import config
from helpers.interface import widgets
from helpers.training import history

SAMPLE_RATE = 16000


def tone(f0_hz):
    return 0.3 * np.sin(2 * np.pi * f0_hz * np.arange(SAMPLE_RATE) / SAMPLE_RATE)


def heard(flac):
    return soundfile.read(io.BytesIO(flac))


def pitch_hz(audio):
    return np.argmax(np.abs(np.fft.rfft(audio))) * SAMPLE_RATE / len(audio)


def audios(panel):
    """The bytes of the players in a widget, in order."""
    return [widget.value for widget in every(panel) if isinstance(widget, ipywidgets.Audio)]


def every(widget):
    """A widget and all in it."""
    yield widget
    for child in getattr(widget, "children", ()):
        yield from every(child)


def upload(chooser, name, content, n_parts=2):
    """What the page sends when a file is uploaded."""
    size = -(-len(content) // n_parts)
    for index in range(n_parts):
        message = {"id": name, "name": name, "is_last": index == n_parts - 1}
        part = memoryview(content)[index * size : (index + 1) * size]
        chooser._upload._handle_custom_msg(message, [part])


def test_upload_is_kept_and_chosen(tmp_path):
    chooser = widgets.Chooser([config.DATA / "voice" / "a.flac"], tmp_path, "audio/*")
    upload(chooser, "../my song.wav", b"a long sound", n_parts=5)
    assert chooser.path == tmp_path / "my song.wav"
    assert chooser.path.read_bytes() == b"a long sound"
    assert chooser._upload.n_taken == 5


def test_half_an_upload_changes_nothing(tmp_path):
    first = config.DATA / "voice" / "a.flac"
    chooser = widgets.Chooser([first], tmp_path, "audio/*")
    message = {"id": "1", "name": "song.wav", "is_last": False}
    chooser._upload._handle_custom_msg(message, [memoryview(b"so")])
    assert chooser.path == first
    assert not list(tmp_path.iterdir())


def test_no_upload_is_lost_to_another_of_its_name(tmp_path):
    chooser = widgets.Chooser([config.DATA / "voice" / "a.flac"], tmp_path, "audio/*")
    for content in (b"first", b"second", b"first", b"third"):
        upload(chooser, "song.wav", content)
        assert chooser.path.read_bytes() == content
    kept = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    assert kept == {"song.wav": b"first", "song_2.wav": b"second", "song_3.wav": b"third"}
    offered = [path for _, path in chooser._list.options]
    assert len(offered) == len(set(offered)) == 4


def test_upload_that_cannot_be_written_is_said(tmp_path):
    (tmp_path / "file").write_text("in the way")
    chooser = widgets.Chooser([tmp_path], tmp_path / "file", "audio/*")
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
    return widgets.recordings_chooser(["violin"])


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
        upload(recordings, name, name.encode())
    assert recordings.folder == config.RECORDED_SETS / "cello"
    assert recordings.name == "cello"
    assert [path.name for path in sorted(recordings.folder.iterdir())] == ["a.wav", "b.wav"]
    assert "2 recordings" in recordings._says.value
    recordings._list.value = config.RECORDED_SETS / "flute"
    upload(recordings, "a.wav", b"another")
    assert recordings.folder == config.RECORDED_SETS / "flute"
    assert {path.name for path in recordings.folder.iterdir()} == {"a.wav", "a_2.wav"}


def test_what_is_no_sound_is_not_chosen(recordings):
    recordings._name.value = "notes"
    upload(recordings, "notes.txt", b"words")
    assert recordings.folder == config.DATA / "violin"
    assert "holds no sound files" in recordings._says.value


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
    chooser = widgets.clip_chooser(["voice", "flute"])
    offered = [path.name for _, path in chooser._list.options]
    assert offered == ["oohs_melody.flac", "flute_phrase.flac", "recording_1.wav"]
    assert chooser.path.name == offered[0]


def test_download_hands_over_the_file(tmp_path):
    path = tmp_path / "violin.zip"
    path.write_bytes(b"zipped")
    button = widgets.DownloadButton(path)
    button.children[0].click()
    link = button.children[1].value
    assert 'download="violin.zip"' in link
    assert base64.b64decode(re.search(r"base64,([^\"]+)", link)[1]) == b"zipped"


@pytest.fixture
def shown(monkeypatch):
    """The figures that were displayed, or updated in their place."""
    figures = []

    class Handle:
        def update(self, figure):
            figures.append(figure)

    def display(figure, display_id):
        assert display_id and not figures
        figures.append(figure)
        return Handle()

    monkeypatch.setattr(widgets, "display", display)
    return figures


def test_live_figure_is_drawn_in_its_place(shown):
    live = widgets.LiveFigure(lambda height: plt.subplots(figsize=(1, height)))
    for height in (1, 2, 3):
        live(height)
    assert [figure.get_figheight() for figure in shown] == [1, 2, 3]
    assert plt.get_fignums() == []


def test_training_panel_lets_hear_and_see_what_is_learned(shown):
    panel = widgets.TrainingPanel(SAMPLE_RATE)
    losses = history.History()
    for step, f0_hz in ((50, 100), (100, 200)):
        losses = losses.and_then(step, 9.0, 500 / step)
        panel(history.Progress(losses, tone(440), tone(f0_hz), step, 150, seconds_left=90.0))
        original, played = (heard(flac) for flac in audios(panel))
        assert original[1] == played[1] == SAMPLE_RATE
        assert len(original[0]) == len(played[0]) == SAMPLE_RATE
        assert [pitch_hz(original[0]), pitch_hz(played[0])] == [440, f0_hz]
    (says,) = (w.value for w in every(panel) if "Step" in str(getattr(w, "value", "")))
    assert "Step 100 of 150, 90 s left: the held-out loss is 5.00, its best" in says
    curves = [line.get_xydata().tolist() for line in shown[-1].axes[0].lines]
    assert curves == [[[50, 9], [100, 9]], [[50, 10], [100, 5]]]
    assert len(shown) == 2
    assert plt.get_fignums() == []
