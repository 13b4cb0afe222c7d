"""The uploader's JavaScript in a real JupyterLab: parts reach the kernel, and a loss is shown."""

import nbformat
import numpy as np
import pytest
from jupyter_browser import open_notebook, run_all_cells

pytestmark = pytest.mark.slow

CELL = """from pathlib import Path
from helpers.interface.uploads import Uploader
uploader = Uploader(".bin", multiple=True)
uploader.on_file(lambda name, content: Path(name + ".taken").write_bytes(content))
def lose(upload):  # as if another upload had begun after a long pause
    if upload["name"] == "lost.bin" and upload["index"] == 1:
        uploader._arrived.remove(upload["id"])
uploader._msg_callbacks.callbacks.insert(0, lambda _, message, __: lose(message))
uploader"""


def test_files_arrive_whole_or_the_page_says_that_they_do_not(tmp_path):
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(CELL)])
    notebook.metadata["kernelspec"] = {"name": "python3", "display_name": "Python 3"}
    nbformat.write(notebook, tmp_path / "upload.ipynb")
    content = np.random.default_rng(0).bytes(2 * 2**20)  # three parts
    whole, lost = tmp_path / "whole.bin", tmp_path / "lost.bin"
    for path in (whole, lost):
        path.write_bytes(content)
    with open_notebook(tmp_path / "upload.ipynb") as page:
        run_all_cells(page)
        page.locator("input[type=file]").set_input_files([whole, lost])
        page.get_by_text("lost.bin could not be uploaded").wait_for(timeout=60_000)
    assert (tmp_path / "whole.bin.taken").read_bytes() == content
    assert not (tmp_path / "lost.bin.taken").exists()
