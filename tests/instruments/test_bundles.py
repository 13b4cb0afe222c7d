"""bundles: instruments by name, and bundles that come back as they were saved."""

import dataclasses
import shutil
import zipfile

import numpy as np
import pytest
import tiny_instrument
from killed_replacement import leave_half_replaced
from tiny_instrument import STATISTICS, play

from helpers.instruments import bundles, configurations, gin_settings
from helpers.instruments import instrument as instrument_module


@pytest.fixture(scope="module")
def instrument():
    return tiny_instrument.build()


@pytest.fixture(scope="module")
def saved(instrument, tmp_path_factory):
    folder = tmp_path_factory.mktemp("saved") / "tiny"
    bundles.save(instrument, folder)
    return folder


def contents(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


# Saved and loaded


def test_a_loaded_instrument_plays_the_same(instrument, saved):
    loaded = bundles.load(saved)
    np.testing.assert_array_equal(play(loaded), play(instrument))
    assert np.abs(play(loaded)).max() > 0
    assert (loaded.sample_rate, loaded.frame_rate, loaded.hop_size) == (16000, 125, 128)
    assert loaded.parameters == instrument.parameters
    assert loaded.statistics == STATISTICS
    assert loaded.card == instrument.card
    assert loaded.card["heldout"] == {"loudness_l1_db": 1.2346}


def test_a_packed_instrument_plays_the_same(instrument, saved, tmp_path):
    packed = bundles.pack(shutil.copytree(saved, tmp_path / "my.violin"))
    assert packed == tmp_path / "my.violin.zip"
    assert sorted(zipfile.ZipFile(packed).namelist()) == sorted(
        f"my.violin/{name}" for name in bundles.FILES
    )
    np.testing.assert_array_equal(play(bundles.load(packed)), play(instrument))


def test_a_zip_of_the_files_alone_is_taken_too(saved, tmp_path):
    archive = shutil.make_archive(str(tmp_path / "flat"), "zip", saved)
    assert bundles.load(archive).statistics == STATISTICS


@pytest.mark.parametrize("name", ["tiny", "tiny_v1.2"])
def test_a_second_save_replaces_the_first(instrument, tmp_path, name):
    folder = tmp_path / name
    bundles.save(instrument, folder)
    for path in folder.iterdir():
        path.write_text("of an earlier version")
    bundles.save(instrument, folder)
    assert bundles.load(folder).statistics == STATISTICS
    assert [path.name for path in tmp_path.iterdir()] == [name]


def test_a_folder_of_other_things_is_not_replaced(instrument, tmp_path, refused):
    (tmp_path / "song.wav").write_text("unreplaceable")
    with refused(tmp_path.name):
        bundles.save(instrument, tmp_path)
    assert (tmp_path / "song.wav").read_text() == "unreplaceable"


def test_a_crash_while_saving_leaves_the_old(instrument, saved, tmp_path, monkeypatch, refused):
    def crash(network, path):
        path.write_bytes(b"half of the wei")
        raise OSError("disk full")

    bundle = shutil.copytree(saved, tmp_path / "tiny")
    before = contents(bundle)
    monkeypatch.setattr(bundles.weights, "save", crash)
    with refused("tiny cannot be written"):
        bundles.save(instrument, bundle)
    assert contents(bundle) == before
    assert [path.name for path in bundle.parent.iterdir()] == ["tiny"]


@pytest.mark.parametrize("find", [bundles.load, lambda bundle: bundles.listing(bundle.parent)])
def test_a_bundle_whose_replacement_was_killed_is_found(saved, tmp_path, find):
    bundle = shutil.copytree(saved, tmp_path / "tiny")
    before = contents(bundle)
    leave_half_replaced(bundle)
    assert find(bundle)
    assert contents(bundle) == before
    assert [path.name for path in tmp_path.iterdir()] == ["tiny"]


# Credit


def test_fine_tuning_keeps_the_credit_of_all_that_was_learned_from(instrument):
    def card_of(name, credit, licence, *earlier):
        return bundles.card(name, instrument, 1, {}, credit, licence, fine_tuned_from=earlier)

    garner = card_of("violin", "John Garner / Musopen", "CC BY 3.0")
    zoe = card_of("voice", "Zoë", "CC0", garner)
    both = card_of("duet", "", "", zoe, card_of("bells", "Ann; Zoë", "CC BY 3.0, MIT"))
    assert zoe["training_data"]["credit"] == "Zoë; John Garner / Musopen"
    assert zoe["training_data"]["licence"] == "CC0, CC BY 3.0"
    assert both["training_data"]["credit"] == "Zoë; John Garner / Musopen; Ann"
    assert both["training_data"]["licence"] == "CC0, CC BY 3.0, MIT"
    assert (zoe["fine_tuned_from"], both["fine_tuned_from"]) == (["violin"], ["voice", "bells"])
    assert bundles.credit_line(zoe) == "voice (Zoë; John Garner / Musopen, CC0, CC BY 3.0)"


# By name


def test_the_configurations_that_ship_are_allowed(instrument):
    for name in configurations.names():
        gin_settings.check_config(configurations.gin_text(f"{name}.gin"))
    gin_settings.check_config(instrument.config)


@pytest.mark.parametrize(
    "asked, said",
    [
        ({"config": "large"}, "'large'.*autoencoder, ddsp, dry, small, wavernn"),
        ({"config": "shared/curves_to_sound"}, "'shared/curves_to_sound'"),
        ({"sample_rate": 22050}, "22050.*16000, 24000, 32000, 44100, 48000"),
        ({"precision": "float16"}, "'float16'.*mixed_float16"),
    ],
)
def test_what_there_is_not(asked, said, refused):
    with refused(said):
        configurations.build(**asked)


def test_a_bundle_needs_no_other_file(saved):
    config = (saved / "operative_config.gin").read_text()
    assert "include" not in config and "import" not in config


# In a folder


def test_a_damaged_bundle_is_named_and_the_others_are_listed(saved, tmp_path, monkeypatch):
    monkeypatch.setattr(instrument_module, "make", lambda *_: pytest.fail("built"))
    for name in ("cut", "flute", "lost", "violin"):
        shutil.copytree(saved, tmp_path / name)
    (tmp_path / "violin" / "model_card.json").write_text('{"name": "My violin"}')
    weights = (tmp_path / "cut" / "weights.safetensors").read_bytes()
    (tmp_path / "cut" / "weights.safetensors").write_bytes(weights[: len(weights) // 2])
    (tmp_path / "lost" / "statistics.json").unlink()
    bundles.pack(tmp_path / "flute")
    shutil.rmtree(tmp_path / "flute")
    bundles.pack(tmp_path / "violin")  # beside its folder, and no second instrument
    (tmp_path / "no.zip").write_bytes(b"no zip")
    (tmp_path / "notes").mkdir()
    (tmp_path / "notes.txt").write_text("no bundle")

    listed = {found.path.name: found for found in bundles.listing(tmp_path)}
    assert list(listed) == ["cut", "flute.zip", "lost", "no.zip", "violin"]
    assert (listed["violin"].name, listed["violin"].problem) == ("My violin", "")
    assert (listed["flute.zip"].name, listed["flute.zip"].problem) == ("tiny", "")
    assert listed["flute.zip"].card["sample_rate"] == 16000
    for damaged, said in (("cut", "weights of cut"), ("lost", "statistics"), ("no.zip", "no zip")):
        assert listed[damaged].card is None and said in listed[damaged].problem
        assert listed[damaged].name == damaged.removesuffix(".zip")


def test_what_was_played_is_listed_before_what_was_rendered(instrument, tmp_path):
    data = instrument.card["training_data"]
    for name, is_recorded in (("cello", False), ("flute", True), ("mine", None), ("alto", False)):
        changed = {"title": f"A {name}", "training_data": {**data, "is_recorded": is_recorded}}
        card = {**instrument.card, **changed}
        bundles.save(dataclasses.replace(instrument, card=card), tmp_path / name)
    found = bundles.listing(tmp_path)
    assert [one.path.name for one in found] == ["flute", "mine", "alto", "cello"]
    assert [one.card["title"] for one in found] == ["A flute", "A mine", "A alto", "A cello"]


def test_several_folders_are_listed_together(saved, tmp_path):
    shutil.copytree(saved, tmp_path / "mine" / "flute")
    found = bundles.listing(tmp_path / "mine", tmp_path / "nowhere", saved.parent)
    assert [one.path for one in found] == [tmp_path / "mine" / "flute", saved]
