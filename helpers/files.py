"""Writing so that what was there before is never lost, and nothing is ever half there."""

import contextlib
import os
import tempfile
from pathlib import Path


@contextlib.contextmanager
def replacing(path):
    """Gives a temporary path to write in place of `path`, and puts it there when all went well.

    For a file the temporary name keeps the ending; for a folder (a path without an ending) the
    temporary folder exists already. On an error the old stays as it was.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".unfinished-", dir=path.parent) as workplace:
        unfinished = Path(workplace) / path.name
        if not path.suffix:
            unfinished.mkdir()
        yield unfinished
        if path.is_dir():
            os.replace(path, Path(workplace) / "replaced")
        os.replace(unfinished, path)
