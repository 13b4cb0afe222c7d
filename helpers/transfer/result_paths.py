"""Where results go: names that are free, and that never replace a recording."""

import os
import unicodedata
from collections import Counter
from collections.abc import Iterable
from pathlib import Path

from helpers.analysis import audio as sound
from helpers.errors import InputError
from helpers.files import numbered


def check_names(source: str | Path, target: str | Path) -> None:
    """Refuses a recording or a result without a name, which would be the current folder."""
    for what, path in (("recording", source), ("result", target)):
        if not os.fspath(path):
            raise InputError(f"The name of the {what} is empty: give the path of a file or folder.")


def check_target(target: str | Path, sources: Iterable[str | Path], overwrite: bool) -> None:
    """Refuses a result of an unknown format, one that exists, or one that is a source itself."""
    sound.check_ending(target)
    if not os.path.lexists(target):
        return
    if any(os.path.exists(path) and _is_same(target, path) for path in sources):
        raise InputError(f"{target} is the recording itself: choose another name for the result.")
    if not overwrite:
        raise InputError(
            f"{target} is there already: choose another name, or replace it (overwrite=True, on "
            "the command line --overwrite)."
        )


def is_in(path: Path, folder: Path) -> bool:
    """Whether a path, which need not exist, is a folder or lies in it, links followed."""
    path = Path(path).resolve()
    return any(_is_same(place, folder) for place in (path, *path.parents))


def targets_of(sources: list[Path], folder: Path, target: Path, ending: str) -> dict[Path, Path]:
    """Where results go, by source: the same names, with both endings where two are alike.

    Names that differ in case alone are alike: not every file system tells them apart.
    """
    long = {path: path.with_name(path.name + ending) for path in sources}
    names = {path: path.with_suffix(ending) for path in sources}
    while True:
        times = Counter(map(_folded, names.values()))
        alike = [path for path in sources if times[_folded(names[path])] > 1]
        if all(names[path] == long[path] for path in alike):
            break
        names |= {path: long[path] for path in alike}
    used = {folded for folded, n in times.items() if n == 1}
    for path in alike:
        free = (name for name in numbered(names[path]) if _folded(name) not in used)
        names[path] = next(free)
        used.add(_folded(names[path]))
    return {path: target / name.relative_to(folder) for path, name in names.items()}


def readable(text: str) -> str:
    """A text that UTF-8 can hold: bytes of a file's name that are not UTF-8 become "�"."""
    return text.encode("utf-8", "surrogateescape").decode("utf-8", "replace")


def _is_same(path, other):
    return os.path.exists(path) and os.path.samefile(path, other)


def _folded(path):
    """A name as a file system without cases compares it."""
    return unicodedata.normalize("NFC", str(path)).casefold()
