"""untrusted: bundles that must not come in, by way of bundles.load."""

import json
import shutil
import sys
import tempfile
import zipfile

import gin
import h5py
import pytest
import tensorflow as tf
import tiny_instrument
from tiny_instrument import STATISTICS

from helpers.instruments import bundles, untrusted


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    folder = tmp_path_factory.mktemp("saved") / "tiny"
    bundles.save(tiny_instrument.build(), folder)
    return folder


@pytest.fixture
def bundle(saved, tmp_path):
    """A copy of the saved bundle, to be spoilt."""
    return shutil.copytree(saved, tmp_path / "tiny")


# Files that are not there, damaged, or another's


@pytest.mark.parametrize("name", untrusted.FILES)
def test_a_missing_file_is_named(bundle, name, refused):
    (bundle / name).unlink()
    with refused(f"tiny.*{name}"):
        bundles.load(bundle)


def test_no_bundle_at_all(tmp_path, refused):
    with refused("nowhere"):
        bundles.load(tmp_path / "nowhere")


@pytest.mark.parametrize("share", [0.0, 0.3, 0.9])
def test_truncated_weights(bundle, share, refused):
    weights = (bundle / "weights.h5").read_bytes()
    (bundle / "weights.h5").write_bytes(weights[: int(share * len(weights))])
    with refused("weights of tiny"):
        bundles.load(bundle)


def set_in(bundle, *lines):
    with open(bundle / "operative_config.gin", "a") as config:
        config.write("".join(f"\n{line}\n" for line in lines))


@pytest.mark.parametrize("line", ["ConvDecoder.channels = 9", "ConvDecoder.dilations = (1,)"])
def test_weights_of_another_size(bundle, line, refused):
    set_in(bundle, line)
    with refused("weights of tiny"):
        bundles.load(bundle)


def first_array(file):
    """The path of the first array in an HDF5 file."""
    found = []
    file.visititems(lambda name, item: found.append(name) if hasattr(item, "shape") else None)
    return found[0]


@pytest.fixture
def nothing_is_read(monkeypatch):
    """Fails a test that comes as far as Keras with its weights."""
    monkeypatch.setattr(tf.keras.Model, "load_weights", lambda *_: pytest.fail("read"))


@pytest.mark.parametrize("declared", ["huge", "text"])
def test_weights_that_declare_more_than_they_hold(bundle, declared, nothing_is_read, refused):
    with h5py.File(bundle / "weights.h5", "r+") as file:
        name = first_array(file)
        shape = file[name].shape
        del file[name]
        if declared == "huge":  # 400 GB, of which no byte is written
            file.create_dataset(name, (10**11,), "float32", chunks=(1000,))
        else:
            file.create_dataset(name, shape, "S1000000000")
    with refused("weights of tiny"):
        bundles.load(bundle)


def test_weights_that_point_to_other_files(bundle, nothing_is_read, refused):
    shutil.copy(bundle / "weights.h5", bundle / "other.h5")
    with h5py.File(bundle / "weights.h5", "r+") as file:
        name = first_array(file)
        del file[name]
        file[name] = h5py.ExternalLink("other.h5", name)
    with refused("weights of tiny"):
        bundles.load(bundle)


@pytest.mark.parametrize("name", ["statistics.json", "model_card.json"])
@pytest.mark.parametrize("text", ["{", "", "[1, 2]", '"a"', "[" * 100_000, "\x00", "nonsense"])
def test_broken_json(bundle, name, text, nothing_is_built, refused):
    (bundle / name).write_text(text)
    with refused("statistics or the model card of tiny"):
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


@pytest.mark.parametrize("name", [name for name in untrusted.FILES if name != "weights.h5"])
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
        lambda name: f"tiny/{name}" if name != "weights.h5" else "../weights.h5",
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


@pytest.mark.parametrize("name", untrusted.FILES)
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
        opened.write(bundle / "weights.h5", "flute/weights.h5")
    with refused("violin.zip holds more than one instrument"):
        bundles.load(archive)


def test_a_zip_without_an_instrument(tmp_path, refused):
    with zipfile.ZipFile(tmp_path / "holiday.zip", "w") as archive:
        archive.writestr("beach.jpg", b"sand")
    with refused("holiday.zip"):
        bundles.load(tmp_path / "holiday.zip")


def test_a_zip_bomb(bundle, tmp_path, monkeypatch, nothing_is_built, refused):
    """A thousand times smaller than what it unpacks to."""
    with open(bundle / "weights.h5", "wb") as file:
        file.truncate(20 * 2**20)
    archive = zip_of(bundle, tmp_path / "violin.zip")
    assert archive.stat().st_size < 2**20
    monkeypatch.setattr(untrusted, "MAX_BUNDLE_BYTES", 10 * 2**20)
    monkeypatch.setattr(shutil, "copyfileobj", lambda *_: pytest.fail("unpacked"))
    with refused("violin.zip unpacks to more"):
        bundles.load(archive)


def test_a_zip_bomb_that_declares_too_little(bundle, tmp_path, nothing_is_left, refused):
    """The sizes in a zip are only what it says of itself."""
    with open(bundle / "weights.h5", "wb") as file:
        file.truncate(20 * 2**20)
    archive = zip_of(bundle, tmp_path / "violin.zip")
    true, false = (20 * 2**20).to_bytes(4, "little"), (1000).to_bytes(4, "little")
    archive.write_bytes(archive.read_bytes().replace(true, false))
    with refused("violin.zip"):
        bundles.load(archive)


# Configurations from anywhere


@pytest.mark.parametrize(
    "line",
    [
        "import evil",
        "from evil import thing",
        "import evil as ConvDecoder",
        "from __gin__ import dynamic_registration",
        "include 'evil.gin'",
        "ConvDecoder:\n  channels = 4",
        "Autoencoder.encoder = @os.system",
        "Autoencoder.encoder = @os.system()",
        "Autoencoder.encoder = @tf.io.write_file()",
        "Autoencoder.encoder = @tf.keras.layers.Lambda()",
        "Autoencoder.encoder = @scope/os.system()",
        "Autoencoder.encoder = @scope/ConvDecoder()",
        "Autoencoder.encoder = @a.b/processors.Add()",
        "Autoencoder.encoder = @gin.singleton()",
        "Autoencoder.encoder = @evil/gin.macro()",
        "Autoencoder.encoder = @get_model()",
        "Autoencoder.losses = [1, {'a': (@os.system(),)}]",
        "Autoencoder.losses = {@os.system(): 1}",
        "thing = @os.system()",
        "thing = @ConvDecoder()",
        "thing = 'text'",
        "thing = %other",
        "scope/thing = 3",
        "thing/macro.value = @os.system()",
        "gin.macro.value = 3",
        "ConvDecoder.channels = %sample_rate",
        "ConvDecoder.channels = %scope/channels",
        "Autoencoder.encoder = %thing",
        "scope/ConvDecoder.channels = 8",
        "tf.keras.layers.Dense.units = 3",
        "Lambda.function = 'print(1)'",
        "gin.singleton.constructor = 3",
        "evaluate.batch_size = 3",
        "Autoencoder.encoder = @Autoencoder()",
        "Autoencoder.encoder = @ConvDecoder()",
        "Autoencoder.losses = [@effects.Reverb(), @Reverb()]",
        "ProcessorGroup.dag = [('add_weight', ['f0_hz'])]",
        "ProcessorGroup.dag = [(%hop_size, ['f0_hz'])]",
        "ProcessorGroup.dag = [[]]",
        "ProcessorGroup.dag = 3",
        "ConvDecoder.channels = 1000000000",
        "ConvDecoder.channels = 1e12",
        "ConvDecoder.channels = 1e999",
        "ConvDecoder.channels = -1000000000",
        "ConvDecoder.channels = 1000000000j",
        "ConvDecoder.kernel_size = 1000000",
        "ConvDecoder.dilations = (1, 1000000000)",
        f"ConvDecoder.dilations = ({'1, ' * 10_000})",
        "ConvDecoder.output_splits = (('amps', 1), ('harmonic_distribution', 1000000000))",
        "ConvDecoder.output_splits = (('amps', 1), ('harmonic_distribution', %hop_size))",
        "ConvDecoder.output_splits = ((%noise_bands, %evil),)",
        "ConvDecoder.channels = %harmonics",
        "harmonics = 1000000000",
        "noise_bands = @os.system()",
        "fft_sizes = (2048, 'text')",
        "fft_sizes = (2048, 1000000000)",
        "FramewiseMfccEncoder.rnn_channels = 1000000000",
        "FramewiseMfccEncoder.z_dims = 1000000000",
        "RnnFcDecoder.layers_per_stack = 1000000",
        "Reverb.reverb_length = 1000000000000",
        "SpectralLoss.fft_sizes = (2048, 1000000000)",
        "sample_rate = 1000000000",
        "hop_size = 1000000000",
        f"hop_size = {'9' * 5000}",
        "hop_size = [",
        "hop_size = ",
        "hop_size",
        "hop_size = 'text",
        "hop_size = 1 2",
        "hop_size = __import__('os')",
        "  hop_size = 1\n hop_size = 2",
        "= 3",
        "$",
        "\x00",
        f"hop_size = {'[' * 5000}{']' * 5000}",
    ],
)
def test_what_a_configuration_may_not_do(bundle, line, tmp_path, monkeypatch, refused):
    (tmp_path / "evil.py").write_text(f"open({str(tmp_path / 'harm')!r}, 'w')")
    (tmp_path / "evil.gin").write_text("import evil")
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(gin, "parse_config", lambda *_: pytest.fail("given to gin"))
    set_in(bundle, line)
    with refused("tiny"):
        bundles.load(bundle)
    assert "evil" not in sys.modules and not (tmp_path / "harm").exists()
