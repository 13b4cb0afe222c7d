"""synths against ddsp's own synthesizers, float64 NumPy and closed forms."""

import numpy as np
import pytest
import scipy.signal
import tensorflow as tf
from gradients import relative_error

from helpers.synthesis import synths
from helpers.synthesis.ddsp_import import ddsp

RELATIVE = 1e-4  # of the root mean square


def sum_of_sines(f0_hz, amplitudes, distribution, hop_size, sample_rate):
    """The harmonic synthesizer as the paper writes it, sample by sample in float64."""
    f0_hz, amplitudes = f0_hz.astype(float), (amplitudes * distribution).astype(float)
    step_hz = np.append(np.diff(f0_hz), 0.0)[:, None]
    sample = np.arange(hop_size)
    frequency_hz = f0_hz[:, None] + step_hz * sample / hop_size
    # Sum of an arithmetic series, instead of the frequencies added up one by one.
    within = f0_hz[:, None] * (sample + 1) + step_hz * sample * (sample + 1) / (2 * hop_size)
    before = np.append(0.0, np.cumsum(within[:-1, -1]))[:, None]
    phase = 2 * np.pi * (before + within) / sample_rate
    fade_in = 0.5 - 0.5 * np.cos(np.pi * sample / hop_size)
    audio = np.zeros_like(phase)
    for k, start in enumerate(amplitudes.T, start=1):
        end = np.append(start[1:], start[-1])
        envelope = start[:, None] * (1 - fade_in) + end[:, None] * fade_in
        audio += np.where(k * frequency_hz < sample_rate / 2, envelope * np.sin(k * phase), 0.0)
    return audio.ravel()


def controls(n_frames, n_harmonics, low_hz=200.0, high_hz=400.0, seed=0):
    """A glide with vibrato, swelling amplitudes and a changing distribution, all float32."""
    random = np.random.default_rng(seed)
    t = np.linspace(0.0, 1.0, n_frames)
    f0_hz = low_hz * (high_hz / low_hz) ** t * (1 + 0.01 * np.sin(2 * np.pi * 6 * t))
    amplitudes = 0.5 + 0.4 * np.sin(2 * np.pi * 3 * t)[:, None]
    distribution = random.random((n_frames, n_harmonics)) / n_harmonics
    return [c.astype(np.float32) for c in (f0_hz, amplitudes, distribution)]


def synthesize(f0_hz, amplitudes, distribution, hop_size, sample_rate):
    audio = synths.FramewiseHarmonic(hop_size, sample_rate).get_signal(
        amplitudes[None], distribution[None], f0_hz[None, :, None]
    )
    assert audio.shape == (1, len(f0_hz) * hop_size)
    return audio.numpy()[0]


@pytest.mark.parametrize(
    "n_frames, hop_size, sample_rate, high_hz",
    [
        (125, 128, 16000, 400.0),
        (100, 147, 16000, 400.0),  # neither a power of two nor even
        (100, 441, 44100, 400.0),
        (60, 128, 16000, 2000.0),  # the upper harmonics cross Nyquist, most of them within a frame
        (2, 64, 16000, 300.0),
        (1, 128, 16000, 300.0),
        (1, 1, 16000, 300.0),
    ],
)
def test_harmonics_equal_a_sum_of_sines(n_frames, hop_size, sample_rate, high_hz):
    given = controls(n_frames, 20, high_hz=high_hz)
    true = sum_of_sines(*given, hop_size, sample_rate)
    assert relative_error(synthesize(*given, hop_size, sample_rate), true) < RELATIVE


@pytest.mark.parametrize("hop_size, sample_rate", [(128, 16000), (441, 44100)])
def test_harmonics_do_not_drift_in_a_minute(hop_size, sample_rate):
    given = controls(60 * sample_rate // hop_size, 12)
    true = sum_of_sines(*given, hop_size, sample_rate)
    audio = synthesize(*given, hop_size, sample_rate)
    last_second = slice(-sample_rate, None)
    assert relative_error(audio, true) < RELATIVE
    assert relative_error(audio[last_second], true[last_second]) < RELATIVE


def test_blocks_of_frames_leave_no_seam(monkeypatch):
    given = controls(100, 20)
    whole = synthesize(*given, 64, 16000)
    monkeypatch.setattr(synths, "ROWS_AT_ONCE", 7)
    np.testing.assert_allclose(synthesize(*given, 64, 16000), whole, atol=1e-6)


def value_and_gradients(synth, given, target):
    f0_hz, amplitudes, distribution = (tf.constant(c[None]) for c in given)
    inputs = amplitudes, distribution, f0_hz[..., None]
    with tf.GradientTape() as tape:
        tape.watch(inputs)
        audio = synth.get_signal(*inputs)
        loss = tf.reduce_sum(audio * target)
    return [value.numpy()[0] for value in (audio, *tape.gradient(loss, inputs))]


def test_harmonics_equal_ddsps_in_value_and_gradient():
    # With more harmonics it is ddsp that is further from float64 than this.
    given = controls(25, 4, high_hz=230.0)
    target = np.random.default_rng(1).normal(size=25 * 64).astype(np.float32)
    ours = synths.FramewiseHarmonic(64, 16000)
    ddsps = ddsp.synths.Harmonic(25 * 64, 16000, use_angular_cumsum=True)
    results = [value_and_gradients(synth, given, target) for synth in (ours, ddsps)]
    for our, ddsps in zip(*results, strict=True):
        assert relative_error(our, ddsps) < RELATIVE


def test_gradient_of_f0_equals_finite_differences():
    given = controls(25, 20, high_hz=230.0)
    target = np.random.default_rng(1).normal(size=25 * 64).astype(np.float32)
    *_, gradient = value_and_gradients(synths.FramewiseHarmonic(64, 16000), given, target)

    def loss(f0_hz):
        return np.sum(sum_of_sines(f0_hz, *given[1:], 64, 16000) * target)

    small = 1e-3 * np.eye(25)
    true = [(loss(given[0] + move) - loss(given[0] - move)) / 2e-3 for move in small]
    assert relative_error(gradient[:, 0], true) < RELATIVE


def test_raw_outputs_become_controls_as_in_ddsp():
    f0_hz, amplitudes, distribution = (c[None] for c in controls(10, 20, high_hz=3000.0))
    inputs = amplitudes - 1.0, distribution, f0_hz[..., None]
    ours = synths.FramewiseHarmonic(64, 16000).get_controls(*inputs)
    ddsps = ddsp.synths.Harmonic(640, 16000).get_controls(*inputs)
    for name in ddsps:
        np.testing.assert_array_equal(ours[name], ddsps[name])


def test_phase_goes_on_at_the_edges_of_frames():
    f0_hz = controls(50, 1)[0]
    cycles, frequency_hz = synths.accumulate_phase(f0_hz[None, :, None], 100, 16000)
    advance = np.diff(cycles.numpy().ravel()) % 1.0
    np.testing.assert_allclose(advance, frequency_hz.numpy().ravel()[1:] / 16000, atol=2e-7)


def test_above_nyquist_is_silence():
    f0_hz, amplitudes, distribution = controls(10, 5)
    assert not synthesize(np.full_like(f0_hz, 8000.0), amplitudes, distribution, 64, 16000).any()


def test_noise_has_the_spectrum_of_the_magnitudes():
    n_bands, hop_size = 65, 128
    tf.random.get_global_generator().reset_from_seed(0)
    magnitudes = 0.1 + np.cos(np.linspace(0.0, 2.0 * np.pi, n_bands)) ** 2
    frames = np.tile(magnitudes.astype(np.float32), (1, 2000, 1))
    audio = synths.FramewiseNoise(hop_size).get_signal(frames).numpy()[0]
    _, density = scipy.signal.welch(audio, fs=1.0, nperseg=2 * (n_bands - 1))
    # Uniform noise has a variance of 1/3, shared by frequencies from 0 to 0.5. The filter's
    # impulse response has a Hann window, which mixes each band with its two neighbours.
    mirrored = np.pad(magnitudes, 1, "reflect")
    smoothed = 0.25 * mirrored[:-2] + 0.5 * magnitudes + 0.25 * mirrored[2:]
    expected = 2.0 / 3.0 * smoothed**2
    np.testing.assert_allclose(density[2:-2], expected[2:-2], rtol=0.15)


@pytest.mark.parametrize("n_frames, hop_size", [(10, 128), (7, 147), (1, 128), (1, 64)])
def test_noise_has_the_length_of_its_frames(n_frames, hop_size):
    frames = np.ones((2, n_frames, 65), np.float32)
    audio = synths.FramewiseNoise(hop_size).get_signal(frames)
    assert audio.shape == (2, n_frames * hop_size)


def test_noise_follows_its_frames():
    frames = np.zeros((1, 100, 65), np.float32)
    frames[:, 50:] = 1.0
    audio = synths.FramewiseNoise(128).get_signal(frames).numpy()[0]
    assert np.abs(audio[: 49 * 128]).max() < 1e-6
    assert np.std(audio[52 * 128 :]) > 0.1


def test_noise_is_the_same_for_the_same_seed():
    frames = np.ones((1, 10, 65), np.float32)
    generator, synth = tf.random.get_global_generator(), synths.FramewiseNoise(64)
    clips = []
    for seed in (1, 1, 2):
        generator.reset_from_seed(seed)
        clips.append(synth.get_signal(frames).numpy())
    np.testing.assert_array_equal(clips[0], clips[1])
    assert np.abs(clips[0] - clips[2]).max() > 0.1


@pytest.mark.parametrize("n_samples, reverb_length", [(1600, 400), (777, 48), (300, 1000)])
def test_reverb_equals_ddsps_in_value_and_gradient(n_samples, reverb_length):
    random = np.random.default_rng(0)
    audio, target = (
        tf.constant(random.normal(size=[2, n_samples]).astype(np.float32)) for _ in range(2)
    )
    taps = random.normal(size=reverb_length).astype(np.float32)
    results = []
    for reverb in (synths.PlainReverb(reverb_length), ddsp.effects.Reverb(True, reverb_length)):
        reverb(audio), reverb.set_weights([taps])
        with tf.GradientTape() as tape:
            tape.watch(audio)
            wet = reverb(audio)
            loss = tf.reduce_sum(wet * target)
        results.append([wet, *tape.gradient(loss, [audio, *reverb.trainable_variables])])
    for our, ddsps in zip(*results, strict=True):
        assert relative_error(our.numpy(), ddsps.numpy()) < RELATIVE


def test_noise_equals_ddsps_in_value_and_gradient(monkeypatch):
    n_frames, hop_size = 20, 64
    random = np.random.default_rng(0)
    magnitudes = tf.constant(random.random([2, n_frames, 65]).astype(np.float32))
    generator = tf.random.get_global_generator()
    generator.reset_from_seed(0)
    noise = generator.uniform([2, n_frames * hop_size], -1.0, 1.0)
    monkeypatch.setattr(ddsp.synths.tf.random, "uniform", lambda *args, **kwargs: noise)
    generator.reset_from_seed(0)
    results = []
    for synth in (
        synths.FramewiseNoise(hop_size),
        ddsp.synths.FilteredNoise(n_frames * hop_size, window_size=0),
    ):
        with tf.GradientTape() as tape:
            tape.watch(magnitudes)
            audio = synth.get_signal(magnitudes)
            loss = tf.reduce_sum(audio**2)
        results.append([audio, tape.gradient(loss, magnitudes)])
    for our, ddsps in zip(*results, strict=True):
        assert relative_error(our.numpy(), ddsps.numpy()) < RELATIVE


def test_reverb_is_the_audio_and_echoes_that_die_away():
    reverb_length, n_samples = 800, 2000
    reverb = synths.DecayingReverb(reverb_length)
    audio = np.random.default_rng(0).normal(size=(2, n_samples)).astype(np.float32)
    reverb(audio)  # builds it
    taps = np.random.default_rng(1).normal(size=reverb_length).astype(np.float32)
    reverb.set_weights([taps])
    decay_db = -60.0 * np.arange(reverb_length) / (reverb_length - 1)
    echoes = 0.1 * taps * 10 ** (decay_db / 20)
    echoes[0] = 0.0  # the direct sound is the audio itself
    expected = [x + scipy.signal.fftconvolve(x, echoes)[:n_samples] for x in audio]
    np.testing.assert_allclose(reverb(audio), expected, atol=1e-4)
