"""losses against ddsp's spectral loss and librosa."""

import librosa
import numpy as np
import pytest
import tensorflow as tf
from scipy import stats

from helpers.synthesis import losses
from helpers.synthesis.ddsp_import import ddsp


def sounds(n_samples, seed=0):
    """A target and another sound: noise, with a stretch of digital silence in both."""
    random = np.random.default_rng(seed)
    pair = 0.1 * random.normal(size=[2, 2, n_samples]).astype(np.float32)
    pair[..., n_samples // 2 : n_samples // 2 + 700] = 0.0
    return [tf.constant(audio) for audio in pair]


def value_and_gradient(loss, target_audio, audio):
    with tf.GradientTape() as tape:
        tape.watch(audio)
        value = loss(target_audio, audio)
    return float(value), tape.gradient(value, audio).numpy()


@pytest.mark.parametrize(
    "n_samples, settings",
    [
        (4000, {"logmag_weight": 1.0}),
        (4801, {"logmag_weight": 0.5, "mag_weight": 2.0, "fft_sizes": (512, 64)}),
        (3000, {"loss_type": "L2", "logmag_weight": 1.0, "fft_sizes": (256,)}),
        (100, {"logmag_weight": 1.0, "fft_sizes": (256,)}),  # shorter than a window
    ],
)
def test_loss_equals_ddsps_in_value_and_gradient(n_samples, settings):
    ours, ddsps = (
        value_and_gradient(kind(**settings), *sounds(n_samples))
        for kind in (losses.FusedSpectralLoss, ddsp.losses.SpectralLoss)
    )
    assert ours[0] == pytest.approx(ddsps[0], rel=1e-4)
    assert np.linalg.norm(ours[1] - ddsps[1]) < 1e-4 * np.linalg.norm(ddsps[1])


@pytest.mark.parametrize("sample_rate, size", [(16000, 512), (32000, 1024)])
def test_loudness_term_equals_ddsps_loudness_in_value_and_gradient(sample_rate, size):
    target, audio = sounds(6144)

    def ddsps(target_audio, audio):
        db = [
            ddsp.spectral_ops.compute_loudness(
                tf.pad(x, [[0, 0], [0, size - size // 4]]),  # the frames that end in zeros too
                sample_rate=sample_rate,
                frame_rate=4 * sample_rate // size,
                n_fft=size,
                padding="valid",
            )
            for x in (target_audio, audio)
        ]
        return tf.reduce_mean(tf.abs(db[0] - db[1]))

    with_it, without = (
        losses.FusedSpectralLoss(
            (2 * size, size, 64), logmag_weight=1.0, loudness_weight=w, sample_rate=sample_rate
        )
        for w in (0.3, 0.0)
    )
    ours, rest = (value_and_gradient(loss, target, audio) for loss in (with_it, without))
    theirs = value_and_gradient(ddsps, target, audio)
    assert ours[0] - rest[0] == pytest.approx(0.3 * theirs[0], rel=1e-3)
    difference = (ours[1] - rest[1]) / 0.3 - theirs[1]
    assert np.linalg.norm(difference) < 1e-3 * np.linalg.norm(theirs[1])


def test_loss_of_equal_sounds_is_nothing():
    target, _ = sounds(4000)
    assert float(losses.FusedSpectralLoss(logmag_weight=1.0)(target, target)) < 1e-6


@pytest.mark.parametrize("size", [64, 176, 1408])  # powers of two times 1 and 2.75
def test_windows_of_any_size_equal_librosas(size):
    audio = np.random.default_rng(0).normal(size=4410).astype(np.float32)
    true = np.abs(librosa.stft(audio, n_fft=size, hop_length=size // 4, center=False)).T
    found = np.abs(losses.spectra(audio[None], size).numpy()[0])
    assert len(found) == -(-len(audio) // (size // 4))
    np.testing.assert_allclose(found[: len(true)], true, atol=1e-4)


def analysis_loss_of(harmonic, noise, model_harmonic, model_noise, bandwidth_hz=100.0):
    """The losses of 2 frames of 3 harmonics of 1 kHz and 8 bands up to 8 kHz."""
    shapes = [1, 2, 3], [1, 2, 8]
    values = [
        tf.constant(np.broadcast_to(x, shape), tf.float32)
        for x, shape in zip((harmonic, noise, model_harmonic, model_noise), shapes * 2, strict=True)
    ]
    bandwidth_hz, f0_hz = tf.fill([1, 2], bandwidth_hz), tf.fill([1, 2], 1000.0)
    found = losses.analysis_loss(*values[:2], bandwidth_hz, *values[2:], f0_hz, 16000)
    return [float(loss) for loss in found]


def test_analysis_loss_is_the_likelihood_of_exponential_powers():
    """Less that of the best model: for a power P and its mean v it is P / v - log(P / v) - 1."""
    power, mean, density = 0.003, 0.001, 2e-6
    harmonic, _ = analysis_loss_of(np.log(power), 0.0, np.log(mean), np.log(density))
    expected = mean + density * 100.0
    difference = stats.expon.logpdf(power, scale=power) - stats.expon.logpdf(power, scale=expected)
    assert harmonic == pytest.approx(difference * 6 / 7, rel=1e-4)  # a mean over one more


def test_noise_is_learned_as_its_median():
    """The loss of a constant density is lowest where the median of exponential powers is met."""
    powers = np.random.default_rng(0).exponential(1e-6, [1000, 1, 1, 8])
    found = [
        np.mean([analysis_loss_of(0.0, np.log(p), 0.0, np.log(density))[1] for p in powers[:100]])
        for density in (0.7e-6, 1e-6, 1.4e-6)
    ]
    assert found[1] < min(found[0], found[2])


def test_what_is_not_known_is_not_learned():
    harmonic, noise = analysis_loss_of(np.nan, np.nan, 0.0, 0.0)
    assert (harmonic, noise) == (0.0, 0.0)
    some = np.full([1, 2, 3], np.nan)
    some[0, 0, 1] = np.log(0.5)
    values = tf.Variable(tf.zeros([1, 2, 3])), tf.Variable(tf.zeros([1, 2, 8]))
    with tf.GradientTape() as tape:
        loss, _ = losses.analysis_loss(
            tf.constant(some, tf.float32),
            tf.fill([1, 2, 8], np.nan),
            tf.fill([1, 2], 100.0),
            *values,
            tf.fill([1, 2], 1000.0),
            16000,
        )
    gradient, to_noise = tape.gradient(loss, values)
    assert np.argwhere(gradient.numpy()).tolist() == [[0, 0, 1]]
    assert to_noise is None or not np.any(to_noise)
