"""powers against closed forms, librosa and the loudness of the sound that is made of them."""

import librosa
import numpy as np
import pytest
import tensorflow as tf

from helpers.analysis import audio as sound
from helpers.analysis import features
from helpers.instruments import bundles, configurations
from helpers.synthesis import powers

SMALL = ["ConvDecoder.channels = 8", "ConvDecoder.dilations = (1, 2)"]
SECONDS = 2


def built(sample_rate=44100):
    tf.keras.utils.set_random_seed(0)
    instrument = configurations.build("analysis", sample_rate, bindings=SMALL)
    # A flat network: what it plays are the means, at the asked loudness.
    decoder = instrument.network.decoder
    decoder.network.dense_out.set_weights(
        [np.zeros_like(w) for w in decoder.network.dense_out.get_weights()]
    )
    return instrument


def loudness_of(instrument, f0_hz, loudness_db):
    """Loudness [n_frames] of what an instrument plays, without the frames at both ends."""
    audio = instrument.play(f0_hz, loudness_db)
    at_16k = sound.resample(audio, instrument.sample_rate, 16000)
    return features.loudness(at_16k, 16000, instrument.frame_rate)[10 : len(f0_hz) - 10]


@pytest.mark.parametrize(
    ("harmonic_db", "noise_db", "tolerance_db"), [(-20.0, -150.0, 0.05), (-150.0, -60.0, 0.5)]
)
def test_sound_has_the_loudness_that_was_asked_for(harmonic_db, noise_db, tolerance_db):
    instrument = built()
    slope_db = -0.3 * np.arange(165)
    instrument.network.decoder.set_means(
        (harmonic_db + slope_db) / powers.DB_PER_NEPER,
        np.full(177, noise_db) / powers.DB_PER_NEPER,
        22050.0,
    )
    n_frames = SECONDS * 100
    for f0_hz, loudness_db in ((110.0, -30.0), (880.0, -50.0)):
        played_db = loudness_of(
            instrument, np.full(n_frames, f0_hz), np.full(n_frames, loudness_db)
        )
        # The mean of noise is that of its power, not that of its decibels.
        mean_db = 10 * np.log10(np.mean(10 ** (played_db / 10)))
        assert mean_db == pytest.approx(loudness_db, abs=tolerance_db)


def test_powers_become_sounds_of_these_powers():
    """Mean squares of sines and of noise, as they are played, against those that were asked for."""
    decoder, instrument = built().network.decoder, built()
    f0_hz = tf.fill([1, 400, 1], 500.0)
    harmonic = np.full([1, 400, 165], -200.0, np.float32)
    harmonic[:, :, 2] = np.log(0.02)
    noise = np.full([1, 400, 177], np.log(1e-7), np.float32)
    group = instrument.network.processor_group
    controls = decoder.controls(tf.constant(harmonic), tf.constant(noise), f0_hz)
    made = group({**controls, "f0_hz": f0_hz}, return_outputs_dict=True)["controls"]
    sines, white = (made[name]["signal"].numpy()[0] for name in ("harmonic", "filtered_noise"))
    assert np.mean(sines**2) == pytest.approx(0.02, rel=0.01)
    power = np.mean(np.abs(librosa.stft(sines, n_fft=4410, hop_length=441)) ** 2, axis=1)
    assert power.argmax() * 10 == pytest.approx(1500, abs=10)
    assert np.mean(white**2) == pytest.approx(1e-7 * 22050, rel=0.05)


def test_nothing_sounds_above_the_band_edge():
    instrument = built()
    instrument.network.decoder.set_means(np.full(165, -10.0), np.full(177, -20.0), 8000.0)
    audio = instrument.play(np.full(200, 200.0), np.full(200, -30.0))
    spectra = librosa.stft(audio, n_fft=2048, window="blackmanharris", center=False)
    power = np.mean(np.abs(spectra) ** 2, axis=1)
    frequencies_hz = librosa.fft_frequencies(sr=44100, n_fft=2048)
    below = power[(frequencies_hz > 6000) & (frequencies_hz < 7400)].mean()
    assert power[frequencies_hz > 8500].mean() < 1e-6 * below


def test_a_bundle_keeps_what_was_set(tmp_path):
    instrument = built()
    instrument.network.decoder.set_means(np.full(165, -10.0), np.full(177, -20.0), 16000.0, -25.0)
    bundles.save(instrument, tmp_path / "analysis")
    loaded = bundles.load(tmp_path / "analysis")
    melody = np.full(50, 220.0), np.full(50, -30.0)
    for ours, kept in zip(loaded.decode(*melody)[0], instrument.decode(*melody)[0], strict=True):
        np.testing.assert_array_equal(ours, kept)


def test_means_of_the_noise_are_kept_as_near_as_its_channels_can():
    decoder = built().network.decoder
    centres_hz = (np.arange(177) + 0.5) * 22050 / 177
    smooth = -15.0 - 3.0 * np.log1p(centres_hz / powers.MEL_CORNER_HZ)
    decoder.set_means(np.zeros(165), smooth, 22050.0)
    f0_hz, loudness_db = tf.fill([1, 1], 440.0), tf.fill([1, 1], -30.0)
    made = built().network.preprocessor({"f0_hz": f0_hz, "loudness_db": loudness_db})
    _, noise = decoder.powers(made)
    difference = noise.numpy()[0, 0] - smooth
    np.testing.assert_allclose(difference, difference.mean(), atol=1e-3)


def test_blocks_join_to_the_same_controls():
    instrument = built()
    f0_hz, loudness_db = np.geomspace(200, 900, 60), np.linspace(-60, -10, 60)
    whole, _ = instrument.decode(f0_hz, loudness_db)
    first, state = instrument.decode(f0_hz[:30], loudness_db[:30])
    second, _ = instrument.decode(f0_hz[30:], loudness_db[30:], state=state)
    for one, *parts in zip(whole, first, second, strict=True):
        np.testing.assert_allclose(np.concatenate(parts), one, rtol=1e-4, atol=1e-7)


def test_half_precision_stays_in_tune_and_as_loud():
    tf.keras.utils.set_random_seed(0)
    instrument = configurations.build("analysis", 16000, SMALL, precision="mixed_bfloat16")
    instrument.network.decoder.set_means(np.linspace(-5.0, -12.0, 60), np.full(65, -40.0), 8000.0)
    played_db = loudness_of(instrument, np.full(200, 431.0), np.full(200, -33.0))
    np.testing.assert_allclose(played_db, -33.0, atol=0.1)


def test_silence_has_finite_gradients():
    decoder = built(16000).network.decoder
    powers_ = tf.Variable(tf.fill([1, 3, 60], -300.0)), tf.Variable(tf.fill([1, 3, 65], -300.0))
    with tf.GradientTape() as tape:
        controls = decoder.controls(*powers_, tf.fill([1, 3, 1], 440.0))
        total = sum(tf.reduce_sum(control) for control in controls.values())
    assert all(np.isfinite(g).all() for g in tape.gradient(total, powers_))


def test_envelope_is_met_at_its_frequency_by_each_note():
    """A resonance at 2 kHz raises the 10th harmonic of 200 Hz as much as the 4th of 500 Hz."""
    instrument = built()
    decoder = instrument.network.decoder
    kernel, bias = decoder.network.dense_out.get_weights()
    mel = np.log1p(np.array([22050 / 177 / 2, 2000.0, 22050.0]) / powers.MEL_CORNER_HZ)
    nearest = round(47 * (mel[1] - mel[0]) / (mel[2] - mel[0]))
    bias[165 + nearest] = 1.0
    decoder.network.dense_out.set_weights([kernel, bias])
    raised = {}
    for f0_hz, n in ((200.0, 10), (500.0, 4)):
        made = instrument.network.preprocessor(
            {"f0_hz": tf.fill([1, 1], f0_hz), "loudness_db": tf.fill([1, 1], -30.0)}
        )
        harmonics, _ = decoder.powers(made)
        harmonics = harmonics.numpy()[0, 0] - np.median(harmonics)
        assert harmonics.argmax() == n - 1
        raised[n] = harmonics[n - 1]
    assert raised[10] == pytest.approx(raised[4], rel=1e-3)
    assert 0.5 * powers.SCALE < raised[4] <= powers.SCALE
