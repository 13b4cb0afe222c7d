"""The panel of notebook 03: choosers, sliders, players and pictures of a transfer."""

import asyncio
import functools
import html
import io
import itertools
from dataclasses import fields

import ipywidgets
import matplotlib.pyplot as plt
import numpy as np

from helpers import config, plots
from helpers.errors import InputError
from helpers.files import explaining
from helpers.instruments import bundles
from helpers.interface import choosers, widgets
from helpers.transfer.session import Session, load_room
from helpers.transfer.settings import Settings

GROUPS = {
    "": ("octaves", "semitones", "loudness_db", "autotune"),
    "Pitch": ("fit_register", "cents", "key", "vibrato"),
    "Notes and loudness": ("as_is", "fit_loudness", "threshold", "quiet_db", "attack_s"),
    "Sound": ("noise_db", "reverb", "mix"),
}
CLIP_FOLDERS = ("voice", "flute")
PICTURE_DPI = 80
SOON_SECONDS = 0.02  # in which other sliders may move before it is played again


class TransferPanel(ipywidgets.VBox):
    """Choosers, sliders, players and pictures of a transfer.

    It plays again when a slider is released: sound first, then the pictures. A cell that reads
    `result` or calls `finish` does not wait for the event loop: all that is due is done at once.
    """

    def __init__(self) -> None:
        self._session: Session | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._due, self._problem = 0, ""
        self._stages = self._load, self._play, self._draw_result, self._draw_curves
        self.clips = choosers.clip_chooser(CLIP_FOLDERS)
        self.instruments, self.second, damaged = _instrument_choosers()
        self.rooms = _room_chooser()
        for chooser in (self.clips, self.instruments, self.second, self.rooms):
            chooser.on_choice(lambda: self._outdate(self._load))
        self.controls = {setting.name: _control(setting) for setting in fields(Settings)}
        for control in self.controls.values():
            control.observe(lambda _: self._outdate(self._play), "value")
        self.second.on_choice(self._choose_mix)
        self.controls["as_is"].observe(lambda _: self._enable(), "value")
        self._choose_mix()
        # What is uploaded to play can also be mixed in.
        self.instruments.on_choice(lambda: self.second.offer(self.instruments.path))
        self._summary = ipywidgets.HTML()
        self._recorded, self._played = map(widgets.empty_player, ("mp3", "flac"))
        self._pictures = [
            ipywidgets.Image(format="jpeg", layout={"max_width": "100%"}) for _ in range(3)
        ]
        super().__init__(self._laid_out(damaged))
        self._outdate(self._load)

    @property
    def session(self) -> Session:
        """The `Session` that plays.

        Raises:
          InputError: There is none, with what the panel says of it.
        """
        if self._session is None:
            raise InputError(self._problem or "Nothing is loaded yet: wait for the panel.")
        return self._session

    @property
    def settings(self) -> Settings:
        """The `Settings` of the sliders; as it is, a recording is played without them."""
        if self.controls["as_is"].value:
            return Settings(as_is=True)
        return Settings(**{name: control.value for name, control in self.controls.items()})

    @property
    def result(self) -> np.ndarray:
        """The result of all that is chosen and set now. Shape [n_samples].

        Raises:
          InputError: There is none, with what the panel says of it.
        """
        self.finish()
        if self._problem:
            raise InputError(self._problem)
        return self.session.result

    def finish(self) -> None:
        """Does at once what is due."""
        while self._is_due():
            self._do_next()

    def _laid_out(self, damaged):
        reset = ipywidgets.Button(description="Reset", icon="undo")
        reset.on_click(self._reset)
        players = {"Recording": self._recorded, "Result": self._played}
        shown, *folded = (
            ipywidgets.VBox([self.controls[name] for name in names]) for names in GROUPS.values()
        )
        more = ipywidgets.Accordion(folded, selected_index=None)
        for i, title in enumerate(itertools.islice(GROUPS, 1, None)):
            more.set_title(i, title)
        more.children[-1].children += (self.second, self.rooms)
        problems = [ipywidgets.HTML(html.escape(sentence)) for sentence in damaged]
        choosers = [self.clips, self.instruments, *problems]
        played = [widgets.side_by_side(players), self._summary, shown, more, reset, _Saver(self)]
        return [*choosers, *played, *self._pictures]

    # Stages are done one after another, from the first that a change concerns; a stage that fails
    # stays due, and is tried again at the next change.

    def _outdate(self, stage):
        self._due, self._problem = min(self._due, self._stages.index(stage)), ""
        if self._stages[self._due] == self._load:
            self._summary.value = "Analysing …"
        self._soon()

    def _is_due(self):
        return self._due < len(self._stages) and not self._problem

    def _soon(self):
        """Schedules the next stage; without an event loop all stages are done at once."""
        try:
            loop = asyncio.get_running_loop()
        except RuntimeError:
            self.finish()
            return
        if self._timer is not None:
            self._timer.cancel()
        self._timer = loop.call_later(SOON_SECONDS, self._step)

    def _step(self):
        if self._is_due():
            self._do_next()
            self._soon()

    def _do_next(self):
        # Counted first: the kernel may take in a change, which sets it back, during the stage.
        stage, self._due = self._stages[self._due], self._due + 1
        try:
            with explaining("This cannot be played"):
                stage()
        except InputError as error:
            self._fail(stage, str(error))
        except Exception as error:  # a fault of the program, which the event loop would hide
            self._fail(stage, f"The program failed: {type(error).__name__}: {error}.")
            raise

    def _fail(self, stage, sentence):
        """Shows why there is no result, and none of what was before."""
        self._due = min(self._due, self._stages.index(stage))
        self._problem = sentence
        self._summary.value = f"<b>{html.escape(sentence)}</b>"
        self._played.value = self._pictures[1].value = self._pictures[2].value = b""
        if stage == self._load:
            self._recorded.value = self._pictures[0].value = b""

    def _load(self):
        instrument, clip = self.instruments.path, self.clips.path
        if clip is None:
            raise InputError("There is no recording: upload one, or record one.")
        if instrument is None:
            raise InputError(
                "There is no instrument that can be played: upload a bundle, or train one in "
                "notebook 2."
            )
        others = {"second": self.second.path, "room": self.rooms.path}
        if self._session is None:
            self._session = Session(instrument, **others)
        else:
            self._session.choose(instrument, **others)
        self._enable()
        self._session.open(clip)
        recording = self.session.recording
        self._recorded.value = widgets.mp3(recording.audio, self.session.instrument.sample_rate)
        self._pictures[0].value = self._spectrogram(
            "Recording", recording.audio, recording.features
        )

    def _play(self):
        result = self.session.play(self.settings)
        instrument = self.session.instrument
        self._played.value = widgets.flac(result, instrument.sample_rate)
        text = f"{self.session.adjusted.summary} {_description(instrument.card)}"
        self._summary.value = html.escape(text)

    def _draw_result(self):
        features = self.session.adjusted.features
        self._pictures[1].value = self._spectrogram("Result", self.session.result, features)

    def _draw_curves(self):
        features, adjusted = self.session.recording.features, self.session.adjusted
        fig, axes = plots.aligned(2, height=3.6)
        plots.adjusted_curves(features, adjusted.features, adjusted.notes.sounding, axes=axes)
        self._pictures[2].value = _jpeg(fig)

    def _spectrogram(self, title, audio, features):
        rates = self.session.instrument.sample_rate, features.f0_hz, features.frame_rate
        fig, (ax,) = plots.aligned(1, height=2.8)
        plots.spectrogram(audio, *rates, ax=ax, title=title, colorbar=False)
        return _jpeg(fig)

    def _choose_mix(self):
        """Sets a mix when a second instrument is chosen, and none when none is."""
        mix, is_alone = self.controls["mix"], self.second.path is None
        if is_alone != (mix.value == 0):
            mix.value = 0.0 if is_alone else 0.5
        self._enable()

    def _enable(self):
        """Allows what changes the sound: a mix of two instruments, the level of a room there is.

        Played as it is, a sound has no settings.
        """
        without = {"mix": self.second.path is None, "reverb": self._session and not self._has_room}
        as_is = self.controls["as_is"].value
        for name, control in self.controls.items():
            control.disabled = name != "as_is" and bool(as_is or without.get(name))

    @property
    def _has_room(self):
        played = self.session.player.instruments
        return bool(self.rooms.path) or any(instrument.echoes.any() for instrument in played)

    def _reset(self, _button):
        for setting in fields(Settings):
            self.controls[setting.name].value = setting.default
        self._choose_mix()


class _Saver(ipywidgets.HBox):
    """Writes the result into `results/` and hands it to the browser."""

    def __init__(self, panel):
        self._panel = panel
        self._ending = ipywidgets.Dropdown(options=[".wav", ".flac"], layout={"width": "6em"})
        self._keep = {
            "keep_rate": _check_box(False, "At the recording's sample rate"),
            "keep_loudness": _check_box(False, "At the recording's loudness"),
        }
        save = ipywidgets.Button(description="Save", icon="save")
        save.on_click(self._save)
        self._saved = ipywidgets.VBox()
        super().__init__([save, self._ending, *self._keep.values(), self._saved])

    def _save(self, _button):
        keep = {name: box.value for name, box in self._keep.items()}
        try:
            with explaining("The result cannot be saved"):
                self._panel.result  # noqa: B018  with all that is due, or the reason for none
                path = self._panel.session.save(config.RESULTS, ending=self._ending.value, **keep)
        except InputError as error:
            self._saved.children = (ipywidgets.HTML(html.escape(str(error))),)
        else:
            self._saved.children = (widgets.DownloadButton(path),)


def _instrument_choosers():
    """A chooser of an instrument, one of a second, and what is wrong with those that are damaged.

    Offered are those that ship, those trained here, and what is uploaded.
    """
    listed = bundles.listing(config.CHECKPOINTS, *sorted(config.RUNS.glob("*")))
    paths = [bundle.path for bundle in listed if bundle.card is not None]
    paths.sort(key=lambda path: path.name != "violin")  # the one that the notebook plays is first
    titles = {bundle.path: bundle.card.get("title") for bundle in listed if bundle.card}

    def label(path):
        return titles.get(path) or choosers.label_of(path)

    offered = paths, config.RUNS / "uploaded", ".zip"
    chooser = functools.partial(choosers.Chooser, *offered, check=_check_bundle, label=label)
    first, second = chooser(title="Instrument"), chooser(title="Second one", none="none")
    return first, second, [bundle.problem for bundle in listed if bundle.card is None]


def _check_bundle(path):
    problem = bundles.listed(path).problem
    if problem:
        raise InputError(problem)


def _room_chooser():
    folder = config.UPLOADS / "rooms"
    paths = sorted(folder.glob("[!.]*"))
    own = "the instrument's recordings"
    return choosers.Chooser(
        paths, folder, choosers.SOUNDS, title="Room from", none=own, check=_check_room
    )


def _check_room(path):
    load_room(path, config.SAMPLE_RATE)


def _control(setting):
    """The widget of a field of `Settings`."""
    shown = setting.metadata
    if isinstance(setting.default, bool):
        control = _check_box(setting.default, shown["label"])
    elif "choices" in shown:
        control = ipywidgets.Dropdown(options=shown["choices"], value=setting.default)
        control.description = shown["label"]
    else:
        control = _slider(setting)
    control.style.description_width, control.layout = "12em", widgets.WIDE
    # ipywidgets 7, which Colab has, names it otherwise than 8 does.
    tooltip = "tooltip" if control.has_trait("tooltip") else "description_tooltip"
    control.set_trait(tooltip, shown["help"])
    return control


def _slider(setting):
    lowest, highest, step = setting.metadata["range"]
    unit = setting.metadata["unit"]
    label = setting.metadata["label"] + (f" ({unit})" if unit else "")
    options = {"min": lowest, "max": highest, "step": step, "value": setting.default}
    options |= {"description": label, "continuous_update": False}
    if isinstance(setting.default, int):
        return ipywidgets.IntSlider(**options)
    return ipywidgets.FloatSlider(**options, readout_format=".2f" if step < 1 else ".0f")


def _check_box(value, label):
    return ipywidgets.Checkbox(value=value, description=label, indent=False)


def _description(card):
    """An instrument's name, the credit for its recordings, and its warning if it has one."""
    return f"Instrument: {bundles.credit_line(card)}. {card.get('warning', '')}".strip()


def _jpeg(fig):
    """A figure's picture, a tenth of the size of a PNG; the figure is closed."""
    buffer = io.BytesIO()
    fig.savefig(buffer, format="jpeg", dpi=PICTURE_DPI)
    plt.close(fig)
    return buffer.getvalue()
