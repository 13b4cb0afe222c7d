"""What was there stays whole whatever happens while the new is written, and no litter is left."""

import errno
import os
import shutil
import signal

import numpy as np
import pytest
import soundfile

from helpers import files
from helpers.files import explaining, free_name, recover, replacing, replacing_folder

NAMES = ("weights.h5", "card.json")


@pytest.fixture(params=["take.wav", "no ending", "take.1.wav"])
def file(request, tmp_path):
    path = tmp_path / request.param
    path.write_text("old")
    return path


@pytest.fixture(params=["violin", "violin no.1"])
def folder(request, tmp_path):
    path = tmp_path / request.param
    path.mkdir()
    (path / "weights.h5").write_text("old")
    return path


def everything_in(folder):
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}


def test_a_file_is_replaced(file):
    with replacing(file) as unfinished:
        assert unfinished.suffix == file.suffix
        unfinished.write_text("new")
        assert file.read_text() == "old"
    assert file.read_text() == "new"
    assert everything_in(file.parent) == {file.name}


def test_folders_on_the_way_are_made(tmp_path):
    with replacing(tmp_path / "a" / "b" / "new.txt") as unfinished:
        unfinished.write_text("new")
    assert everything_in(tmp_path) == {"a/b/new.txt"}


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt, SystemExit])
def test_an_error_leaves_the_old_file(file, error):
    with pytest.raises(error), replacing(file) as unfinished:
        unfinished.write_text("half of the ne")
        raise error
    assert file.read_text() == "old"
    assert everything_in(file.parent) == {file.name}


def test_an_error_leaves_no_file_where_there_was_none(tmp_path):
    with pytest.raises(KeyboardInterrupt), replacing(tmp_path / "new.txt") as unfinished:
        unfinished.write_text("half")
        raise KeyboardInterrupt
    assert everything_in(tmp_path) == set()


def test_a_file_never_takes_the_place_of_a_folder(folder, refused):
    with refused("choose another name"), replacing(folder) as unfinished:
        unfinished.write_text("new")
    assert (folder / "weights.h5").read_text() == "old"


def test_a_folder_is_replaced_whole(folder):
    with replacing_folder(folder, NAMES) as unfinished:
        assert unfinished.is_dir() and not any(unfinished.iterdir())
        (unfinished / "card.json").write_text("new")
        assert (folder / "weights.h5").read_text() == "old"
    assert everything_in(folder.parent) == {f"{folder.name}/card.json"}


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
def test_an_error_leaves_the_old_folder(folder, error):
    with pytest.raises(error), replacing_folder(folder, NAMES) as unfinished:
        (unfinished / "weights.h5").write_text("half of the ne")
        raise error
    assert (folder / "weights.h5").read_text() == "old"
    assert everything_in(folder.parent) == {f"{folder.name}/weights.h5"}


@pytest.mark.parametrize("nth", [1, 2, 3])
def test_an_interrupt_at_any_move_leaves_a_whole_folder(folder, monkeypatch, nth):
    moves = []

    def replace(*paths, replace=os.replace):
        moves.append(paths)
        if len(moves) == nth:
            raise KeyboardInterrupt
        replace(*paths)

    monkeypatch.setattr(files.os, "replace", replace)
    with pytest.raises(KeyboardInterrupt), replacing_folder(folder, NAMES) as unfinished:
        (unfinished / "weights.h5").write_text("new")
    assert everything_in(folder.parent) == {f"{folder.name}/weights.h5"}
    assert (folder / "weights.h5").read_text() == "old"


def killed_before_step(folder, nth):
    """Replaces a folder in a process that is killed before its nth move or removal."""
    steps = []

    def counted(step):
        def counting(*arguments, **options):
            steps.append(step)
            if len(steps) == nth:
                os.kill(os.getpid(), signal.SIGKILL)
            return step(*arguments, **options)

        return counting

    child = os.fork()
    if not child:
        files.os.replace, files.shutil.rmtree = counted(os.replace), counted(shutil.rmtree)
        with replacing_folder(folder, NAMES) as unfinished:
            (unfinished / "weights.h5").write_text("new")
        os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -signal.SIGKILL


@pytest.mark.parametrize("nth", [1, 2, 3, 4, 5, 6])
def test_a_kill_at_any_step_leaves_a_whole_folder(folder, nth):
    killed = killed_before_step(folder, nth)
    recover(folder.parent)
    assert (folder / "weights.h5").read_text() == ("new" if nth > 3 else "old")
    assert [path for path in folder.parent.iterdir() if ".former-" in path.name] == []
    assert killed == (nth < 6)  # the last step is the fifth, the removal of the temporary folder
    with replacing_folder(folder, NAMES) as unfinished:
        (unfinished / "weights.h5").write_text("newer")
    assert (folder / "weights.h5").read_text() == "newer"


def test_two_processes_leave_one_of_their_folders(folder):
    """While one has moved the former away, another puts its own in the place."""
    real, others = os.replace, []

    def replace(source, target):
        real(source, target)
        if ".former-" in str(target) and not others:
            others.append(folder)
            folder.mkdir()
            (folder / "weights.h5").write_text("another's")

    with pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.setattr(files.os, "replace", replace)
        with replacing_folder(folder, NAMES) as unfinished:
            (unfinished / "weights.h5").write_text("new")
    assert others and (folder / "weights.h5").read_text() == "new"
    assert everything_in(folder.parent) == {f"{folder.name}/weights.h5"}


def test_a_link_to_a_folder_stays_a_link(folder):
    link = folder.with_name("link")
    link.symlink_to(folder)
    with replacing_folder(link, NAMES) as unfinished:
        (unfinished / "weights.h5").write_text("new")
    assert link.is_symlink() and (folder / "weights.h5").read_text() == "new"


def test_what_a_killed_process_left_long_ago_is_removed(folder):
    old, recent = (folder.with_name(f".unfinished-{age}") for age in ("old", "recent"))
    for left in (old, recent):
        (left / "violin").mkdir(parents=True)
    os.utime(old, (0, 0))
    with replacing(folder.with_name("card.json")) as unfinished:
        unfinished.write_text("new")
    assert recent.is_dir() and not old.exists()


@pytest.mark.parametrize(
    ("number", "word"),
    [
        (errno.ENOSPC, "full"),
        (errno.EACCES, "permission"),
        (errno.EROFS, "read-only"),
        (errno.ENOTDIR, "is a file"),
        (errno.ENAMETOOLONG, "too long"),
        (12345, "refuses"),
    ],
)
def test_errors_of_the_system_become_a_sentence(tmp_path, refused, number, word):
    with refused(f"song.wav cannot be written: .*{word}"), replacing(tmp_path / "song.wav"):
        raise OSError(number, "what the system calls it")


def test_errors_that_the_system_really_has(tmp_path, refused):
    (tmp_path / "file").write_text("")
    for path, word in (
        (tmp_path / "file" / "song.wav", "is a file"),
        (tmp_path / ("a" * 300 + ".wav"), "too long"),
    ):
        with refused(word), replacing(path) as unfinished:
            unfinished.write_text("new")


def test_what_libsndfile_makes_of_a_full_disk(refused):
    with refused("cannot be written: "), explaining("song.wav cannot be written"):
        soundfile.write("/dev/full", np.zeros(10**6), 16000, format="WAV")


def test_a_folder_with_something_else_in_it_is_never_replaced(folder, refused):
    (folder / "my recording.wav").write_text("irreplaceable")
    with refused("choose another folder"), replacing_folder(folder, NAMES):
        pytest.fail("nothing should have been begun")
    assert everything_in(folder.parent) == {
        f"{folder.name}/weights.h5",
        f"{folder.name}/my recording.wav",
    }


def test_a_folder_never_takes_the_place_of_a_file(file, refused):
    with refused("choose another folder"), replacing_folder(file, NAMES):
        pytest.fail("nothing should have been begun")
    assert file.read_text() == "old"


def test_what_desktops_leave_in_a_folder_is_no_hindrance(folder):
    (folder / ".DS_Store").write_text("")
    with replacing_folder(folder, NAMES) as unfinished:
        (unfinished / "weights.h5").write_text("new")
    assert everything_in(folder) == {"weights.h5"}


def test_a_name_that_is_taken_is_numbered(tmp_path):
    assert free_name(tmp_path / "a.wav") == tmp_path / "a.wav"
    for name in ("a.wav", "a_2.wav", "a_4.wav"):
        (tmp_path / name).touch()
    assert free_name(tmp_path / "a.wav") == tmp_path / "a_3.wav"
