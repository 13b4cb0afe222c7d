"""The widgets without a browser: what a click or a moved slider calls and changes."""

import base64
import io
import re

import ipywidgets
import matplotlib.pyplot as plt
import numpy as np
import pytest
import soundfile

from helpers import config, widgets

SAMPLE_RATE = 16000


def tone(f0_hz):
    return 0.3 * np.sin(2 * np.pi * f0_hz * np.arange(SAMPLE_RATE) / SAMPLE_RATE)


def heard(flac):
    return soundfile.read(io.BytesIO(flac))


def pitch_hz(audio):
    return np.argmax(np.abs(np.fft.rfft(audio))) * SAMPLE_RATE / len(audio)


def audios(panel):
    """The bytes of the players in a widget, in order."""
    if isinstance(panel, ipywidgets.Audio):
        return [panel.value]
    return [found for child in getattr(panel, "children", ()) for found in audios(child)]


@pytest.fixture
def panel():
    def play(octaves, semitones, loudness_db):
        return 10 ** (loudness_db / 20) * tone(220 * 2 ** (octaves + semitones / 12))

    return widgets.TransferPanel(play, tone(220), SAMPLE_RATE)


def test_player_holds_the_sound():
    element = widgets.player(tone(440), SAMPLE_RATE)
    flac = re.search(r'base64,([^"]+)"', element._repr_html_())[1]
    audio, sample_rate = heard(base64.b64decode(flac))
    assert sample_rate == SAMPLE_RATE
    np.testing.assert_allclose(audio, tone(440), atol=1e-4)


def test_sliders_change_the_sound(panel):
    assert pitch_hz(panel.result) == 220
    panel.octaves.value = 1
    original, result = (heard(flac)[0] for flac in audios(panel))
    assert pitch_hz(original) == 220
    assert pitch_hz(result) == 440
    panel.semitones.value = 12
    assert pitch_hz(heard(audios(panel)[1])[0]) == 880
    loud = np.abs(panel.result).max()
    panel.loudness_db.value = -20
    assert np.abs(panel.result).max() == pytest.approx(loud / 10, rel=1e-3)


def test_reset_plays_once_at_rest():
    calls = []

    def play(*values):
        calls.append(values)
        return tone(220)

    panel = widgets.TransferPanel(play, tone(220), SAMPLE_RATE)
    panel.octaves.value, panel.loudness_db.value = 2, 6
    (reset,) = (c for c in panel.children if isinstance(c, ipywidgets.Button))
    reset.click()
    assert calls == [(0, 0, 0), (2, 0, 0), (2, 0, 6), (0, 0, 0)]


def test_panel_leaves_no_figure_open(panel):
    panel.octaves.value = 1
    assert plt.get_fignums() == []


@pytest.mark.parametrize("version", [7, 8])
def test_upload_is_kept_and_chosen(version, tmp_path):
    chooser = widgets.Chooser([config.DATA / "voice" / "a.flac"], tmp_path, "audio/*")
    content = b"sound"
    if version == 7:
        value = {"../my song.wav": {"content": content, "metadata": {}}}
    else:
        value = ({"name": "../my song.wav", "content": memoryview(content)},)
    chooser._on_upload({"new": value})
    assert chooser.path == tmp_path / "my song.wav"
    assert chooser.path.read_bytes() == content


def test_no_upload_changes_nothing(tmp_path):
    first = config.DATA / "voice" / "a.flac"
    chooser = widgets.Chooser([first], tmp_path, "audio/*")
    chooser._on_upload({"new": ()})
    assert chooser.path == first


def test_clip_chooser_offers_what_ships_and_what_was_recorded(tmp_path, monkeypatch):
    monkeypatch.setattr(config, "UPLOADS", tmp_path / "none")
    monkeypatch.setattr(config, "RECORDINGS", tmp_path / "recordings")
    config.RECORDINGS.mkdir()
    soundfile.write(config.RECORDINGS / "recording_1.wav", tone(440), SAMPLE_RATE)
    chooser = widgets.clip_chooser(["voice", "flute"])
    offered = [path.name for _, path in chooser._list.options]
    assert offered == ["oohs_melody.flac", "flute_phrase.flac", "recording_1.wav"]
    assert chooser.path.name == offered[0]


def test_instrument_chooser_offers_what_ships():
    assert (config.CHECKPOINTS / "violin") == widgets.instrument_chooser().path


def test_download_hands_over_the_file(tmp_path):
    path = tmp_path / "violin.zip"
    path.write_bytes(b"zipped")
    button = widgets.DownloadButton(path)
    button.children[0].click()
    link = button.children[1].value
    assert 'download="violin.zip"' in link
    assert base64.b64decode(re.search(r"base64,([^\"]+)", link)[1]) == b"zipped"


def test_live_figure_is_drawn_in_its_place(monkeypatch):
    shown = []

    class Handle:
        def update(self, figure):
            shown.append(figure)

    def display(figure, display_id):
        shown.append(figure)
        return Handle()

    monkeypatch.setattr(widgets, "display", display)
    live = widgets.LiveFigure(lambda height: plt.subplots(figsize=(1, height)))
    for height in (1, 2, 3):
        live(height)
    assert [figure.get_figheight() for figure in shown] == [1, 2, 3]
    assert plt.get_fignums() == []
