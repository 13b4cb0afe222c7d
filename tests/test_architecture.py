"""What the README says of the structure, read from the source."""

import ast
import json
import re
import sys
from pathlib import Path

import pytest
from conftest import need

from helpers import config

ROOT = Path(__file__).parent.parent
MODULES = {path.stem: path for path in (ROOT / "helpers").glob("*.py") if path.stem != "__init__"}
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))

# What any module may import, beside its own row.
FOR_ALL = {"config", "errors", "files", "tensorflow_import"}
MAY_IMPORT = {
    "config": set(),
    "errors": set(),
    "files": set(),
    "install": set(),
    "tensorflow_import": set(),
    "plots": set(),
    "audio": set(),
    "crepe": set(),
    "pitch": {"audio", "crepe"},
    "features": {"audio", "pitch"},
    "dataset": {"features"},
    "doctor": {"features"},
    "ddsp_import": {"crepe"},
    "xla": set(),
    "synths": {"ddsp_import", "xla"},
    "gru": {"xla"},
    "networks": {"ddsp_import", "gru", "xla"},
    "losses": {"ddsp_import", "features", "xla"},
    "encoders": {"gru", "ddsp_import"},
    "wavernn": {"gru", "ddsp_import"},
    "untrusted": set(),
    "instrument": {
        "synths",
        "networks",
        "losses",
        "encoders",
        "wavernn",
        "untrusted",
        "ddsp_import",
    },
    "google_bundle": {"untrusted", "features"},
    "model": {"instrument", "google_bundle"},
    "checkpoints": set(),
    "history": set(),
    "logs": set(),
    "steps": {"features"},
    "training": {"dataset", "model", "evaluate", "checkpoints", "history", "logs", "steps"},
    "evaluate": {"features"},
    "interpolation": {"evaluate", "pitch"},
    "results": {"interpolation", "model", "plots"},
    "settings": set(),
    "notes": {"features", "settings"},
    "expression": {"notes"},
    "adjust": {"expression"},
    "render": {"pitch", "synths", "settings"},
    "transfer": {"adjust", "model", "render"},
    "capture": {"audio"},
    "uploads": set(),
    "widgets": {"plots", "capture", "uploads"},
    "studio": {"transfer"},
    "transfer_panel": {"studio", "widgets"},
}
STANDARD_LIBRARY_ONLY = {"__init__", "config", "errors", "files", "install"}


def imports_of(path):
    """Every module that a file imports anywhere, `from helpers import x` as "helpers.x"."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path.name} has a relative import"
            names = {f"{node.module}.{alias.name}" for alias in node.names}
            found |= names if node.module in ("helpers", "google") else {node.module}
    return found


def helpers_of(path):
    """The modules of helpers that a file imports."""
    return {name.split(".")[1] for name in imports_of(path) if name.startswith("helpers.")}


def within_reach(name):
    """What a row of the table allows: its entries, and what these may import."""
    return MAY_IMPORT[name].union(*(within_reach(other) for other in MAY_IMPORT[name]))


def test_every_module_has_a_row():
    assert set(MODULES) <= set(MAY_IMPORT)
    files = [*ROOT.glob("*.py"), *ROOT.glob("[a-z]*/**/*.py")]
    assert not {"utils", "util", "common", "misc"} & {path.stem for path in files}


@pytest.mark.parametrize("name", MODULES)
def test_arrows_run_one_way(name):
    assert helpers_of(MODULES[name]) <= within_reach(name) | FOR_ALL - {name}


def test_the_table_has_no_circles():
    for name in MAY_IMPORT:
        assert name not in within_reach(name)  # a circle would not end at all
    assert [name for name in MAY_IMPORT if "widgets" in within_reach(name)] == ["transfer_panel"]


@pytest.mark.parametrize("name", sorted(STANDARD_LIBRARY_ONLY))
def test_what_runs_before_anything_is_installed(name):
    for imported in imports_of(ROOT / "helpers" / f"{name}.py"):
        package, _, module = imported.partition(".")
        assert package in sys.stdlib_module_names or module in STANDARD_LIBRARY_ONLY


def test_only_the_shim_imports_ddsp():
    packages = {n: {i.split(".")[0] for i in imports_of(path)} for n, path in MODULES.items()}
    assert {name for name, imported in packages.items() if "ddsp" in imported} == {"ddsp_import"}
    users = {name for name, path in MODULES.items() if "ddsp_import" in helpers_of(path)}
    assert users == {"synths", "networks", "losses", "encoders", "wavernn", "instrument"}


def test_only_the_instrument_and_its_parts_know_gin():
    users = {n for n, path in MODULES.items() if "gin" in imports_of(path)}
    parts = {"synths", "networks", "losses", "encoders", "wavernn"}
    assert users == parts | {"instrument", "untrusted"}


def test_only_capture_knows_colab():
    mentions = {n for n, path in MODULES.items() if "google.colab" in path.read_text("utf-8")}
    assert mentions == {"capture"}


@pytest.mark.parametrize("path", [*MODULES.values(), *NOTEBOOKS], ids=lambda path: path.name)
def test_warnings_are_not_silenced(path):
    silencers = r"filterwarnings|simplefilter|-W\s*ignore|set_verbosity|disable_v2|logging\.disable"
    assert not re.search(silencers, source_of(path))


def source_of(path):
    if path.suffix == ".ipynb":
        return "\n".join("".join(cell["source"]) for cell in cells_of(path))
    return path.read_text(encoding="utf-8")


def cells_of(path):
    return json.loads(path.read_text(encoding="utf-8"))["cells"]


def test_three_notebooks_in_order():
    assert [path.name[:3] for path in NOTEBOOKS] == ["01_", "02_", "03_"]


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.name)
def test_cells_hold_the_lesson(path):
    """Short cells of plain Python, each explained by the text before it."""
    cells = cells_of(path)
    assert cells[0]["cell_type"] == "markdown"
    for before, cell in zip(cells, cells[1:], strict=False):
        if cell["cell_type"] != "code":
            continue
        source = "".join(cell["source"])
        assert before["cell_type"] == "markdown", source
        assert len(source.splitlines()) < 20, source
        assert not re.search(r"^\s*[!%]", source, re.MULTILINE), source
        ast.parse(source)
        assert source.strip()


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.name)
def test_notebooks_are_small_enough_for_github(path):
    assert path.stat().st_size < 3 * 2**20


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.name)
def test_notebooks_import_only_what_there_is(path):
    """Modules of helpers by their names, and of each only what it has."""
    source = "\n\n".join("".join(c["source"]) for c in cells_of(path) if c["cell_type"] == "code")
    tree, names = ast.parse(source), {}
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module == "helpers":
            names |= {alias.asname or alias.name: alias.name for alias in node.names}
    assert set(names.values()) <= set(MODULES)
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
            module = names.get(node.value.id)
            if module:
                assert node.attr in public_names(MODULES[module]), f"{module}.{node.attr}"


def public_names(path):
    """What a module defines at its top."""
    names = set()
    for node in ast.parse(path.read_text(encoding="utf-8")).body:
        if isinstance(node, (ast.FunctionDef, ast.ClassDef)):
            names.add(node.name)
        elif isinstance(node, ast.Assign):
            names |= {target.id for target in node.targets if isinstance(target, ast.Name)}
    return names


def addresses_in(text):
    """Every repository that is cloned, opened in Colab, or written down as the project's."""
    pattern = (
        r"colab\.research\.google\.com/github/([\w.-]+/[\w.-]+)/"
        r"|git clone\s+(?:--\S+\s+)*https://github\.com/([\w.-]+/[\w.-]+)"
        r"|REPOSITORY = \"https://github\.com/([\w.-]+/[\w.-]+)\""
    )
    return {"".join(found).removesuffix(".git") for found in re.findall(pattern, text)}


@pytest.mark.parametrize("path", [*NOTEBOOKS, ROOT / "README.md"], ids=lambda path: path.name)
def test_the_address_of_the_project_is_the_configured_one(path):
    need(path.exists(), f"there is no {path.name} yet")
    found = addresses_in(source_of(path))
    assert {f"https://github.com/{address}" for address in found} == {config.REPOSITORY_URL}
    if path.suffix == ".ipynb":
        assert f"/blob/main/notebooks/{path.name})" in source_of(path)  # its own badge


def test_a_readme_points_to_every_notebook():
    readme = ROOT / "README.md"
    need(readme.exists(), "there is no README.md yet")
    for path in NOTEBOOKS:
        assert path.name in readme.read_text(encoding="utf-8")
