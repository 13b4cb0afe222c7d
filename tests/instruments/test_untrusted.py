"""untrusted: files and zips that must not come in, by way of bundles.load."""

import json
import os
import shutil
import tempfile
import warnings
import zipfile

import pytest
from tiny_instrument import STATISTICS, set_in

from helpers.instruments import bundles, untrusted


@pytest.fixture
def bundle(tiny_bundle):
    return tiny_bundle


# Files that are not there, damaged, or another's


@pytest.mark.parametrize("name", bundles.FILES)
def test_a_missing_file_is_named(bundle, name, refused):
    (bundle / name).unlink()
    with refused(f"tiny.*{name}"):
        bundles.load(bundle)


def test_no_bundle_at_all(tmp_path, refused):
    with refused("nowhere"):
        bundles.load(tmp_path / "nowhere")


@pytest.mark.parametrize("name", ["statistics.json", "model_card.json"])
@pytest.mark.parametrize("text", ["{", "", "[1, 2]", '"a"', "[" * 100_000, "\x00", "nonsense"])
def test_broken_json(bundle, name, text, nothing_is_built, refused):
    (bundle / name).write_text(text)
    with refused(f"{name} of tiny"):
        bundles.load(bundle)


@pytest.mark.parametrize(
    "change",
    [
        {"pitch_midi": {}},
        {"pitch_midi": {"mean": "high"}},
        {"pitch_midi": {"mean": float("nan")}},
        {"loudness_db_percentiles": [-60.0, -20.0]},
        {"loudness_db_percentiles": [[-60.0]] * 101},
        {"loudness_db_percentiles": [float("inf")] * 101},
        {"loudness_db_percentiles": None},
    ],
)
def test_statistics_that_transfer_cannot_use(bundle, change, nothing_is_built, refused):
    (bundle / "statistics.json").write_text(json.dumps(STATISTICS | change))
    with refused("statistics"):
        bundles.load(bundle)


@pytest.mark.parametrize("name", [name for name in bundles.FILES if name != "weights.safetensors"])
def test_texts_that_are_no_text_or_too_long(bundle, name, nothing_is_built, refused):
    (bundle / name).write_bytes(b"\xff\xfe\x00 not utf-8 \x81")
    with refused("tiny"):
        bundles.load(bundle)
    (bundle / name).write_bytes(b" " * (untrusted.MAX_TEXT_BYTES + 1))
    with refused(f"{name} of tiny is larger"):
        bundles.load(bundle)


def test_a_configuration_for_another_sample_rate(bundle, refused):
    """Its weights would fit: they know nothing of the rate."""
    set_in(bundle, "sample_rate = 32000", "hop_size = 256")
    with refused("configuration of tiny has another sample_rate"):
        bundles.load(bundle)


def test_a_profile_that_is_asked_for(bundle, nothing_is_built, refused):
    with refused("tiny names its feature profile itself"):
        bundles.load(bundle, feature_profile="ddsp-1")


# The system's own errors


def test_what_the_system_refuses_is_a_sentence(tmp_path, refused):
    (tmp_path / "file").write_text("no folder")
    for path in (tmp_path / "file" / "tiny", tmp_path / ("a" * 300), tmp_path / "a\0b"):
        with refused():
            bundles.load(path)
        assert bundles.listed(path).problem


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid(), reason="becomes another user")
def test_a_bundle_of_another_user(bundle, refused):
    for path in (bundle / "model_card.json", bundle):
        path.chmod(0)
        os.seteuid(65534)
        try:
            with refused("tiny"):
                bundles.load(bundle)
            assert bundles.listed(bundle).problem
            for parent in bundle.parents:  # where pytest lets nobody but its user
                if not os.access(parent, os.R_OK | os.X_OK, effective_ids=True):
                    break
            else:
                assert [one.path for one in bundles.listing(bundle.parent)] == [bundle]
        finally:
            os.seteuid(0)


# Zips from anywhere


@pytest.fixture
def nothing_is_left(tmp_path, monkeypatch):
    """Fails a test after which a temporary file is still there."""
    folder = tmp_path / "temporary"
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    yield
    assert not [path for path in folder.iterdir() if "autograph" not in path.name]


def zip_of(bundle, target, rename=lambda name: f"tiny/{name}"):
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as archive:
        for path in bundle.iterdir():
            archive.writestr(rename(path.name), path.read_bytes())
    return target


@pytest.mark.parametrize("content", [b"", b"no zip", b"PK\x05\x06", b"PK\x03\x04" + b"\0" * 100])
def test_what_is_no_zip(tmp_path, content, refused):
    (tmp_path / "violin.zip").write_bytes(content)
    with refused("violin.zip"):
        bundles.load(tmp_path / "violin.zip")


@pytest.mark.parametrize("name", ["violin.zip", "...zip", "zip"])
def test_a_damaged_zip(bundle, tmp_path, name, refused):
    archive = zip_of(bundle, tmp_path / name)
    data = bytearray(archive.read_bytes())
    data[200:260] = bytes(60)
    archive.write_bytes(data)
    with refused(name):
        bundles.load(archive)


@pytest.mark.parametrize(
    "rename",
    [
        lambda name: f"../../{name}",
        lambda name: f"tiny/../../{name}",
        lambda name: f"/tmp/{name}",
        lambda name: f"tiny/{name}" if name != "weights.safetensors" else "../weights.safetensors",
    ],
)
def test_paths_out_of_the_zip(bundle, tmp_path, rename, nothing_is_built, nothing_is_left, refused):
    archive = zip_of(bundle, tmp_path / "violin.zip", rename)
    before = sorted(tmp_path.parent.rglob("*"))
    with refused("violin.zip has files that leave its folder"):
        bundles.load(archive)
    assert sorted(tmp_path.parent.rglob("*")) == before


def test_paths_of_windows_out_of_the_zip(bundle, tmp_path, nothing_is_built, refused):
    with refused("violin.zip"):
        bundles.load(zip_of(bundle, tmp_path / "violin.zip", lambda name: f"..\\..\\{name}"))


@pytest.mark.parametrize("name", bundles.FILES)
def test_a_link_in_a_zip(bundle, tmp_path, name, nothing_is_left, refused):
    """It is no link once it is unpacked, but a short text."""
    secret = shutil.move(bundle / name, tmp_path / "secret")
    link = zipfile.ZipInfo(f"tiny/{name}")
    link.create_system, link.external_attr = 3, 0o120777 << 16  # a symbolic link, of Unix
    archive = zip_of(bundle, tmp_path / "violin.zip")
    with zipfile.ZipFile(archive, "a") as opened:
        opened.writestr(link, str(secret))
    with refused("violin.zip"):
        bundles.load(archive)


def test_two_instruments_in_a_zip(bundle, tmp_path, nothing_is_built, refused):
    archive = zip_of(bundle, tmp_path / "violin.zip")
    with zipfile.ZipFile(archive, "a") as opened:
        opened.write(bundle / "weights.safetensors", "flute/weights.safetensors")
    with refused("violin.zip holds more than one instrument"):
        bundles.load(archive)


def test_a_file_that_is_twice_in_a_zip(bundle, tmp_path, nothing_is_built, refused):
    archive = zip_of(bundle, tmp_path / "violin.zip")
    with zipfile.ZipFile(archive, "a") as opened, warnings.catch_warnings(record=True):
        opened.write(bundle / "model_card.json", "tiny/model_card.json")
    with refused("violin.zip holds a file twice"):
        bundles.load(archive)


@pytest.mark.parametrize("kind", [zipfile.ZIP_LZMA, zipfile.ZIP_BZIP2, "password"])
def test_zips_that_cannot_be_read_in_little_memory(bundle, tmp_path, kind, refused):
    with zipfile.ZipFile(tmp_path / "violin.zip", "w") as archive:
        for path in bundle.iterdir():
            compression = zipfile.ZIP_STORED if kind == "password" else kind
            archive.write(path, f"tiny/{path.name}", compression)
    content = bytearray((tmp_path / "violin.zip").read_bytes())
    position = content.find(b"PK\1\2")
    while kind == "password" and position >= 0:
        content[position + 8] |= 1
        position = content.find(b"PK\1\2", position + 4)
    (tmp_path / "violin.zip").write_bytes(content)
    with refused("violin.zip has links, a password or a rare compression"):
        bundles.load(tmp_path / "violin.zip")


def test_a_zip_of_very_many_files(tmp_path, monkeypatch, refused):
    with zipfile.ZipFile(tmp_path / "violin.zip", "w") as archive:
        for number in range(25_000):
            archive.writestr(f"{number}", b"")
    monkeypatch.setattr(zipfile, "ZipFile", lambda *_: pytest.fail("opened"))
    with refused("violin.zip"):
        bundles.load(tmp_path / "violin.zip")


@pytest.mark.parametrize("name", ["tiny/model_card.json\0", "tiny/\udc80", "tiny/\x1b[2J"])
def test_strange_names_in_a_zip(bundle, tmp_path, name):
    """Files that are no part of the bundle are not unpacked, whatever they are called."""
    archive = zip_of(bundle, tmp_path / "violin.zip")
    with zipfile.ZipFile(archive, "a") as opened:
        opened.writestr("tiny/PLACEHOLDER", b"")
    raw = name.encode("utf-8", "surrogateescape")[:16].ljust(16, b"_")
    archive.write_bytes(archive.read_bytes().replace(b"tiny/PLACEHOLDER", raw))
    listed = bundles.listed(archive)
    assert listed.name == "tiny" or "violin.zip" in listed.problem


def test_a_zip_without_an_instrument(tmp_path, refused):
    with zipfile.ZipFile(tmp_path / "holiday.zip", "w") as archive:
        archive.writestr("beach.jpg", b"sand")
    with refused("holiday.zip"):
        bundles.load(tmp_path / "holiday.zip")


def test_a_zip_bomb(bundle, tmp_path, monkeypatch, nothing_is_built, refused):
    """A thousand times smaller than what it unpacks to."""
    with open(bundle / "weights.safetensors", "wb") as file:
        file.truncate(20 * 2**20)
    archive = zip_of(bundle, tmp_path / "violin.zip")
    assert archive.stat().st_size < 2**20
    monkeypatch.setattr(untrusted, "MAX_BUNDLE_BYTES", 10 * 2**20)
    monkeypatch.setattr(shutil, "copyfileobj", lambda *_: pytest.fail("unpacked"))
    with refused("violin.zip unpacks to more"):
        bundles.load(archive)


def test_a_zip_bomb_that_declares_too_little(bundle, tmp_path, nothing_is_left, refused):
    """The sizes in a zip are only what it says of itself."""
    with open(bundle / "weights.safetensors", "wb") as file:
        file.truncate(20 * 2**20)
    archive = zip_of(bundle, tmp_path / "violin.zip")
    true, false = (20 * 2**20).to_bytes(4, "little"), (1000).to_bytes(4, "little")
    archive.write_bytes(archive.read_bytes().replace(true, false))
    with refused("violin.zip"):
        bundles.load(archive)
