"""Writing so that what was there before is never lost, and nothing is ever half there."""

import contextlib
import errno
import itertools
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Collection, Iterator
from pathlib import Path

from helpers.errors import InputError

UNFINISHED = ".unfinished-"  # how the names of temporary folders begin
ABANDONED_SECONDS = 2 * 24 * 3600  # after which the writer of a temporary folder is gone
LONGEST_SHOWN = 160  # characters of a path
FORMER = ".former-"  # between the name of a folder and a number, while another takes its place

# By the system's number of an error: what is wrong, and what to do.
REASONS = {
    errno.EACCES: ("permission is denied", "change the permissions or choose another place"),
    errno.EPERM: ("permission is denied", "change the permissions or choose another place"),
    errno.EROFS: ("the disk is read-only", "choose another place"),
    errno.ENOSPC: ("the disk is full", "make room on it or choose another place"),
    errno.EDQUOT: ("the disk quota is used up", "make room or choose another place"),
    errno.EFBIG: ("it is too large for the disk", "choose another place"),
    errno.ENOTDIR: ("a part of the path is a file", "choose another folder"),
    errno.EISDIR: ("a folder has this name", "choose another name"),
    errno.ENOTEMPTY: ("a folder has this name", "choose another name"),
    errno.EEXIST: ("there is something of this name", "choose another name"),
    errno.ENAMETOOLONG: ("the name is too long", "choose a shorter one"),
    errno.ELOOP: ("its links lead in a circle", "choose another place"),
    errno.ENOENT: ("there is no such file or folder", "check the path"),
    errno.EMFILE: ("too many files are open", "close some programs and try again"),
    errno.ENFILE: ("too many files are open", "close some programs and try again"),
    errno.EIO: ("the disk reports an error", "check the disk or choose another place"),
}
# Errors of libraries that do not pass on the system's own: module to class.
LIBRARY_ERRORS = {"soundfile": "LibsndfileError", "tensorflow.errors": "OpError"}
UNKNOWN = ("the system refuses it", "check that the disk has room and may be written to")


@contextlib.contextmanager
def explaining(what: str) -> Iterator[None]:
    """Turns errors of the system into one sentence.

    Args:
      what: What cannot be done, such as "The result cannot be written to song.wav".

    Raises:
      InputError: The system refused something meanwhile, with `what`, the reason and a remedy.
    """
    libraries = tuple(
        getattr(sys.modules[module], name)
        for module, name in LIBRARY_ERRORS.items()
        if module in sys.modules
    )
    try:
        yield
    except (OSError, *libraries) as error:
        reason, remedy = REASONS.get(getattr(error, "errno", None), UNKNOWN)
        raise InputError(f"{what}: {reason}; {remedy}.") from error


@contextlib.contextmanager
def replacing(path: Path | str) -> Iterator[Path]:
    """Gives a temporary path to write a file to, and puts it in place when all went well.

    The temporary name keeps the ending. On an error the file that was there stays as it was.

    Raises:
      InputError: The system does not let it be written.
    """
    path = Path(path)
    with explaining(f"{_shown(path)} cannot be written"), _workplace_beside(path) as workplace:
        yield workplace / path.name
        os.replace(workplace / path.name, path)


@contextlib.contextmanager
def replacing_folder(path: Path | str, names: Collection[str]) -> Iterator[Path]:
    """Gives a new, empty folder to fill, and puts it in place when all went well.

    On an error the folder that was there stays as it was. A process that is killed while one
    takes the place of the other leaves the former under another name: `recover` brings it back.

    Args:
      path: The folder.
      names: What is written into it.

    Raises:
      InputError: The folder that is there holds something else, which would be lost; or the system
        does not let it be written.
    """
    path = Path(path)
    path = path.resolve() if path.is_symlink() else path
    with explaining(f"The folder {_shown(path)} cannot be written"):
        recover(path.parent)
        if path.is_file() or not _names_in(path) <= set(names):
            raise InputError(
                f"{path} holds other things, which would be lost: choose another folder to write "
                "to."
            )
        with _workplace_beside(path) as workplace:
            unfinished = workplace / path.name
            unfinished.mkdir()
            yield unfinished
            _put_in_place(unfinished, path)


def recover(folder: Path | str) -> None:
    """Brings back the folders in a folder whose replacement was cut off by a kill.

    Whoever reads folders that `replacing_folder` writes calls it first.
    """
    with contextlib.suppress(OSError):  # nothing may be written here: then nothing was
        for former in sorted(Path(folder).glob(f".*{FORMER}*")):
            path = _place_of(former)
            if path.exists():
                shutil.rmtree(former, ignore_errors=True)
            else:
                os.replace(former, path)


def numbered(path: Path | str) -> Iterator[Path]:
    """Yields a path, and then the same with "_2", "_3" … at the end of its name."""
    path = Path(path)
    yield path
    for number in itertools.count(2):
        yield path.with_name(f"{path.stem}_{number}{path.suffix}")


def free_name(path: Path | str) -> Path:
    """The first of the `numbered` paths at which there is nothing yet."""
    return next(candidate for candidate in numbered(path) if not candidate.exists())


@contextlib.contextmanager
def _workplace_beside(path):
    """A temporary folder in the same file system, so that what is in it can be moved at once."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except FileExistsError as error:  # so it says of a file on the way
        raise NotADirectoryError(errno.ENOTDIR, "a file") from error
    _remove_abandoned(path.parent)
    with tempfile.TemporaryDirectory(prefix=UNFINISHED, dir=path.parent) as workplace:
        yield Path(workplace)


def _remove_abandoned(folder):
    """Removes the temporary folders of processes that were killed long ago."""
    for workplace in folder.glob(f"{UNFINISHED}*"):
        with contextlib.suppress(OSError):
            if time.time() - workplace.stat().st_mtime > ABANDONED_SECONDS:
                shutil.rmtree(workplace, ignore_errors=True)


def _put_in_place(new, path):
    """Moves a folder to a path, and removes the one that was there.

    No system moves a folder onto another one: for a moment there is none. Another process may put
    one there in that moment: then this one takes the place of that.
    """
    former = None
    try:
        for number in itertools.count():
            try:
                os.replace(new, path)
                break
            except OSError as error:
                if error.errno not in (errno.ENOTEMPTY, errno.EEXIST, errno.EACCES):
                    raise
                former = path.with_name(f".{path.name}{FORMER}{os.getpid()}-{number}")
                os.replace(path, former)
    finally:
        recover(path.parent)


def _place_of(former):
    """Where a folder was that `_put_in_place` has moved aside."""
    return former.with_name(former.name.removeprefix(".").rpartition(FORMER)[0])


def _shown(path):
    """A path as a sentence can hold it: of a very long one its beginning and its end."""
    text = str(path)
    return text if len(text) <= LONGEST_SHOWN else f"{text[:80]} … {text[-40:]}"


def _names_in(folder):
    """What a folder holds, without the hidden files that desktops and editors leave."""
    if not folder.is_dir():
        return set()
    return {inside.name for inside in folder.iterdir() if not inside.name.startswith(".")}
