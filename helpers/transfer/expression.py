"""Changes of expression: intonation, vibrato and attack of notes.

Pitch is in fractional MIDI numbers, NaN between notes; see `notes`.
"""

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from scipy.ndimage import gaussian_filter1d

from helpers.analysis import notes

STEP_SECONDS = 0.02  # deviation of the window that softens autotune's steps from note to note
RATES_HZ = np.linspace(3.0, 9.0, 61)  # at which voices and instruments have their vibrato
FITTED_PERIODS = 2.0  # of a vibrato that are fitted at once
ADDED_HZ, ADDED_SEMITONES = 5.5, 0.5  # rate and greatest deviation of a vibrato that is added
DELAY_SECONDS, GROWING_SECONDS = 0.25, 0.3  # of a note, before its vibrato begins and is whole
ATTACK_FLOOR_DB = -40.0  # where an attack begins


def tuned(f0_midi: np.ndarray, frame_rate: int, key: str, amount: float) -> np.ndarray:
    """Moves each note as a whole towards the nearest of a key: its vibrato and slides stay.

    Args:
      f0_midi: Shape [n_frames].
      frame_rate: Frames a second.
      key: A key or "chromatic".
      amount: From 0 to 1, where the middle of each note's pitch, vibrato aside, is on the key's.
    """
    off = np.full(len(f0_midi), np.nan)
    for note in notes.split(f0_midi, frame_rate, key):
        centre = np.median(f0_midi[note] - _vibrato_in(f0_midi[note], frame_rate))
        off[note] = notes.nearest_midi(centre, key) - centre
    for run in notes.runs(np.isfinite(off)):
        off[run] = gaussian_filter1d(off[run], STEP_SECONDS * frame_rate, mode="nearest")
    return f0_midi + amount * off


def with_vibrato(f0_midi: np.ndarray, frame_rate: int, amount: float) -> np.ndarray:
    """Removes vibrato from notes, or adds it.

    Args:
      f0_midi: Shape [n_frames].
      frame_rate: Frames a second.
      amount: From -1, where the periodic part of each note from 3 to 9 Hz is gone, to 1, where
        notes that are held get one of 50 cents to each side, 5.5 times a second, late and growing.
    """
    moved = f0_midi.copy()
    for note in notes.split(f0_midi, frame_rate) if amount else []:
        if amount < 0:
            moved[note] += amount * _vibrato_in(f0_midi[note], frame_rate)
        else:
            moved[note] += amount * _vibrato_for(note.stop - note.start, frame_rate)
    return moved


def attack_db(mask: np.ndarray, frame_rate: int, seconds: float) -> np.ndarray:
    """Loudness in dB to add so that notes rise over some seconds, as half a cosine does.

    Args:
      mask: True in the frames of notes. Shape [n_frames].
      frame_rate: Frames a second.
      seconds: How long notes take to rise; 0 adds nothing.
    """
    rise_db = np.zeros(len(mask))
    for note in notes.runs(mask) if seconds else []:
        rising = (np.arange(note.stop - note.start) + 0.5) / (seconds * frame_rate)
        rise = np.sin(np.pi / 2 * np.minimum(rising, 1.0)) ** 2
        rise_db[note] = np.maximum(20.0 * np.log10(rise), ATTACK_FLOOR_DB)
    return rise_db


def _vibrato_in(f0_midi, frame_rate):
    """The periodic part of a note [n_frames]; 0 for one of fewer than two periods.

    Around each frame two periods are fitted with a straight line and a sine, so that slides stay.
    """
    if len(f0_midi) * RATES_HZ[-1] < FITTED_PERIODS * frame_rate:
        return np.zeros(len(f0_midi))
    rate_hz = _vibrato_rate(f0_midi, frame_rate)
    half = round(FITTED_PERIODS / 2 * frame_rate / rate_hz)
    if len(f0_midi) < 2 * half + 1:
        return np.zeros(len(f0_midi))
    around = np.arange(-half, half + 1)
    angle = 2.0 * np.pi * rate_hz / frame_rate * around
    basis = np.stack([np.ones(len(around)), around, np.cos(angle), np.sin(angle)], axis=1)
    fits = sliding_window_view(f0_midi, len(around)) @ np.linalg.pinv(basis).T
    start, end = (basis[:, 2:] @ fits[edge, 2:] for edge in (0, -1))
    return np.concatenate([start[:half], fits[:, 2], end[half + 1 :]])


def _vibrato_rate(f0_midi, frame_rate):
    """The rate in Hz at which a sine, fitted together with a parabola, explains most of a note.

    `scipy.signal.lombscargle` fits a sine and a constant. Many notes hold two periods or fewer, of
    which a parabola takes a part: there its rates are others than those of the joint fit.
    """
    parabola, _ = np.linalg.qr(np.vander(np.linspace(-1.0, 1.0, len(f0_midi)), 3))
    angle = 2.0 * np.pi * np.arange(len(f0_midi))[:, np.newaxis] / frame_rate * RATES_HZ
    wave, cosine, sine = (
        part - parabola @ (parabola.T @ part)
        for part in (f0_midi[:, np.newaxis], np.cos(angle), np.sin(angle))
    )
    # Least squares with two unknowns, for all rates at once.
    cosine_part, sine_part = (np.sum(wave * part, axis=0) for part in (cosine, sine))
    cosines, sines, both = (
        np.sum(one * other, axis=0)
        for one, other in ((cosine, cosine), (sine, sine), (cosine, sine))
    )
    explained = (
        cosine_part**2 * sines - 2 * cosine_part * sine_part * both + sine_part**2 * cosines
    ) / (cosines * sines - both**2)
    return RATES_HZ[np.argmax(explained)]


def _vibrato_for(n_frames, frame_rate):
    """A vibrato [n_frames] that begins late, grows, and ends with the note."""
    times_s = np.arange(n_frames) / frame_rate
    grown = np.clip((times_s - DELAY_SECONDS) / GROWING_SECONDS, 0.0, 1.0)
    ending = np.clip((times_s[-1] - times_s) * ADDED_HZ, 0.0, 1.0)
    swing = np.sin(2.0 * np.pi * ADDED_HZ * (times_s - DELAY_SECONDS))
    return ADDED_SEMITONES * grown * ending * swing
