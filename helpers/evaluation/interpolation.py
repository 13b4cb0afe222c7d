"""Interpolation between two sounds, one feature at a time (Engel et al., ICLR 2020).

Loudness, f0 or z goes from one sound's to another's over the clip while the rest stays the first's.
The features of the sound that is played are compared with the conditioning that it was played
from: a model that follows its conditioning moves one feature and leaves the others where they are.
"""

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
from tqdm.auto import tqdm

from helpers.analysis import pitch
from helpers.analysis.features import Features
from helpers.evaluation import metrics
from helpers.instruments.instrument import Instrument

KINDS = ("reconstruction", "loudness", "f0", "z")

Conditioning = tuple[Features, np.ndarray | None]


def pairs(n_examples: int, n_partners: int = 3) -> list[tuple[int, int]]:
    """Each example with the next few, around the end: [(first, second), ...], by their first."""
    steps = range(1, min(n_partners, n_examples - 1) + 1)
    return [(i, (i + step) % n_examples) for i in range(n_examples) for step in steps]


def conditioning(instrument: Instrument, audio: np.ndarray) -> Conditioning:
    """What an instrument takes to play a sound again.

    Args:
      instrument: An `Instrument`.
      audio: Shape [n_samples].

    Returns:
      (`Features`, z [n_frames, z_dims]), both of 1 + n_samples // hop frames; z is None for an
      instrument without an encoder.
    """
    features = metrics.measure(audio, instrument.sample_rate, instrument.frame_rate)
    return features, instrument.encode(audio) if instrument.z_dims else None


def interpolate(kind: str, first: Conditioning, second: Conditioning) -> Conditioning:
    """The conditioning on the way from one sound to another.

    Args:
      kind: "loudness" (moves in dB), "f0" (in semitones), "z", or "reconstruction", which moves
        nothing.
      first, second: Each (`Features`, z), of equal length, as from `conditioning`.

    Returns:
      (`Features`, z). f0 is NaN where the first's is, and for "f0" where the second's is too; the
      confidence there is the lower of both.
    """
    (features, z), (others, other_z) = first, second
    position = np.linspace(0.0, 1.0, len(features.f0_hz))
    if kind == "loudness":
        loudness_db = (1.0 - position) * features.loudness_db + position * others.loudness_db
        features = replace(features, loudness_db=loudness_db)
    if kind == "f0":
        low, high = (np.log(pitch.fill_unvoiced(one.f0_hz)) for one in (features, others))
        f0_hz = np.exp((1.0 - position) * low + position * high)
        confidence = np.minimum(features.confidence, others.confidence)
        unvoiced = np.isnan(features.f0_hz) | np.isnan(others.f0_hz)
        f0_hz = np.where(unvoiced, np.nan, f0_hz)
        features = replace(features, f0_hz=f0_hz, confidence=confidence)
    if kind == "z" and z is not None and other_z is not None:
        z = (1.0 - position[:, np.newaxis]) * z + position[:, np.newaxis] * other_z
    return features, z


def play(instrument: Instrument, features: Features, z: np.ndarray | None) -> np.ndarray:
    """Plays a conditioning, as from `interpolate`. Shape [n_frames * hop_size]."""
    inputs = [pitch.fill_unvoiced(features.f0_hz), features.loudness_db]
    return instrument.play(*inputs, *([] if z is None else [z]))


def evaluate_pairs(
    instrument: Instrument, examples: Mapping[str, np.ndarray], n_partners: int = 3
) -> dict[str, list[metrics.Row]]:
    """Interpolates between examples, and compares what is played with its conditioning.

    Args:
      instrument: An `Instrument`; "z" is left out for one without z.
      examples: Of a dataset, all of one length.
      n_partners: See `pairs`.

    Returns:
      Kind to a list of what `metrics.compare` found of each of `pairs`. Of "reconstruction", of
      each example: it has no other.
    """
    sounds = [conditioning(instrument, audio) for audio in examples["audio"]]
    kinds = [kind for kind in KINDS if kind != "z" or instrument.z_dims]
    of_two, of_one = pairs(len(sounds), n_partners), [(i, i) for i in range(len(sounds))]
    tasks = [(k, pair) for k in kinds for pair in (of_one if k == "reconstruction" else of_two)]
    rows: dict[str, list[metrics.Row]] = {kind: [] for kind in kinds}
    for i, (kind, (first, second)) in enumerate(tqdm(tasks, desc="interpolating", unit="sound")):
        n_samples = len(examples["audio"][first])
        metrics.seed_noise(i, n_samples)
        features, z = interpolate(kind, sounds[first], sounds[second])
        played = play(instrument, features, z)[:n_samples]
        measured = metrics.measure(played, instrument.sample_rate, instrument.frame_rate)
        rows[kind].append(metrics.compare(features, measured))
    return rows
