"""Configurations by name, in `gin/`, and the untrained instruments that they describe."""

import re
from collections.abc import Iterable
from pathlib import Path

from helpers.config import SAMPLE_RATE
from helpers.errors import InputError
from helpers.instruments.instrument import PRECISIONS, SAMPLE_RATES, Instrument, make

CONFIGS = Path(__file__).parent / "gin"


def build(
    config: str = "small",
    sample_rate: int = SAMPLE_RATE,
    bindings: Iterable[str] = (),
    precision: str = "float32",
) -> Instrument:
    """Builds an untrained instrument.

    Args:
      config: Name of a file in `gin/`, without its ending: "analysis" (learns from an analysis),
        "analysis_z" (the same with z), "small" (learns by ear, with a room), "dry" (without one),
        "autoencoder" (dry, with z), "ddsp" (Google's) or "wavernn" (the baseline).
      sample_rate: Hz: 16000, 24000, 32000, 44100 or 48000. Frames a second, harmonics, noise
        bands, reverb and loss follow from it (`instrument.scale`).
      bindings: gin bindings that override those of the file, with numbers for 16 kHz, such as
        "ConvDecoder.channels = 64".
      precision: "float32", or "mixed_float16" or "mixed_bfloat16" to compute the decoder and the
        encoder in half precision on a GPU; weights, synthesizers and loss always are float32.

    Raises:
      InputError: There is no such configuration, sample rate or precision, or a binding is wrong.
    """
    _check_choice("configuration", config, names())
    _check_choice("sample rate", sample_rate, SAMPLE_RATES)
    _check_choice("precision", precision, PRECISIONS)
    whole = "\n".join([gin_text(f"{config}.gin"), *bindings])
    rate = None if sample_rate == SAMPLE_RATE else sample_rate
    return make(whole, sample_rate=rate, precision=precision)


def names() -> list[str]:
    """The names of the configurations that `build` takes."""
    return sorted(path.stem for path in CONFIGS.glob("*.gin"))


def gin_text(file: str) -> str:
    """Reads a file of `gin/`, with the text of the files that it includes."""
    text = (CONFIGS / file).read_text(encoding="utf-8")
    return re.sub(r"^include '(.+)'$", lambda found: gin_text(found[1]), text, flags=re.M)


def _check_choice(what, value, choices):
    if value not in choices:
        names = ", ".join(map(str, choices))
        raise InputError(f"There is no {what} {value!r}: choose one of {names}.")
