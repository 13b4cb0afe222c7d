"""How close a resynthesis comes: the metrics of the DDSP paper (Engel et al., ICLR 2020)."""

import time

import numpy as np
import scipy.stats

from helpers import features
from helpers.config import VOICED_CONFIDENCE
from helpers.tensorflow_import import tf

SURE_CONFIDENCE = 0.85  # of the original, for its f0 to be compared
OUTLIER_SEMITONES = 12.0
LOUDNESS_RANGE_DB = 80.0
RESAMPLES = 9999  # of the bootstrap


def compare(original, resynthesis):
    """The three metrics of one example.

    Args:
      original, resynthesis: `Features` of both sounds, of equal frame rate.

    Returns:
      loudness_l1_db: Mean absolute difference of loudness.
      f0_l1_semitones: Mean absolute difference of f0 where the original's confidence is at
        least 0.85 and the resynthesis is voiced; NaN where nothing is.
      f0_outlier: True where the resynthesis cannot be tracked or is more than 12 semitones off.
    """
    n_frames = min(len(original.f0_hz), len(resynthesis.f0_hz))
    sure = original.confidence[:n_frames] >= SURE_CONFIDENCE
    tracked = sure & (resynthesis.confidence[:n_frames] >= VOICED_CONFIDENCE)
    tracked &= original.voiced[:n_frames] & resynthesis.voiced[:n_frames]
    ratio = resynthesis.f0_hz[:n_frames][tracked] / original.f0_hz[:n_frames][tracked]
    f0_l1_semitones = float(np.mean(np.abs(12.0 * np.log2(ratio)))) if len(ratio) else np.nan
    difference_db = original.loudness_db[:n_frames] - resynthesis.loudness_db[:n_frames]
    return {
        "loudness_l1_db": float(np.mean(np.abs(difference_db))),
        "f0_l1_semitones": f0_l1_semitones,
        "f0_outlier": bool(sure.any() and not f0_l1_semitones <= OUTLIER_SEMITONES),
    }


def resynthesize(instrument, examples):
    """Plays the features of each example, z among them, the same way at each call.

    Yields:
      Each example's audio, what is played of it, and the seconds that this took. The first of one
      length takes longer: something is compiled.
    """
    tf.random.get_global_generator().reset_from_seed(0)  # the noise, and what WaveRNN draws
    for audio, *curves in zip(
        examples["audio"], examples["f0_hz"], examples["loudness_db"], strict=True
    ):
        if instrument.z_dims:  # of the sound itself, cut to the frames of an example
            curves.append(instrument.encode(audio)[: len(curves[0])])
        started = time.perf_counter()
        played = instrument.play(*curves)
        yield audio, played, time.perf_counter() - started


def resynthesis(instrument, examples):
    """Mean metrics of an instrument playing the features of a dataset's examples, z among them.

    Both the example and what is played of it go through the same feature extraction.

    Returns:
      As `means`.
    """
    rates = instrument.sample_rate, instrument.frame_rate
    return means(
        [
            compare(features.extract(audio, *rates), features.extract(played, *rates))
            for audio, played, _ in resynthesize(instrument, examples)
        ]
    )


def means(rows):
    """What `compare` found of several examples, in one.

    Returns:
      loudness_l1_db, loudness_l1 (the same as a share of 80 dB), f0_l1_semitones (without the
      outliers), f0_outliers (share of examples).
    """
    loudness_l1_db, f0_l1, outliers = (
        float(np.mean(values)) if len(values) else float("nan") for values in _by_metric(rows)
    )
    return {
        "loudness_l1_db": loudness_l1_db,
        "loudness_l1": loudness_l1_db / LOUDNESS_RANGE_DB,
        "f0_l1_semitones": f0_l1,
        "f0_outliers": outliers,
    }


def intervals(rows):
    """How sure `means` are: their 95 % percentile bootstrap intervals (Efron 1979) over examples.

    Returns:
      As `means`, with (lower end, upper end) of each; NaN with fewer than two examples.
    """
    loudness_l1_db, f0_l1, outliers = map(_interval, _by_metric(rows))
    return {
        "loudness_l1_db": loudness_l1_db,
        "loudness_l1": tuple(end / LOUDNESS_RANGE_DB for end in loudness_l1_db),
        "f0_l1_semitones": f0_l1,
        "f0_outliers": outliers,
    }


def _by_metric(rows):
    """Loudness L1 of all examples, F0 L1 of those that can be compared, and which are outliers."""
    f0_l1 = [row["f0_l1_semitones"] for row in rows if not row["f0_outlier"]]
    return (
        [row["loudness_l1_db"] for row in rows],
        [value for value in f0_l1 if np.isfinite(value)],  # NaN: nothing to compare
        [float(row["f0_outlier"]) for row in rows],
    )


def _interval(values):
    if len(values) < 2:
        return float("nan"), float("nan")
    if min(values) == max(values):  # which SciPy warns of
        return float(values[0]), float(values[0])
    generator = np.random.default_rng(0)
    found = scipy.stats.bootstrap(
        (values,), np.mean, method="percentile", n_resamples=RESAMPLES, random_state=generator
    )
    return tuple(map(float, found.confidence_interval))
