"""schema: statistics and cards of other types than they should be, by way of bundles."""

import copy
import json

import numpy as np
import pytest
import tiny_instrument
from tiny_instrument import STATISTICS

from helpers.instruments import bundles

WRONG = [
    *('"text"', "null", "[]", "{}", "[1]", "true", "NaN", "-Infinity", "1e300", "-1e300", "1e999"),
    *(f"1{'0' * 400}", f"1{'0' * 5000}", '"\\ud800"', '"\\u0000"', f'"{"a" * 30_000}"'),
]


def places(content, path=()):
    """Every key and first item of nested content, as a path."""
    if isinstance(content, list):
        content = dict(enumerate(content[:1]))
    if isinstance(content, dict):
        for key, inside in content.items():
            yield (*path, key)
            yield from places(inside, (*path, key))


def with_wrong(content, path, wrong):
    """The JSON of content with a text in one place."""
    content = copy.deepcopy(content)
    inside = content
    for key in path[:-1]:
        inside = inside[key]
    inside[path[-1]] = "HERE"
    return json.dumps(content).replace('"HERE"', wrong)


@pytest.fixture(scope="module")
def card():
    return tiny_instrument.build().card


@pytest.mark.parametrize("wrong", WRONG, ids=lambda wrong: wrong[:12])
def test_a_wrong_value_in_any_place(tiny_bundle, card, wrong, nothing_is_built):
    """It is taken, where it may be there, or refused in one sentence."""
    for name, content in (("statistics.json", STATISTICS), ("model_card.json", card)):
        before = (tiny_bundle / name).read_text()
        for path in [*places(content), ("of its own",)]:
            (tiny_bundle / name).write_text(with_wrong(content, path, wrong))
            listed = bundles.listed(tiny_bundle)
            assert "\n" not in listed.problem and len(listed.problem) < 300
            if listed.problem:
                assert f"{name} of tiny" in listed.problem
                continue
            json.dumps(listed.card, allow_nan=False).encode()
            bundles.credit_line(listed.card).encode()
        (tiny_bundle / name).write_text(before)


@pytest.mark.parametrize(
    "wrong",
    [
        {"pitch_midi": {"mean": "high"}},
        {"pitch_midi": 3},
        {"pitch_midi": {"mean": 1e300}},
        {"loudness_db_percentiles": [1e300] * 101},
        {"loudness_db_percentiles": ["-20"] * 101},
        {"loudness_db_percentiles": [True] * 101},
        {"feature_profile": "ddsp-9"},
        {"feature_profile": None},
        {"sample_rate": "16000"},
        {"frame_rate": 1e300},
        {"files": "two"},
        {"more": {"of": [{"this": 1e300}]}},
    ],
)
def test_statistics_of_other_types(tiny_bundle, wrong, nothing_is_built, refused):
    (tiny_bundle / "statistics.json").write_text(json.dumps(STATISTICS | wrong))
    with refused(f"statistics.json of tiny.*{min(wrong)}"):
        bundles.load(tiny_bundle)


@pytest.mark.parametrize(
    "wrong",
    [
        {"name": 3},
        {"name": ""},
        {"name": ["violin"]},
        {"name": "\x1b[2Jviolin"},
        {"training_data": "mine"},
        {"training_data": None},
        {"training_data": {"credit": ["Zoë"]}},
        {"training_data": {"licence": 3}},
        {"heldout": {"f0_l1": "low"}},
        {"heldout": [1]},
        {"steps": 1.5},
        {"versions": {"ddsp": 3}},
        {"warning": 3},
    ],
)
def test_cards_of_other_types(tiny_bundle, card, wrong, nothing_is_built, refused):
    (tiny_bundle / "model_card.json").write_text(json.dumps(card | wrong))
    with refused(f"model_card.json of tiny.*{min(wrong)}"):
        bundles.load(tiny_bundle)


def test_what_is_not_named_is_kept(tiny_bundle, card):
    more = {"range": {"pitch": ["A3", "C6"]}, "curve": [[150, 8.62], []], "note": None}
    (tiny_bundle / "model_card.json").write_text(json.dumps(card | more))
    (tiny_bundle / "statistics.json").write_text(json.dumps(STATISTICS | more))
    loaded = bundles.load(tiny_bundle)
    assert (loaded.card, loaded.statistics) == (card | more, STATISTICS | more)


def test_metrics_without_a_value_are_none(tiny_bundle, card):
    """Earlier bundles have NaN there, which is no JSON."""
    made = bundles.card("tiny", bundles.load(tiny_bundle), 1, {"f0_l1": np.nan, "loudness": 0.5})
    assert made["heldout"] == {"f0_l1": None, "loudness": 0.5}
    (tiny_bundle / "model_card.json").write_text('{"heldout": {"f0_l1": NaN}}')
    assert bundles.load(tiny_bundle).card["heldout"] == {"f0_l1": None}


@pytest.mark.parametrize(
    "statistics, card",
    [
        (STATISTICS, {"name": "tiny", "loss": np.nan}),
        (STATISTICS, {"name": "\ud800"}),
        (STATISTICS, {"name": "tiny", "path": object()}),
        (STATISTICS | {"pitch_midi": {"mean": np.inf}}, {"name": "tiny"}),
        ({"pitch_midi": {"mean": 60.0}}, {"name": "tiny"}),
    ],
)
def test_nothing_is_saved_that_could_not_be_loaded(
    tiny_bundle, tmp_path, statistics, card, refused
):
    instrument = bundles.load(tiny_bundle)
    instrument.statistics, instrument.card = statistics, card
    with refused("instrument's (statistics|card)"):
        bundles.save(instrument, tmp_path / "new")
    assert not (tmp_path / "new").exists()
