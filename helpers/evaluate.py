"""How close a resynthesis comes: the metrics of the DDSP paper (Engel et al., ICLR 2020)."""

import numpy as np

from helpers import features
from helpers.config import VOICED_CONFIDENCE

SURE_CONFIDENCE = 0.85  # of the original, for its f0 to be compared
OUTLIER_SEMITONES = 12.0
LOUDNESS_RANGE_DB = 80.0


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


def resynthesis(instrument, examples):
    """Mean metrics of an instrument playing the features of a dataset's examples, z among them.

    Both the example and what is played of it go through the same feature extraction.

    Returns:
      loudness_l1_db, loudness_l1 (the same as a share of 80 dB), f0_l1_semitones (without the
      outliers), f0_outliers (share of examples).
    """
    rows = []
    for audio, f0_hz, loudness_db in zip(
        examples["audio"], examples["f0_hz"], examples["loudness_db"], strict=True
    ):
        curves = [f0_hz, loudness_db]
        if instrument.z_dims:  # of the sound itself, cut to the frames of an example
            curves.append(instrument.encode(audio)[: len(f0_hz)])
        played = instrument.play(*curves)
        rates = instrument.sample_rate, instrument.frame_rate
        rows.append(compare(features.extract(audio, *rates), features.extract(played, *rates)))
    loudness_l1_db = float(np.mean([row["loudness_l1_db"] for row in rows]))
    f0_l1 = [row["f0_l1_semitones"] for row in rows if not row["f0_outlier"]]
    f0_l1 = [value for value in f0_l1 if np.isfinite(value)]  # NaN: nothing to compare
    return {
        "loudness_l1_db": loudness_l1_db,
        "loudness_l1": loudness_l1_db / LOUDNESS_RANGE_DB,
        "f0_l1_semitones": float(np.mean(f0_l1)) if f0_l1 else float("nan"),
        "f0_outliers": float(np.mean([row["f0_outlier"] for row in rows])),
    }
