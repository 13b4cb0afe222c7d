"""Writing so that what was there before is never lost, and nothing is ever half there."""

import contextlib
import itertools
import os
import tempfile
from pathlib import Path

from helpers.errors import InputError


@contextlib.contextmanager
def replacing(path):
    """Gives a temporary path to write a file to, and puts it in place when all went well.

    The temporary name keeps the ending. On an error the file that was there stays as it was.
    """
    path = Path(path)
    with _workplace_beside(path) as workplace:
        yield workplace / path.name
        os.replace(workplace / path.name, path)


@contextlib.contextmanager
def replacing_folder(path, names):
    """Gives a new, empty folder to fill, and puts it in place when all went well.

    On an error the folder that was there stays as it was.

    Args:
      path: The folder.
      names: What is written into it.

    Raises:
      InputError: The folder that is there holds something else, which would be lost.
    """
    path = Path(path)
    if path.is_file() or not _names_in(path) <= set(names):
        raise InputError(
            f"{path} holds other things, which would be lost: choose another folder to write to."
        )
    with _workplace_beside(path) as workplace:
        unfinished, former = workplace / path.name, workplace / f"{path.name}.former"
        unfinished.mkdir()
        yield unfinished
        try:
            if path.is_dir():
                os.replace(path, former)
            os.replace(unfinished, path)
        except BaseException:
            if former.is_dir():
                os.replace(former, path)
            raise


def numbered(path):
    """Yields a path, and then the same with "_2", "_3" … at the end of its name."""
    path = Path(path)
    yield path
    for number in itertools.count(2):
        yield path.with_name(f"{path.stem}_{number}{path.suffix}")


def free_name(path):
    """The first of the `numbered` paths at which there is nothing yet."""
    return next(candidate for candidate in numbered(path) if not candidate.exists())


@contextlib.contextmanager
def _workplace_beside(path):
    """A temporary folder in the same file system, so that what is in it can be moved at once."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".unfinished-", dir=path.parent) as workplace:
        yield Path(workplace)


def _names_in(folder):
    """What a folder holds, without the hidden files that desktops and editors leave."""
    if not folder.is_dir():
        return set()
    return {inside.name for inside in folder.iterdir() if not inside.name.startswith(".")}
