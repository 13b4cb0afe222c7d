"""Audio to f0 and confidence."""

import numpy as np

from helpers import crepe


def track(audio, sample_rate, frame_rate, model="tiny", viterbi=True, progress=False):
    """Tracks the fundamental frequency with CREPE (Kim et al., ICASSP 2018).

    Args:
      audio: Shape [n_samples].
      sample_rate: Hz.
      frame_rate: Frames a second; frames are centred, the first at 0 s.
      model: CREPE's size, from "tiny" to "full": fuller is steadier and slower.
      viterbi: Prefer a smooth melody to the likeliest pitch of each frame alone.
      progress: Show a progress bar.

    Returns:
      f0_hz, confidence: float32, shape [n_frames] each; confidence from 0 to 1.
    """
    _, f0_hz, confidence, _ = crepe.predict(
        audio,
        sample_rate,
        model_capacity=model,
        viterbi=viterbi,
        step_size=1000 / frame_rate,
        verbose=int(progress),
    )
    return f0_hz.astype(np.float32), confidence.astype(np.float32)


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
