"""google_bundle: checkpoints that ddsp itself made, and what they may not do."""

import itertools
import os
import pickle
import shutil
import sys
import tempfile
import zipfile

import gin
import google_notebook
import numpy as np
import pytest
import tensorflow as tf
from google_notebook import FRAME_RATE, N_FRAMES

from helpers.instruments import bundles, google_bundle, instrument, untrusted

F0_HZ = np.geomspace(200.0, 900.0, N_FRAMES)
LOUDNESS_DB = np.linspace(-60.0, 0.0, N_FRAMES)


@pytest.fixture(scope="module")
def googles():
    """ddsp's network and its operative configuration."""
    return google_notebook.build()


@pytest.fixture(scope="module")
def saved(googles, tmp_path_factory):
    return google_notebook.save(*googles, tmp_path_factory.mktemp("saved") / "my_flute")


@pytest.fixture
def bundle(saved, tmp_path):
    """A copy of the saved bundle, to be spoilt."""
    return shutil.copytree(saved, tmp_path / "my_flute")


@pytest.fixture
def nothing_is_left(tmp_path, monkeypatch):
    """Fails a test after which a temporary file is still there."""
    folder = tmp_path / "temporary"
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    yield
    assert not [path for path in folder.iterdir() if "autograph" not in path.name]


@pytest.fixture
def the_same_noise(monkeypatch):
    """Has ddsp and the instrument filter the same noise."""

    class Generator:
        def uniform(self, shape, minval=0.0, maxval=1.0):
            drawn = np.random.default_rng(0).uniform(minval, maxval, shape)
            return tf.constant(drawn, tf.float32)

    monkeypatch.setattr(tf.random, "get_global_generator", Generator)
    monkeypatch.setattr("tensorflow.compat.v2.random.uniform", Generator().uniform)


def zip_of(bundle, target):
    """As Google's notebook zips: the files alone, without their folder."""
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as archive:
        for path in bundle.iterdir():
            archive.write(path, path.name)
    return target


# What ddsp plays


def assert_same_sound(played, wanted):
    assert np.abs(wanted).max() > 0.001
    np.testing.assert_allclose(played, wanted, atol=1e-4 * np.abs(wanted).max())


def test_a_zip_of_googles_plays_what_ddsp_plays(
    googles, saved, tmp_path, the_same_noise, nothing_is_left
):
    wanted, outputs = google_notebook.play(googles[0], F0_HZ, LOUDNESS_DB)
    loaded = bundles.load(zip_of(saved, tmp_path / "my_flute.zip"))
    assert_same_sound(loaded.play(F0_HZ, LOUDNESS_DB), wanted)
    # Each part is heard in it.
    for part in ("harmonic", "filtered_noise", "reverb"):
        assert np.abs(outputs[part]["signal"]).max() > 0.001
    assert np.abs(outputs["reverb"]["signal"] - outputs["add"]["signal"]).max() > 0.001


def test_the_harmonics_and_the_controls_of_the_noise(googles, saved):
    """Without any help from outside, of curves that are louder in one place than in another."""
    loudness_db = LOUDNESS_DB + 10.0 * np.sin(np.arange(N_FRAMES))
    _, outputs = google_notebook.play(googles[0], F0_HZ, loudness_db)
    (amplitudes, distribution, magnitudes), _ = bundles.load(saved).decode(F0_HZ, loudness_db)
    for ours, part, control in (
        (amplitudes, "harmonic", "amplitudes"),
        (distribution, "harmonic", "harmonic_distribution"),
        (magnitudes, "filtered_noise", "magnitudes"),
    ):
        assert_same_sound(ours, outputs[part]["controls"][control][0].numpy())


def test_saved_again_it_is_one_of_ours(saved, tmp_path, the_same_noise):
    loaded = bundles.load(saved)
    bundles.save(loaded, tmp_path / "mine")
    again = bundles.load(tmp_path / "mine")
    np.testing.assert_array_equal(again.play(F0_HZ, LOUDNESS_DB), loaded.play(F0_HZ, LOUDNESS_DB))
    assert (again.card, again.statistics) == (loaded.card, loaded.statistics)


def test_a_model_without_reverb(googles, tmp_path, the_same_noise):
    network, config = googles
    wanted = google_notebook.play(network, F0_HZ, LOUDNESS_DB)[1]["add"]["signal"].numpy()[0]
    config = config.replace(",\n     (@effects.Reverb(), ['add/signal'])", "")
    dry = tf.train.Checkpoint(decoder=network.decoder)
    dry.loss_objs = network.loss_objs
    folder = tmp_path / "dry"
    folder.mkdir()
    tf.train.Checkpoint(model=dry).write(str(folder / "ckpt-5"))
    (folder / "operative_config-0.gin").write_text(config)
    played = bundles.load(folder).play(F0_HZ, LOUDNESS_DB)
    assert_same_sound(played, wanted)


def test_the_newest_checkpoint_is_taken(googles, saved, tmp_path, the_same_noise):
    network, config = googles
    folder = shutil.copytree(saved, tmp_path / "two")
    bias = network.decoder.dense_out.bias
    before = bias.numpy()
    bias.assign(before + 1.0)
    wanted, _ = google_notebook.play(network, F0_HZ, LOUDNESS_DB)
    google_notebook.save(network, config, folder, step=100_000)
    bias.assign(before)
    loaded = bundles.load(zip_of(folder, tmp_path / "two.zip"))
    assert_same_sound(loaded.play(F0_HZ, LOUDNESS_DB), wanted)
    assert loaded.card["steps"] == 100_000


# Card and statistics


def test_the_statistics_are_those_of_the_pickle(saved):
    loaded = bundles.load(saved)
    stored = google_notebook.dataset_statistics()
    statistics = loaded.statistics
    assert statistics["feature_profile"] == loaded.card["feature_profile"] == "ddsp-2"
    assert (statistics["sample_rate"], statistics["frame_rate"]) == (16000, FRAME_RATE)
    assert statistics["pitch_midi"]["mean"] == pytest.approx(stored["mean_pitch_note"], abs=1e-3)
    assert statistics["pitch_midi"]["low"] < 69.0 < statistics["pitch_midi"]["high"]
    levels = np.array(statistics["loudness_db_percentiles"])
    wanted = stored["quantile_transform"].inverse_transform(np.linspace(0, 1, 101)[:, np.newaxis])
    np.testing.assert_allclose(levels, wanted[:, 0], atol=1e-3)
    assert (loaded.card["name"], loaded.card["steps"]) == ("my_flute", 30000)
    assert "warning" not in loaded.card


def test_without_statistics_it_plays_and_says_so(bundle):
    (bundle / "dataset_statistics.pkl").unlink()
    loaded = bundles.load(bundle)
    assert len(loaded.statistics["loudness_db_percentiles"]) == 101
    assert "dataset_statistics.pkl" in loaded.card["warning"]
    assert np.abs(loaded.play(F0_HZ, LOUDNESS_DB)).max() > 0.01


@pytest.mark.parametrize("module", ["sklearn.preprocessing._data", "ddsp.colab.colab_utils"])
def test_statistics_of_earlier_versions(bundle, module, monkeypatch):
    """Which had another module for the quantiles, and a mean of the pitch alone."""
    quantiles = type("QuantileTransformer", (), {"__module__": module})
    stand_in = type(sys)(module)
    stand_in.QuantileTransformer = quantiles
    made = quantiles()
    made.quantiles_ = np.linspace(-90.0, -30.0, 1000)[:, np.newaxis]
    made.random_state = np.random.RandomState(0)
    with monkeypatch.context() as patch:
        for name in (*itertools.accumulate(module.split("."), "{}.{}".format), module):
            patch.setitem(sys.modules, name, stand_in)
        pickled = pickle.dumps({"mean_pitch": np.float32(60.5), "quantile_transform": made})
    (bundle / "dataset_statistics.pkl").write_bytes(pickled)
    _, statistics, _ = google_bundle.read(bundle, "my_flute")
    assert statistics["pitch_midi"] == {"mean": 60.5}
    np.testing.assert_allclose(
        statistics["loudness_db_percentiles"], np.linspace(-90.0, -30.0, 101), atol=1e-6
    )


# Before ddsp 2.0


def before_2(config):
    """A configuration as ddsp 1 wrote it."""
    lines = config.splitlines(keepends=True)
    new = ("compute_loudness", "F0LoudnessPreprocessor.frame", "F0LoudnessPreprocessor.sample")
    return "".join(line for line in lines if not any(name in line for name in new))


def before_1(config):
    """A configuration as ddsp 0 wrote it."""
    renamed = before_2(config).replace("Harmonic", "Additive").replace("'harmonic", "'additive")
    renamed = renamed.replace("'additive_distribution", "'harmonic_distribution")
    return renamed.replace("F0LoudnessPreprocessor", "DefaultPreprocessor")


@pytest.mark.parametrize("version", [before_2, before_1])
def test_before_ddsp_2_loudness_was_of_120_db(googles, bundle, version, the_same_noise):
    network, config = googles
    (bundle / "operative_config-0.gin").write_text(version(config))
    loaded = bundles.load(bundle)
    assert loaded.statistics["feature_profile"] == loaded.card["feature_profile"] == "ddsp-1"
    loudness_db = np.linspace(-110.0, -30.0, N_FRAMES)
    wanted, _ = google_notebook.play(network, F0_HZ, loudness_db * 80.0 / 120.0)
    assert_same_sound(loaded.play(F0_HZ, loudness_db), wanted)


def test_the_profile_that_is_asked_for(bundle, refused):
    lines, statistics, card = google_bundle.read(bundle, "my_flute", "ddsp-1")
    assert statistics["feature_profile"] == card["feature_profile"] == "ddsp-1"
    assert lines[-1] == "ScaleFeatures.loudness_range_db = 120.0"
    with refused("'ddsp-3'.*ddsp-2, ddsp-1"):
        google_bundle.read(bundle, "my_flute", "ddsp-3")


# What may not come in


def set_in(bundle, *lines):
    with open(bundle / "operative_config-0.gin", "a") as config:
        config.write("".join(f"\n{line}\n" for line in lines))


@pytest.mark.parametrize(
    "line",
    [
        "import evil",
        "from evil import thing",
        "import evil as ddsp",
        "import ddsp.evil",
        "include 'evil.gin'",
        "Autoencoder.decoder = @os.system()",
        "Autoencoder.decoder = @tf.io.write_file()",
        "Autoencoder.encoder = @MfccTimeDistributedRnnEncoder()",
        "Autoencoder.decoder = %evil",
        "Autoencoder.losses = [@os.system()]",
        "Harmonic.scale_fn = @os.system",
        "train.data_provider = @os.system()",
        "evil = @os.system()",
        "evil = @scope/os.system()",
        "evil.line = 3",
        "scope/Harmonic.name = 'harmonic'",
        "RnnFcDecoder:\n  ch = 8",
        "RnnFcDecoder.ch = 1000000000",
        "RnnFcDecoder.ch = 'text'",
        "RnnFcDecoder.ch = @Reverb()",
        "RnnFcDecoder.rnn_type = 'lstm'",
        "RnnFcDecoder.input_keys = [1, 2]",
        "RnnFcDecoder.output_splits = (('amps', 1), ('frequencies', 60))",
        "RnnFcDecoder.output_splits = 3",
        "Reverb.reverb_length = 1000000000000",
        "Reverb.trainable = False",
        "ProcessorGroup.dag = [('add_weight', ['f0_hz'])]",
        "ProcessorGroup.dag = [(@effects.FilteredNoiseReverb(), ['f0_hz'])]",
        "ProcessorGroup.dag = 3",
        "F0LoudnessPreprocessor.time_steps = 0",
        "F0LoudnessPreprocessor.time_steps = -250",
        "F0LoudnessPreprocessor.time_steps = 333",
        "Harmonic.sample_rate = 48000",
        "F0LoudnessPreprocessor.sample_rate = 48000",
        "F0LoudnessPreprocessor.frame_rate = 100",
        "FilteredNoise.n_samples = 32000",
        "exp_sigmoid.exponent = 2.0",
        "hop = [",
        "\x00",
    ],
)
def test_what_a_configuration_may_not_do(
    bundle, line, tmp_path, monkeypatch, nothing_is_left, refused
):
    (tmp_path / "evil.py").write_text(f"open({str(tmp_path / 'harm')!r}, 'w')")
    (tmp_path / "evil.gin").write_text("import evil")
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(instrument.ddsp.training.models, "get_model", lambda: pytest.fail("built"))
    set_in(bundle, line)
    with refused("my_flute"):
        bundles.load(zip_of(bundle, tmp_path / "my_flute.zip"))
    assert "evil" not in sys.modules and not (tmp_path / "harm").exists()


def test_training_is_never_looked_up(saved, monkeypatch):
    """What would read a dataset or start a training is not even known to gin."""
    seen = []
    parse = gin.parse_config
    monkeypatch.setattr(gin, "parse_config", lambda text: seen.append(text) or parse(text))
    bundles.load(saved)
    (text,) = seen
    for word in ("import", "train", "evaluate", "TFRecord", "RnnFcDecoder", "/content"):
        assert word not in text


class Harm:
    """Unpickled, it would run a program."""

    def __init__(self, *call):
        self.call = call

    def __reduce__(self):
        return self.call


@pytest.mark.parametrize("call", [(os.system, ("touch harm",)), (eval, ("open('harm', 'w')",))])
@pytest.mark.parametrize("key", ["mean_pitch", "quantile_transform", "of no use"])
def test_a_pickle_that_would_run_code(
    bundle, call, key, tmp_path, monkeypatch, nothing_is_built, nothing_is_left, refused
):
    monkeypatch.chdir(tmp_path)
    statistics = google_notebook.dataset_statistics() | {key: Harm(*call)}
    (bundle / "dataset_statistics.pkl").write_bytes(pickle.dumps(statistics))
    with refused("dataset_statistics.pkl of my_flute.zip"):
        bundles.load(zip_of(bundle, tmp_path / "my_flute.zip"))
    assert not (tmp_path / "harm").exists()


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"no pickle",
        b"." * 2**21,
        pickle.dumps([1, 2]),
        pickle.dumps({"mean_pitch": 60.0}),
        pickle.dumps({"mean_pitch": "high", "quantile_transform": None}),
        b"\x80\x04cnumpy\nload\n.",
        b"\x80\x04cnumpy\nsave\n.",
        b"cnumpy.testing._private.utils\nruncall\n.",
    ],
    ids=lambda content: repr(content[:12]),
)
def test_statistics_that_are_of_no_use(bundle, content, nothing_is_built, refused):
    (bundle / "dataset_statistics.pkl").write_bytes(content)
    with refused("dataset_statistics.pkl of my_flute"):
        bundles.load(bundle)


def in_parts(network):
    """What a checkpoint holds of a network, for parts to be left out."""
    decoder = tf.train.Checkpoint(
        input_stacks=network.decoder.input_stacks,
        rnn=network.decoder.rnn,
        out_stack=network.decoder.out_stack,
        dense_out=network.decoder.dense_out,
    )
    group = tf.train.Checkpoint(reverb=network.processor_group.reverb)
    return tf.train.Checkpoint(decoder=decoder, processor_group=group)


@pytest.mark.parametrize("change", ["missing", "extra", "other"])
def test_weights_are_restored_all_or_none(googles, bundle, change, tmp_path, refused):
    network, config = googles
    changed = in_parts(network)
    decoder = changed.decoder
    if change == "missing":
        del decoder.dense_out
    elif change == "extra":
        decoder.more = tf.Variable([1.0])
    else:  # as many of the same shapes, one under another name
        decoder.renamed = decoder.dense_out
        del decoder.dense_out
    tf.train.Checkpoint(model=changed).write(str(bundle / "ckpt-40000"))
    with refused("weights of my_flute"):
        bundles.load(bundle)


def test_a_checkpoint_in_parts_is_whole(googles, bundle, the_same_noise):
    """The one that the test above changes is taken as it is."""
    network, _ = googles
    wanted, _ = google_notebook.play(network, F0_HZ, LOUDNESS_DB)
    tf.train.Checkpoint(model=in_parts(network)).write(str(bundle / "ckpt-40000"))
    assert_same_sound(bundles.load(bundle).play(F0_HZ, LOUDNESS_DB), wanted)


def test_weights_of_another_size(bundle, refused):
    set_in(bundle, "Reverb.reverb_length = 301")
    with refused("weights of my_flute"):
        bundles.load(bundle)


@pytest.mark.parametrize("ending", ["index", "data-00000-of-00001"])
def test_truncated_weights(bundle, ending, refused):
    path = bundle / f"ckpt-30000.{ending}"
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with refused("weights of my_flute"):
        bundles.load(bundle)


@pytest.mark.parametrize(
    "name", ["operative_config-0.gin", "ckpt-30000.index", "ckpt-30000.data-00000-of-00001"]
)
def test_a_missing_file_is_named(bundle, name, nothing_is_built, refused):
    (bundle / name).unlink()
    with refused(f"my_flute.*{name.split('0')[0].split('3')[0]}"):
        bundles.load(bundle)


def test_a_bomb_of_googles(bundle, tmp_path, monkeypatch, nothing_is_left, refused):
    with open(bundle / "ckpt-30000.data-00000-of-00001", "wb") as file:
        file.truncate(20 * 2**20)
    archive = zip_of(bundle, tmp_path / "my_flute.zip")
    monkeypatch.setattr(untrusted, "MAX_BUNDLE_BYTES", 10 * 2**20)
    monkeypatch.setattr(shutil, "copyfileobj", lambda *_: pytest.fail("unpacked"))
    with refused("my_flute.zip unpacks to more"):
        bundles.load(archive)
