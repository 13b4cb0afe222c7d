"""Sound files of any format to blocks of samples, by FFmpeg.

FFmpeg decodes to the same samples as libsndfile, whose Python package reads MP3 wrongly when it
is read in blocks (soundfile 0.14), and knows more formats.
"""

import contextlib
import errno
import os
import stat
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import av
import numpy as np

from helpers.errors import InputError, InputWarning
from helpers.files import explaining

# FFmpeg gets an open file, so that a name such as "10:30.wav" is not taken for a protocol, and may
# open nothing else: a playlist that is named .wav would play other files.
ALONE = {"protocol_whitelist": "none"}
# Tags need not be UTF-8. PyAV reads them all since version 19, and before it when told to.
TAGS: dict[str, Any] = (
    {} if int(av.__version__.split(".")[0]) >= 19 else {"metadata_errors": "replace"}
)
# Formats whose header states how long the sound is. Of others FFmpeg estimates it.
STATING = {"aiff", "au", "flac", "matroska,webm", "mov,mp4,m4a,3gp,3g2,mj2", "mp3"}
LEAST_MISSING_S = 0.5  # of the stated duration, from which on something is missing
UNKNOWN_BYTES = 0x7FFF0000  # from this size on, a RIFF header is that of an unfinished stream
OGG_PAGE_BYTES = 65536  # at most
OGG_LAST_PAGE = 4  # among the flags of a page, the second byte after its "OggS"


@contextlib.contextmanager
def opened(path: Path) -> Iterator[tuple[int, Iterator[np.ndarray]]]:
    """Opens a sound file and gives its sample rate in Hz and the blocks of its samples.

    Blocks are float32 of shape [n_samples, n_channels]. If the file is damaged or cut off, there
    are blocks of what can be read, and an InputWarning says how much that is.

    Raises:
      InputError: There is no such file, it cannot be read, or no sound can be read from it, which
        may be found when its blocks are taken.
    """
    with contextlib.ExitStack() as stack:
        with explaining(f"{path} cannot be read"):
            file = stack.enter_context(_open_file(path))
            stated = _Stated(file)
            try:
                source = av.open(_Source(file), options=ALONE, **TAGS)
                container = stack.enter_context(source)
                stream = container.streams.audio[0]
                rate = stream.rate
            except (av.FFmpegError, AttributeError, IndexError):  # the last: a film without sound
                raise _no_sound(path) from None
        stated.add(container, stream)
        yield rate, _blocks(path, container, stream, stated)


def _blocks(path, container, stream, stated):
    n_samples, damaged, rate = 0, False, stream.rate
    # Packed samples: PyAV's array of eight or more planes is a segmentation fault.
    resampler = av.AudioResampler(format="flt", rate=rate)
    with explaining(f"{path} cannot be read"):
        try:
            for frame in container.decode(stream):
                for block in resampler.resample(frame):
                    n_samples += block.samples
                    yield block.to_ndarray().reshape(-1, block.layout.nb_channels)
        except (av.FFmpegError, ValueError):  # the latter: it goes on with other channels or rates
            damaged = True
    if not n_samples:
        raise _no_sound(path)
    stated.warn_if_more(path, n_samples / rate, damaged)


class _Source:
    """A file for FFmpeg, which tries to go to before the start of files that are no sound."""

    def __init__(self, file):
        self._file, self.read, self.tell = file, file.read, file.tell

    def seek(self, offset, whence=os.SEEK_SET):
        try:
            return self._file.seek(offset, whence)
        except OSError as error:
            if error.errno != errno.EINVAL:
                raise
            return -1


class _Stated:
    """How much sound a file's header states, against which what can be decoded is held."""

    def __init__(self, file):
        self._size = os.fstat(file.fileno()).st_size
        head = file.read(8)
        self._riff_size = 8 + int.from_bytes(head[4:], "little") if head[:4] == b"RIFF" else 0
        file.seek(max(0, self._size - OGG_PAGE_BYTES))
        last_page = file.read().rpartition(b"OggS")[2]
        file.seek(0)
        flags = last_page[1] if len(last_page) > 1 else 0
        self._is_cut_ogg = head[:4] == b"OggS" and not flags & OGG_LAST_PAGE
        self._seconds = 0.0

    def add(self, container, stream):
        """Takes the duration from FFmpeg, unless that is an estimate from the file's size."""
        if container.format.name not in STATING:
            return
        if stream.duration:
            self._seconds = float(stream.duration * stream.time_base)
        elif container.duration and len(container.streams) == 1:
            self._seconds = container.duration / av.time_base
        if container.format.name == "mp3" and stream.bit_rate:
            estimate_s = 8 * self._size / stream.bit_rate
            self._seconds *= self._seconds > 1.01 * estimate_s

    def warn_if_more(self, path, seconds, damaged):
        """Warns if the header states more than the `seconds` that were decoded."""
        stated_s = self._seconds
        if self._size < self._riff_size < UNKNOWN_BYTES:
            stated_s = seconds * self._riff_size / self._size
        if stated_s > seconds + LEAST_MISSING_S:
            stated = f"{seconds:.1f} s of the {stated_s:.1f} s that its header states"
        elif damaged or self._is_cut_ogg:
            stated = f"only its first {seconds:.1f} s"
        else:
            return
        warnings.warn(
            f"{path.name} is damaged or cut off: {stated} can be read, and are used.",
            InputWarning,
            stacklevel=2,
        )


def _open_file(path):
    try:
        kind = path.stat().st_mode
    except (FileNotFoundError, ValueError):  # the latter: a name that no file can have
        raise InputError(f"There is no file {path}: check the name and the folder.") from None
    if stat.S_ISDIR(kind):
        raise InputError(f"{path} is a folder: choose a sound file in it.")
    if not stat.S_ISREG(kind):  # a pipe, which would keep us waiting for its other end
        raise InputError(f"{path} is not an ordinary file: choose a sound file.")
    return open(path, "rb")


def _no_sound(path):
    return InputError(
        f"{path.name} is not a sound file, is empty, or is damaged from the start: export it again "
        "as WAV."
    )
