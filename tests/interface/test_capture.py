"""Microphones without hardware: ALSA's `file` plugin, the widget's own messages, a Colab stand-in.

The Colab path was not run in Colab itself: here its JavaScript is not run at all, in
test_recording_in_browser.py it runs in a Chromium page.
"""

import base64
import errno
import importlib.util
import json
import os
import re
import signal
import subprocess
import sys
import textwrap
import threading
import types
from pathlib import Path

import numpy as np
import pytest
import soundfile
from conftest import need

from helpers import config
from helpers.errors import InputError
from helpers.interface import capture

ROOT = Path(__file__).resolve().parents[2]
ALSA_CONFIG = Path("/usr/share/alsa/alsa.conf")
# A raw float32 file as the default microphone, as fast as it is read. PortAudio lists only what
# has a hint.
FILE_MICROPHONE = """
<{alsa}>
pcm.tape {{
  type file
  slave.pcm "null"
  file "/dev/null"
  infile "{tape}"
  format "raw"
  hint {{ show on description "tape" }}
}}
pcm.!default {{
  type plug
  slave {{ pcm "tape" format FLOAT_LE rate 48000 channels 1 }}
  hint {{ show on description "tape" }}
}}
"""


@pytest.fixture(autouse=True)
def recordings(tmp_path, monkeypatch):
    monkeypatch.setattr(config, "RECORDINGS", tmp_path / "recordings")
    return config.RECORDINGS


def sine(f0_hz, n_samples, sample_rate=48000):
    times_s = np.arange(n_samples) / sample_rate
    return (0.5 * np.sin(2 * np.pi * f0_hz * times_s)).astype(np.float32)


def in_new_python(code, folder, **environment):
    """What code prints in a process of its own: PortAudio is loaded, and set up, once in each."""
    setup = """
        from pathlib import Path
        from helpers import config
        from helpers.errors import InputError
        from helpers.interface import capture
        config.RECORDINGS = Path("recordings")
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(setup) + textwrap.dedent(code)],
        cwd=folder,
        env=dict(os.environ, PYTHONPATH=str(ROOT), **environment),
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def need_portaudio():
    need(importlib.util.find_spec("sounddevice"), "sounddevice is not installed")
    found = subprocess.run([sys.executable, "-c", "import sounddevice"], capture_output=True)
    need(found.returncode == 0, "PortAudio is not installed (apt install libportaudio2)")


def test_local_recording_is_what_the_microphone_heard(tmp_path):
    need_portaudio()
    need(ALSA_CONFIG.exists(), "ALSA has no configuration here (apt install libasound2-data)")
    # The plugin repeats its last buffer at the end of the file: let that be silence.
    tape = np.concatenate([sine(440, 48000), sine(660, 48000), np.zeros(96000, np.float32)])
    tape.astype("<f4").tofile(tmp_path / "tape.f32")
    asound = tmp_path / "asound.conf"
    asound.write_text(FILE_MICROPHONE.format(alsa=ALSA_CONFIG, tape=tmp_path / "tape.f32"))
    code = """
        import json
        recording = capture.record(2.0)
        print(json.dumps([type(recording).__name__, recording.sample_rate, str(recording.path)]))
        recording.audio.tofile("heard.f32")
    """
    kind, sample_rate, path = json.loads(
        in_new_python(code, tmp_path, ALSA_CONFIG_PATH=str(asound))
    )
    heard = np.fromfile(tmp_path / "heard.f32", "<f4")
    written, written_rate = soundfile.read(tmp_path / path, dtype="float32")
    assert (kind, sample_rate, written_rate) == ("Recording", 48000, 48000)
    np.testing.assert_array_equal(heard, tape[:96000])
    np.testing.assert_array_equal(written, tape[:96000])


WITHOUT = {
    "sounddevice": ("import sys; sys.modules['sounddevice'] = None", "pip install sounddevice"),
    "PortAudio": (
        "import ctypes.util; ctypes.util.find_library = lambda name: None",
        "apt install libportaudio2",
    ),
    "a microphone": ("import sounddevice; print(sounddevice.query_devices())", "no microphone"),
}


@pytest.mark.parametrize("missing", WITHOUT)
def test_without_a_local_microphone_one_sentence_says_what_to_do(missing, tmp_path):
    hide, remedy = WITHOUT[missing]
    if missing == "a microphone":
        need_portaudio()
        if in_new_python(hide, tmp_path):
            pytest.skip("this machine has sound devices")
    code = """
        try:
            capture.record(1, source="local")
        except InputError as error:
            print(error)
        print(type(capture.record(1)).__name__)
    """
    sentence, fallback = in_new_python(hide + textwrap.dedent(code), tmp_path).splitlines()
    assert remedy in sentence
    assert fallback == "BrowserRecorder"


def sounddevice_that_hears(monkeypatch, *blocks, then=lambda: None):
    """A sounddevice whose microphone gives these blocks, runs `then`, and gives no more."""

    class InputStream:
        def __init__(self, callback, **_):
            self.callback = callback

        def __enter__(self):
            for block in blocks:
                self.callback(block[:, np.newaxis], len(block), None, None)
            then()

        def __exit__(self, *_):
            pass

    sounddevice = types.ModuleType("sounddevice")
    sounddevice.InputStream = InputStream
    sounddevice.PortAudioError = OSError
    sounddevice.query_devices = lambda kind: {"index": 0, "name": "m", "default_samplerate": 48000}
    monkeypatch.setitem(sys.modules, "sounddevice", sounddevice)
    monkeypatch.setattr(capture, "STALLED_SECONDS", 0.2)


def test_unplugged_microphone_keeps_what_it_gave(monkeypatch):
    sounddevice_that_hears(monkeypatch, sine(440, 480), sine(660, 480))
    with pytest.warns(UserWarning, match="gave no sound"):
        recording = capture.record(10)
    np.testing.assert_array_equal(recording.audio, np.r_[sine(440, 480), sine(660, 480)])


def test_microphone_without_sound_is_an_error(monkeypatch):
    sounddevice_that_hears(monkeypatch)
    with pytest.raises(InputError, match="gave no sound"):
        capture.record(10, source="local")


def test_interrupting_ends_a_local_recording_and_keeps_it(monkeypatch):
    def interrupt_soon():
        main = threading.main_thread().ident
        threading.Timer(0.05, signal.pthread_kill, (main, signal.SIGINT)).start()

    sounddevice_that_hears(monkeypatch, sine(440, 480), then=interrupt_soon)
    recording = capture.record(10)
    np.testing.assert_array_equal(recording.audio, sine(440, 480))
    assert recording.path.exists()


def parts_of(audio, sample_rate, size, name="a"):
    """The messages in which recorder.js sends a recording."""
    pieces = [audio[at : at + size] for at in range(0, len(audio), size)]
    return [
        (
            dict(type="part", id=name, index=i, count=len(pieces), sample_rate=sample_rate),
            [memoryview(piece.astype("<f4").tobytes())],
        )
        for i, piece in enumerate(pieces)
    ]


def receive(recorder, messages):
    for content, buffers in messages:
        recorder._handle_custom_msg(content, buffers)


def test_browser_recording_is_put_together_from_parts_in_any_order():
    recorder = capture.BrowserRecorder()
    heard = []
    recorder.on_recording(heard.append)
    audio, other = sine(440, 10_500, 44100), sine(550, 4_000, 44100)
    messages = parts_of(audio, 44100.0, 1000) + parts_of(other, 44100, 1000, "never finished")[:3]
    receive(recorder, [messages[i] for i in np.random.default_rng(0).permutation(len(messages))])
    np.testing.assert_array_equal(recorder.audio, audio)
    assert recorder.audio.dtype == np.float32
    assert recorder.sample_rate == 44100 and isinstance(recorder.sample_rate, int)
    assert [recording.path for recording in heard] == [recorder.path]
    assert recorder.path.name in recorder.message


def test_browser_recorder_keeps_each_recording_and_gives_the_last(recordings):
    recorder = capture.BrowserRecorder()
    takes = [sine(f0_hz, 4800) for f0_hz in (440, 550, 660)]  # within one second: names collide
    for i, take in enumerate(takes):
        receive(recorder, parts_of(take, 48000, 1000, f"take {i}"))
    np.testing.assert_array_equal(recorder.audio, takes[-1])
    files = sorted(recordings.iterdir(), key=lambda path: path.stat().st_mtime_ns)
    assert len(files) == 3
    for path, take in zip(files, takes, strict=True):
        assert re.fullmatch(r"recording_\d{8}_\d{6}(_\d)?\.wav", path.name)
        assert soundfile.info(path).subtype == "FLOAT"
        np.testing.assert_array_equal(soundfile.read(path, dtype="float32")[0], take)


def test_nothing_recorded_and_browser_errors_are_one_sentence():
    recorder = capture.record(source="browser")
    for attribute in ("audio", "sample_rate", "path"):
        with pytest.raises(InputError, match="^Nothing is recorded yet: press Record above"):
            getattr(recorder, attribute)
    receive(recorder, [({"type": "error", "text": "The browser found no microphone."}, [])])
    with pytest.raises(InputError, match="^The browser found no microphone.$"):
        recorder.audio  # noqa: B018


def test_silent_recording_is_kept_with_a_warning():
    recorder = capture.BrowserRecorder()
    receive(recorder, parts_of(sine(440, 4800) * 1e-4, 48000, 4800))
    assert "muted" in recorder.message
    assert len(recorder.audio) == 4800 and recorder.path.exists()


def test_full_disk_leaves_no_half_file_and_keeps_the_samples(recordings, monkeypatch):
    def write_half(path, *_, **__):
        Path(path).write_bytes(b"RIFF")
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(soundfile, "write", write_half)
    recorder = capture.BrowserRecorder()
    receive(recorder, parts_of(sine(440, 4800), 48000, 4800))
    assert list(recordings.iterdir()) == []
    np.testing.assert_array_equal(recorder.audio, sine(440, 4800))
    assert "full" in recorder.message


def colab_that_answers(monkeypatch, answer, parts=()):
    """A google.colab whose eval_js gives what a browser would, without a browser."""
    scripts = []

    def eval_js(script):
        scripts.append(script)
        return answer if len(scripts) == 1 else parts[len(scripts) - 2]

    colab = types.ModuleType("google.colab")
    colab.output = types.SimpleNamespace(eval_js=eval_js)
    monkeypatch.setitem(sys.modules, "google.colab", colab)
    return scripts


@pytest.mark.parametrize("source", ["auto", "browser"])
def test_colab_recording_is_put_together_from_base64(source, monkeypatch):
    audio = sine(440, 2500)
    parts = [base64.b64encode(audio[i : i + 1000].tobytes()).decode() for i in (0, 1000, 2000)]
    scripts = colab_that_answers(monkeypatch, {"sample_rate": 48000, "count": 3}, parts)
    recording = capture.record(7.5, source)
    np.testing.assert_array_equal(recording.audio, audio)
    assert recording.sample_rate == 48000 and recording.path.exists()
    assert len(scripts) == 4 and "7.5" in scripts[0]


def test_colab_error_is_one_sentence(monkeypatch):
    colab_that_answers(monkeypatch, {"error": "The browser found no microphone."})
    with pytest.raises(InputError, match="^The browser found no microphone.$"):
        capture.record()


@pytest.mark.parametrize("seconds", [0, -1, float("nan"), 1e9, "10", None])
def test_impossible_lengths_are_refused(seconds):
    with pytest.raises(InputError, match="seconds"):
        capture.record(seconds)


def test_unknown_source_is_refused():
    with pytest.raises(InputError, match="auto, local, browser"):
        capture.record(source="colab")
