"""How close a resynthesis comes: the metrics of the DDSP paper (Engel et al., ICLR 2020)."""

import math
import time
from collections.abc import Iterator, Mapping, Sequence

import numpy as np
import scipy.stats

from helpers.analysis import features
from helpers.analysis.features import Features
from helpers.config import VOICED_CONFIDENCE
from helpers.instruments.instrument import Instrument
from helpers.tensorflow_import import tf

SURE_CONFIDENCE = 0.85  # of the original, for its f0 to be compared
OUTLIER_SEMITONES = 12.0
LOUDNESS_RANGE_DB = 80.0
RESAMPLES = 9999  # of the bootstrap

Row = dict[str, float | bool]  # the metrics of one example, by name


def measure(audio: np.ndarray, sample_rate: int, frame_rate: int) -> Features:
    """The `Features` that the metrics compare: their f0 is CREPE's own, not refined."""
    return features.extract(audio, sample_rate, frame_rate, refined=False)


def compare(original: Features, resynthesis: Features) -> Row:
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


def resynthesize(
    instrument: Instrument, examples: Mapping[str, np.ndarray]
) -> Iterator[tuple[np.ndarray, np.ndarray, float]]:
    """Plays the features of each example, z among them, the same way at each call.

    Yields:
      Each example's audio [n_samples], its resynthesis of the same length, and the seconds that
      this took. The first of one length takes longer, as something is compiled.
    """
    rows = zip(examples["audio"], examples["f0_hz"], examples["loudness_db"], strict=True)
    for i, (audio, *conditioning) in enumerate(rows):
        seed_noise(i, len(audio))
        if instrument.z_dims:
            conditioning.append(instrument.encode(audio))
        started = time.perf_counter()
        played = instrument.play(*conditioning)[: len(audio)]
        yield audio, played, time.perf_counter() - started


def seed_noise(number: int, n_samples: int) -> None:
    """Gives each sound its own noise, the same at each call and whatever was played before it.

    Args:
      number: Of the sound, from 0 on.
      n_samples: Of each of the sounds.
    """
    generator = tf.random.get_global_generator()
    generator.reset_from_seed(0)
    generator.skip(number * n_samples)


def resynthesis(instrument: Instrument, examples: Mapping[str, np.ndarray]) -> dict[str, float]:
    """Mean metrics of an instrument playing the features of a dataset's examples, z among them.

    Both the example and what is played of it go through the same feature extraction.

    Returns:
      As `means`.
    """
    rates = instrument.sample_rate, instrument.frame_rate
    return means(
        [
            compare(measure(audio, *rates), measure(played, *rates))
            for audio, played, _ in resynthesize(instrument, examples)
        ]
    )


def means(rows: Sequence[Row]) -> dict[str, float]:
    """What `compare` found of several examples, in one.

    Returns:
      loudness_l1_db, loudness_l1 (the same as a share of 80 dB), f0_l1_semitones (without the
      outliers), f0_outliers (share of examples).
    """
    loudness_l1_db, f0_l1, outliers = map(_mean, _by_metric(rows))
    return {
        "loudness_l1_db": loudness_l1_db,
        "loudness_l1": loudness_l1_db / LOUDNESS_RANGE_DB,
        "f0_l1_semitones": f0_l1,
        "f0_outliers": outliers,
    }


def intervals(rows: Sequence[Row], n_together: int = 1) -> dict[str, tuple[float, float]]:
    """How certain `means` are: 95 % intervals.

    Those of the L1s are percentile bootstrap intervals (Efron 1979). That of the outliers is exact
    (Clopper and Pearson 1934), for as many observations as there are groups of rows (Korn and
    Graubard 1998): none in ten examples is no proof that there are none.

    Args:
      rows: Of `compare`.
      n_together: Rows, one after another, that have an example in common: drawn together.

    Returns:
      As `means`, with (lower end, upper end) of each, which has the mean within it; NaN for an L1
      of fewer than two examples, and for all without any.
    """
    if not rows:
        return {metric: (math.nan, math.nan) for metric in means(rows)}
    loudness_l1_db, f0_l1, outliers = (
        values.reshape(-1, n_together) for values in _by_metric(rows)
    )
    loudness_l1_db = _bootstrapped(loudness_l1_db)
    return {
        "loudness_l1_db": loudness_l1_db,
        "loudness_l1": tuple(end / LOUDNESS_RANGE_DB for end in loudness_l1_db),
        "f0_l1_semitones": _bootstrapped(f0_l1),
        "f0_outliers": _exact(float(outliers.mean()), len(outliers)),
    }


def _exact(share, n):
    """The interval of a share that was found in n observations."""
    n_found = share * n
    beta = scipy.stats.beta
    low = beta.ppf(0.025, n_found, n - n_found + 1) if share > 0.0 else 0.0
    high = beta.ppf(0.975, n_found + 1, n - n_found) if share < 1.0 else 1.0
    return float(low), float(high)


def _by_metric(rows):
    """Loudness L1, F0 L1 (NaN for outliers), and whether it is one, of all rows."""
    outliers = np.array([row["f0_outlier"] for row in rows], float)
    f0_l1 = np.array([row["f0_l1_semitones"] for row in rows])
    return (
        np.array([row["loudness_l1_db"] for row in rows]),
        np.where(outliers, np.nan, f0_l1),
        outliers,
    )


def _mean(values, axis=None):
    """Without NaN: there is nothing to compare in them."""
    there = np.isfinite(values)
    n_there = np.sum(there, axis=axis)
    with np.errstate(invalid="ignore"):
        mean = np.sum(np.where(there, values, 0.0), axis=axis) / n_there
    return float(mean) if axis is None else mean


def _bootstrapped(values):
    """The interval of the mean of values [n_examples, n_together]."""
    values = values[np.isfinite(values).any(axis=1)]
    if len(values) < 2:
        return float("nan"), float("nan")
    if np.nanmin(values) == np.nanmax(values):  # which SciPy warns of
        return float(np.nanmin(values)), float(np.nanmin(values))
    found = scipy.stats.bootstrap(
        (np.arange(len(values)),),
        lambda drawn, axis: _mean(values[drawn], axis=(-2, -1)),
        method="percentile",
        n_resamples=RESAMPLES,
        random_state=np.random.default_rng(0),
    )
    return tuple(map(float, found.confidence_interval))
