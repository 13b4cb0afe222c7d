"""The panel of notebook 03 without a browser: what is chosen and moved, and what is played then."""

import asyncio
import dataclasses
import errno
import io
import shutil

import ipywidgets
import matplotlib.pyplot as plt
import numpy as np
import pytest
import soundfile
import tiny_instrument
from PIL import Image

from helpers import config
from helpers.instruments import bundles
from helpers.interface import transfer_panel
from helpers.transfer.settings import Settings

SAMPLE_RATE = 16000


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    """Two instruments, a damaged one, and two clips of one's own."""
    home = tmp_path_factory.mktemp("home")
    for name in ("violin", "flute"):
        bundles.save(tiny_instrument.build(), home / "checkpoints" / name)
    bundles.save(tiny_instrument.build(), home / "checkpoints" / "broken")
    (home / "checkpoints" / "broken" / "weights.safetensors").write_bytes(b"none")
    times_s = np.arange(SAMPLE_RATE) / SAMPLE_RATE
    hiss = 0.01 * np.random.default_rng(0).standard_normal(SAMPLE_RATE)
    for name, audio in (("tone", 0.3 * np.sin(2 * np.pi * 330 * times_s)), ("hiss", hiss)):
        path = home / "data" / "voice" / f"{name}.wav"
        path.parent.mkdir(parents=True, exist_ok=True)
        soundfile.write(path, audio, SAMPLE_RATE)
    return home


@pytest.fixture
def panel(home, tmp_path, monkeypatch):
    monkeypatch.setattr(config, "CHECKPOINTS", home / "checkpoints")
    monkeypatch.setattr(config, "DATA", home / "data")
    monkeypatch.setattr(transfer_panel, "CLIP_FOLDERS", ("voice",))
    for place in ("RUNS", "UPLOADS", "RECORDINGS", "RESULTS"):
        monkeypatch.setattr(config, place, tmp_path / place.lower())
    return make()


def make():
    panel = transfer_panel.TransferPanel()
    choose(panel.clips, "tone.wav")
    return panel


def choose(chooser, name):
    (path,) = (p for _, p in chooser._list.options if p is not None and p.name == name)
    chooser._list.value = path


def every(widget):
    yield widget
    for child in getattr(widget, "children", ()):
        yield from every(child)


def button(panel, description):
    (found,) = (w for w in every(panel) if getattr(w, "description", "").startswith(description))
    return found


def heard(panel):
    original, result = (w.value for w in every(panel) if isinstance(w, ipywidgets.Audio))
    return soundfile.read(io.BytesIO(original))[0], soundfile.read(io.BytesIO(result))[0]


def words(panel):
    return " ".join(w.value for w in every(panel) if isinstance(w, ipywidgets.HTML))


def test_all_that_can_be_set_has_a_control_within_its_range(panel):
    assert panel.settings == Settings()
    assert set(panel.controls) == {field.name for field in dataclasses.fields(Settings)}
    assert sorted(sum(transfer_panel.GROUPS.values(), ())) == sorted(panel.controls)
    for control in panel.controls.values():
        assert control in every(panel)
    assert panel.controls["loudness_db"].description == "Loudness (dB)"
    assert (panel.controls["octaves"].min, panel.controls["octaves"].max) == (-3, 3)


def test_a_slider_changes_what_is_heard(panel):
    original, before = heard(panel)
    assert len(original) == len(before) == SAMPLE_RATE
    panel.controls["loudness_db"].value = -20.0
    after = heard(panel)[1]
    np.testing.assert_allclose(after, panel.result, atol=1e-4)
    assert np.abs(after - before).max() > 0.01 * np.abs(before).max()
    button(panel, "Reset").click()
    np.testing.assert_array_equal(heard(panel)[1], before)
    assert panel.settings == Settings()


def test_as_it_is_the_other_controls_rest(panel):
    panel.controls["octaves"].value = 1
    panel.controls["as_is"].value = True
    assert panel.settings == Settings(as_is=True) and "Nothing was fitted" in words(panel)
    np.testing.assert_allclose(heard(panel)[1], panel.result, atol=1e-4)
    assert all(control.disabled != (name == "as_is") for name, control in panel.controls.items())
    panel.controls["as_is"].value = False
    assert panel.settings == Settings(octaves=1) and not panel.controls["octaves"].disabled


def test_pictures_show_both_sounds_and_the_curves(panel):
    pictures = [w.value for w in every(panel) if isinstance(w, ipywidgets.Image)]
    assert len({picture for picture in pictures}) == 3
    widths = {Image.open(io.BytesIO(picture)).width for picture in pictures}
    assert len(widths) == 1  # one time axis
    assert plt.get_fignums() == []


def test_what_was_done_is_shown_with_the_credit(panel):
    assert panel.session.adjusted.summary in words(panel)
    assert "Instrument: tiny (Zoë, CC0)." in words(panel)
    panel.controls["fit_register"].value = panel.controls["fit_loudness"].value = False
    assert "Nothing was fitted." in words(panel)


def test_instruments_are_listed_by_their_titles_and_others_by_their_paths(panel, home, tmp_path):
    shutil.copytree(home / "checkpoints", tmp_path / "titled")
    card = tmp_path / "titled" / "flute" / "model_card.json"
    card.write_text(card.read_text().replace('"name"', '"title": "Flute (Zoë)", "name"'))
    config.CHECKPOINTS = tmp_path / "titled"  # that of the fixture comes back after the test
    labels = [label for label, _ in make().instruments._list.options]
    assert labels == ["titled / violin", "Flute (Zoë)"]


def test_a_damaged_instrument_is_named_and_the_others_offered(panel):
    assert "broken" in words(panel)
    offered = [path.name for _, path in panel.instruments._list.options]
    assert offered == ["violin", "flute"]


def test_a_recording_without_notes_has_no_result(panel, refused):
    """The result of the recording before it is neither shown nor saved."""
    choose(panel.clips, "hiss.wav")
    for _ in range(2):
        sentence = words(panel)
        assert "note" in sentence and "Analysing" not in sentence
        with refused("ote"):
            panel.result  # noqa: B018
        recording, result = (w.value for w in every(panel) if isinstance(w, ipywidgets.Audio))
        assert recording and not result
        panel.controls["octaves"].value += 1  # is tried again
    button(panel, "Save").click()
    assert not config.RESULTS.exists()
    choose(panel.clips, "tone.wav")
    assert len(panel.result) == SAMPLE_RATE and heard(panel)[1].any()


def test_a_recording_that_cannot_be_read_has_no_result(panel, home, refused):
    path = home / "data" / "voice" / "removed.wav"
    path.write_bytes((home / "data" / "voice" / "tone.wav").read_bytes())
    panel.clips.add(path)
    path.unlink()
    panel.clips._list.value = panel.clips._list.options[0][1]
    panel.clips._list.value = path
    for _ in range(2):
        assert "removed.wav" in words(panel) and "Analysing" not in words(panel)
        with refused("removed.wav"):
            panel.result  # noqa: B018
        panel.controls["octaves"].value += 1  # does not play the recording before
    choose(panel.clips, "tone.wav")
    assert len(panel.result) == SAMPLE_RATE


def test_without_an_instrument_the_panel_tells_what_to_do(home, panel, monkeypatch, tmp_path):
    """None there, or all of them damaged; one that is uploaded is played."""
    broken = tmp_path / "checkpoints"
    for checkpoints in (tmp_path / "nothing", broken):
        monkeypatch.setattr(config, "CHECKPOINTS", checkpoints)
        empty = transfer_panel.TransferPanel()
        assert "no instrument" in words(empty)
        shutil.copytree(home / "checkpoints" / "broken", broken / "broken", dirs_exist_ok=True)
    assert "broken" in words(empty)
    zipped = bundles.pack(home / "checkpoints" / "flute")
    upload(empty.instruments, "horn.zip", zipped.read_bytes())
    zipped.unlink()
    choose(empty.clips, "tone.wav")
    assert "Instrument: tiny" in words(empty) and len(empty.result) == SAMPLE_RATE


def test_errors_of_the_system_are_shown(panel, monkeypatch):
    """Not hidden by the event loop, which logs them where nobody looks."""

    def fail(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    async def moved():
        panel.controls["octaves"].value = 1
        while "full" not in words(panel):
            await asyncio.sleep(0.01)

    monkeypatch.setattr(panel.session, "play", fail)
    asyncio.run(asyncio.wait_for(moved(), 20))


def test_a_result_that_cannot_be_saved(panel):
    config.RESULTS.write_text("a file is in the way")
    button(panel, "Save").click()
    assert "cannot be" in words(panel)


def test_a_second_instrument_is_mixed_in_when_it_is_chosen(panel):
    assert panel.controls["mix"].disabled
    choose(panel.second, "flute")
    assert panel.settings.mix == 0.5 and not panel.controls["mix"].disabled
    panel.second._list.value = None
    assert panel.settings.mix == 0 and panel.controls["mix"].disabled


def upload(chooser, name, content):
    message = {"id": name, "index": 0, "name": name, "is_last": True}
    chooser._upload._handle_custom_msg(message, [memoryview(content)])


def test_an_uploaded_instrument_is_played_and_can_be_mixed_in(panel, home):
    zipped = bundles.pack(home / "checkpoints" / "flute")
    upload(panel.instruments, "horn.zip", zipped.read_bytes())
    zipped.unlink()
    assert panel.instruments.path == config.RUNS / "uploaded" / "horn.zip"
    assert "Instrument: tiny" in words(panel)
    choose(panel.second, "horn.zip")
    assert panel.settings.mix == 0.5


def test_the_level_of_a_room_is_set_only_where_there_is_one(panel, tmp_path):
    assert not panel.controls["reverb"].disabled
    dry = tiny_instrument.build("dry")
    bundles.save(dry, tmp_path / "dry")
    upload(panel.instruments, "dry.zip", bundles.pack(tmp_path / "dry").read_bytes())
    assert panel.controls["reverb"].disabled
    room = io.BytesIO()
    soundfile.write(room, 0.999 ** np.arange(SAMPLE_RATE), SAMPLE_RATE, format="WAV")
    upload(panel.rooms, "hall.wav", room.getvalue())
    assert not panel.controls["reverb"].disabled


def test_of_an_upload_that_is_no_instrument_nothing_is_left(panel):
    before, result = panel.instruments.path, heard(panel)[1]
    upload(panel.instruments, "letter.zip", b"words")
    assert panel.instruments.path == before
    assert "letter.zip" in words(panel)
    assert not list((config.RUNS / "uploaded").glob("*"))
    np.testing.assert_array_equal(heard(panel)[1], result)


def test_of_an_upload_that_is_no_room_nothing_is_left(panel):
    upload(panel.rooms, "letter.wav", b"words")
    assert panel.rooms.path is None
    assert "letter.wav" in words(panel)
    assert not list(config.UPLOADS.rglob("*.wav"))


def test_save_writes_the_result_and_offers_it(panel):
    panel.controls["octaves"].value = 1
    button(panel, "Save").click()
    path = config.RESULTS / "tone_as_violin.wav"
    audio, sample_rate = soundfile.read(path)
    assert sample_rate == SAMPLE_RATE
    peak = np.abs(panel.result).max()
    np.testing.assert_allclose(audio, panel.result, atol=0.01 * peak + 1e-4)
    assert button(panel, "Download tone_as_violin.wav")


def test_of_sliders_that_move_at_once_only_the_last_is_played(panel, monkeypatch):
    played = []
    play = panel.session.play
    monkeypatch.setattr(panel.session, "play", lambda s: played.append(s.octaves) or play(s))

    async def moved():
        for octaves in (1, 2, 3):
            panel.controls["octaves"].value = octaves
        assert played == []
        panel.finish()
        assert played == [3]
        panel.controls["octaves"].value = 0
        while panel._due < len(panel._stages):
            await asyncio.sleep(0.01)
        assert played == [3, 0]

    asyncio.run(moved())


def test_the_sound_comes_before_the_pictures(panel, monkeypatch):
    order = []
    panel._played.observe(lambda _: order.append("sound"), "value")
    for picture in panel._pictures:
        picture.observe(lambda _: order.append("picture"), "value")
    panel.controls["octaves"].value = 1
    assert order == ["sound", "picture", "picture"]


def test_a_change_that_comes_while_a_picture_is_drawn_is_played(panel, monkeypatch):
    """The kernel may take in a message of the page in the middle of anything."""
    draw = transfer_panel.plots.spectrogram

    def draw_and_move(*arguments, **options):
        monkeypatch.setattr(transfer_panel.plots, "spectrogram", draw)
        panel.controls["octaves"].value = 1
        return draw(*arguments, **options)

    async def move():
        monkeypatch.setattr(transfer_panel.plots, "spectrogram", draw_and_move)
        panel.controls["loudness_db"].value = 3
        for _ in range(200):
            await asyncio.sleep(0.02)
            if panel.session.settings.octaves == 1:
                return

    asyncio.run(move())
    assert panel.session.settings == panel.settings
