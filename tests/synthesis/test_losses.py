"""losses against ddsp's spectral loss and librosa."""

import librosa
import numpy as np
import pytest
import tensorflow as tf

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
