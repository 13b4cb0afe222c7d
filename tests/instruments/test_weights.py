"""weights: what comes back as it was saved, and what must not come in, by way of bundles.load."""

import json
import os
import shutil
import struct

import h5py
import numpy as np
import pytest
from safetensors.numpy import load_file, save_file
from tiny_instrument import SMALL, play, set_in

from helpers.instruments import bundles, configurations, weights


@pytest.fixture
def bundle(tiny_bundle):
    return tiny_bundle


@pytest.fixture
def former(tiny_bundle):
    """The same bundle as it was saved before, its weights by Keras in HDF5."""
    bundles.load(tiny_bundle).network.save_weights(tiny_bundle / "weights.h5")
    (tiny_bundle / "weights.safetensors").unlink()
    return tiny_bundle


def is_refused_and_listed(bundle, refused):
    with refused("weights.*of tiny"):
        bundles.load(bundle)
    listed = bundles.listed(bundle)
    assert listed.card is None and "tiny" in listed.problem


def changed(bundle, change):
    """Changes the first array of a bundle's weights."""
    arrays = load_file(bundle / "weights.safetensors")
    first = min(arrays)
    arrays[first] = change(arrays[first])
    save_file(arrays, bundle / "weights.safetensors")


# Numbers


@pytest.mark.parametrize("number", [np.nan, np.inf, -np.inf, 1e30, -1e30])
def test_one_number_beyond_what_weights_are(bundle, number, refused):
    def change(array):
        array.flat[-1] = number
        return array

    changed(bundle, change)
    is_refused_and_listed(bundle, refused)


@pytest.mark.parametrize("kind", [np.float64, np.float16, np.int32, np.bool_, np.complex64])
def test_other_types_of_numbers(bundle, kind, refused):
    changed(bundle, lambda array: array.astype(kind))
    is_refused_and_listed(bundle, refused)


@pytest.mark.parametrize("line", ["ConvDecoder.channels = 9", "ConvDecoder.dilations = (1,)"])
def test_weights_of_another_size(bundle, line, refused):
    set_in(bundle, line)
    with refused("weights of tiny"):
        bundles.load(bundle)


# Files


@pytest.mark.parametrize("share", [0.0, 0.001, 0.3, 0.9])
def test_truncated_weights(bundle, share, refused):
    content = (bundle / "weights.safetensors").read_bytes()
    (bundle / "weights.safetensors").write_bytes(content[: int(share * len(content))])
    is_refused_and_listed(bundle, refused)


def header(content):
    text = content if isinstance(content, bytes) else json.dumps(content).encode()
    return struct.pack("<Q", len(text)) + text


@pytest.mark.parametrize(
    "content",
    [
        struct.pack("<Q", 2**63) + b"{}",
        struct.pack("<Q", 50 * 2**20) + b" " * 100,
        header(b"{"),
        header(b"[" * 100_000),
        header({}),
        header({"a": {"dtype": "F32", "shape": [10**11], "data_offsets": [0, 4 * 10**11]}}),
        header({"a": {"dtype": "F32", "shape": [2**62, 4], "data_offsets": [0, 4]}}) + bytes(4),
        header({"a": {"dtype": "F32", "shape": [-1], "data_offsets": [0, 4]}}) + bytes(4),
        header({"a": {"dtype": "F8_E8M0", "shape": [4], "data_offsets": [0, 4]}}) + bytes(4),
    ],
    ids=lambda content: repr(content[:16]),
)
def test_headers_that_do_not_hold(bundle, content, refused):
    (bundle / "weights.safetensors").write_bytes(content)
    with refused("weights of tiny"):
        bundles.load(bundle)


@pytest.mark.parametrize("name", bundles.FILES)
@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no pipes with a name")
def test_a_pipe_is_not_waited_for(bundle, name, refused):
    (bundle / name).unlink()
    os.mkfifo(bundle / name)
    with refused(f"{name}.*tiny|tiny.*{name}"):
        bundles.load(bundle)
    assert name in bundles.listed(bundle).problem


# HDF5, in which bundles had their weights before


@pytest.mark.parametrize("config", configurations.names())
def test_weights_of_former_bundles_are_the_same(config, tmp_path):
    tiny = ["GruDecoder.rnn_channels = 8", "GruDecoder.ch = 8", "WaveRnn.rnn_channels = 8"]
    tiny += ["PlainReverb.reverb_length = 99"]
    made = configurations.build(config, bindings=[*SMALL, *tiny])
    rng = np.random.default_rng(0)
    made.network.set_weights([rng.normal(size=w.shape) for w in made.network.weights])
    bundles.save(made, tmp_path / "now")
    before = shutil.copytree(tmp_path / "now", tmp_path / "before")
    (before / "weights.safetensors").unlink()
    made.network.save_weights(before / "weights.h5")
    assert not bundles.listed(before).problem
    loaded = bundles.load(before).network.get_weights()
    for array, expected in zip(loaded, made.network.get_weights(), strict=True):
        np.testing.assert_array_equal(array, expected)


def test_a_former_bundle_is_saved_anew_in_its_place(former):
    packed = bundles.pack(former)
    assert not bundles.listed(packed).problem
    loaded = bundles.load(packed)
    bundles.save(loaded, former)
    assert {path.name for path in former.iterdir()} == set(bundles.FILES)
    np.testing.assert_array_equal(play(bundles.load(former)), play(loaded))


def first_array(file):
    """The path of the first array in an HDF5 file."""
    found = []
    file.visititems(lambda name, item: found.append(name) if hasattr(item, "shape") else None)
    return found[0]


@pytest.mark.parametrize("share", [0.0, 0.3, 0.9])
def test_truncated_former_weights(former, share, refused):
    content = (former / "weights.h5").read_bytes()
    (former / "weights.h5").write_bytes(content[: int(share * len(content))])
    with refused("weights of tiny"):
        bundles.load(former)


@pytest.mark.parametrize("number", [np.nan, 1e30])
def test_one_number_of_former_weights(former, number, refused):
    with h5py.File(former / "weights.h5", "r+") as file:
        file[first_array(file)][..., -1] = number
    with refused("weights of tiny"):
        bundles.load(former)


@pytest.mark.parametrize("declared", ["huge", "text", "compressed"])
def test_weights_that_declare_more_than_they_hold(former, declared, refused):
    with h5py.File(former / "weights.h5", "r+") as file:
        name = first_array(file)
        shape = file[name].shape
        del file[name]
        if declared == "huge":  # 400 GB, of which no byte is written
            file.create_dataset(name, (10**11,), "float32", chunks=(1000,))
        elif declared == "text":
            file.create_dataset(name, shape, "S1000000000")
        else:
            file.create_dataset(name, shape, "float32", compression="gzip")
    with refused("weights of tiny"):
        bundles.load(former)


@pytest.mark.parametrize("kind", ["file", "pipe", "soft"])
def test_links_in_former_weights_are_not_followed(former, kind, refused):
    """A pipe would be waited for until someone writes to it."""
    shutil.copy(former / "weights.h5", former / "other.h5")
    if kind == "pipe":
        if not hasattr(os, "mkfifo"):
            pytest.skip("this system has no pipes with a name")
        (former / "other.h5").unlink()
        os.mkfifo(former / "other.h5")
    with h5py.File(former / "weights.h5", "r+") as file:
        name = first_array(file)
        del file[name]
        file[name] = h5py.SoftLink("/") if kind == "soft" else h5py.ExternalLink("other.h5", name)
    assert "tiny" in bundles.listed(former).name + bundles.listed(former).problem  # and ends
    with refused("weights of tiny"):
        bundles.load(former)


def test_a_reader_that_never_ends_is_stopped(former, tmp_path, monkeypatch, refused):
    """HDF5 may turn in circles in a damaged file, where no Ctrl-C reaches it."""
    endless = tmp_path / "endless.py"
    endless.write_text("while True: pass")
    monkeypatch.setattr(weights, "CONVERTER", endless)
    monkeypatch.setattr(weights, "SECONDS", 1)
    with refused("weights of tiny"):
        bundles.load(former)
