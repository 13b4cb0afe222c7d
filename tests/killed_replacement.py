"""A process that is killed in the worst moment: the old folder is away, the new one not there."""

import multiprocessing
import os
import signal

from helpers.files import replacing_folder


def leave_half_replaced(folder):
    """Begins to replace a folder in a process of its own, which is killed before it is done."""
    process = multiprocessing.get_context("fork").Process(target=_replace_half, args=(folder,))
    process.start()
    process.join()
    assert process.exitcode == -signal.SIGKILL and not folder.exists()


def _replace_half(folder):
    rename = os.rename

    def rename_and_die(source, target):
        rename(source, target)
        os.kill(os.getpid(), signal.SIGKILL)

    os.rename = rename_and_die
    with replacing_folder(folder, {path.name for path in folder.iterdir()}):
        pass
