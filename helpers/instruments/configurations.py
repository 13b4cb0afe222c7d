"""Configurations by name, in `gin/`, and the untrained instruments that they describe."""

import re
from pathlib import Path

from helpers.config import SAMPLE_RATE
from helpers.errors import InputError
from helpers.instruments.instrument import PRECISIONS, SAMPLE_RATES, make

CONFIGS = Path(__file__).parent / "gin"


def build(config="small", sample_rate=SAMPLE_RATE, bindings=(), precision="float32"):
    """Builds an untrained instrument.

    Args:
      config: Name of a file in `gin/`, without its ending: "small", "dry" (without a
        room), "autoencoder" (dry, with z), "ddsp" (Google's) or "wavernn" (the baseline).
      sample_rate: Hz: 16000, 24000, 32000, 44100 or 48000. Frames a second, harmonics, noise
        bands, reverb and loss follow from it (`instrument.scale`).
      bindings: gin bindings that override the file's, in its numbers for 16 kHz, such as
        "ConvDecoder.channels = 64".
      precision: "float32", or "mixed_float16" or "mixed_bfloat16" to compute the decoder and the
        encoder in half precision on a GPU; weights, synthesizers and loss are float32 always.

    Returns:
      An `Instrument`.

    Raises:
      InputError: One of these is not to be had.
    """
    _check_choice("configuration", config, names())
    _check_choice("sample rate", sample_rate, SAMPLE_RATES)
    _check_choice("precision", precision, PRECISIONS)
    whole = "\n".join([gin_text(f"{config}.gin"), *bindings])
    rate = None if sample_rate == SAMPLE_RATE else sample_rate
    return make(whole, sample_rate=rate, precision=precision)


def names():
    """The names of the configurations that `build` takes."""
    return sorted(path.stem for path in CONFIGS.glob("*.gin"))


def gin_text(file):
    """A file of `gin/`, with what it includes in place: what is saved has to be whole."""
    text = (CONFIGS / file).read_text(encoding="utf-8")
    return re.sub(r"^include '(.+)'$", lambda found: gin_text(found[1]), text, flags=re.M)


def _check_choice(what, value, choices):
    if value not in choices:
        names = ", ".join(map(str, choices))
        raise InputError(f"There is no {what} {value!r}: choose one of {names}.")
