"""What was there stays whole whatever happens while the new is written, and no litter is left."""

import os

import pytest

from helpers import files
from helpers.files import free_name, replacing, replacing_folder

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


@pytest.mark.parametrize("error", [ValueError, OSError, KeyboardInterrupt, SystemExit])
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


def test_a_file_never_takes_the_place_of_a_folder(folder):
    with pytest.raises(OSError), replacing(folder) as unfinished:
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


def test_an_error_between_the_two_moves_brings_the_old_folder_back(folder, monkeypatch):
    moves = []

    def replace(source, target, replace=os.replace):
        moves.append(source)
        if len(moves) == 2:  # the old is away, the new not yet there
            raise KeyboardInterrupt
        replace(source, target)

    monkeypatch.setattr(files.os, "replace", replace)
    with pytest.raises(KeyboardInterrupt), replacing_folder(folder, NAMES) as unfinished:
        (unfinished / "weights.h5").write_text("new")
    assert len(moves) == 3
    assert everything_in(folder.parent) == {f"{folder.name}/weights.h5"}
    assert (folder / "weights.h5").read_text() == "old"


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
