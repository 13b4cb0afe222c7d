"""encoders against ddsp and librosa, and in step with the other curves."""

import librosa
import numpy as np
import pytest
import scipy.signal
import tensorflow as tf

from helpers.synthesis import encoders
from helpers.synthesis.ddsp_import import ddsp

SECONDS = 0.5


def sweep(sample_rate, seconds=SECONDS):
    """A sweep in noise. Shape [1, n_samples]."""
    n_samples = int(sample_rate * seconds)
    noise = np.random.default_rng(0).normal(0.0, 0.05, n_samples)
    tone = librosa.chirp(fmin=200, fmax=4000, sr=sample_rate, length=n_samples)
    return (0.5 * tone + noise)[None].astype(np.float32)


@pytest.mark.parametrize("hop_size", [64, 128, 256])
def test_mfccs_are_ddsp_s(hop_size):
    """Its frames begin at their time: with half a window of silence before, they are centred."""
    audio = sweep(16000)
    ours = encoders.mfccs(audio, hop_size, 16000)
    ddsps = ddsp.spectral_ops.compute_mfcc(
        np.pad(audio, [(0, 0), (512, 512)]),
        fft_size=1024,
        mel_bins=128,
        mfcc_bins=30,
        overlap=1 - hop_size / 1024,
        pad_end=False,
    )
    assert ours.shape == (1, 1 + 8000 // hop_size, 30)
    np.testing.assert_allclose(ours, ddsps, atol=1e-3)


@pytest.mark.parametrize("sample_rate, hop_size", [(16000, 128), (44100, 441), (48000, 384)])
def test_mfccs_are_librosa_s(sample_rate, hop_size):
    """All but nearly: its mel filters are triangles in Hz, and TensorFlow's in mel."""
    audio = sweep(sample_rate)
    ours = encoders.mfccs(audio, hop_size, sample_rate)[0].numpy()
    window_size = round(0.064 * sample_rate)
    n_fft = 2 ** int(np.ceil(np.log2(window_size)))
    padded = np.pad(audio[0], window_size // 2)
    frames = librosa.util.frame(padded, frame_length=window_size, hop_length=hop_size, axis=0)
    window = librosa.filters.get_window("hann", window_size)
    magnitudes = np.abs(np.fft.rfft(frames * window, n_fft))
    to_mel = librosa.filters.mel(
        sr=sample_rate, n_fft=n_fft, n_mels=128, fmin=20, fmax=8000, htk=True, norm=None
    )
    log_mel = np.log(np.maximum(magnitudes @ to_mel.T, 1e-5))
    theirs = librosa.feature.mfcc(S=log_mel.T, n_mfcc=30).T[: len(ours)]
    for k in range(1, 30):  # the first differs by a constant factor
        assert np.corrcoef(ours[:, k], theirs[:, k])[0, 1] > 0.98, k


def test_mfccs_mean_the_same_at_every_rate():
    """A clip and its copy at 48 kHz, but for the gain, which a longer window has more of."""
    audio = sweep(16000)
    copy = librosa.resample(audio, orig_sr=16000, target_sr=48000)
    one, other = (
        encoders.mfccs(a, rate // 125, rate)[0, 8:-8].numpy()
        for a, rate in ((audio, 16000), (copy, 48000))
    )
    one, other = (c - c.mean(axis=0) for c in (one, other))
    # The filter of the resampling takes what is near 8 kHz.
    assert np.sqrt(np.mean((one - other) ** 2)) < 0.15 * one.std()


@pytest.fixture(scope="module")
def encoder():
    tf.keras.utils.set_random_seed(0)
    return encoders.FramewiseMfccEncoder(8, 4, hop_size=64)


def encode(encoder, audio, n_frames):
    return encoder({"audio": audio, "f0_scaled": np.zeros([1, n_frames, 1], np.float32)})["z"]


def test_the_encoder_is_ddsp_s_but_for_the_normalization(encoder):
    """With the weights of its MfccTimeDistributedRnnEncoder, at a rate that this has too."""
    theirs = ddsp.training.encoders.MfccTimeDistributedRnnEncoder(8, "gru", 4, z_time_steps=250)
    audio = sweep(16000)
    z = encode(encoder, audio, 118)
    coefficients = encoders.mfccs(audio, 64, 16000)[:, :118, 1:] / encoders.MFCC_SCALE
    theirs.dense_out(theirs.rnn(coefficients))  # builds them
    theirs.rnn.set_weights(encoder.rnn.get_weights())
    theirs.dense_out.set_weights(encoder.dense_out.get_weights())
    np.testing.assert_allclose(z, theirs.dense_out(theirs.rnn(coefficients)), atol=1e-4)


def test_what_tells_instruments_apart_stays_in_z(encoder):
    """A filter that never changes: over a clip normalized as in ddsp, it would fall out."""
    audio = sweep(16000, seconds=1.0)
    dull = scipy.signal.lfilter([1.0, 0.9], [1.0], audio).astype(np.float32)
    one, other = (encode(encoder, x, 250)[0].numpy() for x in (audio, dull))
    moved = np.abs(one - one.mean(axis=0)).mean()
    assert np.abs((one - other)[50:].mean(axis=0)).mean() > 0.1 * moved


@pytest.mark.parametrize("sample_rate, hop_size", [(16000, 128), (44100, 441)])
def test_z_changes_when_the_sound_does(sample_rate, hop_size):
    """A sine that becomes a sawtooth: z leaves its state there, within half a window."""
    encoder = encoders.FramewiseMfccEncoder(16, 4, hop_size=hop_size, sample_rate=sample_rate)
    frame_rate = sample_rate // hop_size
    cycles = 500 * np.arange(2 * sample_rate) / sample_rate % 1.0  # whole ones in every frame
    tone = np.where(np.arange(len(cycles)) < sample_rate, np.sin(2 * np.pi * cycles), cycles - 0.5)
    z = encode(encoder, 0.5 * tone[None].astype(np.float32), 2 * frame_rate)[0].numpy()
    assert z.shape == (2 * frame_rate, 4)
    moved = np.abs(np.diff(z, axis=0)).sum(axis=1)
    moved[: frame_rate // 2] = moved[-5:] = 0.0  # the GRU starts from zeros, the clip has an end
    assert moved[: int(0.96 * frame_rate)].max() < 0.1 * moved.max()
    assert abs(moved.argmax() - frame_rate) <= 0.05 * frame_rate


def test_a_louder_copy_has_the_same_z(encoder):
    """What is left to z is what loudness does not tell."""
    audio = sweep(16000)
    one, other = (encode(encoder, gain * audio, 125) for gain in (1.0, 0.25))
    np.testing.assert_allclose(one, other, atol=1e-3)


def test_silence_has_a_z(encoder):
    z = encode(encoder, np.zeros([1, 8000], np.float32), 125)
    assert np.isfinite(z).all()
