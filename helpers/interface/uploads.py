"""Files from the browser, of any size, to where Python runs."""

import time
from collections.abc import Callable
from pathlib import Path

import anywidget
import traitlets

STALLED_SECONDS = 60.0  # without a part, before what comes in parts may be given up


class Uploader(anywidget.AnyWidget):
    """A button that uploads files in parts.

    ipywidgets' own sends all files in one message, and loses the kernel where that is too large:
    from 10 MB on in Jupyter (jupyter-widgets/ipywidgets#2522), from 1 MB on in Colab (#3452).
    """

    _esm = Path(__file__).with_name("uploader.js")
    accept = traitlets.Unicode(help="Kinds of files, as HTML has them.").tag(sync=True)
    multiple = traitlets.Bool(help="Whether several are chosen at once.").tag(sync=True)
    n_taken = traitlets.Int(help="Parts that have arrived, of all files.").tag(sync=True)

    def __init__(self, accept: str, multiple: bool = False, **kwargs: object) -> None:
        """Accepts kinds of files, as HTML has them: "audio/*" or ".zip"."""
        super().__init__(accept=accept, multiple=multiple, **kwargs)
        self._arrived = Arrived()
        self._callbacks: list[Callable[[str, bytes], object]] = []
        self.on_msg(self._on_part)

    def on_file(self, callback: Callable[[str, bytes], object]) -> None:
        """Has `callback(name, content)` called with each file's name and bytes once it is whole."""
        self._callbacks.append(callback)

    def _on_part(self, _widget, message, buffers):
        upload, parts = message["id"], self._arrived.parts(message["id"])
        if message["index"] != len(parts):  # the earlier ones were given up
            self._arrived.remove(upload)
            self.send({"lost": upload})
            return
        parts.append(bytes(buffers[0]))
        self.n_taken += 1
        if message["is_last"]:
            content = b"".join(self._arrived.remove(upload))
            for callback in self._callbacks:
                callback(message["name"], content)


class Arrived:
    """The parts that have arrived of files and recordings that are not whole yet.

    A page that was closed in the middle sends no more: its parts are given up as soon as a part of
    another one comes after a while.
    """

    def __init__(self) -> None:
        """Nothing has arrived."""
        self._last_s: dict[str, float] = {}
        self._parts: dict[str, list] = {}

    def parts(self, name: str) -> list:
        """The parts of one so far, to which the next is appended."""
        now_s = time.monotonic()
        for other in [n for n, last_s in self._last_s.items() if now_s - last_s > STALLED_SECONDS]:
            if other != name:
                self.remove(other)
        self._last_s[name] = now_s
        return self._parts.setdefault(name, [])

    def remove(self, name: str) -> list:
        """Forgets one, and returns its parts."""
        del self._last_s[name]
        return self._parts.pop(name)
