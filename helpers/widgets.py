"""What is clicked, moved and listened to: choosers, sliders, players. They call what they get."""

import base64
import io
from pathlib import Path

import ipywidgets
import matplotlib.pyplot as plt
import numpy as np
import soundfile
from IPython.display import Audio, display

from helpers import audio as sound
from helpers import capture, config, plots
from helpers.errors import InputError
from helpers.files import replacing

WIDE = ipywidgets.Layout(width="28em")
LABEL = {"description_width": "10em"}


def player(audio, sample_rate):
    """An inline player of audio [n_samples], FLAC inside so that notebooks stay small."""
    element = Audio(data=_flac(audio, sample_rate))
    element.mimetype = "audio/flac"
    return element


class Chooser(ipywidgets.VBox):
    """A list of files to choose from, to which uploads and recordings are added.

    Attributes:
      path: The file that is chosen now.
    """

    def __init__(self, paths, upload_to, accept, seconds=None):
        """Offers files.

        Args:
          paths: Files or folders to offer, the first of them chosen.
          upload_to: Folder that keeps what is uploaded.
          accept: Endings that may be uploaded, such as ".zip" or "audio/*".
          seconds: Longest recording; without it nothing can be recorded.
        """
        self._upload_to = Path(upload_to)
        self._list = ipywidgets.Dropdown(
            options=[(_label(path), Path(path)) for path in paths],
            description="Choose",
            layout=WIDE,
        )
        self._upload = ipywidgets.FileUpload(accept=accept, multiple=False, description="Upload")
        self._upload.observe(self._on_upload, "value")
        self._says = ipywidgets.HTML()
        buttons, below = [self._list, self._upload], [self._says]
        if seconds is not None:
            record = ipywidgets.Button(description="Microphone", icon="microphone")
            record.on_click(lambda _: self._record(seconds))
            self._microphone = ipywidgets.VBox()
            # Built before it is shown: Colab has its kind only in what is displayed after that.
            self._recorder = capture.BrowserRecorder(seconds)
            self._recorder.on_recording(self._on_recording)
            buttons.append(record)
            below.append(self._microphone)
        super().__init__([ipywidgets.HBox(buttons), *below])

    @property
    def path(self):
        """The chosen file."""
        return self._list.value

    def add(self, path):
        """Adds a file to the list and chooses it."""
        path = Path(path)
        self._list.options = [*self._list.options, (_label(path), path)]
        self._list.value = path
        self._says.value = f"Chosen: {path.name}. Run the cells below."

    def _on_upload(self, change):
        for name, content in _uploaded(change["new"]):
            target = self._upload_to / Path(name).name
            with replacing(target) as unfinished:
                unfinished.write_bytes(content)
            self.add(target)

    def _record(self, seconds):
        """Records with this machine's microphone, or shows the browser's recorder."""
        self._says.value = f"Recording {seconds:g} s …"
        try:
            self._on_recording(capture.record(seconds, source="local"))
        except InputError:
            self._microphone.children = (self._recorder,)
            self._says.value = ""

    def _on_recording(self, recording):
        if recording.path is None:  # it could not be written
            self._says.value = recording.warning
        else:
            self.add(recording.path)


class TransferPanel(ipywidgets.VBox):
    """Sliders, players and spectrograms of a transfer; it plays again when a slider is let go.

    Attributes:
      result: What was played last. Shape [n_samples].
    """

    def __init__(self, play, original, sample_rate):
        """Shows the panel with the sliders at rest.

        Args:
          play: Function of octaves, semitones and loudness_db that returns audio [n_samples].
          original: The recording, at the same rate. Shape [n_samples].
          sample_rate: Hz.
        """
        self._play, self._original, self._sample_rate = play, original, sample_rate
        self.octaves = _slider(ipywidgets.IntSlider, "Octaves", -3, 3, 1)
        self.semitones = _slider(ipywidgets.FloatSlider, "Semitones", -12, 12, 0.5)
        self.loudness_db = _slider(ipywidgets.FloatSlider, "Loudness (dB)", -30, 30, 1)
        reset = ipywidgets.Button(description="Reset", icon="undo")
        reset.on_click(self._reset)
        self._sliders = (self.octaves, self.semitones, self.loudness_db)
        self._picture = ipywidgets.Image(format="jpeg", layout={"max_width": "100%"})
        self._heard = ipywidgets.Audio(value=b"", format="flac", autoplay=False, loop=False)
        self._resetting = False
        for slider in self._sliders:
            slider.observe(self._update, "value")
        recorded = ipywidgets.Audio(
            value=_flac(original, sample_rate), format="flac", autoplay=False, loop=False
        )
        players = ipywidgets.HBox(
            [
                ipywidgets.VBox([ipywidgets.HTML("<b>Original</b>"), recorded]),
                ipywidgets.VBox([ipywidgets.HTML("<b>Result</b>"), self._heard]),
            ]
        )
        super().__init__([*self._sliders, reset, players, self._picture])
        self._update()

    def _reset(self, _button):
        self._resetting = True
        for slider in self._sliders:
            slider.value = 0
        self._resetting = False
        self._update()

    def _update(self, _change=None):
        if self._resetting:
            return
        self.result = self._play(*(slider.value for slider in self._sliders))
        self._heard.value = _flac(self.result, self._sample_rate)
        sounds = {"original": self._original, "result": self.result}
        fig, _ = plots.above_one_another(sounds, self._sample_rate)
        buffer = io.BytesIO()
        fig.savefig(buffer, format="jpeg", dpi=80)  # a tenth of the size of a PNG
        plt.close(fig)
        self._picture.value = buffer.getvalue()


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
        self._link.value = (
            f'<a download="{self._path.name}" href="data:application/zip;base64,{content}">'
            f"Save {self._path.name}</a>"
        )


def clip_chooser(folders, seconds=15.0):
    """A `Chooser` of the clips in folders of `data/`, with upload and microphone.

    What was uploaded and recorded before is offered after them.
    """
    own = [folder for folder in (config.UPLOADS, config.RECORDINGS) if folder.is_dir()]
    paths = [path for folder in folders for path in sound.find(config.DATA / folder)]
    paths += [path for folder in own for path in sound.listing(folder)]
    return Chooser(paths, config.UPLOADS, "audio/*,video/*", seconds)


def instrument_chooser():
    """A `Chooser` of the instruments that ship and of those trained here, with upload of a zip."""
    cards = [
        *config.CHECKPOINTS.glob("*/model_card.json"),
        *config.RUNS.glob("*/*/model_card.json"),
    ]
    zips = config.CHECKPOINTS.glob("*.zip")
    return Chooser([*(card.parent for card in cards), *zips], config.CHECKPOINTS, ".zip")


def _flac(audio, sample_rate):
    buffer = io.BytesIO()
    soundfile.write(buffer, np.clip(audio, -1.0, 1.0), int(sample_rate), format="FLAC")
    return buffer.getvalue()


def _slider(kind, description, low, high, step):
    return kind(
        value=0,
        min=low,
        max=high,
        step=step,
        description=description,
        continuous_update=False,
        style=LABEL,
        layout=WIDE,
    )


def _label(path):
    return f"{Path(path).parent.name} / {Path(path).stem}"


def _uploaded(value):
    """Name and bytes of each upload; ipywidgets 7 (as in Colab) and 8 differ in how they say it."""
    if isinstance(value, dict):
        return [(name, bytes(upload["content"])) for name, upload in value.items()]
    return [(upload["name"], bytes(upload["content"])) for upload in value]
