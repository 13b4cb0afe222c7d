"""Bundles changed at random: each plays finite sound, or is refused in one sentence."""

import json
import pickle
import shutil
import tempfile
from pathlib import Path

import google_notebook
import numpy as np
import pytest
import tiny_instrument
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tiny_instrument import STATISTICS

from helpers.errors import InputError
from helpers.instruments import bundles, gin_settings

LISTED = settings(
    max_examples=60,
    deadline=5000,
    derandomize=True,
    database=None,
    suppress_health_check=list(HealthCheck),
)
PLAYED = settings(LISTED, max_examples=5, deadline=60_000)  # a network takes a second to build

N_FRAMES = 25
BYTES = st.lists(st.tuples(st.integers(0, 10**6), st.integers(0, 255)), min_size=1, max_size=4)
NUMBERS = st.sampled_from([0, -1, 1, 2, 0.5, 10**9, 1e300, True, None, "text", (1, 2), ()])
PLAIN = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters(), max_size=5),
    lambda inside: st.lists(inside, max_size=3) | st.dictionaries(st.text(max_size=5), inside),
    max_leaves=5,
)


@pytest.fixture(scope="module")
def googles(tmp_path_factory):
    return google_notebook.save(*google_notebook.build(), tmp_path_factory.mktemp("g") / "flute")


@pytest.fixture(scope="module")
def card():
    return tiny_instrument.build().card


def is_listed(bundle):
    """True where `listed` finds nothing wrong; what is wrong is one sentence."""
    listed = bundles.listed(bundle)
    assert "\n" not in listed.problem and len(listed.problem) < 300
    assert bool(listed.problem) == (listed.card is None)
    listed.problem.encode()
    return not listed.problem


def plays_or_is_refused(bundle):
    is_well = is_listed(bundle)
    try:
        loaded = bundles.load(bundle)
    except InputError as error:
        sentence = str(error)
        assert "\n" not in sentence and sentence.endswith(".") and len(sentence) < 300
        return
    assert is_well
    audio = loaded.play(np.full(N_FRAMES, 440.0), np.full(N_FRAMES, -20.0))
    assert audio.shape == (N_FRAMES * loaded.hop_size,) and np.isfinite(audio).all()


def with_file(check, saved, name, content):
    """Checks a copy of a bundle in which one file is another."""
    with tempfile.TemporaryDirectory() as folder:
        bundle = shutil.copytree(saved, Path(folder) / "tiny")
        (bundle / name).write_bytes(content)
        check(bundle)


def changed(content, changes):
    content = bytearray(content)
    for position, byte in changes:
        content[position % len(content)] = byte
    return bytes(content)


@pytest.mark.parametrize("name", bundles.FILES)
def test_changed_bytes(saved_tiny, name):
    content = (saved_tiny / name).read_bytes()

    @LISTED
    @given(BYTES)
    def listed(changes):
        with_file(is_listed, saved_tiny, name, changed(content, changes))

    @PLAYED
    @given(BYTES)
    def played(changes):
        with_file(plays_or_is_refused, saved_tiny, name, changed(content, changes))

    listed()
    played()


def test_changed_bytes_of_googles(googles):
    names = sorted(path.name for path in googles.iterdir() if path.name != "checkpoint")

    @LISTED
    @given(BYTES, st.sampled_from(names))
    def listed(changes, name):
        with_file(is_listed, googles, name, changed((googles / name).read_bytes(), changes))

    listed()


def test_any_number_in_the_weights(saved_tiny):
    content = (saved_tiny / "weights.safetensors").read_bytes()
    start = 8 + int.from_bytes(content[:8], "little")

    @PLAYED
    @given(st.floats(width=32), st.integers(0, (len(content) - start) // 4 - 1))
    def played(number, position):
        first = start + 4 * position
        array = np.float32(number).tobytes()
        spoilt = content[:first] + array + content[first + 4 :]
        with_file(plays_or_is_refused, saved_tiny, "weights.safetensors", spoilt)

    played()


@pytest.mark.parametrize("name", ["statistics.json", "model_card.json"])
def test_anything_in_statistics_and_card(saved_tiny, card, name):
    content = STATISTICS if name == "statistics.json" else card

    @LISTED
    @given(st.sampled_from([*content, "another"]), PLAIN)
    def listed(key, value):
        text = json.dumps(content | {key: value}).encode()
        with_file(is_listed, saved_tiny, name, text)

    listed()


def test_any_number_in_the_configuration(saved_tiny):
    config = (saved_tiny / "operative_config.gin").read_text()
    lines = [line for line in config.splitlines() if " = " in line]

    @PLAYED
    @given(st.sampled_from(lines), NUMBERS)
    def played(line, value):
        text = f"{config}\n{line.split(' = ')[0]} = {value!r}\n".encode()
        with_file(plays_or_is_refused, saved_tiny, "operative_config.gin", text)

    played()


@LISTED
@given(st.text(st.sampled_from("abz_.%@/='\"(),[]{}:#\\\n 0123456789-"), max_size=60))
def test_any_line_of_a_configuration(line):
    try:
        gin_settings.check_config(line)
    except InputError as error:
        assert "\n" not in str(error) and len(str(error)) < 300


def test_any_pickle(googles):
    @LISTED
    @given(st.dictionaries(st.sampled_from(["mean_pitch", "quantile_transform"]), PLAIN))
    def plain(stored):
        with_file(is_listed, googles, "dataset_statistics.pkl", pickle.dumps(stored))

    @LISTED
    @given(st.binary(max_size=60))
    def raw(content):
        with_file(is_listed, googles, "dataset_statistics.pkl", b"\x80\x04" + content + b".")

    plain()
    raw()
