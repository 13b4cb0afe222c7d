"""Files from the browser, of any size, to where Python runs."""

from pathlib import Path

import anywidget
import traitlets


class Uploader(anywidget.AnyWidget):
    """A button that uploads files in parts.

    ipywidgets' own sends all files in one message, and loses the kernel where that is too large:
    from 10 MB on in Jupyter (jupyter-widgets/ipywidgets#2522), from 1 MB on in Colab (#3452).
    """

    _esm = Path(__file__).with_name("uploader.js")
    accept = traitlets.Unicode(help="Kinds of files, as HTML has them.").tag(sync=True)
    multiple = traitlets.Bool(help="Whether several are chosen at once.").tag(sync=True)
    n_taken = traitlets.Int(help="Parts that have arrived, of all files.").tag(sync=True)

    def __init__(self, accept, multiple=False, **kwargs):
        super().__init__(accept=accept, multiple=multiple, **kwargs)
        self._contents = {}  # upload's id -> its bytes so far
        self._callbacks = []
        self.on_msg(self._on_part)

    def on_file(self, callback):
        """Has `callback(name, content)` called with each file's name and bytes once it is whole."""
        self._callbacks.append(callback)

    def _on_part(self, _widget, message, buffers):
        self._contents.setdefault(message["id"], bytearray()).extend(buffers[0])
        self.n_taken += 1
        if message["is_last"]:
            content = bytes(self._contents.pop(message["id"]))
            for callback in self._callbacks:
                callback(message["name"], content)
