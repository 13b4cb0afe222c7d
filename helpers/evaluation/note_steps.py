"""How long a sound's pitch takes from one note to the next, measured in short windows.

The pitch around a change is YIN's (de Cheveigne and Kawahara 2002) in windows of 12 ms, looked for
between the two notes alone, so that the measure does not depend on the tracker that is measured.
"""

import librosa
import numpy as np

from helpers.analysis import notes
from helpers.evaluation.spectrum import Recording

SMALLEST_SEMITONES = 1.5
NEAR_SECONDS, FAR_SECONDS = 0.05, 0.12  # before and after a change, where the notes are steady
STEADY_SEMITONES = 0.5  # from the middle of a note, at most
WINDOW_SECONDS, HOP_SECONDS = 0.012, 0.002
REACH_SECONDS = 0.1  # on either side of a change


def changes(recording: Recording) -> list[tuple[float, float, float]]:
    """Changes between steady notes at least 1.5 semitones apart: (time in s, MIDI, MIDI)."""
    midi, rate = librosa.hz_to_midi(recording.f0_hz.astype(float)), recording.frame_rate
    near, far = round(NEAR_SECONDS * rate), round(FAR_SECONDS * rate)
    found = []
    for note in notes.split(midi, rate)[1:]:
        at = note.start
        sides = midi[max(0, at - far) : at - near], midi[at + near : at + far]
        if min(map(len, sides)) < far - near:
            continue
        before, after = map(np.median, sides)
        is_sure = recording.sure[[*range(at - far, at - near), *range(at + near, at + far)]].all()
        steady = all(np.ptp(side) < 2 * STEADY_SEMITONES for side in sides)
        if is_sure and steady and abs(after - before) >= SMALLEST_SEMITONES:
            found.append((at / rate, float(before), float(after)))
    return found


def step_ms(audio: np.ndarray, sample_rate: int, change: tuple[float, float, float]) -> float:
    """Milliseconds that the pitch takes from 10 % to 90 % of a change; NaN where it is not found.

    Args:
      audio: Of the recording or of its resynthesis. Shape [n_samples].
      sample_rate: Hz.
      change: One of `changes`.
    """
    time_s, before, after = change
    low_hz, high_hz = librosa.midi_to_hz([min(before, after) - 1, max(before, after) + 1])
    half = max(round(WINDOW_SECONDS * sample_rate), int(sample_rate / low_hz) + 2)
    hop, n_hops = round(HOP_SECONDS * sample_rate), round(REACH_SECONDS / HOP_SECONDS)
    start = round(time_s * sample_rate) - n_hops * hop - half
    end = start + 2 * n_hops * hop + 2 * half
    pitch_hz = librosa.yin(
        np.pad(audio, end - start)[start + end - start : 2 * end - start],
        fmin=low_hz,
        fmax=high_hz,
        sr=sample_rate,
        frame_length=2 * half,
        hop_length=hop,
        center=False,
    )
    way = (librosa.hz_to_midi(pitch_hz) - before) / (after - before)
    way = np.median(np.stack([way[:-2], way[1:-1], way[2:]]), axis=0)
    crossings = np.flatnonzero((way[:-1] < 0.5) & (way[1:] >= 0.5))
    if not len(crossings):
        return np.nan
    middle = crossings[np.abs(crossings - n_hops).argmin()]
    begun, ended = (
        np.flatnonzero(way[: middle + 1] <= 0.1),
        np.flatnonzero(way[middle + 1 :] >= 0.9),
    )
    if not len(begun) or not len(ended):
        return np.nan
    return float(middle + 1 + ended[0] - begun[-1]) * 1000 * HOP_SECONDS
