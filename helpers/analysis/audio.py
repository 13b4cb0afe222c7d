"""Sound files: load any format, check, resample, save.

Audio is mono float32 in [-1, 1], shape [n_samples], with its sample rate in Hz beside it.
"""

import math
import tempfile
import warnings
from collections.abc import Iterable, Iterator
from pathlib import Path

import av
import librosa
import numpy as np
import soundfile
import soxr

from helpers.config import MAX_SECONDS
from helpers.errors import InputError
from helpers.files import replacing

EXTENSIONS = tuple(
    ".wav .flac .mp3 .ogg .m4a .opus .aac .aif .aiff .aifc .amr .ape .au .caf .m4b .mka .mp2 .oga "
    ".w64 .weba .wma .wv .3gp .avi .m4v .mkv .mov .mp4 .webm".split()  # of films the sound is taken
)
MIN_SECONDS = 0.25
SILENCE_PEAK = 10 ** (-70 / 20)
LEAST_OFFSET = 1e-3  # -60 dB: a smaller one is not heard, nor does it change the loudness
OFFSET_BLOCK = 4096  # samples
SAVED_AT_ONCE = 2**20  # samples


def load(path, sample_rate=None, max_seconds=MAX_SECONDS):
    """Reads a sound file of any common format, mixed to mono and checked.

    Args:
      path: File to read, of whatever format FFmpeg knows.
      sample_rate: Rate in Hz to resample to; None keeps the file's own.
      max_seconds: The longest that is taken.

    Returns:
      Audio of shape [n_samples] and its sample rate in Hz. What is louder than full scale, as
      float files and MP3 can be, is turned down to it as a whole.

    Raises:
      InputError: The file is missing, not sound, empty, silent, too short or too long.
    """
    blocks, rates = zip(*_blocks(path, sample_rate, max_seconds), strict=True)
    audio = np.concatenate(blocks)
    return audio / max(1.0, np.abs(audio).max()), rates[0]


def load_to_disk(path, sample_rate=None):
    """What `load` gives, for files of hours: read into a temporary file instead of memory.

    Args:
      path: File to read.
      sample_rate: Rate in Hz to resample to; None keeps the file's own.

    Returns:
      Audio of shape [n_samples], a numpy.memmap that takes memory where it is looked at, and its
      sample rate in Hz. The temporary file goes when the array does.

    Raises:
      InputError: As `load`, except that nothing is too long.
    """
    peak = 1.0
    with tempfile.TemporaryFile() as file:
        for block, rate in _blocks(path, sample_rate, np.inf):  # noqa: B007  the rate is given back
            file.write(block.tobytes())
            peak = max(peak, np.abs(block).max(initial=0.0))
        file.flush()
        audio = np.memmap(file, np.float32, "r+")
    if peak > 1.0:
        audio /= peak
    return audio, rate


def resample(audio, sample_rate, new_sample_rate):
    """Audio [n_samples] at another rate in Hz, by soxr at high quality."""
    return librosa.resample(
        audio, orig_sr=sample_rate, target_sr=new_sample_rate, res_type="soxr_hq"
    )


def offset(audio: np.ndarray) -> np.float32:
    """The constant offset (DC) of audio [n_samples]; 0 where it is less than -60 dB.

    It is measured where the audio is quietest, in the pauses, if there are any: there the mean is
    that of the offset alone, and digital silence without an offset stays what it is.
    """
    size = min(OFFSET_BLOCK, len(audio))
    blocks = audio[: len(audio) // size * size].reshape(-1, size)
    window = librosa.filters.get_window("hann", size)  # takes no part of a tone for an offset
    window = (window / window.sum()).astype(np.float32)
    means = (blocks @ window).astype(np.float64)
    powers = np.einsum("ij,ij,j->i", blocks, blocks, window) - means**2
    quietest = np.argsort(powers, kind="stable")[: math.ceil(0.1 * len(powers))]
    offset = means[quietest].mean()
    return np.float32(offset if abs(offset) >= LEAST_OFFSET else 0.0)


def resample_blocks(
    blocks: Iterable[np.ndarray], sample_rate: int, new_sample_rate: int
) -> Iterator[np.ndarray]:
    """Resamples audio that comes block by block, to the same samples as `resample`."""
    stream = soxr.ResampleStream(sample_rate, new_sample_rate, 1, quality="HQ")
    for block in blocks:
        yield stream.resample_chunk(block.astype(np.float32, copy=False))
    yield stream.resample_chunk(np.zeros(0, np.float32), last=True)


def on_disk(blocks: Iterable[np.ndarray]) -> np.memmap:
    """Joins blocks of audio in a temporary file, which goes when the array does.

    It is written like any file, not through the array: a full disk would end the process there.
    """
    with tempfile.TemporaryFile() as file:
        for block in blocks:
            file.write(block.astype(np.float32, copy=False).tobytes())
        file.flush()
        return np.memmap(file, np.float32, "r+")


def save(path, audio, sample_rate, tags=None):
    """Writes audio as the path's format (.wav or .flac); a file is there whole or not at all.

    Args:
      path: Of the file.
      audio: What is beyond full scale is clipped. Shape [n_samples].
      sample_rate: Hz.
      tags: What to write beside the sound: title, comment, software and the like, by name.
    """
    check_ending(path)
    with (
        replacing(path) as unfinished,
        soundfile.SoundFile(unfinished, "w", sample_rate, channels=1) as file,
    ):
        for name, text in (tags or {}).items():
            setattr(file, name, text)
        for first in range(0, len(audio), SAVED_AT_ONCE):
            file.write(np.clip(audio[first : first + SAVED_AT_ONCE], -1.0, 1.0))


def check_ending(path):
    """Refuses a path whose ending is not that of a format that `save` writes."""
    if Path(path).suffix.lower() not in (".wav", ".flac"):
        raise InputError(f"Sound is saved as .wav or .flac, not as {path}: rename it.")


def rate_of(path):
    """The sample rate in Hz of a sound file that can be read."""
    with av.open(str(path)) as container:
        return container.streams.audio[0].rate


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


def _blocks(path, sample_rate, max_seconds):
    """Yields a file block by block, mono [n_samples] and resampled, with the rate; then checks."""
    path = Path(path)
    if not path.is_file():
        raise InputError(f"There is no file {path}: check the name and the folder.")
    n_samples = n_broken = 0
    peak, resampler = 0.0, None
    for block, file_rate in _decode(path):
        n_samples += len(block)
        n_broken += np.count_nonzero(~np.isfinite(block))
        peak = max(peak, np.abs(block).max(initial=0.0))
        if n_samples > max_seconds * file_rate:
            raise InputError(
                f"{path.name} is longer than {max_seconds / 60:g} minutes: cut it into shorter "
                "pieces."
            )
        if sample_rate in (None, file_rate):
            yield block, file_rate
        else:
            # What `resample` uses, to the same samples, with a memory of the block before.
            resampler = resampler or soxr.ResampleStream(file_rate, sample_rate, 1, quality="HQ")
            yield resampler.resample_chunk(block), sample_rate
    _check(n_samples / file_rate, n_broken, peak, path.name)
    if resampler:
        yield resampler.resample_chunk(np.zeros(0, np.float32), last=True), sample_rate


def _decode(path):
    """Yields a file as mono blocks with its rate, of a damaged file what precedes the damage.

    FFmpeg decodes to the same samples as libsndfile, whose Python package reads MP3 wrongly when
    it is read in blocks (soundfile 0.14), and knows more formats.
    """
    n_samples, damaged = 0, False
    try:
        with av.open(str(path)) as container:
            rate = container.streams.audio[0].rate
            resampler = av.AudioResampler(format="fltp", rate=rate)
            for frame in container.decode(audio=0):
                # Mixed here: FFmpeg's own mix of two equal channels is 3 dB louder than each.
                for block in resampler.resample(frame):
                    n_samples += block.samples
                    yield block.to_ndarray().mean(axis=0), rate
    except (av.FFmpegError, IndexError):  # IndexError: no audio stream
        damaged = True
    if not n_samples:
        raise InputError(
            f"{path.name} is not a sound file, is empty, or is damaged from the start: export it "
            "again as WAV."
        )
    if damaged:
        warnings.warn(
            f"{path.name} is damaged after {n_samples / rate:.1f} s: what comes before is used.",
            stacklevel=2,
        )


def _check(seconds, n_broken, peak, name):
    """Says in one sentence why decoded audio is no use, if so."""
    if seconds < MIN_SECONDS:
        raise InputError(
            f"{name} holds {seconds:.2f} s of sound: choose one of at least {MIN_SECONDS} s."
        )
    if n_broken:
        raise InputError(
            f"{name} has {n_broken} samples that are not numbers: export it again from the program "
            "that made it."
        )
    if peak < SILENCE_PEAK:
        raise InputError(f"{name} is silent: check the microphone, or choose another file.")
