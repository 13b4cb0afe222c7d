"""Small parts of all panels: players, a figure that is drawn anew, a button for downloads."""

import base64
import html
import io
from collections.abc import Callable, Mapping
from pathlib import Path

import ipywidgets
import matplotlib.pyplot as plt
import numpy as np
import soundfile
from IPython.display import Audio, display

from helpers.analysis import audio as sound
from helpers.errors import InputError
from helpers.files import explaining

MOST_MP3_RATE = 48000  # Hz
WIDE = ipywidgets.Layout(width="28em")


def player(audio: np.ndarray, sample_rate: int) -> Audio:
    """An inline player of audio [n_samples], MP3 inside so that notebooks stay small."""
    element = Audio(data=mp3(audio, sample_rate))
    element.mimetype = "audio/mpeg"
    return element


class LiveFigure:
    """A figure that is drawn anew in its place each time it is called with what to draw."""

    def __init__(self, draw: Callable[..., tuple]) -> None:
        """Takes a function that returns `(figure, axes)` of what the calls are given."""
        self._draw = draw
        self._handle = None

    def __call__(self, *args: object) -> None:
        """Draws, in place of what was drawn before."""
        fig, _ = self._draw(*args)
        if self._handle is None:
            self._handle = display(fig, display_id=True)
        else:
            self._handle.update(fig)
        plt.close(fig)


class DownloadButton(ipywidgets.VBox):
    """A button that hands a file to the browser, wherever the kernel runs."""

    def __init__(self, path: str | Path) -> None:
        """Offers the file of this path."""
        self._path, name = Path(path), printable(Path(path).name)
        button = ipywidgets.Button(description=f"Download {name}", icon="download", layout=WIDE)
        button.on_click(self._offer)
        self._link = ipywidgets.HTML()
        super().__init__([button, self._link])

    def _offer(self, _button):
        name = html.escape(printable(self._path.name))
        try:
            with explaining(f"{self._path.name} cannot be read"):
                content = base64.b64encode(self._path.read_bytes()).decode()
        except InputError as error:
            self._link.value = html.escape(str(error))
        else:
            address = f"data:application/octet-stream;base64,{content}"
            self._link.value = f'<a download="{name}" href="{address}">Save {name}</a>'


def flac(audio: np.ndarray, sample_rate: int) -> bytes:
    """The bytes of a FLAC file of audio [n_samples].

    >>> flac(np.zeros(100), 16000)[:4]
    b'fLaC'
    """
    return _encoded(audio, sample_rate, "FLAC")


def mp3(audio: np.ndarray, sample_rate: int) -> bytes:
    """The bytes of an MP3 file of audio [n_samples]; smaller than FLAC, and slower to make."""
    rate = int(sample_rate)
    if rate > MOST_MP3_RATE:
        audio, rate = sound.resample(audio, rate, MOST_MP3_RATE), MOST_MP3_RATE
    return _encoded(audio, rate, "MP3")


def _encoded(audio, sample_rate, format):
    buffer = io.BytesIO()
    soundfile.write(buffer, np.clip(audio, -1.0, 1.0), int(sample_rate), format=format)
    return buffer.getvalue()


def empty_player(format: str) -> ipywidgets.Audio:
    """A widget that plays "flac" or "mp3" and has nothing to play yet."""
    return ipywidgets.Audio(value=b"", format=format, autoplay=False, loop=False)


def side_by_side(titled: Mapping[str, ipywidgets.Widget]) -> ipywidgets.HBox:
    """A row of widgets, given by their titles."""
    return ipywidgets.HBox(
        [
            ipywidgets.VBox([ipywidgets.HTML(f"<b>{title}</b>"), widget])
            for title, widget in titled.items()
        ]
    )


def printable(text: str) -> str:
    """A text that can be sent to a browser: bytes of names that are not UTF-8 are spelt.

    >>> printable("caf\\udce9.wav")
    'caf\\\\udce9.wav'
    """
    return text.encode("utf-8", "backslashreplace").decode("utf-8")
