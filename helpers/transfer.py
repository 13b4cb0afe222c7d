"""Features adjusted to an instrument, and played on it."""

from dataclasses import replace

import numpy as np
from scipy.ndimage import binary_closing

from helpers import features, pitch
from helpers.errors import InputError

REST_DB = 20.0  # how far unvoiced frames are brought below the instrument's quietest notes
BRIDGED_SECONDS = 0.08  # a gap in the pitch up to this long is a change of note and not a rest
MOST_WIDENED = 3.0  # times the range of loudness of a recording: a held tone stays held


def transfer(audio, sample_rate, instrument, octaves=0, semitones=0.0, loudness_db=0.0):
    """Plays a recording on an instrument: register and loudness fitted, then moved by hand.

    Args:
      audio: Shape [n_samples].
      sample_rate: Its rate in Hz.
      instrument: A trained `model.Instrument`.
      octaves, semitones: Shift of the pitch, beyond the fitted register.
      loudness_db: Change of the loudness, beyond the fitted one.

    Returns:
      Audio at the instrument's sample rate, of the same duration.
    """
    curves = features.extract(audio, sample_rate, instrument.frame_rate)
    fitted, _ = fit(curves, instrument.statistics)
    played = render(shift(fitted, octaves, semitones, loudness_db), instrument)
    return played[: round(len(audio) * instrument.sample_rate / sample_rate)]


def fit(curves, statistics):
    """Moves features to where the instrument was trained.

    The register is shifted by whole octaves, so that the melody stays; the loudness of the notes
    takes the distribution of the training notes, percentile by percentile, but is never widened
    more than threefold; what is unvoiced, but for the gaps between slurred notes, is brought below
    them, so that no note is invented there.

    Args:
      curves: `Features` of the recording.
      statistics: The instrument's, as `dataset` made them.

    Returns:
      The fitted `Features`, and a sentence that says what was done.
    """
    _check_profile(statistics)
    voiced = curves.voiced
    if not voiced.any():
        raise InputError("No note was found in the recording: sing or play nearer the microphone.")
    f0_midi = 69.0 + 12.0 * np.log2(curves.f0_hz[voiced] / 440.0)
    octaves = round((statistics["pitch_midi"]["mean"] - f0_midi.mean()) / 12.0)

    target_db = np.array(statistics["loudness_db_percentiles"])
    source_db = np.percentile(curves.loudness_db[voiced], range(101))
    fitted_db = np.interp(curves.loudness_db, source_db, target_db)
    source_range, target_range = (np.diff(db[[5, 95]])[0] for db in (source_db, target_db))
    share = min(1.0, MOST_WIDENED * source_range / max(target_range, 0.1))
    fitted_db = target_db[50] + share * (fitted_db - target_db[50])
    resting_db = np.minimum(curves.loudness_db - source_db[0], 0.0) + target_db[0] - REST_DB
    played = binary_closing(voiced, np.ones(round(BRIDGED_SECONDS * curves.frame_rate) + 1))
    loudness_db = np.where(played | voiced, fitted_db, resting_db)
    raised_db = np.median(fitted_db[voiced]) - np.median(curves.loudness_db[voiced])
    fitted = replace(
        curves,
        f0_hz=(curves.f0_hz * 2.0**octaves).astype(np.float32),
        loudness_db=_floored(loudness_db),
    )
    return fitted, f"{_in_words(octaves)}; {_loudness_in_words(raised_db)}."


def shift(curves, octaves=0, semitones=0.0, loudness_db=0.0):
    """Features with the pitch shifted and the loudness changed; silence stays silence."""
    silent = curves.loudness_db <= features.LOUDNESS_FLOOR_DB
    moved_db = np.where(silent, curves.loudness_db, curves.loudness_db + loudness_db)
    ratio = 2.0 ** (octaves + semitones / 12.0)
    return replace(
        curves, f0_hz=(curves.f0_hz * ratio).astype(np.float32), loudness_db=_floored(moved_db)
    )


def render(curves, instrument):
    """Audio [n_frames * hop_size] that the instrument plays for these features."""
    if curves.frame_rate != instrument.frame_rate:
        raise InputError(
            f"The features have {curves.frame_rate} frames a second and the instrument wants "
            f"{instrument.frame_rate}: extract them again at its rate."
        )
    return instrument.play(pitch.fill_unvoiced(curves.f0_hz), curves.loudness_db)


def _floored(loudness_db):
    return np.maximum(loudness_db, features.LOUDNESS_FLOOR_DB).astype(np.float32)


def _check_profile(statistics):
    profile = statistics.get("feature_profile")
    if profile != features.PROFILE:
        raise InputError(
            f"The instrument was trained on features of profile {profile!r} and this version "
            f"makes {features.PROFILE!r}: train it again."
        )


def _in_words(octaves):
    if octaves == 0:
        return "Register left as it is"
    plural = "octave" if abs(octaves) == 1 else "octaves"
    return f"Shifted {'up' if octaves > 0 else 'down'} {abs(octaves)} {plural}"


def _loudness_in_words(raised_db):
    if abs(raised_db) < 0.5:
        return "loudness left as it is"
    return f"loudness {'raised' if raised_db > 0 else 'lowered'} {abs(raised_db):.0f} dB"
