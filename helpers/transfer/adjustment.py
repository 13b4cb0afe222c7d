"""Features adjusted to an instrument, by themselves and by hand. Curves in, curves out: no sound.

Pitch is reckoned in fractional MIDI numbers, loudness in dB; see `notes`.
"""

from dataclasses import dataclass, replace

import numpy as np
from scipy.ndimage import distance_transform_edt

from helpers.analysis import features, notes
from helpers.errors import InputError
from helpers.transfer import expression
from helpers.transfer.settings import Settings

OCTAVES = np.arange(-4, 5)
COST_OF_AN_OCTAVE = 0.2  # where a note at the end of the range costs 1
ASSUMED_SEMITONES = 12.0  # from the mean pitch to the highest and the lowest, where none is told
SOFT, LOUD = 5, 95  # percentiles of the loudness of notes that are brought together
MOST_WIDENED = 2.0  # times the range of loudness of a recording: a held tone stays held
FADE_SECONDS = 0.08  # of sound before and after a note, with its pitch


@dataclass(frozen=True)
class Adjusted:
    """Curves ready for an instrument.

    Attributes:
      curves: `Features`; f0 is NaN where nothing with a pitch is to be played.
      notes: True in the frames of notes. Shape [n_frames].
      says: What was done, in a sentence.
    """

    curves: features.Features
    notes: np.ndarray
    says: str


def adjust(curves, statistics, settings=Settings()):
    """Moves features to where an instrument was trained, and from there by hand.

    Args:
      curves: `Features` of the recording.
      statistics: The instrument's, as `dataset` made them.
      settings: `Settings`; those of the sound itself (noise, reverb, mix) change nothing here.

    Returns:
      `Adjusted`.

    Raises:
      InputError: No note was found, the statistics are incomplete, or they are of another profile.
    """
    _check_profile(curves, statistics)
    pitched = notes.is_pitched(curves, settings.threshold)
    mask = notes.detect(curves, settings.threshold)
    if not mask.any():
        raise InputError(
            "No note was found in the recording: lower the note threshold, or sing or play nearer "
            "the microphone."
        )
    f0_midi = notes.interpolated(notes.to_midi(curves.f0_hz), pitched)
    f0_midi, of_register = _fitted_register(np.where(mask, f0_midi, np.nan), statistics, settings)
    loudness_db, of_loudness = _fitted_loudness(curves, mask, statistics, settings)
    f0_midi, of_autotune = _by_hand(f0_midi, curves, mask, settings)

    without_noise_db = np.minimum(loudness_db, notes.interpolated(loudness_db, pitched))
    loudness_db = np.where(mask & ~pitched, without_noise_db, loudness_db)
    loudness_db += expression.attack_db(mask, curves.frame_rate, settings.attack_s)
    f0_midi, loudness_db = _faded(f0_midi, loudness_db, mask, curves.frame_rate, settings.quiet_db)
    silent = curves.loudness_db <= curves.floor_db
    loudness_db = np.where(silent, curves.floor_db, loudness_db + settings.loudness_db)
    adjusted = replace(
        curves,
        f0_hz=_to_hz(f0_midi),
        loudness_db=np.maximum(loudness_db, curves.floor_db).astype(np.float32),
    )
    return Adjusted(adjusted, mask, _sentence([*of_register, *of_loudness, *of_autotune]))


# Pitch


def _fitted_register(f0_midi, statistics, settings):
    """The pitch in the octave that brings the notes into the training's range, and words for that.

    Anywhere well inside of the range is about as good, so that the smallest shift is taken: a note
    costs the fourth power of the share of the way that it lies from the mean to the range's end.
    """
    if not settings.fit_register:
        return f0_midi, []
    pitch_midi = _needed(statistics, "pitch_midi")
    mean = _needed(pitch_midi, "mean")
    below = max(1.0, mean - pitch_midi.get("low", mean - ASSUMED_SEMITONES))
    above = max(1.0, pitch_midi.get("high", mean + ASSUMED_SEMITONES) - mean)
    off = f0_midi[np.isfinite(f0_midi)] - mean + 12.0 * OCTAVES[:, np.newaxis]
    costs = np.mean((off / np.where(off < 0, below, above)) ** 4, axis=1)
    octaves = int(OCTAVES[np.argmin(costs + COST_OF_AN_OCTAVE * np.abs(OCTAVES))])
    return f0_midi + 12.0 * octaves, [_octaves_in_words(octaves)]


def _by_hand(f0_midi, curves, mask, settings):
    """The pitch shifted, with its vibrato and tuned; and what is said of that."""
    frame_rate = curves.frame_rate
    f0_midi = f0_midi + 12.0 * settings.octaves + settings.semitones
    f0_midi = expression.with_vibrato(f0_midi, frame_rate, settings.vibrato)
    said = []
    if settings.autotune:
        key = settings.key
        if key == "detected":
            key = notes.detect_key(replace(curves, f0_hz=_to_hz(f0_midi)), mask)
        f0_midi = expression.tuned(f0_midi, frame_rate, key, settings.autotune)
        semitones = "the nearest semitones" if key == "chromatic" else key
        said = [f"autotune {100 * settings.autotune:.0f} % to {semitones}"]
    return f0_midi + settings.cents / 100.0, said


# Loudness


def _fitted_loudness(curves, mask, statistics, settings):
    """Loudness with the notes as soft and as loud as those of the training, and words for that.

    A straight line keeps the shape of what was sung; what is softer than the soft notes stays as
    far below them as it was.
    """
    loudness_db = curves.loudness_db.astype(np.float64)
    if not settings.fit_loudness:
        return loudness_db, []
    percentiles_db = _needed(statistics, "loudness_db_percentiles")
    wanted_soft, wanted, wanted_loud = (percentiles_db[share] for share in (SOFT, 50, LOUD))
    soft, middle, loud = np.percentile(loudness_db[mask], [SOFT, 50, LOUD])
    slope = min((wanted_loud - wanted_soft) / max(loud - soft, 1e-3), MOST_WIDENED)
    in_notes = np.maximum(loudness_db, soft)
    fitted_db = wanted + slope * (in_notes - middle) + max(slope, 1.0) * (loudness_db - in_notes)
    return fitted_db, [_loudness_in_words(wanted - middle)]


def _faded(f0_midi, loudness_db, mask, frame_rate, quiet_db):
    """Pitch and loudness with what is no note quieted.

    Around a note its pitch is held for a moment in which the sound fades: no louder than the note
    there, lest a consonant sings.
    """
    distance, (nearest,) = distance_transform_edt(~mask, return_indices=True)
    far = np.minimum(distance / (FADE_SECONDS * frame_rate), 1.0)
    faded_db = np.minimum(loudness_db, loudness_db[nearest]) - quiet_db * far
    return np.where(far < 1.0, f0_midi[nearest], np.nan), faded_db


# Words


def _sentence(said):
    sentence = "; ".join(said) or "nothing was fitted"
    return f"{sentence[0].upper()}{sentence[1:]}."


def _to_hz(f0_midi):
    return (440.0 * 2.0 ** ((f0_midi - 69.0) / 12.0)).astype(np.float32)


def _needed(statistics, name):
    if name not in statistics:
        raise InputError(
            f"The instrument's statistics lack {name!r}: fit neither register nor loudness, or "
            "train it again."
        )
    return statistics[name]


def _check_profile(curves, statistics):
    profile = statistics.get("feature_profile")
    if profile != curves.profile:
        raise InputError(
            f"The instrument was trained on features of profile {profile!r} and these are of "
            f"{curves.profile!r}: extract them as the instrument wants them, or train it again."
        )


def _octaves_in_words(octaves):
    if octaves == 0:
        return "register left as it is"
    plural = "octave" if abs(octaves) == 1 else "octaves"
    return f"shifted {'up' if octaves > 0 else 'down'} {abs(octaves)} {plural}"


def _loudness_in_words(raised_db):
    if abs(raised_db) < 0.5:
        return "loudness left as it is"
    return f"loudness {'raised' if raised_db > 0 else 'lowered'} {abs(raised_db):.0f} dB"
