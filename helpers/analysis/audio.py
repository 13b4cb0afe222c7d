"""Sound files: load any format, check, resample, save.

Audio is mono float32 in [-1, 1], shape [n_samples], with its sample rate in Hz beside it.
"""

import math
import os
import tempfile
import warnings
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

import librosa
import numpy as np
import soundfile
import soxr

from helpers.analysis import decoding
from helpers.config import MAX_SECONDS
from helpers.errors import InputError, InputWarning
from helpers.files import explaining, replacing

EXTENSIONS = tuple(
    ".wav .flac .mp3 .ogg .m4a .opus .aac .aif .aiff .aifc .amr .ape .au .caf .m4b .mka .mp2 .oga "
    ".w64 .weba .wma .wv .3gp .avi .m4v .mkv .mov .mp4 .webm".split()  # of films the sound is taken
)
MIN_SECONDS = 0.25
SILENCE_PEAK = 2 / 2**15  # -84 dB: two steps of 16 bits, which dither alone reaches
LEAST_MIXED = 0.01  # of the loudest channel's power
LEAST_OFFSET = 1e-4  # -80 dB
OFFSET_BLOCK = 4096  # samples
SAVED_AT_ONCE = 2**20  # samples


def load(
    path: str | Path, sample_rate: int | None = None, max_seconds: float = MAX_SECONDS
) -> tuple[np.ndarray, int]:
    """Reads a sound file of any common format, mixed to mono and checked.

    Channels are averaged. Where they cancel (less than 1 % of the loudest channel's power is left
    of a left channel that is the right one inverted, say) the loudest channel alone is taken. A
    constant offset (DC) is removed. Audio that is louder than full scale, as float files and MP3
    can be, is turned down to it as a whole.

    Args:
      path: File to read, of whatever format FFmpeg knows.
      sample_rate: Rate in Hz to resample to; None keeps the file's own.
      max_seconds: The longest duration that is accepted.

    Returns:
      Audio of shape [n_samples] and its sample rate in Hz.

    Raises:
      InputError: The file is missing, cannot be read, or is not sound; or the sound is silent (at
        no time louder than the noise of 16 bits), too short or too long.

    Example:
      >>> from helpers.config import DATA
      >>> audio, sample_rate = load(DATA / "voice" / "oohs_melody.flac", sample_rate=16000)
      >>> audio.shape, audio.dtype, sample_rate
      ((343400,), dtype('float32'), 16000)
    """
    return _read(Path(path), sample_rate, max_seconds, lambda blocks: np.concatenate([*blocks]))


def load_to_disk(path: str | Path, sample_rate: int | None = None) -> tuple[np.memmap, int]:
    """Reads a sound file of hours: the same as `load`, in a temporary file instead of memory.

    Args:
      path: File to read.
      sample_rate: Rate in Hz to resample to; None keeps the file's own.

    Returns:
      Audio of shape [n_samples], a numpy.memmap that takes memory only where it is read, and its
      sample rate in Hz. The temporary file is deleted with the array.

    Raises:
      InputError: As `load`, except that no file is too long.
    """
    return _read(Path(path), sample_rate, np.inf, on_disk)


def resample(audio: np.ndarray, sample_rate: int, new_sample_rate: int) -> np.ndarray:
    """Audio [n_samples] at another rate in Hz, by soxr at high quality."""
    return librosa.resample(
        audio, orig_sr=sample_rate, target_sr=new_sample_rate, res_type="soxr_hq"
    )


def offset(audio: np.ndarray) -> np.float32:
    """The constant offset (DC) of audio [n_samples], or 0 where it is too small to matter.

    It is measured where the audio is quietest, in the pauses, if there are any: there the mean is
    that of the offset alone, and digital silence without an offset stays what it is. It is too
    small below -80 dB, and below the sound there by 20 dB or more.
    """
    size = min(OFFSET_BLOCK, len(audio))
    blocks = audio[: len(audio) // size * size].reshape(-1, size)
    window = librosa.filters.get_window("hann", size)  # takes no part of a tone for an offset
    window = (window / window.sum()).astype(np.float32)
    means = (blocks @ window).astype(np.float64)
    powers = np.einsum("ij,ij,j->i", blocks, blocks, window) - means**2
    quietest = np.argsort(powers, kind="stable")[: math.ceil(0.1 * len(powers))]
    mean, power = means[quietest].mean(), powers[quietest].mean()
    matters = abs(mean) >= LEAST_OFFSET and mean**2 >= 0.01 * power
    return np.float32(mean if matters else 0.0)


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
    with (
        explaining("The sound cannot be kept in the temporary folder (TMPDIR)"),
        tempfile.TemporaryFile() as file,
    ):
        for block in blocks:
            file.write(block.astype(np.float32, copy=False).tobytes())
        file.flush()
        return np.memmap(file, np.float32, "r+")


def save(
    path: str | Path,
    audio: np.ndarray,
    sample_rate: int,
    tags: Mapping[str, str] | None = None,
) -> None:
    """Writes audio as the path's format (.wav or .flac); a file is there whole or not at all.

    Args:
      path: Of the file.
      audio: What is beyond full scale is clipped. Shape [n_samples].
      sample_rate: Hz.
      tags: What to write beside the sound: title, comment, software and the like, by name.

    Raises:
      InputError: The ending is another, the audio has samples that are not finite numbers, or the
        system does not let the file be written.
    """
    check_ending(path)
    with replacing(path) as unfinished:
        unfinished.touch()  # the system says why it refuses a name, libsndfile does not
        # As bytes on POSIX: libsndfile's Python package encodes text strictly, and not every name
        # of a file is valid text.
        name = os.fsencode(unfinished) if os.name == "posix" else unfinished
        with soundfile.SoundFile(name, "w", sample_rate, channels=1) as file:
            for tag, text in (tags or {}).items():
                setattr(file, tag, text)
            for first in range(0, len(audio), SAVED_AT_ONCE):
                block = audio[first : first + SAVED_AT_ONCE]
                if not np.isfinite(block).all():
                    raise InputError(
                        f"The sound for {path} has samples that are not finite numbers: it is not "
                        "saved, check how it was made."
                    )
                file.write(np.clip(block, -1.0, 1.0))


def check_ending(path: str | Path) -> None:
    """Raises InputError if a path does not end as a format that `save` writes."""
    if Path(path).suffix.lower() not in (".wav", ".flac"):
        raise InputError(f"Sound is saved as .wav or .flac, not as {path}: rename it.")


def rate_of(path: str | Path) -> int:
    """The sample rate in Hz of a sound file.

    Raises:
      InputError: It cannot be read, or is no sound file.
    """
    with decoding.opened(Path(path)) as (rate, _):
        return rate


def listing(folder: str | Path) -> list[Path]:
    """The sound files in a folder and in the folders in it, sorted by name; perhaps none.

    Linked folders are followed, each once. Hidden files and folders are left out, and folders that
    cannot be read, of which an InputWarning tells.
    """
    found, visited = [], set()
    for parent, folders, names in os.walk(folder, followlinks=True, onerror=_warn_of_folder):
        status = os.stat(parent)
        if (status.st_dev, status.st_ino) in visited:
            folders.clear()
            continue
        visited.add((status.st_dev, status.st_ino))
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        found += [Path(parent, name) for name in names if not name.startswith(".")]
    return sorted(path for path in found if path.suffix.lower() in EXTENSIONS and path.is_file())


def find(folder: str | Path) -> list[Path]:
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


def _warn_of_folder(error):
    if not isinstance(error, FileNotFoundError):
        warnings.warn(
            f"The folder {error.filename} is passed over: it cannot be read ({error.strerror}).",
            InputWarning,
            stacklevel=2,
        )


class _ChannelsCancel(Exception):
    """The mix of a file's channels is much softer than the loudest of them."""

    def __init__(self, loudest: int):
        super().__init__()
        self.loudest = loudest


def _read(path, sample_rate, max_seconds, join):
    """A file's audio, of which `join` joins the blocks, and its rate."""
    try:
        return _read_channel(path, sample_rate, max_seconds, join)
    except _ChannelsCancel as found:
        return _read_channel(path, sample_rate, max_seconds, join, found.loudest)


def _read_channel(path, sample_rate, max_seconds, join, channel=None):
    with decoding.opened(path) as (file_rate, blocks):
        blocks = _checked(blocks, file_rate, max_seconds, path.name, channel)
        if sample_rate not in (None, file_rate):
            blocks = resample_blocks(blocks, file_rate, sample_rate)
        audio = join(blocks)
    shift = offset(audio)
    if shift:
        audio -= shift
    peak = max(audio.max(), -audio.min())
    if peak > 1.0:
        audio /= peak
    return audio, sample_rate or file_rate


def _checked(blocks, rate, max_seconds, name, channel):
    """Yields one channel of blocks [n_samples, n_channels], or their mix, and checks the whole."""
    n_samples = n_broken = 0
    lowest, highest = np.inf, -np.inf
    levels = _Levels()
    for block in blocks:
        mono = block.mean(axis=1) if channel is None else np.ascontiguousarray(block[:, channel])
        n_samples += len(mono)
        if n_samples > max_seconds * rate:
            raise InputError(
                f"{name} is longer than {max_seconds / 60:g} minutes: cut it into shorter pieces."
            )
        n_broken += int(np.count_nonzero(~np.isfinite(mono)))
        lowest, highest = min(lowest, mono.min()), max(highest, mono.max())
        levels.add(np.column_stack([block, mono]))
        yield mono
    if n_samples < MIN_SECONDS * rate:
        raise InputError(
            f"{name} holds {n_samples / rate:.2f} s of sound: choose one of at least "
            f"{MIN_SECONDS} s."
        )
    if n_broken:
        raise InputError(
            f"{name} has {n_broken} samples that are not numbers: export it again from the program "
            "that made it."
        )
    *channels, mix = levels.powers
    if channel is None and mix < LEAST_MIXED * max(channels):
        raise _ChannelsCancel(int(np.argmax(channels)))
    if (highest - lowest) / 2 < SILENCE_PEAK:
        raise InputError(f"{name} is silent: check the microphone, or choose another file.")


class _Levels:
    """The power of signals that come block by block [n_samples, n_signals], without offsets."""

    def __init__(self):
        self._n = self._sum = self._squares = 0

    def add(self, block):
        self._n += len(block)
        self._sum += block.sum(axis=0, dtype=np.float64)
        self._squares += np.square(block, dtype=np.float64).sum(axis=0)

    @property
    def powers(self):
        return self._squares / self._n - (self._sum / self._n) ** 2
