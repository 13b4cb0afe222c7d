"""What a gin configuration from anywhere may set, checked as text before gin is given it.

gin calls what a configuration names. So only the parts of instruments may be named, and every
number has a type and a range: numbers outside of it take gigabytes or end the process.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass

import gin

from helpers.errors import InputError
from helpers.instruments.untrusted import or_refuse

MAX_BYTES = 2**15  # of a configuration; gin takes seconds for more
LONGEST_LIST = 32
TEXT = re.compile(r"[\w./]{0,64}")
SHOWN = 60  # characters of what is quoted in a sentence

# The classes that a configuration may name.
CLASSES = {
    "Add",
    "Autoencoder",
    "ConvDecoder",
    "DecayingReverb",
    "FramewiseHarmonic",
    "FramewiseMfccEncoder",
    "FramewiseNoise",
    "FusedSpectralLoss",
    "GruDecoder",
    "PitchFeatures",
    "PlainReverb",
    "PowerDecoder",
    "ProcessorGroup",
    "Reverb",
    "RnnFcDecoder",
    "ScaleFeatures",
    "SpectralLoss",
    "WaveRnn",
}
SETTABLE = CLASSES | {"get_model", "run_dag"}


@dataclass(frozen=True)
class Numbers:
    """The numbers that a setting takes.

    Attributes:
      lowest, highest: Of the numbers.
      whole: They are whole numbers.
      multiple_of: They are multiples of this.
      several: The setting takes a list of them.
    """

    lowest: float
    highest: float
    whole: bool = True
    multiple_of: int = 1
    several: bool = False

    def __contains__(self, number: object) -> bool:
        if type(number) is int:
            return self.lowest <= number <= self.highest and number % self.multiple_of == 0
        return type(number) is float and not self.whole and self.lowest <= number <= self.highest

    def __str__(self) -> str:
        kind = "whole numbers" if self.whole else "numbers"
        multiple = f", multiples of {self.multiple_of}" if self.multiple_of > 1 else ""
        return f"{kind} from {self.lowest:g} to {self.highest:g}{multiple}"


# The numbers that a configuration may hold, by their setting.
NUMBERS = {
    "ch": Numbers(1, 1024),
    "channels": Numbers(1, 512),
    "dilations": Numbers(1, 1024, several=True),
    "envelope_channels": Numbers(2, 320),
    "fft_sizes": Numbers(16, 16384, multiple_of=4, several=True),
    "harmonics": Numbers(1, 320),
    "hop_size": Numbers(16, 1024),
    "initial_bias": Numbers(-16, 16, whole=False),
    "kernel_size": Numbers(1, 8),
    "layers_per_stack": Numbers(1, 8),
    "logmag_weight": Numbers(0, 16, whole=False),
    "loudness_range_db": Numbers(1, 120, whole=False),
    "loudness_weight": Numbers(0, 16, whole=False),
    "mag_weight": Numbers(0, 16, whole=False),
    "noise_bands": Numbers(3, 320),
    "noise_channels": Numbers(2, 320),
    "reverb_length": Numbers(2, 480_000),
    "rnn_channels": Numbers(1, 1024),
    "sample_rate": Numbers(16_000, 96_000),
    "window_frames": Numbers(1, 250),
    "windows": Numbers(1, 64),
    "z_dims": Numbers(1, 256),
}
# Those in `output_splits`, by the name of the control.
CONTROLS = {
    "amps": Numbers(1, 1),
    "harmonic_distribution": NUMBERS["harmonics"],
    "noise_magnitudes": NUMBERS["noise_bands"],
    "harmonic_powers": NUMBERS["harmonics"],
    "envelope": NUMBERS["envelope_channels"],
    "noise_powers": NUMBERS["noise_channels"],
    "conditioning": Numbers(1, 1024),
}
# Numbers are set at the top under their own names, and so named where they are used.
MACROS_OF_CONTROLS = {
    "harmonic_distribution": "harmonics",
    "harmonic_powers": "harmonics",
    "noise_magnitudes": "noise_bands",
}


class Reference(str):
    """The name behind an @."""


class Macro(str):
    """The name behind a %."""


def check_config(text: str, name: str = "The configuration") -> None:
    """Refuses a gin configuration that could do more than describe an instrument.

    It may set and name only what is on the lists above, and name each class once, so that nothing
    is built in circles. A macro is a number, or a list of them, and stands only where its own name
    is set, or one with the same range.

    Args:
      text: The configuration.
      name: What it is called in sentences.

    Raises:
      InputError: Naming the setting and what it may be.
    """
    named = {}  # by setting, of which a later line replaces an earlier one
    for statement in statements(text, name):
        with or_refuse(f"{name} is no configuration of an instrument: take another copy."):
            setting = without_module(statement.selector), statement.arg_name
            named[setting] = _check_setting(statement, name)
    found = [reference for references in named.values() for reference in references]
    for reference in found:
        if reference not in CLASSES or found.count(reference) > 1:
            raise InputError(
                f"{name} names {shown(reference)}, or names it twice: instruments may not."
            )


def statements(text: str, name: str, may_import: tuple[str, ...] = ()) -> Iterator:
    """Yields the settings of a gin configuration; nothing is looked up or called.

    Args:
      text: The configuration.
      name: What it is called in sentences.
      may_import: Modules whose imports are passed over. Nothing is imported.

    Yields:
      gin's statements, with a `Reference` or a `Macro` where a value names something.

    Raises:
      InputError: It has more than settings, or is longer than configurations are.
    """
    if len(text) > MAX_BYTES:
        raise InputError(f"{name} is longer than any instrument's: take another copy.")
    with or_refuse(f"{name} is not written as gin is: take a copy that nobody has edited."):
        parsed = list(gin.config_parser.ConfigParser(text, _Names()))
    for statement in parsed:
        is_import = isinstance(statement, gin.config_parser.ImportStatement)
        if is_import and statement.module in may_import:
            continue
        if not isinstance(statement, gin.config_parser.BindingStatement):
            raise InputError(f"{name} imports, includes or has blocks: only settings may be.")
        yield statement


class _Names(gin.config_parser.ParserDelegate):
    """Takes references and macros as names: nothing is looked up, nothing called."""

    def configurable_reference(self, scoped_configurable_name, evaluate):
        return Reference(scoped_configurable_name)

    def macro(self, scoped_configurable_name):
        return Macro(scoped_configurable_name)


def _check_setting(statement, name):
    """Refuses one line of a configuration, or returns what it names, without the modules."""
    scope, selector, argument, value, _ = statement
    if scope or (argument and without_module(selector) not in SETTABLE):
        raise InputError(f"{name} sets {shown(selector)}, which instruments may not: refused.")
    items, setting = list(_flat(value)), argument or selector
    if len(items) > LONGEST_LIST:
        raise InputError(f"{name} has a longer list than instruments need: take another copy.")
    if argument == "output_splits":
        _check_splits(value, name)
    elif setting in NUMBERS:
        _check_numbers(value, setting, name, bool(argument))
    elif not argument or not all(map(_is_plain, items)):
        raise InputError(
            f"{name} sets {shown(setting)} to what no instrument is set to: take another copy."
        )
    if argument == "dag" and not all(isinstance(node[0], Reference) for node in value):
        raise InputError(f"{name} has a dag that calls nodes by a text: refused.")
    return [without_module(item) for item in items if isinstance(item, Reference)]


def _check_numbers(value, setting, name, may_be_macro):
    """Refuses a value of a setting that takes numbers."""
    if isinstance(value, Macro) and value == setting and may_be_macro:
        return
    numbers = NUMBERS[setting]
    is_list = isinstance(value, (list, tuple))
    if is_list != numbers.several or not all(n in numbers for n in (value if is_list else [value])):
        several = "a list of " if numbers.several else "one of the "
        raise InputError(f"{name} sets {setting} to other than {several}{numbers}: correct it.")


def _is_plain(value):
    """True for what settings are set to that take no numbers."""
    if isinstance(value, str):
        return isinstance(value, Reference) or type(value) is str and TEXT.fullmatch(value)
    return value is None or isinstance(value, bool)


def _check_splits(splits, name):
    """Refuses controls of unknown names, and numbers of them beyond their range."""
    for control, number in splits:
        is_macro = isinstance(number, Macro) and number == MACROS_OF_CONTROLS.get(control)
        if not is_macro and number not in CONTROLS.get(control, ()):
            raise InputError(
                f"{name} has {shown(control)} in output_splits, or a number of it beyond its "
                "range: correct it."
            )


def without_module(reference: str) -> str:
    """The last part of a name; one with a scope stays whole, and so is on no list."""
    return reference if "/" in reference else reference.split(".")[-1]


def shown(value: object) -> str:
    """A value of a configuration, short enough for a sentence."""
    return str(value)[:SHOWN]


def _flat(value):
    """Everything in lists and tuples within each other."""
    if isinstance(value, (list, tuple)):
        for item in value:
            yield from _flat(item)
    else:
        yield value
