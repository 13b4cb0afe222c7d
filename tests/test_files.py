"""What was there stays whole whatever happens while the new is written, and no litter is left."""

import errno
import multiprocessing
import os
import resource
import signal

import pytest
import soundfile

from helpers import files
from helpers.errors import InputError
from helpers.files import explaining, free_name, recover, replacing, replacing_folder
from helpers.tensorflow_import import tf

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


def in_another_process(function, *args):
    """Runs a function in a process of its own, and returns it."""
    process = multiprocessing.get_context("fork").Process(target=function, args=args)
    process.start()
    return process


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
    expected = InputError if error is OSError else error
    with pytest.raises(expected), replacing(file) as unfinished:
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
    with refused("a folder has this name"), replacing(folder) as unfinished:
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


@pytest.mark.parametrize("nth", [1, 2])
def test_an_interrupt_at_any_move_leaves_a_whole_folder(folder, monkeypatch, nth):
    moves = []

    def rename(*paths, rename=os.rename):
        moves.append(paths)
        if len(moves) == nth:
            raise KeyboardInterrupt
        rename(*paths)

    monkeypatch.setattr(os, "rename", rename)
    with pytest.raises(KeyboardInterrupt), replacing_folder(folder, NAMES) as unfinished:
        (unfinished / "weights.h5").write_text("new")
    assert everything_in(folder.parent) == {f"{folder.name}/weights.h5"}
    assert (folder / "weights.h5").read_text() == "old"


def killed_at(move, folder):
    """Replaces a folder, and is killed just before it moves or removes a file or folder."""
    moves = iter(range(move))

    def kill_before(call):
        def counted(*args, **kwargs):
            if next(moves, None) is None:
                os.kill(os.getpid(), signal.SIGKILL)
            return call(*args, **kwargs)

        return counted

    for name in ("mkdir", "rename", "replace", "unlink", "rmdir"):
        setattr(os, name, kill_before(getattr(os, name)))
    with replacing_folder(folder, NAMES) as unfinished:
        for name in NAMES:
            (unfinished / name).write_text("new")


def test_a_process_killed_at_any_moment_leaves_a_whole_folder(folder):
    (folder / "card.json").write_text("old")
    outcomes = []
    for move in range(20):
        for name in NAMES:
            (folder / name).write_text("old")
        process = in_another_process(killed_at, move, folder)
        process.join()
        recover(folder.parent)
        assert everything_in(folder.parent) == {f"{folder.name}/{name}" for name in NAMES}
        (content,) = {(folder / name).read_text() for name in NAMES}
        outcomes.append((process.exitcode, content))
        if process.exitcode == 0:
            break
    assert {(-signal.SIGKILL, "old"), (-signal.SIGKILL, "new")} < set(outcomes)
    assert outcomes[-1] == (0, "new")
    assert not [path for path in folder.parent.iterdir() if path.name.startswith(".")]


def test_the_next_writer_tidies_up_after_one_that_was_killed(folder):
    for move in range(5):
        in_another_process(killed_at, move, folder).join()
    with replacing_folder(folder, NAMES) as unfinished:
        (unfinished / "weights.h5").write_text("newest")
    assert [path.name for path in folder.parent.iterdir()] == [folder.name]
    assert (folder / "weights.h5").read_text() == "newest"


def replace_often(folder, content):
    for _ in range(30):
        with replacing_folder(folder, NAMES) as unfinished:
            for name in NAMES:
                (unfinished / name).write_text(content)


def test_two_writers_at_once_leave_the_whole_folder_of_one(folder):
    writers = [in_another_process(replace_often, folder, content) for content in ("one", "two")]
    while any(writer.is_alive() for writer in writers):
        recover(folder.parent)  # as a reader does
    assert [writer.exitcode for writer in writers] == [0, 0]
    assert len({(folder / name).read_text() for name in NAMES}) == 1
    assert [path.name for path in folder.parent.iterdir()] == [folder.name]


def test_what_a_running_process_writes_is_left_alone(tmp_path):
    with replacing(tmp_path / "a.txt") as unfinished:
        unfinished.write_text("new")
        in_another_process(recover, tmp_path).join()
        recover(tmp_path)
    assert (tmp_path / "a.txt").read_text() == "new"


def test_a_link_to_a_folder_stays_a_link(folder):
    link = folder.with_name("link")
    link.symlink_to(folder)
    with replacing_folder(link, NAMES) as unfinished:
        (unfinished / "weights.h5").write_text("new")
    assert link.is_symlink() and (folder / "weights.h5").read_text() == "new"


def test_what_was_removed_on_purpose_stays_away(folder):
    with replacing_folder(folder, NAMES) as unfinished:
        (unfinished / "weights.h5").write_text("new")
    (folder / "weights.h5").unlink()
    folder.rmdir()
    recover(folder.parent)
    assert not list(folder.parent.iterdir())


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


def test_a_link_that_leads_nowhere_takes_a_name_too(tmp_path):
    (tmp_path / "a.wav").symlink_to("on another disk.wav")
    assert free_name(tmp_path / "a.wav") == tmp_path / "a_2.wav"


def write_to(path):
    with replacing(path) as unfinished:
        unfinished.write_text("new")


def test_a_parent_that_is_a_file_is_a_sentence(file, refused):
    with refused("is a file"):
        write_to(file / "result.wav")
    with refused("is a file"):
        write_to(file / "folder" / "result.wav")
    assert file.read_text() == "old"


@pytest.mark.parametrize("name", ["a" * 256, "a" * 300 + ".wav"])
def test_a_name_that_is_too_long_is_a_sentence(tmp_path, name, refused):
    with refused("the name is too long; choose a shorter one"):
        write_to(tmp_path / name)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("name", ["half \ud83d.wav", "nul \0.wav", "..", ""])
def test_a_name_that_is_none_is_a_sentence_that_can_be_shown(tmp_path, name):
    with pytest.raises(InputError, match="give the path") as caught:
        write_to(tmp_path / name if name else "")
    str(caught.value).encode("utf-8")
    assert not list(tmp_path.iterdir())


def test_a_name_of_250_letters_is_written(tmp_path):
    write_to(tmp_path / ("a" * 250 + ".wav"))
    assert len(list(tmp_path.iterdir())) == 1


def test_a_read_only_folder_is_a_sentence(tmp_path, refused):
    def as_somebody(path):
        os.setuid(65534)  # root may write anywhere
        with refused("permission is denied"):
            write_to(path)

    if os.getuid():
        tmp_path.chmod(0o500)
        with refused("permission is denied"):
            write_to(tmp_path / "a.wav")
        tmp_path.chmod(0o700)
    else:
        process = in_another_process(as_somebody, "/var/a.wav")
        process.join()
        assert process.exitcode == 0


def test_a_system_that_is_read_only_is_a_sentence(refused):
    with refused("cannot be written: "):  # of the process, or of the system
        write_to("/proc/a.wav")


def test_a_full_disk_is_a_sentence(tmp_path, refused):
    if not os.path.exists("/dev/full"):
        pytest.skip("there is no /dev/full")
    with refused("the disk is full"), explaining("a.wav cannot be written"):
        with open("/dev/full", "w") as file:
            file.write("new")


def test_a_disk_that_libsndfile_finds_full_is_a_sentence(refused):
    if not os.path.exists("/dev/full"):
        pytest.skip("there is no /dev/full")
    with refused("disk has room"), explaining("a.wav cannot be written"):
        with soundfile.SoundFile("/dev/full", "w", 16000, 1, format="WAV") as file:
            for _ in range(10):
                file.write([0.0] * 16000)


def test_a_disk_that_tensorflow_cannot_write_to_is_a_sentence(file, refused):
    with refused("is a file"), explaining("The checkpoint cannot be written"):
        tf.io.write_file(str(file / "state"), "new")


def test_too_many_open_files_are_a_sentence(tmp_path, refused):
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    opened = []
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (256, limits[1]))
        with refused("too many files are open"), explaining("a.wav cannot be read"):
            while True:
                opened.append(open(os.devnull))
    finally:
        for one in opened:
            one.close()
        resource.setrlimit(resource.RLIMIT_NOFILE, limits)


def test_no_folder_for_temporary_files_is_a_sentence(tmp_path, monkeypatch, refused):
    monkeypatch.setattr(files.tempfile, "_candidate_tempdir_list", lambda: [str(tmp_path / "no")])
    monkeypatch.setattr(files.tempfile, "tempdir", None)
    with refused("TMPDIR"), explaining("a.wav cannot be written"):
        files.tempfile.TemporaryFile()


@pytest.mark.parametrize(
    "number", [errno.EROFS, errno.EDQUOT, errno.EIO, errno.ENOSPC, errno.EACCES, errno.EBADMSG]
)
@pytest.mark.parametrize("worded", [False, True])
def test_what_the_system_reports_is_a_sentence(number, worded, refused):
    """As Python has it, or as HDF5, which gives the system's words in a text of its own."""
    words = f"Can't write data (errno = {number}, error message = '{os.strerror(number)}')"
    with refused("a.h5 cannot be written: .*;"), explaining("a.h5 cannot be written"):
        raise OSError(words) if worded else OSError(number, os.strerror(number))


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt, BrokenPipeError, MemoryError])
def test_other_errors_are_not_explained(error):
    with pytest.raises(error) as caught, explaining("a.wav cannot be written"):
        raise error("as it is")
    assert str(caught.value) == "as it is"


def test_a_sentence_within_a_sentence_stays(refused):
    with refused("^the inner.$"), explaining("the outer"):
        raise InputError("the inner.")
