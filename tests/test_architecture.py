"""What the README says of the structure, read from the source."""

import ast
import json
import re
import sys
from graphlib import TopologicalSorter
from pathlib import Path

import pytest
from conftest import need

from helpers import config

ROOT = Path(__file__).parent.parent
HELPERS = ROOT / "helpers"
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))
READMES = ROOT / "README.md", ROOT / "README.es.md"

# The rooms of `helpers`, and from which other rooms each may import.
ROOMS = {
    "analysis": set(),
    "synthesis": {"analysis"},
    "instruments": {"analysis", "synthesis"},
    "evaluation": {"analysis", "instruments"},
    "training": {"analysis", "evaluation", "instruments", "synthesis"},
    "transfer": {"analysis", "instruments", "synthesis"},
    "interface": {"analysis", "evaluation", "instruments", "training", "transfer"},
}
# The modules at the top, which all rooms may import, and what these import of each other.
TOP = {
    "__init__": {"errors"},
    "command_line": {"errors", "files"},
    "config": set(),
    "errors": set(),
    "files": {"errors"},
    "install": set(),
    "plots": {"config"},
    "tensorflow_import": set(),
}
STANDARD_LIBRARY_ONLY = {"__init__", "command_line", "config", "errors", "files", "install"}
MODULES = {
    ".".join(path.relative_to(HELPERS).with_suffix("").parts): path
    for path in sorted(HELPERS.rglob("*.py"))
}


def imports_of(path):
    """Every module that a file imports anywhere, `from helpers import x` as "helpers.x"."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path.name} has a relative import"
            names = {f"{node.module}.{alias.name}" for alias in node.names}
            is_folder = node.module == "google" or (ROOT / node.module.replace(".", "/")).is_dir()
            found |= names if is_folder else {node.module}
    return found


def helpers_of(path):
    """The modules of helpers that a file imports, such as "config" and "analysis.audio"."""
    return {name.removeprefix("helpers.") for name in imports_of(path) if "helpers." in name}


def room_of(name):
    """The folder that a module of helpers is in; "" for those at the top."""
    return name.rpartition(".")[0]


def named_by(room):
    """The modules that a room's `__init__` names, for others to use."""
    tree = ast.parse(MODULES[f"{room}.__init__"].read_text(encoding="utf-8"))
    (names,) = (ast.literal_eval(node.value) for node in tree.body if isinstance(node, ast.Assign))
    return {f"{room}.{name}" for name in names}


def test_each_folder_is_a_room_that_says_what_it_is_for():
    assert {path.parent.name for path in HELPERS.glob("*/__init__.py")} == set(ROOMS)
    assert {name for name in MODULES if "." not in name} == set(TOP)
    for room, others in ROOMS.items():
        text = ast.get_docstring(ast.parse(MODULES[f"{room}.__init__"].read_text("utf-8")))
        rule = " ".join(text.partition("May import: ")[2].split())
        named = ", ".join(f"`{other}`" for other in sorted(others))
        if room == "interface":
            named = "all other folders"
        assert rule == f"{named or 'nothing but the modules at the top of `helpers`'}.", room
        assert named_by(room) <= set(MODULES), room


@pytest.mark.parametrize("name", MODULES)
def test_imports_follow_the_rules_of_the_rooms(name):
    room = room_of(name)
    for imported in helpers_of(MODULES[name]):
        other = room_of(imported)
        if not other:
            assert imported in (set(TOP) if room else TOP.get(name, set())), imported
        elif other != room:
            assert other in ROOMS.get(room, set()), imported
            assert imported in named_by(other), f"{other} does not name {imported}"


def without_hints(tree):
    """The public functions and methods that lack the type of an argument or of their result."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
            yield from without_hints(node)
        elif isinstance(node, ast.FunctionDef):
            in_class, called = isinstance(tree, ast.ClassDef), node.name in ("__init__", "__call__")
            given = node.args
            arguments = [*given.posonlyargs, *given.args][in_class:] + given.kwonlyargs
            arguments += filter(None, (given.vararg, given.kwarg))
            hints = [node.returns, *(argument.annotation for argument in arguments)]
            if None in hints and (called or not node.name.startswith("_")):
                yield node.name


@pytest.mark.parametrize("name", MODULES)
def test_public_functions_have_type_hints(name):
    lacking = list(without_hints(ast.parse(MODULES[name].read_text(encoding="utf-8"))))
    assert not lacking


def test_there_are_no_circles():
    graph = {name: helpers_of(path) for name, path in MODULES.items()}
    tuple(TopologicalSorter(graph).static_order())  # raises CycleError


def test_names_are_used_once():
    """No module is called as another one, or as a function or a class anywhere."""
    names = [path.stem for path in MODULES.values() if not path.stem.startswith("__")]
    assert len(names) == len({*names, *ROOMS}) - len(ROOMS)
    defined = {name: public_names(path) for name, path in MODULES.items()}
    for name in {*names, *ROOMS}:
        assert not [module for module, inside in defined.items() if name in inside], name
    files = [*ROOT.glob("*.py"), *ROOT.glob("[a-z]*/**/*.py")]
    assert not {"utils", "util", "common", "misc"} & {path.stem for path in files}


def test_tests_stand_as_the_modules_do():
    """A test of a module in a room is in the folder of that room."""
    rooms = {path.stem: room_of(name) for name, path in MODULES.items()}
    for path in ROOT.glob("tests/**/test_*.py"):
        module = path.stem.removeprefix("test_")
        if module in rooms:
            assert path.parent.name == rooms[module] or not rooms[module], path


@pytest.mark.parametrize("name", sorted(STANDARD_LIBRARY_ONLY))
def test_what_runs_before_anything_is_installed(name):
    for imported in imports_of(HELPERS / f"{name}.py"):
        package, _, module = imported.partition(".")
        assert package in sys.stdlib_module_names or module in STANDARD_LIBRARY_ONLY


def test_only_the_shim_imports_ddsp():
    packages = {n: {i.split(".")[0] for i in imports_of(path)} for n, path in MODULES.items()}
    importing = {name for name, imported in packages.items() if "ddsp" in imported}
    assert importing == {"synthesis.ddsp_import"}
    users = {n for n, path in MODULES.items() if "synthesis.ddsp_import" in helpers_of(path)}
    assert {room_of(name) for name in users} == {"synthesis", "instruments"}


def test_only_instruments_and_their_parts_know_gin():
    users = {n for n, path in MODULES.items() if "gin" in imports_of(path)}
    assert {room_of(name) for name in users} == {"synthesis", "instruments"}


def test_only_capture_knows_colab():
    mentions = {n for n, path in MODULES.items() if "google.colab" in path.read_text("utf-8")}
    assert mentions == {"interface.capture"}


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
def test_notebooks_are_small_enough_to_load(path):
    """With their outputs; the last has a panel with its sounds and pictures in it."""
    assert path.stat().st_size < (3_000_000 if path.name.startswith("03") else 2_000_000)


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.name)
def test_notebooks_import_only_what_rooms_name(path):
    """Modules that their rooms name, and of each only what it has."""
    source = "\n\n".join("".join(c["source"]) for c in cells_of(path) if c["cell_type"] == "code")
    tree, modules = ast.parse(source), {}
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module.split(".")[0] == "helpers":
            room = node.module.removeprefix("helpers").removeprefix(".")
            for alias in node.names:
                name = f"{room}.{alias.name}".removeprefix(".")
                if room and room not in TOP:
                    assert name in named_by(room), f"{room} does not name {name}"
                modules[alias.asname or alias.name] = MODULES.get(name)
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
            path_of_module = modules.get(node.value.id)
            if path_of_module:
                assert node.attr in public_names(path_of_module), ast.unparse(node)


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


@pytest.mark.parametrize("path", [*NOTEBOOKS, *READMES], ids=lambda path: path.name)
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
