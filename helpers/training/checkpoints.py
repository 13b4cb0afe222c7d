"""Checkpoints of a training: each is there whole or not at all, and the newest is taken up."""

import json
import shutil
from pathlib import Path

from tqdm.auto import tqdm

from helpers.errors import InputError
from helpers.files import recover, replacing_folder
from helpers.tensorflow_import import tf

KEPT = 2  # so that there is one to fall back on where a full disk has cut the newest short
STATE, HISTORY = "state", "history.json"


class Checkpoints:
    """The checkpoints in a folder, each a folder `step-<step>` of variables and a history."""

    def __init__(self, folder: str | Path, **state: tf.Variable | tf.Module) -> None:
        """Takes the folder, and by any names the TensorFlow objects that hold the variables."""
        self.folder = Path(folder)
        self._state = tf.train.Checkpoint(**state)

    def save(self, step: int, history: dict) -> None:
        """Writes the variables of now and a history, which JSON can hold; older ones go.

        Raises:
          InputError: The disk takes no more; the checkpoints before are as they were.
        """
        target = self._path(step)
        if target.is_dir() and _history(target) == history:
            return
        with replacing_folder(target, {path.name for path in target.glob("*")}) as unfinished:
            self._state.write(str(unfinished / STATE))
            (unfinished / HISTORY).write_text(json.dumps(history))
        for old in self._steps()[:-KEPT]:
            shutil.rmtree(self._path(old), ignore_errors=True)

    def restore(self) -> dict | None:
        """Sets the variables to those of the newest whole checkpoint.

        Damaged ones newer than that are removed, which is printed.

        Returns:
          Its history; None where there is no checkpoint at all.

        Raises:
          InputError: All checkpoints are damaged, or of other variables.
        """
        recover(self.folder)
        steps = self._steps()
        whole = [step for step in steps if _is_whole(self._path(step))]
        if steps and not whole:
            raise InputError(
                f"The checkpoints in {self.folder} are damaged: choose another folder."
            )
        for damaged in (step for step in steps if step > whole[-1]):
            tqdm.write(
                f"The checkpoint of step {damaged} is damaged: going on from step {whole[-1]}."
            )
            shutil.rmtree(self._path(damaged), ignore_errors=True)
        return self._read(self._path(whole[-1])) if whole else None

    def _read(self, path):
        try:
            self._state.read(str(path / STATE)).assert_consumed()
        except (AssertionError, ValueError, tf.errors.OpError) as error:
            raise InputError(
                f"The checkpoints in {self.folder} are another model's: choose another folder."
            ) from error
        return _history(path)

    def _path(self, step):
        return self.folder / f"step-{step}"

    def _steps(self):
        """The steps of which there are checkpoints, in order."""
        numbers = (path.name.removeprefix("step-") for path in self.folder.glob("step-*"))
        return sorted(int(number) for number in numbers if number.isdecimal())


def _history(path):
    return json.loads((path / HISTORY).read_text())


def _is_whole(path):
    """Whether everything in a checkpoint can be read; TensorFlow keeps a checksum of each array."""
    try:
        reader = tf.train.load_checkpoint(str(path / STATE))
        for name in reader.get_variable_to_shape_map():
            reader.get_tensor(name)
        _history(path)
    except Exception:  # TensorFlow's reader has one for each way in which a file can be cut
        return False
    return True
