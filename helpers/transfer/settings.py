"""What can be set of a transfer: one list for the panel, the command line and saved files.

Each field of `Settings` says in its metadata how it is shown: `label`, `unit`, `help`, and the
`range` (lowest, highest, step) of a number or the `choices` of a name.
"""

from dataclasses import asdict, dataclass, field, fields

from helpers.analysis.notes import KEYS
from helpers.errors import InputError


def _switch(default, label, help):
    return field(default=default, metadata={"label": label, "unit": "", "help": help})


def _number(default, lowest, highest, step, label, unit, help):
    shown = {"label": label, "unit": unit, "range": (lowest, highest, step), "help": help}
    return field(default=default, metadata=shown)


def _choice(default, choices, label, help):
    shown = {"label": label, "unit": "", "choices": choices, "help": help}
    return field(default=default, metadata=shown)


@dataclass(frozen=True)
class Settings:
    """Settings of a transfer; by default all is fitted to the instrument and nothing is moved.

    Raises:
      InputError: A value is outside its range.
    """

    fit_register: bool = _switch(
        True, "Fit the register", "Shift by whole octaves to where the instrument was trained."
    )
    fit_loudness: bool = _switch(
        True, "Fit the loudness", "Give the notes the loudness of the training notes."
    )
    octaves: int = _number(0, -3, 3, 1, "Octaves", "", "Shift of the pitch by octaves.")
    semitones: int = _number(0, -12, 12, 1, "Semitones", "", "Shift of the pitch by semitones.")
    cents: float = _number(0.0, -100, 100, 1, "Fine tuning", "cents", "Shift of the pitch.")
    loudness_db: float = _number(
        0.0, -30, 30, 1, "Loudness", "dB", "Play louder or softer; the tone changes with it."
    )
    threshold: float = _number(
        0.5, 0.0, 1.0, 0.05, "Note threshold", "", "How surely pitched a sound is to be a note."
    )
    quiet_db: float = _number(
        10.0, 0, 60, 1, "Quiet between notes", "dB", "How far what is no note is lowered."
    )
    autotune: float = _number(
        0.0, 0.0, 1.0, 0.05, "Autotune", "", "How far notes are drawn to the nearest of the key."
    )
    key: str = _choice("detected", KEYS, "Key", "Whose notes autotune knows.")
    vibrato: float = _number(
        0.0, -1.0, 1.0, 0.05, "Vibrato", "", "Below 0 it is taken out, above 0 added."
    )
    attack_s: float = _number(
        0.0, 0.0, 0.3, 0.01, "Soft attack", "s", "How long notes take to begin."
    )
    noise_db: float = _number(
        0.0, -30, 30, 1, "Breath", "dB", "The instrument's noise against its harmonics."
    )
    # Half of the room: in all of it notes ring into each other, and blur what the voice did.
    reverb: float = _number(
        0.5, 0.0, 2.0, 0.05, "Room", "", "The room of the recordings: 0 is none, 1 theirs."
    )
    mix: float = _number(
        0.0, 0.0, 1.0, 0.05, "Second instrument", "", "From the instrument, 0, to a second, 1."
    )

    def __post_init__(self):
        for setting in fields(self):
            _check(setting, getattr(self, setting.name))

    def changed(self):
        """What is not as it is by default, as a dictionary."""
        return {
            setting.name: value
            for setting, value in zip(fields(self), asdict(self).values(), strict=True)
            if value != setting.default
        }


def _check(setting, value):
    label, shown = setting.metadata["label"], setting.metadata
    if "choices" in shown and value not in shown["choices"]:
        raise InputError(f"{label} is {value!r}: choose one of {', '.join(shown['choices'])}.")
    if "range" in shown:
        lowest, highest, _ = shown["range"]
        if not lowest <= value <= highest:
            raise InputError(f"{label} is {value:g}: choose {lowest:g} to {highest:g}.")
