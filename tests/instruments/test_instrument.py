"""instrument: configurations made into instruments, and what these play."""

from pathlib import Path

import gin
import librosa
import numpy as np
import pytest
import tensorflow as tf
import tiny_instrument
from tiny_instrument import SMALL, WITHOUT_NOISE

from helpers.instruments import bundles, configurations
from helpers.synthesis.ddsp_import import ddsp


@pytest.fixture(scope="module")
def instrument():
    return tiny_instrument.build()


@pytest.fixture(scope="module")
def autoencoder():
    return configurations.build("autoencoder", bindings=[*SMALL, WITHOUT_NOISE])


# Curves


def test_frames_of_other_lengths_are_played(instrument):
    for n_frames in (1, 2, 77, 1500):
        audio = instrument.play(np.full(n_frames, 440.0), np.full(n_frames, -30.0))
        assert audio.shape == (n_frames * 128,) and audio.dtype == np.float32


def test_louder_curves_sound_otherwise(instrument):
    """In ddsp's own notebooks every edit of the loudness is lost."""
    f0_hz = np.full(50, 440.0)
    clips = []
    for loudness_db in (-60.0, -30.0):
        tf.random.get_global_generator().reset_from_seed(0)
        clips.append(instrument.play(f0_hz, np.full(50, loudness_db)))
    assert np.abs(clips[0] - clips[1]).max() > 1e-6


@pytest.mark.parametrize(
    "line",
    [
        "sample_rate = 16000.0",
        "sample_rate = 0",
        "hop_size = 0",
        "hop_size = -128",
        "hop_size = 130",  # no whole number of frames a second
        "sample_rate = 44100\nhop_size = 350",  # 126 frames a second, of 126.98 samples at 16 kHz
        "FramewiseHarmonic.hop_size = 64",
        "FramewiseNoise.hop_size = 64",
        "ConvDecoder.channels = 0",
        "ConvDecoder.channels = 'many'",
        "ConvDecoder.chanels = 8",
        "ConvDecoder.output_splits = (('amps', 1),)",
        "Autoencoder.decoder = None",
        "get_model.model = @processors.ProcessorGroup()",
        "get_model.model = 3",
        "get_model.model = @models.Autoencoder",
        "DecayingReverb.trainable = False",
        "ScaleFeatures.input_keys = ['nothing']",
    ],
)
def test_what_makes_no_instrument(line, refused):
    with refused("The configuration"):
        configurations.build("small", bindings=[*SMALL, line])


def test_different_hop_sizes(refused):
    wrong = ["FramewiseHarmonic.hop_size = 64", "FramewiseNoise.hop_size = 64"]
    with refused("different hop sizes"):
        configurations.build("small", bindings=[*SMALL, *wrong])


# Sample rates


@pytest.mark.parametrize(
    "sample_rate, frame_rate, harmonics, noise_bands, longest_fft",
    [
        (16000, 125, 60, 65, 2048),
        (24000, 125, 90, 97, 3072),
        (32000, 125, 120, 129, 4096),
        (44100, 100, 165, 177, 5632),
        (48000, 125, 180, 193, 6144),
    ],
)
def test_every_sample_rate(sample_rate, frame_rate, harmonics, noise_bands, longest_fft, tmp_path):
    built = configurations.build("small", sample_rate, ["ConvDecoder.channels = 8", WITHOUT_NOISE])
    assert (built.sample_rate, built.frame_rate) == (sample_rate, frame_rate)
    curves = built.network.decoder(ones(("ld_scaled", 1), ("f0_scaled", 1)))
    assert curves["harmonic_distribution"].shape[-1] == harmonics
    assert curves["noise_magnitudes"].shape[-1] == noise_bands
    assert max(built.network.loss_objs[0].fft_sizes) == longest_fft
    assert sum(np.size(w) for w in built.network.processor_group.get_weights()) == sample_rate

    bundles.save(built, tmp_path / "tiny")
    loaded = bundles.load(tmp_path / "tiny")
    assert loaded.config == built.config
    for one in (built, loaded):
        f0_hz = 440.0
        audio = one.play(np.full(frame_rate, f0_hz), np.full(frame_rate, -20.0))
        assert audio.shape == (sample_rate,) and np.isfinite(audio).all()
        spectrum = np.abs(np.fft.rfft(audio * np.hanning(sample_rate)))  # bins of 1 Hz
        peaks_hz = librosa.util.peak_pick(
            spectrum, pre_max=99, post_max=99, pre_avg=99, post_avg=99, delta=0.1, wait=99
        )
        n_below_nyquist = int((sample_rate / 2 - 1) // f0_hz)
        expected_hz = f0_hz * np.arange(1, min(harmonics, n_below_nyquist) + 1)
        np.testing.assert_allclose(peaks_hz, expected_hz, atol=1.0)
    assert (peaks_hz.max() > 8000) == (sample_rate > 16000)


def ones(*channels):
    """A second of controls at 1."""
    return {name: tf.ones([1, 125, n]) for name, n in channels}


def test_frames_of_google_s_instrument_at_44100_hz():
    """250 a second are no whole number of samples there: the most that are below."""
    small_decoder = ["GruDecoder.rnn_channels = 8", "GruDecoder.ch = 8"]
    built = configurations.build("ddsp", 44100, small_decoder)
    assert (built.frame_rate, built.hop_size) == (100, 441)
    assert configurations.build("ddsp", 48000, small_decoder).frame_rate == 250


def test_bindings_are_for_16_khz():
    built = configurations.build("small", 48000, [*SMALL, "harmonics = 10", "hop_size = 160"])
    curves = built.network.decoder(ones(("ld_scaled", 1), ("f0_scaled", 1)))
    assert curves["harmonic_distribution"].shape[-1] == 30
    assert (built.frame_rate, built.hop_size) == (100, 480)


# z


def glide(n_frames):
    return np.geomspace(200.0, 900.0, n_frames), np.linspace(-40.0, -10.0, n_frames)


def test_z_is_heard(autoencoder):
    zeros = np.zeros([50, 3])
    still, other = (autoencoder.play(*glide(50), z) for z in (zeros, zeros + 1.0))
    assert still.shape == other.shape == (50 * 128,)
    assert np.abs(still - other).max() > 1e-3


@pytest.mark.parametrize("n_samples", [1, 127, 128, 6400, 10_001])
def test_z_has_the_frames_of_features(autoencoder, n_samples):
    audio = np.random.default_rng(0).uniform(-0.5, 0.5, n_samples)
    z = autoencoder.encode(audio)
    assert z.shape == (1 + n_samples // 128, 3) and z.dtype == np.float32
    assert np.isfinite(z).all()
    assert len(autoencoder.play(*glide(len(z)), z)) == len(z) * 128


@pytest.mark.parametrize("block_frames", [1, 7, 100, 1000])
def test_z_of_blocks_is_that_of_the_whole_clip(autoencoder, block_frames, tmp_path):
    """The whole clip as training encodes it, at once; the blocks from a file on disk."""
    audio = np.random.default_rng(0).uniform(-0.5, 0.5, 20_001).astype(np.float32)
    np.save(tmp_path / "audio.npy", audio)
    blocks = autoencoder.encode_blocks(np.load(tmp_path / "audio.npy", mmap_mode="r"), block_frames)
    blocks = list(blocks)
    whole = autoencoder.network.encoder(
        {"audio": tf.constant(audio[None]), "f0_scaled": tf.zeros([1, 157, 1])}
    )["z"][0]
    assert max(map(len, blocks)) <= block_frames
    np.testing.assert_allclose(np.concatenate(blocks), whole, atol=1e-5)
    np.testing.assert_allclose(np.concatenate(blocks), autoencoder.encode(audio), atol=1e-5)


def test_an_encoder_needs_z(autoencoder, refused):
    with refused("encode a sound first"):
        autoencoder.play(*glide(50))
    for shape in ((49, 3), (50, 4), (50,)):
        with refused("z has the shape.*50 frames of 3 numbers"):
            autoencoder.play(*glide(50), np.zeros(shape))


def test_without_an_encoder_there_is_no_z(instrument, refused):
    with refused("has no z"):
        instrument.play(*glide(50), np.zeros([50, 3]))
    with refused("has no z"):
        instrument.encode(np.zeros(16000))


def test_training_plays_what_play_plays(autoencoder):
    """Training has the network encode the audio; afterwards z is made and given by hand."""
    f0_hz, loudness_db = (curve.astype(np.float32) for curve in glide(50))
    audio = np.random.default_rng(0).uniform(-0.5, 0.5, 50 * 128).astype(np.float32)
    batch = {"f0_hz": f0_hz[None], "loudness_db": loudness_db[None], "audio": audio[None]}
    trained = autoencoder.network(batch, training=False)["audio_synth"][0]
    # The last of its 51 frames is past the end of the batch.
    z = autoencoder.network.encoder(
        {"audio": tf.constant(audio[None]), "f0_scaled": tf.zeros([1, 50, 1])}
    )["z"][0]
    np.testing.assert_allclose(autoencoder.play(f0_hz, loudness_db, z), trained, atol=1e-5)


def test_a_training_step_teaches_the_encoder(autoencoder):
    f0_hz, loudness_db = (tf.constant(c[None], tf.float32) for c in glide(25))
    audio = tf.random.stateless_uniform([1, 25 * 128], (1, 2), -0.5, 0.5)
    batch = {"f0_hz": f0_hz, "loudness_db": loudness_db, "audio": audio}
    optimizer, losses = tf.keras.optimizers.Adam(0.01), []
    variables = autoencoder.network.trainable_variables
    before = autoencoder.network.encoder.get_weights()
    for _ in range(4):
        with tf.GradientTape() as tape:
            _, parts = autoencoder.network({**batch}, training=True, return_losses=True)
        losses.append(float(parts["total_loss"]))
        gradients = tape.gradient(parts["total_loss"], variables)
        optimizer.apply_gradients(zip(gradients, variables, strict=True))
    assert losses[-1] < losses[0]
    for old, new in zip(before, autoencoder.network.encoder.get_weights(), strict=True):
        assert np.abs(new - old).max() > 1e-4


def test_an_autoencoder_comes_back(autoencoder, tmp_path):
    bundles.save(autoencoder, tmp_path / "tiny")
    loaded = bundles.load(tmp_path / "tiny")
    audio = np.random.default_rng(0).uniform(-0.5, 0.5, 6400)
    np.testing.assert_array_equal(loaded.encode(audio), autoencoder.encode(audio))
    assert loaded.z_dims == 3


# Precision


@pytest.mark.parametrize("precision", ["mixed_bfloat16", "mixed_float16"])
def test_half_precision_sounds_nearly_the_same(precision, tmp_path):
    whole = configurations.build("autoencoder", bindings=[*SMALL, WITHOUT_NOISE])
    half = configurations.build(
        "autoencoder", bindings=[*SMALL, WITHOUT_NOISE], precision=precision
    )
    half.network.set_weights(whole.network.get_weights())
    audio = np.random.default_rng(0).uniform(-0.5, 0.5, 50 * 128 - 1)
    z = whole.encode(audio)
    differs = half.encode(audio) - z
    assert 0 < np.abs(differs).max() < 0.05 * np.abs(z).max()
    expected, played = (one.play(*glide(50), z) for one in (whole, half))
    assert played.dtype == np.float32
    assert 0 < np.abs(played - expected).max() < 0.05 * np.abs(expected).max()
    assert {weights.dtype.name for weights in half.network.weights} == {"float32"}

    bundles.save(half, tmp_path / "tiny")
    loaded = bundles.load(tmp_path / "tiny")
    np.testing.assert_allclose(loaded.play(*glide(50), z), expected, atol=1e-5)  # but for its hiss


def test_only_decoder_and_encoder_are_in_half_precision():
    half = configurations.build("autoencoder", bindings=SMALL, precision="mixed_bfloat16")
    batch = {
        "f0_hz": tf.fill([1, 25], 440.0),
        "loudness_db": tf.fill([1, 25], -30.0),
        "audio": tf.random.stateless_uniform([1, 25 * 128], (1, 2), -0.5, 0.5),
    }
    z = half.network.encoder({**batch, "f0_scaled": tf.zeros([1, 25, 1])})["z"]
    controls = half.network.decoder({**ones(("ld_scaled", 1), ("f0_scaled", 1), ("z", 3))})
    assert {z.dtype, controls["amps"].dtype} == {tf.bfloat16}
    with_room = configurations.build("small", bindings=SMALL, precision="mixed_bfloat16")
    reverb = with_room.network(batch, training=True)["reverb"]
    outputs, losses = half.network(batch, training=True, return_losses=True)
    for part in (outputs["harmonic"], outputs["filtered_noise"], outputs["add"], reverb):
        assert {t.dtype for t in tf.nest.flatten(part)} == {tf.float32}
    assert losses["total_loss"].dtype == tf.float32
    # The pitch itself goes past the decoder: in half precision 440 Hz would be 440 to 442.
    np.testing.assert_array_equal(outputs["harmonic"]["controls"]["f0_hz"], 440.0)


@pytest.mark.parametrize("config", ["autoencoder", "ddsp"])
def test_half_precision_trains_whole_weights(config):
    tiny = ["GruDecoder.rnn_channels = 8", "GruDecoder.ch = 8", "PlainReverb.reverb_length = 99"]
    half = configurations.build(config, bindings=[*SMALL, *tiny], precision="mixed_float16")
    batch = {
        "f0_hz": tf.fill([1, 25], 440.0),
        "loudness_db": tf.fill([1, 25], -30.0),
        "audio": tf.random.stateless_uniform([1, 25 * half.hop_size], (1, 2), -0.5, 0.5),
    }
    with tf.GradientTape() as tape:
        _, losses = half.network(batch, training=True, return_losses=True)
    for gradient in tape.gradient(losses["total_loss"], half.network.trainable_variables):
        assert gradient.dtype == tf.float32 and np.isfinite(gradient).all() and np.any(gradient)


# Google's own model


N_FRAMES = 125  # half a second


@pytest.fixture(scope="module")
def ours():
    return configurations.build("ddsp", bindings=["fft_sizes = (1024, 64)", WITHOUT_NOISE])


@pytest.fixture(scope="module")
def googles():
    """solo_instrument.gin as ddsp ships it, for half a second, its loudness as it is given."""
    gin.clear_config()
    gin.add_config_file_search_path(Path(ddsp.__file__).parent / "training" / "gin")
    with gin.unlock_config():
        gin.parse_config_file("models/solo_instrument.gin")
        gin.parse_config(
            f"""
            F0LoudnessPreprocessor.time_steps = {N_FRAMES}
            F0LoudnessPreprocessor.compute_loudness = False
            Harmonic.n_samples = {N_FRAMES * 64}
            Harmonic.use_angular_cumsum = True
            FilteredNoise.n_samples = {N_FRAMES * 64}
            FilteredNoise.initial_bias = -16.0
            SpectralLoss.fft_sizes = (1024, 64)
            """
        )
    network = ddsp.training.models.get_model()
    gin.clear_config()
    return network


def test_as_google_s_own(ours, googles):
    _, loudness_db = glide(N_FRAMES)
    batch = {
        # Low, as ddsp adds up the phase of each harmonic in float32.
        "f0_hz": tf.constant(np.geomspace(50.0, 70.0, N_FRAMES)[None], tf.float32),
        "loudness_db": tf.constant(loudness_db[None], tf.float32),
        "audio": tf.random.stateless_uniform([1, N_FRAMES * 64], (1, 2), -0.5, 0.5),
    }
    googles(batch, training=False)  # builds it
    assert ours.parameters == googles.count_params() == pytest.approx(4.8e6, rel=0.02)
    for part in ("input_stacks", "rnn", "out_stack", "dense_out"):
        layers, theirs = (
            tf.nest.flatten(getattr(network.decoder, part)) for network in (ours.network, googles)
        )
        for layer, their in zip(layers, theirs, strict=True):
            their.set_weights(layer.get_weights())
    room = np.random.default_rng(0).normal(0.0, 0.01, 48000)
    for network in (ours.network, googles):
        network.processor_group.reverb.set_weights([room])
    expected, expected_losses = googles(batch, training=True, return_losses=True)
    played, losses = ours.network(batch, training=True, return_losses=True)
    for control in ("amplitudes", "harmonic_distribution"):
        one, other = (o["harmonic"]["controls"][control] for o in (expected, played))
        np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-6)
    expected, played = (o["audio_synth"].numpy() for o in (expected, played))
    assert np.abs(expected).max() > 0.01
    np.testing.assert_allclose(played, expected, atol=1e-3 * np.abs(expected).max())
    loss, expected_loss = (float(one["total_loss"]) for one in (losses, expected_losses))
    assert loss == pytest.approx(expected_loss, rel=1e-4)


def test_many_instruments_are_played_without_a_warning(caplog):
    """Each is compiled once: TensorFlow warns where one is, over and over."""
    for _ in range(7):
        instrument = configurations.build("small", bindings=SMALL)
        instrument.decode(np.full(4, 440.0), np.full(4, -30.0))
    assert "retracing" not in caplog.text
