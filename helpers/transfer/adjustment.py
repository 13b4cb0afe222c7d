"""Features fitted to an instrument automatically, then changed by the settings. No sound is made.

Pitch is in fractional MIDI numbers, loudness in dB; see `notes`.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import librosa
import numpy as np
from scipy.ndimage import distance_transform_edt

from helpers.analysis import keys, notes, pitch
from helpers.analysis.features import Features
from helpers.config import SAMPLE_RATE
from helpers.errors import InputError
from helpers.transfer import expression
from helpers.transfer.settings import DETECTED, Settings

OCTAVES = np.arange(-4, 5)
COST_OF_AN_OCTAVE = 0.2  # where a note at the end of the range costs 1
ASSUMED_SEMITONES = 12.0  # from the mean pitch to the ends of the range, where they are not known
BEYOND_SEMITONES = 5.0  # outside of its range an instrument still plays much as it does inside
SOFT, LOUD = 5, 95  # percentiles of the loudness of notes that are matched
MOST_WIDENED = 2.0  # times the range of loudness of a recording: a held tone stays held
NOTHING_FITTED = "nothing was fitted"
FADE_SECONDS = 0.08  # of sound before and after a note, with its pitch


class NoNotesError(InputError):
    """No note was found in the features of a recording."""


@dataclass(frozen=True)
class Adjusted:
    """Features that are ready for an instrument.

    Attributes:
      features: `Features`; f0 is NaN where nothing with a pitch is to be played. Played as they are
        they have a pitch in every frame, as those have that an instrument learns from.
      notes: The `Notes` of the recording, before the adjustment.
      summary: What was done, in a sentence.
    """

    features: Features
    notes: notes.Notes
    summary: str


def adjust(
    features: Features, statistics: Mapping[str, Any], settings: Settings = Settings()
) -> Adjusted:
    """Moves features to where an instrument was trained, and then as the settings say.

    With `Settings.as_is` nothing moves.

    Args:
      features: Of the recording.
      statistics: The instrument's, as `dataset` made them.
      settings: Those of the sound itself (noise, reverb, mix) change nothing here.

    Raises:
      InputError: No note was found, the statistics are incomplete, or they are of another profile.
    """
    _check_profile(features, statistics)
    found = notes.find(features, settings.threshold)
    if not found.sounding.any():
        raise NoNotesError(
            "No note was found in the recording: lower the note threshold, or sing or play nearer "
            "the microphone."
        )
    if settings.as_is:
        as_is = replace(features, f0_hz=pitch.fill_unvoiced(features.f0_hz))
        of_range = _out_of_range(found.f0_midi, statistics)
        return Adjusted(as_is, found, _sentence([NOTHING_FITTED, *of_range]))
    f0_midi, of_register = _fitted_register(found.f0_midi, statistics, settings)
    loudness_db, of_loudness = _fitted_loudness(features, found.sounding, statistics, settings)
    f0_midi, of_autotune = _by_hand(f0_midi, features.frame_rate, settings)
    of_range = _out_of_range(f0_midi, statistics)

    smooth_db = np.minimum(loudness_db, notes.interpolated(loudness_db, found.pitched))
    loudness_db = np.where(found.sounding & ~found.pitched, smooth_db, loudness_db)
    loudness_db += expression.attack_db(found.sounding, features.frame_rate, settings.attack_s)
    f0_midi, loudness_db = _faded(
        f0_midi, loudness_db, found.sounding, features.frame_rate, settings.quiet_db
    )
    silent = features.loudness_db <= features.floor_db
    loudness_db = np.where(silent, features.floor_db, loudness_db + settings.loudness_db)
    adjusted = replace(
        features,
        f0_hz=librosa.midi_to_hz(f0_midi).astype(np.float32),
        loudness_db=np.maximum(loudness_db, features.floor_db).astype(np.float32),
    )
    summary = _sentence([*of_register, *of_loudness, *of_autotune, *of_range])
    return Adjusted(adjusted, found, summary)


# Pitch


def _fitted_register(f0_midi, statistics, settings):
    """The pitch in the octave that brings the notes into the training's range, and words for that.

    Every place well inside of the range is about equally good, so the smallest shift is taken: the
    cost of a note is the fourth power of its distance from the mean, as a share of the distance
    from the mean to the end of the range.
    """
    if not settings.fit_register:
        return f0_midi, []
    mean, low, high = _learned_range(_needed(statistics, "pitch_midi"))
    below, above = max(1.0, mean - low), max(1.0, high - mean)
    off = f0_midi[np.isfinite(f0_midi)] - mean + 12.0 * OCTAVES[:, np.newaxis]
    costs = np.mean((off / np.where(off < 0, below, above)) ** 4, axis=1)
    octaves = int(OCTAVES[np.argmin(costs + COST_OF_AN_OCTAVE * np.abs(OCTAVES))])
    return f0_midi + 12.0 * octaves, [_octaves_in_words(octaves)]


def _by_hand(f0_midi, frame_rate, settings):
    """The pitch shifted, its vibrato changed, and tuned; and words for the tuning."""
    f0_midi = f0_midi + 12.0 * settings.octaves + settings.semitones
    f0_midi = expression.with_vibrato(f0_midi, frame_rate, settings.vibrato)
    words = []
    if settings.autotune:
        key = settings.key
        if key == DETECTED:
            key = notes.detect_key(f0_midi, frame_rate)
        f0_midi = expression.tuned(f0_midi, frame_rate, key, settings.autotune)
        semitones = "the nearest semitones" if key == keys.CHROMATIC else key
        words = [f"autotune {100 * settings.autotune:.0f} % to {semitones}"]
    return f0_midi + settings.cents / 100.0, words


def _out_of_range(f0_midi, statistics):
    """Words for the part of the notes that the sample rate or the instrument cannot play."""
    f0_midi = f0_midi[np.isfinite(f0_midi)]
    highest_hz = statistics.get("sample_rate", SAMPLE_RATE) / 2
    silent = f0_midi >= librosa.hz_to_midi(highest_hz)
    words = []
    if silent.any():
        part = _in_percent(silent)
        words.append(
            f"{part} of the notes are silent, at or above {highest_hz:g} Hz, the highest "
            "frequency of the instrument's sample rate"
        )
    if "pitch_midi" in statistics:
        _, low, high = _learned_range(statistics["pitch_midi"])
        far = (f0_midi < low - BEYOND_SEMITONES) | (f0_midi > high + BEYOND_SEMITONES)
        if (far & ~silent).any():
            part = _in_percent(far & ~silent)
            words.append(
                f"{part} of the notes are far outside of the range that the instrument learned"
            )
    return words


def _learned_range(pitch_midi):
    """Mean, low and high of the notes that an instrument learned."""
    mean = _needed(pitch_midi, "mean")
    low = pitch_midi.get("low", mean - ASSUMED_SEMITONES)
    return mean, low, pitch_midi.get("high", mean + ASSUMED_SEMITONES)


# Loudness


def _fitted_loudness(features, mask, statistics, settings):
    """Loudness with the notes as soft and as loud as those of the training, and words for that.

    A straight line keeps the shape of the melody's loudness. Frames below the soft notes stay as
    far below them as they were.
    """
    loudness_db = features.loudness_db.astype(np.float64)
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
    """Pitch and loudness, lowered outside of notes.

    Before and after a note its pitch is held for a moment in which the sound fades. It is no louder
    than the note there, so that a consonant is not played as a loud note.
    """
    distance, (nearest,) = distance_transform_edt(~mask, return_indices=True)
    far = np.minimum(distance / (FADE_SECONDS * frame_rate), 1.0)
    faded_db = np.minimum(loudness_db, loudness_db[nearest]) - quiet_db * far
    return np.where(far < 1.0, f0_midi[nearest], np.nan), faded_db


# Words


def _sentence(clauses):
    sentence = "; ".join(clauses) or NOTHING_FITTED
    return f"{sentence[0].upper()}{sentence[1:]}."


def _needed(statistics, name):
    if name not in statistics:
        raise InputError(
            f"The instrument's statistics lack {name!r}: fit neither register nor loudness, or "
            "train it again."
        )
    return statistics[name]


def _check_profile(features, statistics):
    profile = statistics.get("feature_profile")
    if profile != features.profile:
        raise InputError(
            f"The instrument was trained on features of profile {profile!r} and these are of "
            f"{features.profile!r}: extract them in the instrument's profile, or train it again."
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


def _in_percent(mask):
    """The share of a mask that is true."""
    return f"{max(1, round(100 * np.mean(mask)))} %"
