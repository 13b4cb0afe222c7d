"""checkpoints on two variables, with the damage that disks and kills do."""

import resource

import numpy as np
import pytest
import tensorflow as tf
from killed_replacement import leave_half_replaced

from helpers.training.checkpoints import Checkpoints


def checkpoints(folder, n=1000):
    variable = tf.Variable(np.zeros(n, np.float32))
    return Checkpoints(folder / "checkpoints", variable=variable), variable


@pytest.fixture
def two(tmp_path):
    """Checkpoints of steps 5, 10 and 100, of which two are kept, and their variable."""
    kept, variable = checkpoints(tmp_path)
    for step in (5, 10, 100):
        variable.assign(np.full(1000, step))
        kept.save(step, {"steps": [step]})
    variable.assign(np.zeros(1000))
    return kept, variable


def names(kept):
    return sorted(path.name for path in kept.folder.iterdir())


def test_the_newest_is_taken_up_and_two_are_kept(two):
    kept, variable = two
    assert names(kept) == ["step-10", "step-100"]
    assert kept.restore() == {"steps": [100]}
    np.testing.assert_array_equal(variable, 100)


def test_where_there_is_none(tmp_path):
    kept, variable = checkpoints(tmp_path)
    assert kept.restore() is None
    np.testing.assert_array_equal(variable, 0)


DAMAGE = {
    "state.data-00000-of-00001": lambda file: file[:1000],
    "state.index": lambda file: b"",
    "history.json": lambda file: file[:4],
}


@pytest.mark.parametrize("name", DAMAGE)
def test_a_file_cut_short(two, name, capsys):
    kept, variable = two
    path = kept.folder / "step-100" / name
    path.write_bytes(DAMAGE[name](path.read_bytes()))
    assert kept.restore() == {"steps": [10]}
    np.testing.assert_array_equal(variable, 10)
    assert "step 100 is damaged: going on from step 10." in "".join(capsys.readouterr())
    assert names(kept) == ["step-10"]


def test_one_bit_changed(two):
    kept, variable = two
    path = kept.folder / "step-100" / "state.data-00000-of-00001"
    file = bytearray(path.read_bytes())
    file[2000] ^= 1
    path.write_bytes(file)
    assert kept.restore() == {"steps": [10]}
    np.testing.assert_array_equal(variable, 10)


def test_all_damaged(two, refused):
    kept, _ = two
    for path in kept.folder.glob("*/state.index"):
        path.unlink()
    with refused("checkpoints are damaged: choose another folder"):
        kept.restore()
    assert names(kept) == ["step-10", "step-100"]


def test_of_other_variables(two, tmp_path, refused):
    for other in (
        checkpoints(tmp_path, n=999)[0],
        Checkpoints(two[0].folder, variable=tf.Variable(np.zeros(1000)), more=tf.Variable(0.0)),
        Checkpoints(two[0].folder),
    ):
        with refused("another model's: choose another folder"):
            other.restore()


def test_what_a_kill_has_left_is_swept_away(two):
    kept, _ = two
    (kept.folder / ".unfinished-abc" / "step-150").mkdir(parents=True)
    kept.restore()
    assert names(kept) == ["step-10", "step-100"]


def test_a_checkpoint_whose_replacement_was_killed_is_found(two):
    kept, variable = two
    leave_half_replaced(kept.folder / "step-100")
    assert kept.restore() == {"steps": [100]}
    np.testing.assert_array_equal(variable, 100)
    assert names(kept) == ["step-10", "step-100"]


def test_another_history_of_the_same_step(two):
    kept, variable = two
    kept.save(100, {"steps": [100]})
    kept.save(100, {"steps": [100, 101]})
    assert kept.restore() == {"steps": [100, 101]}
    np.testing.assert_array_equal(variable, 0)
    assert names(kept) == ["step-10", "step-100"]


def test_a_full_disk(two, refused):
    """A limit to the size of files behaves as one."""
    kept, variable = two
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, limits[1]))
    try:
        with refused("step-150 cannot be written: .*disk"):
            kept.save(150, {"steps": [150]})
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert names(kept) == ["step-10", "step-100"]
    assert kept.restore() == {"steps": [100]}
