"""Audio to f0 and confidence."""

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from helpers import crepe

FURTHEST_GLIDE = 11  # bins of 20 cents, from one frame to the next
LOG_JUMP = np.log(1e-6 / crepe.N_BINS)  # to any other bin; outweighs a glide after three frames
LEAST_ACTIVATION = 1e-3


def track(audio, sample_rate, frame_rate, model="tiny", progress=False):
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


def fill_unvoiced(f0_hz):
    """f0 without gaps: unvoiced (NaN) frames take a straight line in pitch between neighbours.

    Models want a number in every frame. Before the first and after the last voiced frame the
    nearest pitch is held; with none at all, 440 Hz.
    """
    voiced = np.flatnonzero(np.isfinite(f0_hz))
    if not len(voiced):
        return np.full_like(f0_hz, 440.0)
    frames = np.arange(len(f0_hz))
    return np.exp(np.interp(frames, voiced, np.log(f0_hz[voiced]))).astype(np.float32)


def _melody(activation):
    """The likeliest path of pitch bins [n_frames]: it glides, or seldom jumps anywhere.

    The path of the crepe package can only glide: out of a rest, where the bins are arbitrary, it
    slides for up to 0.15 s through pitches that nobody played, while the confidence is high.
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
