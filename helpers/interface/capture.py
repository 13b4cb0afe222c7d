"""Microphones: this machine's (PortAudio), the browser's in Jupyter, and the browser's in Colab.

Whatever the source, a recording is float32 mono at the rate the device runs at, and is written to
`config.RECORDINGS` before anything else is done with it.
"""

import base64
import json
import queue
import sys
import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import anywidget
import numpy as np
import soundfile
import traitlets
from tqdm.auto import tqdm

from helpers import config
from helpers.errors import InputError, InputWarning
from helpers.files import free_name, replacing
from helpers.interface.uploads import Arrived

SOURCES = ("auto", "local", "browser")
SILENCE_PEAK = 10 ** (-60 / 20)  # below -60 dBFS nobody played: the microphone is muted
STALLED_SECONDS = 5  # without a sample before an open microphone is given up
NOTHING_RECORDED = "Nothing is recorded yet: press Record above, then run this cell again."
RECORDER_JS = Path(__file__).with_name("recorder.js")


class _NoMicrophone(InputError):
    """PortAudio, or a microphone that it can open, is missing on this machine."""


@dataclass(frozen=True, eq=False)
class Recording:
    """A finished recording.

    Attributes:
      audio: Mono float32 [n_samples] in [-1, 1].
      sample_rate: In Hz.
      path: The WAV file it was written to; None if it could not be written.
      warning: One sentence about what seems wrong with it, or "".
    """

    audio: np.ndarray = field(repr=False)
    sample_rate: int
    path: Path | None
    warning: str = ""


def record(seconds: float = 10.0, source: str = "auto") -> "Recording | BrowserRecorder":
    """Records from a microphone: end the cell with the result, and use it in the next cell.

    With a microphone on the machine that runs Python, and in Colab, it returns when the recording
    is finished (a local one that is interrupted keeps what it has). In Jupyter without such
    a microphone it returns at once, with a panel whose Record button fills it.

    Args:
      seconds: Length of a local recording; the longest that one from a browser can be.
      source: "local" is PortAudio on this machine, "browser" the browser's microphone, "auto" the
        first where it is there and the second elsewhere.

    Returns:
      A `Recording` or a `BrowserRecorder`: both have `audio` (float32 [n_samples]), `sample_rate`
      (Hz) and `path` (a WAV file).

    Raises:
      InputError: `seconds` or `source` cannot be used, there is no microphone, or the browser
        refuses it.
    """
    _check_seconds(seconds)
    if source not in SOURCES:
        raise InputError(f"source={source!r} is not known: give one of {', '.join(SOURCES)}.")
    if source == "local":
        return _warned(_record_local(seconds))
    if "google.colab" in sys.modules:
        return _warned(_record_in_colab(seconds))
    if source == "auto":
        try:
            return _warned(_record_local(seconds))
        except _NoMicrophone:
            pass  # the browser may have one
    return BrowserRecorder(seconds)


class BrowserRecorder(anywidget.AnyWidget):
    """A panel with a Record button that records with the browser's microphone.

    `audio`, `sample_rate` and `path` are those of the last finished recording and raise
    `InputError` as long as there is none. A cell that waits for them in a loop waits for ever: the
    browser's messages are read between cells. Use the next cell, or `on_recording`.
    """

    _esm = RECORDER_JS
    seconds = traitlets.Float(10.0, help="Longest recording.").tag(sync=True)
    message = traitlets.Unicode(help="Shown in the panel.").tag(sync=True)

    def __init__(self, seconds: float = 10.0, **kwargs: object) -> None:
        """Records at most `seconds`."""
        _check_seconds(seconds)
        super().__init__(seconds=seconds, **kwargs)
        self._recording: Recording | None = None
        self._problem = NOTHING_RECORDED
        self._arrived = Arrived()
        self._callbacks: list[Callable[[Recording], object]] = []
        self.on_msg(self._on_message)

    @property
    def recording(self) -> Recording:
        """The last finished recording."""
        if self._recording is None:
            raise InputError(self._problem)
        return self._recording

    @property
    def audio(self) -> np.ndarray:
        """Samples of the last recording: float32 [n_samples]."""
        return self.recording.audio

    @property
    def sample_rate(self) -> int:
        """Sample rate of the last recording, in Hz."""
        return self.recording.sample_rate

    @property
    def path(self) -> Path | None:
        """The WAV file of the last recording."""
        return self.recording.path

    def on_recording(self, callback: Callable[[Recording], object]) -> None:
        """Has `callback(recording)` called after each recording."""
        self._callbacks.append(callback)

    def _on_message(self, _widget, content, buffers):
        if content["type"] == "error":
            self._problem = content["text"]
            return
        parts = self._arrived.parts(content["id"])
        parts.append((content["index"], np.frombuffer(buffers[0], "<f4")))
        if len(parts) < content["count"]:
            return
        self._arrived.remove(content["id"])
        audio = np.concatenate([samples for _, samples in sorted(parts, key=lambda part: part[0])])
        self._recording = recording = _finish(audio, content["sample_rate"])
        if recording.warning or recording.path is None:
            self.message = f"⚠ {recording.warning}"
        else:
            self.message = f"Saved as {recording.path.name}."
        for callback in self._callbacks:
            callback(recording)


def _check_seconds(seconds):
    if not (isinstance(seconds, (int, float)) and 0 < seconds <= config.MAX_SECONDS):
        raise InputError(
            f"A recording cannot last {seconds!r} seconds: give a number above 0 and up to "
            f"{config.MAX_SECONDS}."
        )


def _finish(audio, sample_rate):
    """Writes the samples to a new file; the recording has a warning where something seems wrong."""
    audio = np.clip(np.asarray(audio, np.float32), -1, 1)
    sample_rate = round(sample_rate)
    try:
        path = _write(audio, sample_rate)
    except InputError as error:
        return Recording(
            audio,
            sample_rate,
            path=None,
            warning=f"{error} The recording is kept in memory only: save it before you close the "
            "notebook.",
        )
    warning = ""
    if np.abs(audio).max(initial=0) < SILENCE_PEAK:
        warning = (
            f"{path.name} is silent: check that the microphone is not muted, that it is the right "
            "one, and that this program may use it."
        )
    return Recording(audio, sample_rate, path, warning)


def _write(audio, sample_rate):
    """Writes a float WAV under a new name, which exists only once the file is whole."""
    path = free_name(config.RECORDINGS / time.strftime("recording_%Y%m%d_%H%M%S.wav"))
    with replacing(path) as unfinished:
        soundfile.write(unfinished, audio, sample_rate, subtype="FLOAT", format="WAV")
    return path


def _warned(recording):
    if recording.warning:
        warnings.warn(
            recording.warning, InputWarning, stacklevel=3
        )  # at the line that called record()
    return recording


def _record_local(seconds):
    sounddevice = _import_sounddevice()
    try:
        device = sounddevice.query_devices(kind="input")
    except (sounddevice.PortAudioError, ValueError):
        raise _NoMicrophone(
            "This machine has no microphone that PortAudio can find: connect one and restart the "
            'kernel, or use source="browser".'
        ) from None
    sample_rate = round(device["default_samplerate"])
    blocks: queue.SimpleQueue[np.ndarray] = (
        queue.SimpleQueue()
    )  # filled by PortAudio's thread, so a busy kernel loses nothing
    microphone = dict(
        device=device["index"],
        samplerate=sample_rate,
        channels=1,
        dtype="float32",
        callback=lambda block, *_: blocks.put(block[:, 0].copy()),
    )
    try:
        with sounddevice.InputStream(**microphone):
            audio = _collect(blocks, max(1, round(seconds * sample_rate)), sample_rate)
    except sounddevice.PortAudioError as error:
        raise _NoMicrophone(
            f"The microphone {device['name']!r} cannot be opened ({error}): close the program "
            'that is using it, or use source="browser".'
        ) from None
    return _finish(audio, sample_rate)


def _import_sounddevice():
    try:
        import sounddevice
    except ImportError:
        raise _NoMicrophone(
            "Recording on this machine needs sounddevice: `pip install sounddevice`, or use "
            'source="browser".'
        ) from None
    except OSError:  # the wheel is there, the library it binds to is not
        raise _NoMicrophone(
            "Recording on this machine needs PortAudio: `apt install libportaudio2` on Debian and "
            "Ubuntu (the macOS and Windows wheels of sounddevice include it), or use "
            'source="browser".'
        ) from None
    return sounddevice


def _collect(blocks, n_samples, sample_rate):
    """Takes n_samples from a queue of blocks under a countdown; fewer when it is interrupted."""
    recorded, n_recorded = [], 0
    with tqdm(
        total=n_samples,
        desc="Recording",
        unit_scale=1 / sample_rate,
        bar_format="{desc} {bar} {n:.1f} of {total:.1f} s",
    ) as countdown:
        try:
            while n_recorded < n_samples:
                block = blocks.get(timeout=STALLED_SECONDS)[: n_samples - n_recorded]
                recorded.append(block)
                n_recorded += len(block)
                countdown.update(len(block))
        except KeyboardInterrupt:
            if not recorded:
                raise
        except queue.Empty:
            problem = f"The microphone gave no sound for {STALLED_SECONDS} s"
            if not recorded:
                raise _NoMicrophone(
                    f'{problem}: check that it is connected, or use source="browser".'
                ) from None
            warnings.warn(
                f"{problem}: only what it gave before is kept.", InputWarning, stacklevel=4
            )
    return np.concatenate(recorded)


def _record_in_colab(seconds):
    """Runs the recorder's JavaScript in the cell's output and waits for what it records.

    Colab runs a cell to its end before it delivers a widget's messages; `eval_js` does wait.
    """
    from google.colab import output

    source = json.dumps(RECORDER_JS.read_text(encoding="utf-8"))
    answer = output.eval_js(
        f"""(async () => {{
          const code = new Blob([{source}], {{ type: "text/javascript" }});
          const {{ recordOnce }} = await import(URL.createObjectURL(code));
          const area = document.querySelector("#output-area") ?? document.body;
          window.finishedRecording = await recordOnce(area, {seconds});
          const {{ error, sample_rate, count }} = window.finishedRecording;
          return {{ error, sample_rate, count }};
        }})()"""
    )
    if answer.get("error"):
        raise InputError(answer["error"])
    parts = [
        base64.b64decode(output.eval_js(f"window.finishedRecording.part({index})"))
        for index in range(answer["count"])
    ]
    return _finish(np.frombuffer(b"".join(parts), "<f4"), answer["sample_rate"])
