"""settings: what may be set, and how it is refused."""

import json

import numpy as np
import pytest

from helpers.transfer.settings import Settings


@pytest.mark.parametrize(
    "values, label",
    [
        ({"octaves": 4}, "Octaves"),
        ({"octaves": 0.5}, "Octaves"),
        ({"mix": float("nan")}, "Second instrument"),
        ({"reverb": "much"}, "Room"),
        ({"key": "H major"}, "Key"),
        ({"key": None}, "Key"),
    ],
)
def test_a_value_that_cannot_be_set(values, label, refused):
    with refused(label):
        Settings(**values)


@pytest.mark.parametrize("key", ["d minor", "D MINOR", "D minor"])
def test_a_key_in_any_case(key):
    assert Settings(key=key) == Settings(key="D minor")


def test_what_was_changed_can_be_written_down():
    settings = Settings(octaves=np.int64(1), vibrato=np.float32(0.5), fit_register=False)
    changed = json.loads(json.dumps(settings.changed()))
    assert changed == {"octaves": 1, "vibrato": 0.5, "fit_register": False}
    assert Settings().changed() == {}


def test_nothing_else_is_set_for_what_is_played_as_it_is(refused):
    assert Settings(as_is=True).changed() == {"as_is": True}
    with refused(r"no other settings \(Fit the loudness, Octaves\)"):
        Settings(as_is=True, octaves=1, fit_loudness=False)
