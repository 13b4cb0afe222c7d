"""Sound files: load any format, check, resample, save.

Audio is mono float32 in [-1, 1], shape [n_samples], with its sample rate in Hz beside it.
"""

import warnings
from pathlib import Path

import av
import librosa
import numpy as np
import soundfile

from helpers.config import MAX_SECONDS
from helpers.errors import InputError
from helpers.files import replacing

EXTENSIONS = (".wav", ".flac", ".mp3", ".ogg", ".opus", ".m4a", ".aac", ".aif", ".aiff", ".webm")
MIN_SECONDS = 0.25
SILENCE_PEAK = 10 ** (-70 / 20)


def load(path, sample_rate=None, max_seconds=MAX_SECONDS):
    """Reads a sound file of any common format, mixed to mono and checked.

    Args:
      path: File to read; libsndfile's formats first, then whatever FFmpeg knows.
      sample_rate: Rate in Hz to resample to; None keeps the file's own.
      max_seconds: The longest that is taken.

    Returns:
      Audio of shape [n_samples] and its sample rate in Hz.

    Raises:
      InputError: The file is missing, not sound, empty, silent, too short or too long.
    """
    path = Path(path)
    if not path.is_file():
        raise InputError(f"There is no file {path}: check the name and the folder.")
    audio, file_rate = _decode(path)
    audio = check(audio, file_rate, path.name, max_seconds)
    if sample_rate is None or sample_rate == file_rate:
        return audio, file_rate
    return resample(audio, file_rate, sample_rate), sample_rate


def check(audio, sample_rate, name="The recording", max_seconds=MAX_SECONDS):
    """Returns audio as mono float32 [n_samples], or says in one sentence why it is no use."""
    audio = np.asarray(audio)
    if np.issubdtype(audio.dtype, np.integer):
        audio = audio / -float(np.iinfo(audio.dtype).min)
    audio = np.asarray(audio, dtype=np.float32)
    if audio.ndim == 2:
        audio = audio.mean(axis=1)
    seconds = len(audio) / sample_rate
    if seconds < MIN_SECONDS:
        raise InputError(
            f"{name} holds {seconds:.2f} s of sound: choose one of at least {MIN_SECONDS} s."
        )
    if seconds > max_seconds:
        raise InputError(
            f"{name} is {seconds / 60:.0f} minutes long: cut it into pieces of at most "
            f"{max_seconds // 60} minutes."
        )
    broken = np.count_nonzero(~np.isfinite(audio))
    if broken:
        raise InputError(
            f"{name} has {broken} samples that are not numbers: export it again from the program "
            "that made it."
        )
    if np.abs(audio).max() < SILENCE_PEAK:
        raise InputError(f"{name} is silent: check the microphone, or choose another file.")
    return audio


def resample(audio, sample_rate, new_sample_rate):
    """Audio [n_samples] at another rate in Hz, by soxr at high quality."""
    return librosa.resample(
        audio, orig_sr=sample_rate, target_sr=new_sample_rate, res_type="soxr_hq"
    )


def save(path, audio, sample_rate):
    """Writes audio as the path's format (.wav or .flac); a file is there whole or not at all."""
    with replacing(path) as unfinished:
        soundfile.write(unfinished, np.clip(audio, -1.0, 1.0), sample_rate)


def listing(folder):
    """The sound files in a folder and in the folders in it, sorted by name; perhaps none."""
    return sorted(
        path
        for path in Path(folder).rglob("*")
        if path.suffix.lower() in EXTENSIONS and not path.name.startswith(".")
    )


def find(folder):
    """The sound files in a folder, at least one.

    Raises:
      InputError: There is no such folder, or no sound file in it.
    """
    if not Path(folder).is_dir():
        raise InputError(f"There is no folder {folder}: make it and put recordings into it.")
    found = listing(folder)
    if not found:
        raise InputError(
            f"The folder {folder} holds no sound files: put recordings into it "
            f"({', '.join(EXTENSIONS[:5])} and others)."
        )
    return found


def _decode(path):
    try:
        audio, sample_rate = soundfile.read(path, dtype="float32", always_2d=True)
        return audio.mean(axis=1), sample_rate
    except soundfile.LibsndfileError:
        return _decode_with_ffmpeg(path)


def _decode_with_ffmpeg(path):
    """Decodes what libsndfile cannot, and of a damaged file what comes before the damage."""
    blocks, sample_rate = [], 0
    try:
        with av.open(str(path)) as container:
            sample_rate = container.streams.audio[0].rate
            resampler = av.AudioResampler(format="flt", layout="mono", rate=sample_rate)
            for frame in container.decode(audio=0):
                blocks += [block.to_ndarray()[0] for block in resampler.resample(frame)]
    except (av.FFmpegError, IndexError):
        if not blocks:
            raise InputError(
                f"{path.name} is not a sound file, or it is damaged from the start: export it "
                "again as WAV."
            ) from None
        seconds = sum(map(len, blocks)) / sample_rate
        warnings.warn(f"{path.name} is damaged after {seconds:.1f} s: what comes before is used.")
    return np.concatenate(blocks), sample_rate
