"""What can be set of a transfer: one list for the panel, the command line and saved files.

Each field of `Settings` says in its metadata how it is shown: `label`, `unit`, `help`, and the
`range` (lowest, highest, step) of a number or the `choices` of a name.
"""

from dataclasses import Field, asdict, dataclass, field, fields
from numbers import Integral, Real
from typing import Any

from helpers.analysis.keys import CHROMATIC, KEYS
from helpers.errors import InputError

DETECTED = "detected"  # the key that fits the melody best


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
      InputError: A value is outside its range, or something else is set beside `as_is`.
    """

    as_is: bool = _switch(
        False, "As it is", "Play pitch and loudness as they are: nothing fitted, nothing lowered."
    )
    fit_register: bool = _switch(
        True, "Fit the register", "Shift by whole octaves to where the instrument was trained."
    )
    fit_loudness: bool = _switch(
        True, "Fit the loudness", "Give the notes the loudness of the training notes."
    )
    octaves: int = _number(0, -3, 3, 1, "Octaves", "", "Shift of the pitch by octaves.")
    semitones: int = _number(0, -12, 12, 1, "Semitones", "", "Shift of the pitch by semitones.")
    cents: float = _number(0.0, -100, 100, 1, "Fine tuning", "cents", "Fine shift of the pitch.")
    loudness_db: float = _number(
        0.0, -30, 30, 1, "Loudness", "dB", "Play louder or softer; the tone changes too."
    )
    threshold: float = _number(
        0.5, 0.0, 1.0, 0.05, "Note threshold", "", "How certain the pitch of a note has to be."
    )
    quiet_db: float = _number(
        10.0, 0, 60, 1, "Quiet between notes", "dB", "How far the sound is lowered between notes."
    )
    autotune: float = _number(
        0.0, 0.0, 1.0, 0.05, "Autotune", "", "How far notes move to the nearest note of the key."
    )
    key: str = _choice(
        DETECTED, (DETECTED, CHROMATIC, *KEYS), "Key", "The key for autotune, such as D minor."
    )
    vibrato: float = _number(
        0.0, -1.0, 1.0, 0.05, "Vibrato", "", "Below 0 vibrato is removed, above 0 it is added."
    )
    attack_s: float = _number(
        0.0, 0.0, 0.3, 0.01, "Soft attack", "s", "How long notes take to reach their loudness."
    )
    noise_db: float = _number(
        0.0, -30, 30, 1, "Breath", "dB", "Level of the instrument's noise beside its harmonics."
    )
    # Half of the room: in all of it notes ring into each other and blur the melody.
    reverb: float = _number(
        0.5, 0.0, 2.0, 0.05, "Room", "", "Room of the recordings: 0 is none, 1 is as recorded."
    )
    mix: float = _number(
        0.0, 0.0, 1.0, 0.05, "Second instrument", "", "0 is the first instrument, 1 the second."
    )

    def __post_init__(self):
        for setting in fields(self):
            object.__setattr__(self, setting.name, checked(setting, getattr(self, setting.name)))
        others = self.changed().keys() - {"as_is"}
        if self.as_is and others:
            labels = ", ".join(one.metadata["label"] for one in fields(self) if one.name in others)
            raise InputError(
                f"A recording that is played as it is takes no other settings ({labels}): leave "
                "those out, or as_is."
            )

    def changed(self) -> dict[str, Any]:
        """The settings that differ from their defaults, by name."""
        return {
            setting.name: value
            for setting, value in zip(fields(self), asdict(self).values(), strict=True)
            if value != setting.default
        }


def checked(setting: Field, value: Any) -> Any:
    """A value of a field of `Settings`, with the name of a choice as it is spelled in the list.

    Raises:
      InputError: The value is of another type, or outside of the range.
    """
    label, shown = setting.metadata["label"], setting.metadata
    if "choices" in shown:
        spelled = {choice.casefold(): choice for choice in shown["choices"]}
        if str(value).casefold() not in spelled:
            first, second, *_, last = shown["choices"]
            raise InputError(f"{label} is {value!r}: choose {first}, {second}, or one as {last}.")
        return spelled[str(value).casefold()]
    if "range" not in shown:
        return value
    lowest, highest, _ = shown["range"]
    whole = isinstance(setting.default, int)
    is_number = isinstance(value, Integral if whole else Real)
    if not is_number or not lowest <= value <= highest:
        number = "a whole number" if whole else "a number"
        raise InputError(f"{label} is {value!r}: choose {number} from {lowest:g} to {highest:g}.")
    return int(value) if whole else float(value)
