"""Writes the picture of the rooms and the list of modules into docs/architecture.md.

    python docs/make_architecture.py

Both are read from the source: the arrows from the imports, the lines from the docstrings. What
stands outside of the two marked places is left as it is.
"""

import ast
import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
HELPERS = ROOT / "helpers"
PAGE = ROOT / "docs" / "architecture.md"


def rooms():
    """The folders of `helpers` that are packages, by name."""
    return sorted(path.parent.name for path in HELPERS.glob("*/__init__.py"))


def summary(path):
    """The first paragraph of a module's docstring, on one line."""
    text = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8")))
    return " ".join(text.split("\n\n")[0].split())


def imported_rooms(room):
    """The other rooms whose modules the modules of a room import."""
    found = set()
    for path in HELPERS.glob(f"{room}/*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ImportFrom):
                names = [f"{node.module}.{alias.name}" for alias in node.names]
                found |= {name.split(".")[1] for name in names if name.startswith("helpers.")}
    return sorted((found & set(rooms())) - {room})


def diagram():
    """The rooms and their imports as a Mermaid flowchart."""
    arrows = [f"    {room} --> {other}" for room in rooms() for other in imported_rooms(room)]
    return "\n".join(["```mermaid", "flowchart TD", *arrows, "```"])


def table():
    """One line for each module, room by room; what is in no room comes first."""
    lines = ["| module | what it is for |", "|---|---|"]
    for folder in (HELPERS, *(HELPERS / room for room in rooms())):
        if folder != HELPERS:
            lines.append(f"| **{folder.name}/** | **{summary(folder / '__init__.py')}** |")
        for path in sorted(folder.glob("*.py")):
            if path.stem != "__init__":
                name = path.relative_to(HELPERS).with_suffix("").as_posix()
                lines.append(f"| `{name}` | {summary(path)} |")
    return "\n".join(lines)


def page(text):
    """The text of the page with the picture and the list in their places."""
    for name, content in (("rooms", diagram()), ("modules", table())):
        pattern = rf"(<!-- {name} -->\n).*?(<!-- end of {name} -->)"
        text = re.sub(
            pattern, lambda found, new=content: f"{found[1]}{new}\n{found[2]}", text, flags=re.S
        )
    return text


if __name__ == "__main__":
    PAGE.write_text(page(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
