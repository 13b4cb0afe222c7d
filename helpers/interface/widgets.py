"""What is clicked, moved and listened to: choosers, sliders, players. They call what they get."""

import base64
import html
import io
import re
import shutil
from pathlib import Path

import ipywidgets
import matplotlib.pyplot as plt
import numpy as np
import soundfile
from IPython.display import Audio, display

from helpers import config, plots
from helpers.analysis import audio as sound
from helpers.errors import InputError
from helpers.files import numbered, replacing
from helpers.interface import capture, uploads

WIDE = ipywidgets.Layout(width="28em")
SOUNDS = ",".join(["audio/*", "video/*", *sound.EXTENSIONS])  # browsers do not know all of them
TAKE_SECONDS = 300.0  # longest recording for a folder
LONGEST_NAME = 40  # characters


def player(audio, sample_rate):
    """An inline player of audio [n_samples], FLAC inside so that notebooks stay small."""
    element = Audio(data=flac(audio, sample_rate))
    element.mimetype = "audio/flac"
    return element


class _Chooser(ipywidgets.VBox):
    """A list to choose from, to which uploads and recordings are added."""

    def __init__(self, options, accept, seconds=None, multiple=False, title="Choose"):
        """Offers (label, path); with `seconds`, of the longest recording, a microphone too."""
        self._list = ipywidgets.Dropdown(options=options, description=title, layout=WIDE)
        self._says = ipywidgets.HTML()
        # Built before they are shown: Colab has their kind only in what is displayed after that.
        self._upload = uploads.Uploader(accept, multiple)
        self._upload.on_file(self._on_upload)
        buttons, below = [self._list, self._upload], [self._says]
        if seconds is not None:
            self._recorder = capture.BrowserRecorder(seconds)
            self._recorder.on_recording(self._on_recording)
            self._microphone = ipywidgets.VBox()
            record = ipywidgets.Button(description="Microphone", icon="microphone")
            record.on_click(self._record)
            buttons.append(record)
            below.append(self._microphone)
        super().__init__([ipywidgets.HBox(buttons), *below])

    def offer(self, path):
        """Puts a path into the list if it is not there."""
        if path not in [offered for _, offered in self._list.options]:
            self._list.options = [*self._list.options, (_label(path), path)]

    def _offer(self, path):
        """Chooses a path, which is put into the list if it is not there."""
        self.offer(path)
        self._list.value = path

    def _say(self, text):
        self._says.value = html.escape(text)

    def _on_upload(self, name, content):
        try:
            self._take(Path(name).name, content)
        except InputError as error:
            self._say(str(error))

    def _record(self, _button):
        """Shows the browser's recorder."""
        self._microphone.children = (self._recorder,)
        self._say("")

    def _on_recording(self, recording):
        if recording.path is None:  # it could not be written
            self._say(recording.warning)
        else:
            self._take_recording(recording.path)


class Chooser(_Chooser):
    """A list of files to choose from, to which uploads and recordings are added.

    Attributes:
      path: The file that is chosen now; None for the option `none`.
    """

    def __init__(
        self, paths, upload_to, accept, seconds=None, title="Choose", none=None, check=None
    ):
        """Offers files.

        Args:
          paths: Files or folders to offer, the first of them chosen.
          upload_to: Folder that keeps what is uploaded.
          accept: Endings that may be uploaded, such as ".zip" or "audio/*".
          seconds: Longest recording; without it nothing can be recorded.
          title: What is chosen.
          none: What to call the choice of no file, which is then offered first.
          check: Function of a path that raises InputError for an upload that is no use, of which
            nothing is then kept.
        """
        self._upload_to, self._seconds, self._check = Path(upload_to), seconds, check
        self._next = "Run the cells below."
        options = [(_label(path), Path(path)) for path in paths]
        super().__init__([(none, None)] * bool(none) + options, accept, seconds, title=title)

    @property
    def path(self):
        """The chosen file."""
        return self._list.value

    def add(self, path):
        """Adds a file to the list and chooses it."""
        self._offer(Path(path))
        self._say(f"Chosen: {self.path.name}. {self._next}")

    def on_choice(self, callback):
        """Has `callback()` called when another file is chosen."""
        self._next = ""
        self._list.observe(lambda _: callback(), "value")

    def _take(self, name, content):
        path = _keep(content, self._upload_to / name)
        try:
            if self._check is not None:
                self._check(path)
        except InputError as error:
            path.unlink()
            self._say(str(error))
        else:
            self.add(path)

    def _take_recording(self, path):
        self.add(path)

    def _record(self, button):
        """Records with this machine's microphone; without one, shows the browser's recorder."""
        self._say(f"Recording {self._seconds:g} s …")
        try:
            self._on_recording(capture.record(self._seconds, source="local"))
        except InputError:
            super()._record(button)


class FolderChooser(_Chooser):
    """A list of folders of recordings, and the name of the instrument that is to learn from one.

    What is uploaded and recorded goes to a folder of that name, which is then chosen.

    Attributes:
      folder: The folder that is chosen now.
      name: Of the instrument, fit for a file's: letters, digits, "-" and "_".
    """

    def __init__(self, folders, upload_to, seconds=TAKE_SECONDS):
        """Offers folders.

        Args:
          folders: Folders to offer, the first of them chosen.
          upload_to: Folder of one's own folders.
          seconds: Longest recording.
        """
        self._upload_to = Path(upload_to)
        options = [(_label(folder), Path(folder)) for folder in folders]
        super().__init__(options, SOUNDS, seconds, multiple=True)
        self._name = _box("Name", self._on_name)
        self._path = _box("Or its path", self._on_path)
        self._path.placeholder = "such as ~/Music/cello"
        self._list.observe(lambda _: self._name_it(), "value")
        self._name_it()
        self.children = [self._name, *self.children[:1], self._path, *self.children[1:]]

    @property
    def folder(self):
        """The chosen folder."""
        return self._list.value

    @property
    def name(self):
        """The name of the instrument."""
        return self._name.value

    def _name_it(self):
        """Proposes a name: of one's own folder its own, so that uploads are added to it."""
        shipped = self.folder.parent == config.DATA
        self._name.value = (
            f"my_{self.folder.name}" if shipped else _safe(self.folder.name) or "my_own"
        )

    def _on_name(self, change):
        wanted, former = change["new"], change["old"]
        self._name.value = _safe(wanted) or former
        if not _safe(wanted):
            self._say(f"A name needs a letter or a digit: it stays {former}.")

    def _on_path(self, change):
        if change["new"].strip():
            self._choose(Path(change["new"].strip()).expanduser().resolve())

    def _choose(self, folder):
        try:
            n_files = len(sound.find(folder))
        except InputError as error:
            self._say(str(error))
        else:
            self._offer(folder)
            recordings = "1 recording" if n_files == 1 else f"{n_files} recordings"
            self._say(f"Chosen: {folder.name}, with {recordings}. Run the cells below.")

    @property
    def _own(self):
        """Where uploads and recordings go."""
        return self._upload_to / self.name

    def _take(self, name, content):
        _keep(content, self._own / name)
        self._choose(self._own)

    def _take_recording(self, path):
        self._own.mkdir(parents=True, exist_ok=True)
        shutil.move(path, self._own)
        self._choose(self._own)


class LiveFigure:
    """A figure that is drawn anew in its place each time it is called with what to draw."""

    def __init__(self, draw):
        """Takes a function that returns `(figure, axes)` of what the calls are given."""
        self._draw = draw
        self._handle = None

    def __call__(self, *args):
        """Draws, in place of what was drawn before."""
        fig, _ = self._draw(*args)
        if self._handle is None:
            self._handle = display(fig, display_id=True)
        else:
            self._handle.update(fig)
        plt.close(fig)


class TrainingPanel(ipywidgets.VBox):
    """How far a training is, in a sentence, two sounds and a picture; its `report`.

    The picture of the losses is drawn below the panel, and stays in a saved notebook.
    """

    def __init__(self, sample_rate):
        """Shows nothing yet.

        Args:
          sample_rate: Of the instrument, in Hz.
        """
        self._sample_rate = sample_rate
        self._says = ipywidgets.HTML("The first sounds come after some steps of training …")
        self._original, self._played = flac_player(), flac_player()
        self._losses = LiveFigure(plots.loss_curves)
        players = {"Held-out recording": self._original, "As it is played now": self._played}
        super().__init__([side_by_side(players), self._says])

    def __call__(self, progress):
        """Shows a `history.Progress`."""
        if not self._original.value:
            self._original.value = flac(progress.original, self._sample_rate)
        self._played.value = flac(progress.resynthesis, self._sample_rate)
        self._says.value = html.escape(progress.says)
        self._losses(progress)


class DownloadButton(ipywidgets.VBox):
    """A button that hands a file to the browser, wherever the kernel runs."""

    def __init__(self, path):
        """Offers the file of this path."""
        self._path = Path(path)
        button = ipywidgets.Button(
            description=f"Download {self._path.name}", icon="download", layout=WIDE
        )
        button.on_click(self._offer)
        self._link = ipywidgets.HTML()
        super().__init__([button, self._link])

    def _offer(self, _button):
        content = base64.b64encode(self._path.read_bytes()).decode()
        address = f"data:application/octet-stream;base64,{content}"
        name = html.escape(self._path.name)
        self._link.value = f'<a download="{name}" href="{address}">Save {name}</a>'


def clip_chooser(folders, seconds=15.0):
    """A `Chooser` of the clips in folders of `data/`, with upload and microphone.

    What was uploaded and recorded before is offered after them.
    """
    own = [folder for folder in (config.UPLOADS, config.RECORDINGS) if folder.is_dir()]
    paths = [path for folder in folders for path in sound.find(config.DATA / folder)]
    paths += [path for folder in own for path in sound.listing(folder)]
    return Chooser(paths, config.UPLOADS, SOUNDS, seconds)


def recordings_chooser(folders):
    """A `FolderChooser` of folders of `data/`, then those of one's own recordings."""
    own = sorted(folder for folder in config.RECORDED_SETS.glob("[!.]*") if sound.listing(folder))
    return FolderChooser(
        [*(config.DATA / folder for folder in folders), *own], config.RECORDED_SETS
    )


def flac(audio, sample_rate):
    """The bytes of a FLAC file of audio [n_samples]."""
    buffer = io.BytesIO()
    soundfile.write(buffer, np.clip(audio, -1.0, 1.0), int(sample_rate), format="FLAC")
    return buffer.getvalue()


def _label(path):
    return f"{Path(path).parent.name} / {Path(path).stem}"


def _box(description, on_change):
    """A line of text, and what is called when it was changed."""
    box = ipywidgets.Text(description=description, continuous_update=False, layout=WIDE)
    box.observe(on_change, "value")
    return box


def flac_player():
    """A widget that plays FLAC and has nothing to play yet."""
    return ipywidgets.Audio(value=b"", format="flac", autoplay=False, loop=False)


def side_by_side(titled):
    """A row of widgets, given by their titles."""
    return ipywidgets.HBox(
        [
            ipywidgets.VBox([ipywidgets.HTML(f"<b>{title}</b>"), widget])
            for title, widget in titled.items()
        ]
    )


def _safe(name):
    """What of a name can name a file; perhaps nothing."""
    return re.sub(r"[^\w-]+", "_", name)[:LONGEST_NAME].strip("_-")


def _keep(content, path):
    """Writes what the user gave, under another name where the name is taken; returns its path."""
    for target in numbered(path):
        if not target.exists():
            with replacing(target) as unfinished:
                unfinished.write_bytes(content)
            return target
        if target.is_file() and target.read_bytes() == content:
            return target
