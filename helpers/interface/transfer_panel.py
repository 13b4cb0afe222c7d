"""The panel of notebook 03: what is played on what, how, and what came of it."""

import asyncio
import html
import io
import itertools
from dataclasses import fields

import ipywidgets
import matplotlib.pyplot as plt

from helpers import config, plots
from helpers.errors import InputError
from helpers.instruments import bundles
from helpers.interface import choosers, widgets
from helpers.transfer import session
from helpers.transfer.settings import Settings
from helpers.transfer.studio import Studio

GROUPS = {
    "": ("octaves", "semitones", "loudness_db", "autotune"),
    "Pitch": ("fit_register", "cents", "key", "vibrato"),
    "Notes and loudness": ("fit_loudness", "threshold", "quiet_db", "attack_s"),
    "Sound": ("noise_db", "reverb", "mix"),
}
CLIP_FOLDERS = ("voice", "flute")
PICTURE_DPI = 80
SOON_SECONDS = 0.02  # in which other sliders may move before it is played again


class TransferPanel(ipywidgets.VBox):
    """Choosers, sliders, players and pictures of a transfer.

    It plays again when a slider is let go: sound first, then the pictures. Where Python has other
    things to do in between, as in a cell that reads `result`, that is done at once.

    Attributes:
      studio: The `Studio` that does it.
    """

    def __init__(self):
        self.studio = Studio()
        self._due, self._timer = 0, None
        self._stages = self._load, self._play, self._draw_result, self._draw_curves
        self.clips = choosers.clip_chooser(CLIP_FOLDERS)
        self.instruments, self.second, damaged = _instrument_choosers()
        self.rooms = _room_chooser()
        for chooser in (self.clips, self.instruments, self.second, self.rooms):
            chooser.on_choice(lambda: self._outdate(self._load))
        self.controls = {setting.name: _control(setting) for setting in fields(Settings)}
        for control in self.controls.values():
            control.observe(lambda _: self._outdate(self._play), "value")
        self.second.on_choice(self._hear_second)
        self._hear_second()
        # What is uploaded to play can also be mixed in.
        self.instruments.on_choice(lambda: self.second.offer(self.instruments.path))
        self._says = ipywidgets.HTML()
        self._recorded, self._heard = widgets.flac_player(), widgets.flac_player()
        self._pictures = [
            ipywidgets.Image(format="jpeg", layout={"max_width": "100%"}) for _ in range(3)
        ]
        super().__init__(self._laid_out(damaged))
        self._outdate(self._load)

    @property
    def settings(self):
        """`Settings`, as the sliders stand."""
        return Settings(**{name: control.value for name, control in self.controls.items()})

    @property
    def result(self):
        """What is played with all as it is chosen and set now. Shape [n_samples]."""
        self.finish()
        return self.studio.result

    def finish(self):
        """Does at once what is still to be done."""
        while self._due < len(self._stages):
            self._do_next()

    def _laid_out(self, damaged):
        reset = ipywidgets.Button(description="Reset", icon="undo")
        reset.on_click(self._reset)
        players = {"Recording": self._recorded, "Result": self._heard}
        shown, *folded = (
            ipywidgets.VBox([self.controls[name] for name in names]) for names in GROUPS.values()
        )
        more = ipywidgets.Accordion(folded, selected_index=None)
        for i, title in enumerate(itertools.islice(GROUPS, 1, None)):
            more.set_title(i, title)
        more.children[-1].children += (self.second, self.rooms)
        problems = [ipywidgets.HTML(html.escape(sentence)) for sentence in damaged]
        choosers = [self.clips, self.instruments, *problems]
        played = [widgets.side_by_side(players), self._says, shown, more, reset, _Saver(self)]
        return [*choosers, *played, *self._pictures]

    # What is to be done is done stage after stage, from the first that a change concerns.

    def _outdate(self, stage):
        self._due = min(self._due, self._stages.index(stage))
        if self._stages[self._due] == self._load:
            self._says.value = "Listening …"
        self._soon()

    def _soon(self):
        """Has the next stage done once nothing else waits; at once where there is no event loop."""
        try:
            loop = asyncio.get_running_loop()
        except RuntimeError:
            self.finish()
            return
        if self._timer is not None:
            self._timer.cancel()
        self._timer = loop.call_later(SOON_SECONDS, self._step)

    def _step(self):
        if self._due < len(self._stages):
            self._do_next()
            self._soon()

    def _do_next(self):
        stage, self._due = self._stages[self._due], self._due + 1
        try:
            stage()
        except InputError as error:
            self._says.value = f"<b>{html.escape(str(error))}</b>"
            self._due = len(self._stages)

    def _load(self):
        paths = (c.path for c in (self.clips, self.instruments, self.second, self.rooms))
        self.studio.choose(*paths)
        self._recorded.value = widgets.flac(self.studio.audio, self.studio.sample_rate)
        curves = self.studio.curves
        self._pictures[0].value = self._spectrogram("Recording", self.studio.audio, curves.f0_hz)

    def _play(self):
        result = self.studio.play(self.settings)
        self._heard.value = widgets.flac(result, self.studio.sample_rate)
        described = _description(self.studio.instrument.card)
        self._says.value = html.escape(f"{self.studio.adjusted.summary} {described}")

    def _draw_result(self):
        f0_hz = self.studio.adjusted.features.f0_hz
        self._pictures[1].value = self._spectrogram("Result", self.studio.result, f0_hz)

    def _draw_curves(self):
        adjusted = self.studio.adjusted
        fig, axes = plots.aligned(2, height=3.6)
        sounding = adjusted.notes.sounding
        plots.adjusted_curves(self.studio.curves, adjusted.features, sounding, axes=axes)
        self._pictures[2].value = _jpeg(fig)

    def _spectrogram(self, title, audio, f0_hz):
        rates = self.studio.sample_rate, f0_hz, self.studio.curves.frame_rate
        fig, (ax,) = plots.aligned(1, height=2.8)
        plots.spectrogram(audio, *rates, ax=ax, title=title, colorbar=False)
        return _jpeg(fig)

    def _hear_second(self):
        """Lets a second instrument be heard when one is chosen, and not when none is."""
        mix, is_alone = self.controls["mix"], self.second.path is None
        mix.disabled = is_alone
        if is_alone != (mix.value == 0):
            mix.value = 0.0 if is_alone else 0.5

    def _reset(self, _button):
        for setting in fields(Settings):
            self.controls[setting.name].value = setting.default
        self._hear_second()


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
        options = {name: box.value for name, box in self._keep.items()}
        panel = self._panel
        panel.finish()
        try:
            path = panel.studio.save(
                config.RESULTS, panel.settings, ending=self._ending.value, **options
            )
        except (InputError, OSError) as error:
            self._saved.children = (ipywidgets.HTML(html.escape(str(error))),)
        else:
            self._saved.children = (widgets.DownloadButton(path),)


def _instrument_choosers():
    """A chooser of an instrument, one of a second, and what is wrong with those that are damaged.

    Offered are those that ship, those trained here, and what is uploaded.
    """
    listed = bundles.listing(config.CHECKPOINTS, *sorted(config.RUNS.glob("*")))
    paths = [bundle.path for bundle in listed if bundle.card is not None]
    paths.sort(key=lambda path: path.name != "violin")  # what the lesson speaks of comes first
    offered = {"paths": paths, "upload_to": config.RUNS / "uploaded", "accept": ".zip"}
    first = choosers.Chooser(**offered, check=_check_bundle, title="Instrument")
    second = choosers.Chooser(**offered, check=_check_bundle, title="Second one", none="none")
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
    session.load_room(path, config.SAMPLE_RATE)


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
    """An instrument's name, from whom and what it learned, and what to beware of."""
    learned = card.get("training_data", {})
    credit = ", ".join(filter(None, (learned.get("credit"), learned.get("licence"))))
    name = card.get("name", "without a name")
    described = f"Instrument: {name} ({credit})." if credit else f"Instrument: {name}."
    return f"{described} {card.get('warning', '')}".strip()


def _jpeg(fig):
    """A figure's picture, a tenth of the size of a PNG; the figure is closed."""
    buffer = io.BytesIO()
    fig.savefig(buffer, format="jpeg", dpi=PICTURE_DPI)
    plt.close(fig)
    return buffer.getvalue()
