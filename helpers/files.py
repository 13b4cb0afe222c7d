"""Writes files and folders whole: what was there stays until all of the new is there."""

import contextlib
import errno
import itertools
import os
import shutil
import tempfile
import time
from collections.abc import Iterable, Iterator
from pathlib import Path

from helpers.errors import InputError

try:
    import fcntl
except ImportError:  # Windows, where a file that is open cannot be removed
    fcntl = None  # type: ignore[assignment]

UNFINISHED = ".unfinished-"  # folders that are being written to; each is locked by its process
FORMER = ".former-"  # folders that are being replaced: ".former-<time>-<name>"
ABANDONED_SECONDS = 2 * 24 * 3600  # after which the writer of what is unfinished must be gone
LONGEST_SHOWN = 160  # characters of a path in a sentence
MOST_TRIES = 20  # of putting a folder in place while other processes do the same

# What the system reports, and what to do about it.
REASONS = {
    errno.EACCES: "permission is denied; change the permissions or choose another place",
    errno.EPERM: "permission is denied; change the permissions or choose another place",
    errno.EROFS: "the disk is read-only; choose another folder",
    errno.ENOSPC: "the disk is full; make room on it, and in the folder for temporary files",
    errno.EDQUOT: "your disk quota is used up; delete files that you no longer need",
    errno.EFBIG: "the file is too large for this disk; choose another disk",
    errno.ENOENT: "there is no such file or folder; check the path",
    errno.ENOTDIR: "a part of the path is a file; choose another folder",
    errno.EEXIST: "a part of the path is a file; choose another folder",
    errno.EISDIR: "a folder has this name; choose another name",
    errno.ENOTEMPTY: "another program has written there meanwhile; try again",
    errno.ENAMETOOLONG: "the name is too long; choose a shorter one",
    errno.EILSEQ: "the disk does not accept all characters of the name; choose another name",
    errno.ELOOP: "the path leads in a circle of links; choose another path",
    errno.EMFILE: "too many files are open; close other programs and notebooks and try again",
    errno.ENFILE: "too many files are open; close other programs and notebooks and try again",
    errno.EBUSY: "another program is using it; close that program and try again",
    errno.ETXTBSY: "another program is using it; close that program and try again",
    errno.EIO: "the disk reports a fault (I/O error); check the disk or choose another one",
}
NO_TEMPORARY_FOLDER = (
    "there is no folder for temporary files that can be written to; make room in "
    "it, or set TMPDIR to another folder"
)
# Errors in which libraries report the system's, by name: they are not imported for this.
LIBRARY_ERRORS = {
    "soundfile.LibsndfileError",
    "tensorflow.python.framework.errors_impl.OpError",
    "zipfile.LargeZipFile",
}


@contextlib.contextmanager
def explaining(what: str) -> Iterator[None]:
    """Turns an error of the system, such as a full disk, into one sentence for the user.

    >>> with explaining("The result cannot be written to /out.wav"):
    ...     raise OSError(errno.ENAMETOOLONG, "File name too long")
    Traceback (most recent call last):
    helpers.errors.InputError: The result cannot be written to /out.wav: the name is too long; \
choose a shorter one.

    Args:
      what: What cannot be done, a sentence without its full stop.

    Raises:
      InputError: In place of an OSError, or of an error in which libsndfile or TensorFlow reports
        one. All other errors pass.
    """
    try:
        yield
    except Exception as error:
        if not _is_of_the_system(error):
            raise
        raise InputError(f"{what}: {_reason(error)}.") from error


@contextlib.contextmanager
def replacing(path: str | Path) -> Iterator[Path]:
    """Gives a temporary path to write a file to, and puts it in place when all went well.

    The temporary name keeps the ending. On an error the file that was there stays as it was.

    >>> target = Path(tempfile.mkdtemp()) / "notes.txt"
    >>> with replacing(target) as unfinished:
    ...     _ = unfinished.write_text("c d e")
    ...     target.exists()
    False
    >>> target.read_text()
    'c d e'

    Raises:
      InputError: The file cannot be written.
    """
    path = Path(path)
    with explaining(f"{_shown(path)} cannot be written"), _workplace_beside(path) as workplace:
        yield workplace / path.name
        os.replace(workplace / path.name, path)


@contextlib.contextmanager
def replacing_folder(path: str | Path, names: Iterable[str]) -> Iterator[Path]:
    """Gives a new, empty folder to fill, and puts it in place when all went well.

    On an error the folder that was there stays as it was. When the process is killed at the worst
    moment, `recover` brings that folder back.

    Args:
      path: The folder.
      names: What is written into it.

    Raises:
      InputError: The folder cannot be written, or the one that is there holds something else,
        which would be lost.
    """
    path, names = Path(path), set(names)
    _check_name(path)
    path = path.resolve() if path.is_symlink() else path
    with explaining(f"The folder {_shown(path)} cannot be written"):
        recover(path.parent)
        _check_that_nothing_else_is_lost(path, names)
        with _workplace_beside(path) as workplace:
            unfinished = workplace / path.name
            unfinished.mkdir()
            yield unfinished
            _check_that_nothing_else_is_lost(path, names)
            _put_in_place(unfinished, path)


def recover(folder: str | Path) -> None:
    """Tidies up in a folder after processes that were killed while they wrote to it.

    A folder in it that was being replaced is put back where its place is empty, and what was left
    unfinished or replaced is removed. What a running process writes is left alone. Call it before
    reading what `replacing_folder` writes.
    """
    # What was replaced is listed before the places are looked at: where there is a folder by then,
    # it is newer.
    for former in sorted(_inside(folder, FORMER), reverse=True):  # the newest first
        path = former.with_name(former.name.removeprefix(FORMER).partition("-")[2])
        with contextlib.suppress(OSError):  # another process was quicker, or it may not be changed
            if path.exists():
                _remove(former)
            else:
                os.rename(former, path)
    for unfinished in _inside(folder, UNFINISHED):
        with contextlib.suppress(OSError):  # a running process has locked it
            if fcntl is None and time.time() - unfinished.stat().st_mtime < ABANDONED_SECONDS:
                continue
            lock = _lock(unfinished)
            shutil.rmtree(unfinished, ignore_errors=True)
            _unlock(lock)


def numbered(path: str | Path) -> Iterator[Path]:
    """Yields a path, and then the same with "_2", "_3" … at the end of its name.

    >>> [path.name for path in itertools.islice(numbered("take.wav"), 3)]
    ['take.wav', 'take_2.wav', 'take_3.wav']
    """
    path = Path(path)
    yield path
    for number in itertools.count(2):
        yield path.with_name(f"{path.stem}_{number}{path.suffix}")


def free_name(path: str | Path) -> Path:
    """The first of the `numbered` paths at which there is nothing yet."""
    return next(candidate for candidate in numbered(path) if not os.path.lexists(candidate))


def _is_of_the_system(error):
    if isinstance(error, ConnectionError):  # no file has to do with it
        return False
    names = {f"{kind.__module__}.{kind.__qualname__}" for kind in type(error).__mro__}
    return isinstance(error, OSError) or bool(names & LIBRARY_ERRORS)


def _reason(error):
    """Why the system refuses, and what to do; libraries put it into words of their own."""
    if "No usable temporary directory" in str(error):
        return NO_TEMPORARY_FOLDER
    if getattr(error, "errno", None) in REASONS:
        return REASONS[error.errno]
    for number, reason in REASONS.items():
        if os.strerror(number) in str(error) or f"errno = {number}," in str(error):
            return reason
    reported = " ".join(str(getattr(error, "strerror", None) or error).split()).rstrip(".")[:100]
    reported = reported or type(error).__name__
    return (
        f"the system refuses it ({reported}); check that the disk has room and that you "
        "may use the file and its folder"
    )


@contextlib.contextmanager
def _workplace_beside(path):
    """A temporary folder in the same file system, so that what is in it can be moved at once."""
    _check_name(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    workplace, lock = _new_workplace(path.parent)
    try:
        yield workplace
    finally:
        shutil.rmtree(workplace, ignore_errors=True)
        _unlock(lock)


def _new_workplace(folder):
    """A new folder in a folder, and its lock; None where the disk knows no locks."""
    while True:
        workplace = Path(tempfile.mkdtemp(prefix=UNFINISHED, dir=folder))
        lock = None
        with contextlib.suppress(OSError):
            lock = _lock(workplace, wait=True)
        if workplace.exists():  # else `recover` of another process was quicker than the lock
            return workplace, lock
        _unlock(lock)


def _lock(folder, wait=False):
    """Locks a folder until its process ends, however it ends; Windows has no such locks.

    Raises:
      OSError: Another process has locked it and `wait` is false, or the disk knows no locks.
    """
    if fcntl is None:
        return None
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
    except OSError:
        os.close(descriptor)
        raise
    return descriptor


def _unlock(descriptor):
    if descriptor is not None:
        os.close(descriptor)


def _put_in_place(unfinished, path):
    """Replaces a folder; other processes may do the same, or `recover` it, at the same time."""
    try:
        for tries_left in reversed(range(MOST_TRIES)):
            with contextlib.suppress(FileNotFoundError):
                os.rename(path, path.with_name(f"{FORMER}{time.time_ns()}-{path.name}"))
            try:
                os.rename(unfinished, path)
                return
            except OSError:  # another process has put a folder there in between
                if not tries_left:
                    raise
    finally:
        recover(path.parent)


def _remove(folder):
    """Removes a folder, of which nobody ever finds a half."""
    with _workplace_beside(folder) as workplace:
        os.rename(folder, workplace / folder.name)


def _inside(folder, prefix):
    """What is in a folder, if it is one, and whose name begins so."""
    try:
        return [Path(folder, name) for name in os.listdir(folder) if name.startswith(prefix)]
    except OSError:
        return []


def _check_name(path):
    """Refuses what no system takes for a name."""
    try:
        usable = b"\0" not in os.fsencode(path) and path.name not in ("", "..")
    except UnicodeEncodeError:  # half of a surrogate pair
        usable = False
    if not usable:
        raise InputError(f"{str(path)!r} cannot be written: give the path of a file or a folder.")


def _check_that_nothing_else_is_lost(path, names):
    if (path.exists() and not path.is_dir()) or not _names_in(path) <= names:
        raise InputError(
            f"{path} holds other things, which would be lost: choose another folder to write to."
        )


def _shown(path):
    """A path as a sentence can hold it: of a very long one its beginning and its end."""
    text = str(path)
    return text if len(text) <= LONGEST_SHOWN else f"{text[:80]} … {text[-40:]}"


def _names_in(folder):
    """What a folder holds, without the hidden files that desktops and editors leave."""
    if not folder.is_dir():
        return set()
    return {inside.name for inside in folder.iterdir() if not inside.name.startswith(".")}
