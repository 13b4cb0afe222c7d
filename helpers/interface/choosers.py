"""Choosers: lists of files and folders to choose from, with an upload and a microphone beside."""

import contextlib
import html
import os
import re
import shutil
from collections.abc import Callable, Iterable
from pathlib import Path

import ipywidgets

from helpers import config
from helpers.analysis import audio as sound
from helpers.errors import InputError
from helpers.files import explaining, free_name, numbered, replacing
from helpers.interface import capture, uploads
from helpers.interface.widgets import WIDE, printable

SOUNDS = ",".join(["audio/*", "video/*", *sound.EXTENSIONS])  # browsers do not know all of them
TAKE_SECONDS = 300.0  # longest recording for a folder
LONGEST_NAME = 40  # characters, of an instrument
LONGEST_STEM, LONGEST_SUFFIX = 180, 20  # bytes, of the name of a file: systems take 255 in all


def label_of(path: Path) -> str:
    """What a file is called in a list, if nothing else is given: its folder and its name."""
    return printable(f"{Path(path).parent.name} / {Path(path).stem}")


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
        self._rows = [ipywidgets.HBox(buttons), *below]
        super().__init__(self._rows)

    def offer(self, path: Path) -> None:
        """Puts a path into the list if it is not there."""
        if path not in [offered for _, offered in self._list.options]:
            self._list.options = [*self._list.options, (label_of(path), path)]

    def _offer(self, path):
        """Chooses a path, which is put into the list if it is not there."""
        self.offer(path)
        self._list.value = path

    def _say(self, text):
        self._says.value = html.escape(printable(text))

    @contextlib.contextmanager
    def _saying(self):
        """Says in the widget what is wrong, where a traceback would be seen by nobody."""
        try:
            yield
        except InputError as error:
            self._say(str(error))

    def _on_upload(self, name, content):
        with self._saying():
            self._take(_file_name(name), content)

    def _record(self, _button):
        """Shows the browser's recorder."""
        self._microphone.children = (self._recorder,)
        self._say("")

    def _on_recording(self, recording):
        if recording.path is None:  # it could not be written
            self._say(recording.warning)
            return
        with self._saying():
            self._take_recording(recording.path)


class Chooser(_Chooser):
    """A list of files to choose from, to which uploads and recordings are added.

    Attributes:
      path: The file that is chosen now; None for the option `none`.
    """

    def __init__(
        self,
        paths: Iterable[Path],
        upload_to: Path,
        accept: str,
        seconds: float | None = None,
        title: str = "Choose",
        none: str | None = None,
        check: Callable[[Path], object] | None = None,
        label: Callable[[Path], str] = label_of,
    ) -> None:
        """Offers files.

        Args:
          paths: Files or folders to offer, the first of them chosen.
          upload_to: Folder that keeps what is uploaded.
          accept: Endings that may be uploaded, such as ".zip" or "audio/*".
          seconds: Longest recording; without it nothing can be recorded.
          title: What is chosen.
          none: What to call the choice of no file, which is then offered first.
          check: Function of a path that raises InputError for an upload that cannot be used, of
            which nothing is then kept.
          label: Function of a path that gives what it is called in the list.
        """
        self._upload_to, self._check = Path(upload_to), check
        self._next = "Run the cells below."
        options = [(label(Path(path)), Path(path)) for path in paths]
        super().__init__([(none, None)] * bool(none) + options, accept, seconds, title=title)

    @property
    def path(self) -> Path | None:
        """The chosen file."""
        return self._list.value

    def add(self, path: str | Path) -> None:
        """Adds a file to the list and chooses it."""
        self._offer(Path(path))
        self._say(f"Chosen: {Path(path).name}. {self._next}")

    def on_choice(self, callback: Callable[[], object]) -> None:
        """Has `callback()` called when another file is chosen."""
        self._next = ""
        self._list.observe(lambda _: callback(), "value")

    def _take(self, name, content):
        self.add(_keep(content, self._upload_to / name, self._check))

    def _take_recording(self, path):
        self.add(path)

    def _record(self, button):
        """Records with this machine's microphone; without one, shows the browser's recorder."""
        seconds = self._recorder.seconds
        self._say(f"Recording {seconds:g} s …")
        try:
            self._on_recording(capture.record(seconds, source="local"))
        except InputError:
            super()._record(button)


class FolderChooser(_Chooser):
    """A list of folders of recordings, and the name of the instrument that is to learn from one.

    What is uploaded and recorded goes to a folder of that name, which is then chosen.

    Attributes:
      folder: The folder that is chosen now.
      name: Of the instrument, fit for a file's: letters, digits, "-" and "_".
    """

    def __init__(
        self, folders: Iterable[Path], upload_to: Path, seconds: float = TAKE_SECONDS
    ) -> None:
        """Offers folders.

        Args:
          folders: Folders to offer, the first of them chosen.
          upload_to: Folder of one's own folders.
          seconds: Longest recording.
        """
        self._upload_to = Path(upload_to)
        options = [(label_of(folder), Path(folder)) for folder in folders]
        super().__init__(options, SOUNDS, seconds, multiple=True)
        self._name = _box("Name", self._on_name)
        self._path = _box("Or its path", self._on_path)
        self._path.placeholder = "such as ~/Music/cello"
        self._list.observe(lambda _: self._name_it(), "value")
        self._name_it()
        self.children = [self._name, self._rows[0], self._path, *self._rows[1:]]

    @property
    def folder(self) -> Path:
        """The chosen folder."""
        return self._list.value

    @property
    def name(self) -> str:
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
        text = change["new"].strip()
        if text:
            with self._saying(), explaining(f"The folder {text} cannot be read"):
                self._choose(Path(os.path.abspath(os.path.expanduser(text))))

    def _choose(self, folder):
        n_files = len(sound.find(folder))
        self._offer(folder)
        recordings = "1 recording" if n_files == 1 else f"{n_files} recordings"
        self._say(f"Chosen: {folder.name}, with {recordings}. Run the cells below.")

    @property
    def _own(self):
        """Where uploads and recordings go."""
        return self._upload_to / self.name

    def _take(self, name, content):
        _keep(content, self._own / name, sound.rate_of)
        self._choose(self._own)

    def _take_recording(self, path):
        with explaining(f"{path} cannot be moved to {self._own}"):
            self._own.mkdir(parents=True, exist_ok=True)
            shutil.move(path, free_name(self._own / path.name))
        self._choose(self._own)


def clip_chooser(folders: Iterable[str], seconds: float = 15.0) -> Chooser:
    """A `Chooser` of the clips in folders of `data/`, with upload and microphone.

    What was uploaded and recorded before is offered after them.
    """
    own = [folder for folder in (config.UPLOADS, config.RECORDINGS) if folder.is_dir()]
    paths = [path for folder in folders for path in sound.find(config.DATA / folder)]
    paths += [path for folder in own for path in sound.listing(folder)]
    return Chooser(paths, config.UPLOADS, SOUNDS, seconds, check=sound.rate_of)


def recordings_chooser(folders: Iterable[str]) -> FolderChooser:
    """A `FolderChooser` of folders of `data/`, then those of one's own recordings."""
    own = sorted(folder for folder in config.RECORDED_SETS.glob("[!.]*") if sound.listing(folder))
    return FolderChooser(
        [*(config.DATA / folder for folder in folders), *own], config.RECORDED_SETS
    )


def _box(description, on_change):
    """A line of text, and what is called when it was changed."""
    box = ipywidgets.Text(description=description, continuous_update=False, layout=WIDE)
    box.observe(on_change, "value")
    return box


def _safe(name):
    """The part of an instrument's name that can name a file; perhaps nothing."""
    return re.sub(r"[^\w-]+", "_", name)[:LONGEST_NAME].strip("_-")


def _file_name(name):
    """A name for an uploaded file that any system takes: short, not hidden, without a folder."""
    name = re.split(r"[/\\]", name)[-1].lstrip(". ")
    name = "".join(letter if letter.isprintable() else "_" for letter in name) or "upload"
    stem, suffix = Path(name).stem, Path(name).suffix
    return _shortened(stem, LONGEST_STEM) + _shortened(suffix, LONGEST_SUFFIX)


def _shortened(text, n_bytes):
    return text.encode("utf-8")[:n_bytes].decode("utf-8", "ignore")


def _keep(content, path, check=None):
    """Writes an uploaded file, under another name where the name is taken; returns its path.

    An upload that `check` refuses leaves everything as it was.
    """
    for target in numbered(path):
        if not os.path.lexists(target):
            _write(content, target, check)
            return target
        if _holds(target, content):
            if check is not None:
                check(target)
            return target


def _write(content, target, check):
    try:
        with replacing(target) as unfinished:
            unfinished.write_bytes(content)
            if check is not None:
                check(unfinished)
    except InputError:
        with contextlib.suppress(OSError):  # if it holds other uploads
            target.parent.rmdir()
        raise


def _holds(path, content):
    """Whether a file has this content."""
    with explaining(f"{path} cannot be read"):
        same_size = path.is_file() and path.stat().st_size == len(content)
        return same_size and path.read_bytes() == content
