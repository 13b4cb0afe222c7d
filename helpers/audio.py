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

EXTENSIONS = tuple(
    ".wav .flac .mp3 .ogg .m4a .opus .aac .aif .aiff .caf .wma "
    ".mp4 .mov .webm".split()  # of films the sound is taken
)
MIN_SECONDS = 0.25
SILENCE_PEAK = 10 ** (-70 / 20)


def load(path, sample_rate=None, max_seconds=MAX_SECONDS):
    """Reads a sound file of any common format, mixed to mono and checked.

    Args:
      path: File to read; libsndfile's formats first, then whatever FFmpeg knows.
      sample_rate: Rate in Hz to resample to; None keeps the file's own.
      max_seconds: The longest that is taken.

    Returns:
      Audio of shape [n_samples] and its sample rate in Hz. What is louder than full scale, as
      float files and MP3 can be, is turned down to it as a whole.

    Raises:
      InputError: The file is missing, not sound, empty, silent, too short or too long.
    """
    path = Path(path)
    if not path.is_file():
        raise InputError(f"There is no file {path}: check the name and the folder.")
    audio, file_rate = _decode(path, max_seconds)
    _check(audio, file_rate, path.name, max_seconds)
    sample_rate = sample_rate or file_rate
    if sample_rate != file_rate:
        audio = resample(audio, file_rate, sample_rate)
    return audio / max(1.0, np.abs(audio).max()), sample_rate


def resample(audio, sample_rate, new_sample_rate):
    """Audio [n_samples] at another rate in Hz, by soxr at high quality."""
    return librosa.resample(
        audio, orig_sr=sample_rate, target_sr=new_sample_rate, res_type="soxr_hq"
    )


def save(path, audio, sample_rate):
    """Writes audio as the path's format (.wav or .flac); a file is there whole or not at all."""
    if Path(path).suffix.lower() not in (".wav", ".flac"):
        raise InputError(f"Sound is saved as .wav or .flac, not as {path}: rename it.")
    with replacing(path) as unfinished:
        soundfile.write(unfinished, np.clip(audio, -1.0, 1.0), sample_rate)


def listing(folder):
    """The sound files in a folder and in the folders in it, sorted by name; perhaps none."""
    folder = Path(folder)
    return sorted(
        path
        for path in folder.rglob("*")
        if path.suffix.lower() in EXTENSIONS
        and path.is_file()
        and not any(part.startswith(".") for part in path.relative_to(folder).parts)
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


def _decode(path, max_seconds):
    """Audio [n_samples] and rate of a file; of one that is too long, a little more than allowed."""
    try:
        with soundfile.SoundFile(path) as file:
            n_most = -1 if np.isinf(max_seconds) else int(max_seconds * file.samplerate) + 1
            audio = file.read(n_most, dtype="float32", always_2d=True)
            return audio.mean(axis=1), file.samplerate
    except soundfile.LibsndfileError:
        return _decode_with_ffmpeg(path, max_seconds)


def _decode_with_ffmpeg(path, max_seconds):
    """Decodes what libsndfile cannot, and of a damaged file what comes before the damage."""
    blocks, seconds, damaged = [np.zeros(0, np.float32)], 0.0, False
    try:
        with av.open(str(path)) as container:
            sample_rate = container.streams.audio[0].rate
            resampler = av.AudioResampler(format="fltp", rate=sample_rate)
            for frame in container.decode(audio=0):
                # Mixed here: FFmpeg's own mix of two equal channels is 3 dB louder than each.
                blocks += [block.to_ndarray().mean(axis=0) for block in resampler.resample(frame)]
                seconds += frame.samples / frame.sample_rate
                if seconds > max_seconds:
                    break
    except (av.FFmpegError, IndexError):  # IndexError: no audio stream
        damaged = True
    if not seconds:
        raise InputError(
            f"{path.name} is not a sound file, or it is damaged from the start: export it again "
            "as WAV."
        )
    if damaged:
        warnings.warn(
            f"{path.name} is damaged after {seconds:.1f} s: what comes before is used.",
            stacklevel=2,
        )
    return np.concatenate(blocks), sample_rate


def _check(audio, sample_rate, name, max_seconds):
    """Says in one sentence why decoded audio [n_samples] is no use, if so."""
    seconds = len(audio) / sample_rate
    if seconds < MIN_SECONDS:
        raise InputError(
            f"{name} holds {seconds:.2f} s of sound: choose one of at least {MIN_SECONDS} s."
        )
    if seconds > max_seconds:
        raise InputError(
            f"{name} is longer than {max_seconds / 60:g} minutes: cut it into shorter pieces."
        )
    broken = np.count_nonzero(~np.isfinite(audio))
    if broken:
        raise InputError(
            f"{name} has {broken} samples that are not numbers: export it again from the program "
            "that made it."
        )
    if np.abs(audio).max() < SILENCE_PEAK:
        raise InputError(f"{name} is silent: check the microphone, or choose another file.")
