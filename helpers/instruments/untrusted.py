"""Files and zips that come from anywhere: what is read of them, and how much."""

import contextlib
import shutil
import stat
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path, PurePosixPath

from helpers.errors import InputError

MAX_BUNDLE_BYTES = 256 * 2**20  # unpacked
MAX_TEXT_BYTES = 2**20  # of each of the files that are text
MAX_DIRECTORY_BYTES = 2**20  # of a zip: the names and sizes of what it holds
COMPRESSIONS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)  # others may ask for gigabytes

END_OF_ZIP = b"PK\x05\x06"  # begins the last record of a zip, of 22 bytes and a comment
END_OF_ZIP64 = b"PK\x06\x07"  # begins a record of 20 bytes before it, in zips above 4 GB


def unpack(path: Path, folder: Path | str, choose: Callable[[set[str]], set[str]]) -> None:
    """Unpacks only the files of a bundle, by name, whatever folder the zip has them in.

    Args:
      path: Of the zip.
      folder: To unpack to.
      choose: Called with the names in the zip, without folders; returns which are the bundle's.

    Raises:
      InputError: It is no zip, it is damaged, or it holds more than one bundle or too much.
    """
    sentence = f"{path.name} is no zip file or is damaged: choose the zip that notebook 2 made."
    with or_refuse(sentence):
        _check_directory(path)
        with zipfile.ZipFile(path) as archive:
            for member in _chosen(archive.infolist(), path.name, choose):
                target = Path(folder) / PurePosixPath(member.filename).name
                with archive.open(member) as source, open(target, "wb") as unpacked:
                    shutil.copyfileobj(source, unpacked)


def _check_directory(path):
    """Refuses a zip whose list of members would take much memory, before it is read."""
    with open(path, "rb") as file:
        file.seek(max(0, path.stat().st_size - 2**16 - 42))
        end = file.read()
    position = end.rfind(END_OF_ZIP)
    n_bytes = int.from_bytes(end[position + 12 : position + 16], "little")
    is_zip64 = end[max(0, position - 20) : max(0, position)].startswith(END_OF_ZIP64)
    if position < 0 or n_bytes > MAX_DIRECTORY_BYTES or is_zip64:
        raise ValueError("no zip, or one of very many files")


def _chosen(members, name, choose):
    """The members of a zip that make a bundle."""
    if any(".." in m.filename.split("/") or m.filename.startswith("/") for m in members):
        raise InputError(f"{name} has files that leave its folder: zip the bundle's folder anew.")
    names = choose({PurePosixPath(m.filename).name for m in members})
    chosen = [m for m in members if PurePosixPath(m.filename).name in names]
    if sum(member.file_size for member in chosen) > MAX_BUNDLE_BYTES:
        raise InputError(f"{name} unpacks to more than an instrument takes: choose another zip.")
    if len({PurePosixPath(member.filename).parent for member in chosen}) > 1:
        raise InputError(f"{name} holds more than one instrument: zip one folder alone.")
    if len({member.filename for member in chosen}) < len(chosen):
        raise InputError(f"{name} holds a file twice: zip the bundle's folder anew.")
    for member in chosen:
        is_link = stat.S_ISLNK(member.external_attr >> 16)
        if is_link or member.flag_bits & 1 or member.compress_type not in COMPRESSIONS:
            raise InputError(
                f"{name} has links, a password or a rare compression: zip the bundle's folder "
                "anew, without them."
            )
    return chosen


def read_text(path: Path, name: str, max_bytes: int = MAX_TEXT_BYTES) -> str:
    """Reads a file of a bundle that is text.

    Raises:
      InputError: It is no file, too long, or no text.
    """
    check_file(path, name, max_bytes)
    with or_refuse(f"{path.name} of {name} is no text: take another copy."):
        return path.read_text(encoding="utf-8")


def check_file(path: Path, name: str, max_bytes: int = MAX_BUNDLE_BYTES) -> None:
    """Refuses a path that is no file, such as a pipe, which would be waited for, or is too long.

    Raises:
      InputError: Naming the file.
    """
    if not path.is_file():
        raise InputError(f"{path.name} of {name} is missing or no file: take another copy.")
    if path.stat().st_size > max_bytes:
        raise InputError(
            f"{path.name} of {name} is larger than any instrument's: take another copy."
        )


@contextlib.contextmanager
def or_refuse(sentence: str) -> Iterator[None]:
    """Raises an InputError with the sentence in place of any other error than the system's.

    Any kind of error may come out of the libraries when a file was made to break them.
    """
    try:
        yield
    except (InputError, OSError):
        raise
    except Exception as error:
        raise InputError(sentence) from error
