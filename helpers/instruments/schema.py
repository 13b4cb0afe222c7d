"""What the statistics and the card of a bundle may hold, read from anywhere and before saving.

Keys that are not named here are kept, if they are plain: finite numbers, texts, and lists and
dictionaries of them.
"""

from typing import Annotated

import pydantic
from pydantic import AfterValidator, BeforeValidator, ConfigDict, Field, StringConstraints
from typing_extensions import TypeAliasType

from helpers.analysis import features
from helpers.errors import InputError

PRINTABLE = r"^[^\x00-\x08\x0b-\x1f\x7f]*$"  # no control characters, which move a terminal's cursor

Name = Annotated[str, StringConstraints(min_length=1, max_length=200, pattern=PRINTABLE)]
Text = Annotated[str, StringConstraints(max_length=20_000, pattern=PRINTABLE)]
Count = Annotated[int, Field(ge=0, le=10**12)]
Number = Annotated[float, Field(ge=-1e12, le=1e12)]
Midi = Annotated[float, Field(ge=0.0, le=150.0)]
Decibels = Annotated[float, Field(ge=-300.0, le=300.0)]
Rate = Annotated[int, Field(ge=1, le=1_000_000)]
Whole = Annotated[int, Field(ge=-(10**12), le=10**12)]
Plain = TypeAliasType(  # type: ignore[misc]  # mypy does not know that it may hold itself
    "Plain",
    bool | Whole | Number | Text | None | list["Plain"] | dict[Name, "Plain"],  # type: ignore[misc]
)


def _known(profile):
    features.check_profile(profile)
    return profile


Profile = Annotated[str, AfterValidator(_known)]


def _nan_to_none(value):
    """A metric that has no value, which early bundles have as NaN, as None."""
    return None if isinstance(value, float) and value != value else value


class _Checked(pydantic.BaseModel):
    """Keeps what is not named, and nothing of another type than it should have."""

    model_config = ConfigDict(extra="allow", strict=True, allow_inf_nan=False)
    __pydantic_extra__: dict[Name, Plain] = Field(init=False)


class PitchRange(_Checked):
    """What was played, as MIDI numbers."""

    mean: Midi
    low: Midi | None = None
    high: Midi | None = None


class Statistics(_Checked):
    """What the training data played."""

    loudness_db_percentiles: Annotated[list[Decibels], Field(min_length=101, max_length=101)]
    pitch_midi: PitchRange
    feature_profile: Profile = features.PROFILE
    sample_rate: Rate | None = None
    frame_rate: Rate | None = None
    files: Count | None = None
    examples: Count | None = None


class TrainingData(_Checked):
    """What an instrument learned from, who made that, and whether all of it was played."""

    is_recorded: bool | None = None
    files: Count | None = None
    examples: Count | None = None
    credit: Text | None = None
    licence: Text | None = None


Figure = Annotated[Number | None, BeforeValidator(_nan_to_none)]


class Spectrum(_Checked):
    """Spectrum of the resynthesis of held-out examples beside theirs, from `evaluation.spectrum`.

    Old cards have none. Figures by band are under names such as "200-500", in Hz.
    """

    band_edge_hz: Figure = None
    level_db: dict[Name, Figure] = {}
    harmonic_share: dict[Name, Figure] = {}
    harmonic_share_of_recording: dict[Name, Figure] = {}
    mfcc_distance: Figure = None


class Card(_Checked):
    """What an instrument is, from what it learned, by whom, and how good it is."""

    name: Name | None = None
    title: Name | None = None
    feature_profile: Profile | None = None
    sample_rate: Rate | None = None
    frame_rate: Rate | None = None
    parameters: Count | None = None
    training_data: TrainingData = TrainingData()
    fine_tuned_from: list[Name] = []
    steps: Count | None = None
    heldout: dict[Name, Figure] = {}
    spectrum: Spectrum = Spectrum()
    versions: dict[Name, Text] = {}
    origin: Text | None = None
    warning: Text | None = None


def read_statistics(text: str, what: str) -> dict:
    """Reads statistics from JSON; those of an untrained instrument are empty.

    Args:
      text: JSON.
      what: What it is called in sentences.

    Raises:
      InputError: Naming what in it is not as it should be.
    """
    return {} if text.strip() == "{}" else _read(Statistics, text, what)


def read_card(text: str, what: str) -> dict:
    """Reads a model card from JSON, as `read_statistics` does."""
    return _read(Card, text, what)


def _read(kind, text, what):
    try:
        return kind.model_validate_json(text).model_dump(exclude_unset=True)
    except pydantic.ValidationError as error:
        first = error.errors(include_url=False, include_input=False, include_context=False)[0]
        place = ".".join(map(str, first["loc"][:3]))[:80]
        reason = f"{place}: {first['msg']}".removeprefix(": ").splitlines()[0][:120]
        raise InputError(f"{what} is damaged ({reason}): take another copy.") from error
