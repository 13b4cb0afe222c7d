"""Executes the notebooks in order, as a user would, and keeps what they show.

    python notebooks/run.py               into results/: HTML, the sounds as WAV, plots as PNG
    python notebooks/run.py --in-place    into the notebooks themselves, for committing

With TIMBRE_QUICK=1 the training is short. `--in-place` also writes the repository's address of
`helpers/config.py` into the notebooks, the READMEs and CITATION.cff.
"""

import argparse
import base64
import io
import re
import shutil
import sys
import time
from pathlib import Path

import nbformat
import soundfile
from nbclient import NotebookClient
from nbconvert import HTMLExporter
from PIL import Image

NOTEBOOKS = Path(__file__).resolve().parent
sys.path.insert(0, str(NOTEBOOKS.parent))

from helpers import config
from helpers.files import replacing

ADDRESS = re.compile(
    r"(colab\.research\.google\.com/github/|"
    r'(?:REPOSITORY = \\?"|git clone |repository-code: )https://github\.com/)'
    r"[\w.-]+/[\w.-]+"
)
SOUND = re.compile(r'src="data:audio/mpeg;base64,([^"]+)"')


def main():
    """Runs all notebooks and says where the results are."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--in-place", action="store_true", help="keep the outputs in the notebooks")
    parser.add_argument("names", nargs="*", help="beginnings of the notebooks' names; default all")
    arguments = parser.parse_args()
    if config.QUICK:
        shutil.rmtree(config.RUNS, ignore_errors=True)  # a demo starts from nothing
    if arguments.in_place:
        pages = ("README.md", "README.es.md", "CONTRIBUTING.md", "CITATION.cff")
        for path in (*(config.ROOT / page for page in pages), *NOTEBOOKS.glob("*.ipynb")):
            _stamp_address(path)
    for path in sorted(NOTEBOOKS.glob("*.ipynb")):
        if not arguments.names or path.name.startswith(tuple(arguments.names)):
            _run(path, arguments.in_place)
    print(f"\nPlots, sounds and pages are in {config.RESULTS}")


def execute(notebook, folder=NOTEBOOKS):
    """Executes a notebook in a kernel of its own, cell by cell; stops at the first error."""
    client = NotebookClient(
        notebook, timeout=None, kernel_name="python3", resources={"metadata": {"path": str(folder)}}
    )
    client.execute()
    reduce_plots(notebook)
    return notebook


def reduce_plots(notebook):
    """Gives the plots a palette of 256 colours, which takes less than half the bytes."""
    for output in (output for cell in notebook.cells for output in cell.get("outputs", [])):
        data = output.get("data", {})
        if "image/png" in data:
            plot = Image.open(io.BytesIO(base64.b64decode(data["image/png"]))).convert("RGB")
            buffer = io.BytesIO()
            plot.quantize(256, dither=Image.Dither.NONE).save(buffer, "PNG", optimize=True)
            data["image/png"] = base64.b64encode(buffer.getvalue()).decode()


def _run(path, in_place):
    started = time.monotonic()
    notebook = execute(nbformat.read(path, as_version=4))
    if in_place:
        _write(path, nbformat.writes(notebook) + "\n")
    page, _ = HTMLExporter().from_notebook_node(notebook)
    _write(config.RESULTS / f"{path.stem}.html", page)
    kept = _keep_outputs(notebook, config.RESULTS / path.stem)
    print(f"{path.stem}: {time.monotonic() - started:.0f} s, {kept}")


def _stamp_address(path):
    """Makes badges, set-up cells and clone commands speak of this project's repository."""
    owner_and_name = config.REPOSITORY_URL.removeprefix("https://github.com/")
    text = path.read_text(encoding="utf-8")
    _write(path, ADDRESS.sub(lambda found: found[1] + owner_and_name, text))


def _keep_outputs(notebook, folder):
    """Writes every plot and sound that the notebook shows as a file of its own."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    pictures = sounds = 0
    for output in (output for cell in notebook.cells for output in cell.get("outputs", [])):
        data = output.get("data", {})
        if "image/png" in data:
            pictures += 1
            picture = base64.b64decode(data["image/png"])
            (folder / f"plot_{pictures:02d}.png").write_bytes(picture)
        for encoded in SOUND.findall("".join(data.get("text/html", ""))):
            sounds += 1
            audio, sample_rate = soundfile.read(io.BytesIO(base64.b64decode(encoded)))
            soundfile.write(folder / f"sound_{sounds:02d}.wav", audio, sample_rate)
    return f"{pictures} plots and {sounds} sounds"


def _write(path, text):
    with replacing(path) as unfinished:
        unfinished.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
