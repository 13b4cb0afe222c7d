"""Audio to the curves that a model is conditioned on: f0 and loudness, frame by frame."""

import zipfile
from dataclasses import dataclass
from pathlib import Path

import librosa
import numpy as np

from helpers import audio as sound
from helpers import pitch
from helpers.config import FRAME_RATE, SAMPLE_RATE, VOICED_CONFIDENCE
from helpers.errors import InputError
from helpers.files import replacing

LOUDNESS_FLOOR_DB = -80.0
N_FFT = 512  # samples, at 16 kHz
PROFILE = "ddsp-2"  # loudness as ddsp defines it since its version 2.0
CURVES = ("times_s", "f0_hz", "confidence", "loudness_db")
QUIETEST_VOICED_DB = -60.0  # below the clip's loudest frame, where CREPE finds pitch in hiss


@dataclass(frozen=True)
class Features:
    """What a clip plays, at `frame_rate` frames a second, all of shape [n_frames].

    Attributes:
      times_s: Centre of each frame in seconds; the first is 0.
      f0_hz: Fundamental frequency; NaN where nothing with a pitch sounds.
      confidence: CREPE's certainty of the pitch, from 0 to 1.
      loudness_db: A-weighted loudness, from -80 dB to about 20 for a sine at full scale.
      frame_rate: Frames a second.
    """

    times_s: np.ndarray
    f0_hz: np.ndarray
    confidence: np.ndarray
    loudness_db: np.ndarray
    frame_rate: int

    @property
    def voiced(self):
        """True where a pitch sounds. Shape [n_frames]."""
        return np.isfinite(self.f0_hz)


def extract(audio, sample_rate, frame_rate=FRAME_RATE, crepe_model="tiny", progress=False):
    """The `Features` of a clip: 1 + n_samples // hop frames, centred.

    Args:
      audio: Shape [n_samples].
      sample_rate: Hz.
      frame_rate: Frames a second.
      crepe_model: CREPE's size for the pitch.
      progress: Show a progress bar.

    Raises:
      InputError: A frame would not be a whole number of samples at 16 kHz.
    """
    hop_size(SAMPLE_RATE, frame_rate)
    if sample_rate != SAMPLE_RATE:
        audio = sound.resample(audio, sample_rate, SAMPLE_RATE)
    f0_hz, confidence = pitch.track(
        audio, SAMPLE_RATE, frame_rate, model=crepe_model, progress=progress
    )
    loudness_db = loudness(audio, SAMPLE_RATE, frame_rate)
    quiet = loudness_db < loudness_db.max() + QUIETEST_VOICED_DB
    unvoiced = (confidence < VOICED_CONFIDENCE) | quiet
    return Features(
        times_s=np.arange(len(f0_hz)) / frame_rate,
        f0_hz=np.where(unvoiced, np.nan, f0_hz).astype(np.float32),
        confidence=confidence,
        loudness_db=loudness_db,
        frame_rate=frame_rate,
    )


def loudness(audio, sample_rate, frame_rate=FRAME_RATE):
    """A-weighted power in dB, mean over frequency, floor -80 dB: ddsp's loudness since 2.0.

    Args:
      audio: Shape [n_samples].
      sample_rate: Hz.
      frame_rate: Frames a second; frames are centred.

    Returns:
      loudness_db: Shape [1 + n_samples // hop].
    """
    spectrum = librosa.stft(
        audio, n_fft=N_FFT, hop_length=hop_size(sample_rate, frame_rate), pad_mode="constant"
    )
    frequencies_hz = librosa.fft_frequencies(sr=sample_rate, n_fft=N_FFT)
    weights_db = librosa.A_weighting(frequencies_hz.clip(1.0))  # at 0 Hz its logarithm has no value
    power = np.mean(np.abs(spectrum) ** 2 * librosa.db_to_power(weights_db)[:, None], axis=0)
    floor = librosa.db_to_power(LOUDNESS_FLOOR_DB)
    return (10.0 * np.log10(np.maximum(power, floor))).astype(np.float32)


def hop_size(sample_rate, frame_rate):
    """Samples from one frame to the next.

    Raises:
      InputError: It would be no whole number, and the curves would run away from the sound.
    """
    if frame_rate < 1 or sample_rate % frame_rate:
        raise InputError(
            f"{frame_rate} frames a second do not divide {sample_rate} Hz: choose a divisor of it, "
            "such as 100 or 125."
        )
    return sample_rate // frame_rate


def save(features, path):
    """Writes features as .npz, or as .csv for a spreadsheet; whole or not at all."""
    columns = {name: getattr(features, name) for name in CURVES}
    suffix = Path(path).suffix
    if suffix not in (".npz", ".csv"):
        raise InputError(f"Features are saved as .npz or .csv, not as {path}: rename it.")
    with replacing(path) as unfinished:
        if suffix == ".csv":
            table = np.stack(list(columns.values()), axis=1)
            np.savetxt(unfinished, table, "%.5f", ",", header=",".join(columns), comments="")
        else:
            np.savez_compressed(unfinished, frame_rate=features.frame_rate, **columns)


def load(path):
    """Reads the `Features` that `save` wrote as .npz.

    Raises:
      InputError: The file is missing or something else.
    """
    try:
        with np.load(path, allow_pickle=False) as arrays:
            return Features(
                **{name: arrays[name] for name in CURVES}, frame_rate=int(arrays["frame_rate"])
            )
    except (OSError, ValueError, EOFError, KeyError, TypeError, zipfile.BadZipFile):
        raise InputError(
            f"{path} holds no features: choose the .npz file that was saved with them."
        ) from None
