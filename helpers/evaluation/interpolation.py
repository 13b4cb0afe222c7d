"""Interpolation between two sounds, one feature at a time (Engel et al., ICLR 2020).

Loudness, f0 or z goes from one sound's to another's over the clip while the rest stays the first's.
What is heard then is compared with what the instrument was asked for: a feature that can be moved
alone is obeyed, and leaves the others where they are.
"""

from dataclasses import replace

import numpy as np
from tqdm.auto import tqdm

from helpers.analysis import pitch
from helpers.evaluation import metrics
from helpers.tensorflow_import import tf

KINDS = ("reconstruction", "loudness", "f0", "z")


def pairs(n_examples, n_partners=3):
    """Each example with the next few, around the end: [(first, second), ...], by their first."""
    steps = range(1, min(n_partners, n_examples - 1) + 1)
    return [(i, (i + step) % n_examples) for i in range(n_examples) for step in steps]


def heard(instrument, examples):
    """What each example plays, as an instrument takes it.

    Returns:
      A list of (`Features`, z [n_frames, z_dims]); z is None for an instrument without.
    """
    found = []
    for audio in examples["audio"]:
        n_frames = len(audio) // instrument.hop_size  # as examples have them: none at the very end
        curves = metrics.measure(audio, instrument.sample_rate, instrument.frame_rate)
        z = instrument.encode(audio)[:n_frames] if instrument.z_dims else None
        found.append((curves.cut(n_frames), z))
    return found


def asked(kind, first, second):
    """What is asked of an instrument on the way from one sound to another.

    Args:
      kind: "loudness" (moves in dB), "f0" (in semitones), "z", or "reconstruction", for nothing.
      first, second: As from `heard`.

    Returns:
      (`Features`, z). f0 is NaN where it is not sure: where the first's is not, and for "f0" where
      the second's is not either; the confidence is that of the less sure.
    """
    (curves, z), (others, other_z) = first, second
    position = np.linspace(0.0, 1.0, len(curves.f0_hz))
    if kind == "loudness":
        loudness_db = (1.0 - position) * curves.loudness_db + position * others.loudness_db
        curves = replace(curves, loudness_db=loudness_db)
    if kind == "f0":
        low, high = (np.log(pitch.fill_unvoiced(one.f0_hz)) for one in (curves, others))
        f0_hz = np.exp((1.0 - position) * low + position * high)
        sure = np.minimum(curves.confidence, others.confidence)
        unvoiced = np.isnan(curves.f0_hz) | np.isnan(others.f0_hz)
        curves = replace(curves, f0_hz=np.where(unvoiced, np.nan, f0_hz), confidence=sure)
    if kind == "z":
        z = (1.0 - position[:, np.newaxis]) * z + position[:, np.newaxis] * other_z
    return curves, z


def play(instrument, curves, z):
    """Plays what was `asked`. Shape [n_frames * hop_size]."""
    inputs = [pitch.fill_unvoiced(curves.f0_hz), curves.loudness_db]
    return instrument.play(*inputs, *([] if z is None else [z]))


def evaluate_pairs(instrument, examples, n_partners=3):
    """Interpolates between examples, and compares what is heard with what was asked for.

    Args:
      instrument: An `Instrument`; one without z is not asked for "z".
      examples: Of a dataset, all of one length.
      n_partners: See `pairs`.

    Returns:
      Kind to a list of what `metrics.compare` found of each of `pairs`. Of "reconstruction", of
      each example: it has no other.
    """
    tf.random.get_global_generator().reset_from_seed(0)  # the same noise at each call
    sounds = heard(instrument, examples)
    kinds = [kind for kind in KINDS if kind != "z" or instrument.z_dims]
    of_two, of_one = pairs(len(sounds), n_partners), [(i, i) for i in range(len(sounds))]
    tasks = [(k, pair) for k in kinds for pair in (of_one if k == "reconstruction" else of_two)]
    rows = {kind: [] for kind in kinds}
    for kind, (first, second) in tqdm(tasks, desc="interpolating", unit="sound"):
        curves, z = asked(kind, sounds[first], sounds[second])
        played = play(instrument, curves, z)
        found = metrics.measure(played, instrument.sample_rate, instrument.frame_rate)
        rows[kind].append(metrics.compare(curves, found))
    return rows
