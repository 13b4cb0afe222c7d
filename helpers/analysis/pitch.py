"""Audio to f0 and confidence."""

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from helpers.analysis import crepe

FURTHEST_GLIDE = 11  # bins of 20 cents, from one frame to the next
LOG_JUMP = np.log(1e-6 / crepe.N_BINS)  # to any other bin; outweighs a glide after three frames
LEAST_ACTIVATION = 1e-3
WINDOW_SECONDS = 0.064  # of a harmonic: a frame of CREPE's
FURTHEST_CENTS = 50.0  # that refining moves a pitch
FRAMES_AT_ONCE = 1000  # so that memory stays the same for any length
SAME_NOTE_SEMITONES = 0.7  # between the sides of a gap
HARMONICS = (4, 10, 20)  # looked at in each round: high ones tell more, of a pitch nearly known


def track(
    audio: np.ndarray,
    sample_rate: int,
    frame_rate: int,
    *,
    model: str = "tiny",
    progress: bool = False,
) -> tuple[np.ndarray, np.ndarray]:
    """Tracks the fundamental frequency with CREPE (Kim et al., ICASSP 2018).

    Args:
      audio: Shape [n_samples].
      sample_rate: Hz.
      frame_rate: Frames a second; frames are centred, the first at 0 s.
      model: CREPE's size, from "tiny" to "full": fuller is steadier and slower.
      progress: Show a progress bar.

    Returns:
      f0_hz, confidence: float32, shape [n_frames] each; confidence from 0 to 1.
    """
    activation = crepe.get_activation(
        audio, sample_rate, model, step_size=1000 / frame_rate, verbose=int(progress)
    )
    cents = crepe.to_local_average_cents(activation, _melody(activation))
    f0_hz = 10.0 * 2.0 ** (cents / 1200.0)
    return f0_hz.astype(np.float32), activation.max(axis=1)


def refine(audio: np.ndarray, f0_hz: np.ndarray, sample_rate: int, frame_rate: int) -> np.ndarray:
    """Corrects f0 that is nearly known, by how fast the phases of the harmonics turn.

    CREPE's pitch is a few cents off, and smooths a vibrato. That is little for the ear, but not for
    the twentieth harmonic, of which a model then hears noise. Here the sound is turned back by the
    phase of each harmonic as f0 has it (heterodyning); what turns on is the error. The harmonics'
    errors are averaged by least squares, weighted by their power (instantaneous frequency:
    Flanagan and Golden 1966; of harmonics: Abe et al. 1995).

    Args:
      audio: Shape [n_samples].
      f0_hz: Shape [n_frames]; frames are centred, the first at 0 s. NaN stays NaN.
      sample_rate: Hz.
      frame_rate: Frames a second.

    Returns:
      f0_hz: float32, shape [n_frames], at most 50 cents from what it was.
    """
    hop, n_window = sample_rate // frame_rate, round(WINDOW_SECONDS * sample_rate)
    # Each frame is looked at half a hop before its centre and half a hop after it.
    before = n_window // 2 + hop // 2
    end = len(f0_hz) * hop + n_window - before
    audio = np.pad(audio[:end], (before, max(0, end - len(audio))))
    audio = np.nan_to_num(audio, nan=0.0, posinf=0.0, neginf=0.0)
    known = np.isfinite(f0_hz)
    f0_hz = np.where(known, f0_hz, fill_unvoiced(f0_hz))
    near_hz = np.outer(2.0 ** (np.array([-1, 1]) * FURTHEST_CENTS / 1200), f0_hz)
    for n_harmonics in HARMONICS:
        errors_hz = []
        for first in range(0, len(f0_hz), FRAMES_AT_ONCE):
            n_frames = min(FRAMES_AT_ONCE, len(f0_hz) - first)
            samples = np.arange(first * hop, (first + n_frames) * hop + n_window)
            curve_hz = np.interp(samples - before, hop * np.arange(len(f0_hz)), f0_hz)
            turning = _turning(audio[samples], curve_hz / sample_rate, n_window, hop, n_harmonics)
            errors_hz.append(turning * frame_rate)
        f0_hz = np.clip(f0_hz + np.concatenate(errors_hz), *near_hz)
    return np.where(known, f0_hz, np.nan).astype(np.float32)


def _turning(audio, f0, n_window, hop, n_harmonics):
    """By how many cycles a hop a sound turns beyond its f0 [n_samples], in cycles a sample."""
    back = np.exp(-2j * np.pi * np.cumsum(f0)).astype(np.complex64)
    centres = f0[n_window // 2 + hop // 2 :: hop]
    window = np.hanning(n_window).astype(np.float32)
    turned, turning, weights = audio, 0.0, 1e-12
    for k in range(1, n_harmonics + 1):
        turned = turned * back
        amplitudes = sliding_window_view(turned, n_window)[::hop] @ window
        advance = amplitudes[1:] * amplitudes[:-1].conj()
        power = np.abs(advance) * ((k + 0.5) * centres[: len(advance)] < 0.5)
        turning = turning + k * power * np.angle(advance)
        weights = weights + k**2 * power
    return turning / weights / (2 * np.pi)


def fill_unvoiced(f0_hz: np.ndarray) -> np.ndarray:
    """f0 without gaps: unvoiced (NaN) frames hold the pitch of the nearer voiced frame.

    Models want a number in every frame. A straight line from note to note would be heard as a
    slide. Only a gap within a note, whose sides are less than `SAME_NOTE_SEMITONES` apart, takes a
    straight line in pitch. With no voiced frame at all f0 is 440 Hz.
    """
    voiced = np.flatnonzero(np.isfinite(f0_hz))
    if not len(voiced):
        return np.full_like(f0_hz, 440.0)
    frames, pitch = np.arange(len(f0_hz)), np.log2(f0_hz[voiced])
    following = np.searchsorted(voiced, frames).clip(max=len(voiced) - 1)
    before = np.where(voiced[following] > frames, following - 1, following).clip(min=0)
    nearer = np.where(frames - voiced[before] <= voiced[following] - frames, before, following)
    is_one_note = 12 * np.abs(pitch[following] - pitch[before]) < SAME_NOTE_SEMITONES
    filled = np.where(is_one_note, np.interp(frames, voiced, pitch), pitch[nearer])
    return np.exp2(filled).astype(np.float32)


def _melody(activation):
    """The likeliest path of pitch bins [n_frames]: it glides, or seldom jumps anywhere.

    The path of the crepe package can only glide: out of a rest, where the bins are arbitrary, it
    slides for up to 0.15 s through pitches that nobody played, while the confidence is high.

    librosa.sequence.viterbi looks at all 360 predecessors of a bin: it takes eight times as long
    and three times the memory, and, as it needs transitions that add up to 1, finds another path in
    most of the clips that ship.
    """
    bins = np.arange(crepe.N_BINS)
    weights = FURTHEST_GLIDE + 1 - abs(np.arange(-FURTHEST_GLIDE, FURTHEST_GLIDE + 1))
    log_glides = np.log(weights / weights.sum())
    log_activation = np.log(activation.clip(LEAST_ACTIVATION))

    padded = np.full(crepe.N_BINS + 2 * FURTHEST_GLIDE, -np.inf)
    likelihood = padded[FURTHEST_GLIDE:-FURTHEST_GLIDE]
    neighbours = sliding_window_view(padded, len(weights))
    came_from = np.empty(activation.shape, np.int16)
    likelihood[:] = log_activation[0]
    for t in range(1, len(activation)):
        glides = neighbours + log_glides
        move = glides.argmax(axis=1)
        glide = glides[bins, move]
        likeliest = likelihood.argmax()
        jump = likelihood[likeliest] + LOG_JUMP
        came_from[t] = np.where(jump > glide, likeliest, bins + move - FURTHEST_GLIDE)
        likelihood[:] = np.maximum(jump, glide) + log_activation[t]

    path = np.empty(len(activation), int)
    path[-1] = likelihood.argmax()
    for t in range(len(activation) - 1, 0, -1):
        path[t - 1] = came_from[t, path[t]]
    return path
