"""Installs what a notebook needs and the machine lacks; changes nothing that is there.

Standard library only: it runs before anything is installed. In Colab it adds a handful of
packages to the two hundred that are preinstalled, and no kernel restart is needed.
"""

import importlib
import re
import subprocess
import sys
import tempfile
from importlib.metadata import distributions
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent

# A version as PyPI writes it (PEP 440). Debian names some of its own otherwise, and pip stops at
# a constraint such as distro-info==1.1build1.
VERSION = r"(\d+!)?\d+(\.\d+)*((a|b|rc)\d+)?(\.post\d+)?(\.dev\d+)?(\+[a-z0-9.]+)?"


def install_missing(root: Path = ROOT) -> list[str]:
    """Installs the packages of `requirements.txt` and `requirements-no-deps.txt` that are absent.

    Everything installed is held at its version; those of the second file come without their
    dependencies.

    Returns:
      The names that were installed.

    Raises:
      RuntimeError: pip failed; the message holds its last error.
    """
    missing = _absent(root / "requirements.txt")
    missing_no_deps = _absent(root / "requirements-no-deps.txt")
    if missing:
        with tempfile.TemporaryDirectory() as folder:
            constraints = Path(folder) / "constraints.txt"
            held = {n: v for n, v in _installed().items() if re.fullmatch(VERSION, v or "")}
            constraints.write_text("\n".join(f"{n}=={v}" for n, v in held.items()))
            _pip(missing, "--constraint", str(constraints))
    if missing_no_deps:
        _pip(missing_no_deps, "--no-deps")
    importlib.invalidate_caches()
    return [_name(line) for line in (*missing, *missing_no_deps)]


def _absent(requirements):
    """The lines of a requirements file whose package is not installed."""
    lines = [line.split("#")[0].strip() for line in requirements.read_text().splitlines()]
    installed = _installed()
    return [line for line in lines if line and _name(line) not in installed]


def _installed():
    found: dict[str, str] = {}
    for distribution in distributions():
        name = distribution.metadata["Name"]
        if name:
            found.setdefault(_name(name), distribution.version)
    return found


def _name(requirement):
    """The package's name as PyPI compares names (PEP 503)."""
    name = re.split(r"[^A-Za-z0-9._-]", requirement, maxsplit=1)[0]
    return re.sub(r"[-_.]+", "-", name).lower()


def _pip(requirements, *options):
    print("Installing", ", ".join(requirements), "…")
    command = [sys.executable, "-m", "pip", "install", "--quiet", *options, *requirements]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        said = done.stderr.strip().splitlines() or ["it does not say why"]
        reason = [line for line in said if line.startswith("ERROR")] or said
        raise RuntimeError(
            f"pip could not install {', '.join(requirements)} ({reason[-1]}): check the connection "
            "to the internet and run this cell again."
        )
