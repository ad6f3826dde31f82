"""The checkout as the gates see it: every file that belongs to it, and how to run a tool in it.

Walks the folders instead of asking Git, so that files nobody has added yet are judged too, and
an unpacked archive can be checked like a clone.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = ("maculaos", "reconciler", "jails")
# Beside the installed packages: what builds the image, and what is copied onto it.
IMAGEBUILDER = "build/imagebuilder"
APPLIANCE = "overlays/base/usr/local/lib/macula/appliance"
PYTHON_ROOMS = (*PACKAGES, IMAGEBUILDER, APPLIANCE, "examples", "benchmarks", "tests")
_OUTSIDE = tuple((ROOT / room).parent for room in (IMAGEBUILDER, APPLIANCE))
_LEFT_OUT = {"var", "dist", "__pycache__", "node_modules"}
_HIDDEN_BUT_OURS = {".ci", ".github"}
_LIMIT_S = 280


def files() -> Iterator[Path]:
    """Every file of the tree, absolute, in a fixed order; caches and run-time state left out."""
    for folder, folders, names in os.walk(ROOT):
        folders[:] = sorted(name for name in folders if _is_ours(name))
        yield from (Path(folder, name) for name in sorted(names))


def python_files(*rooms: str) -> list[Path]:
    """The Python files under these folders (all of ours if none is given)."""
    return [file for room in rooms or PYTHON_ROOMS for file in sorted((ROOT / room).rglob("*.py"))]


def text_of(file: Path) -> str:
    """The text of a file, or nothing if it is not text."""
    try:
        return file.read_text(encoding="utf-8")
    except UnicodeDecodeError:
        return ""


def name_of(file: Path) -> str:
    """The path as people write it, from the root of the checkout."""
    return file.relative_to(ROOT).as_posix()


def module_of(file: Path) -> str:
    """The dotted name under which the file is imported."""
    top = next((folder for folder in _OUTSIDE if file.is_relative_to(folder)), ROOT)
    parts = list(file.relative_to(top).with_suffix("").parts)
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def run(*argv: str | Path, cwd: Path = ROOT) -> subprocess.CompletedProcess[str]:
    """Run a tool and hand back what it said; what an outer make told its children is not passed."""
    outer_make = {"MAKEFLAGS", "MAKELEVEL", "MFLAGS", "MAKEOVERRIDES", "PYTEST_ARGS"}
    environment = {key: value for key, value in os.environ.items() if key not in outer_make}
    return subprocess.run(
        [str(word) for word in argv],
        cwd=cwd,
        env=environment,
        capture_output=True,
        text=True,
        timeout=_LIMIT_S,
        check=False,
    )


def python(*argv: str | Path, cwd: Path = ROOT) -> subprocess.CompletedProcess[str]:
    """Run the Python that runs the tests."""
    return run(sys.executable, *argv, cwd=cwd)


def tool(name: str) -> Path:
    """A program of the virtual environment."""
    return Path(sys.executable).parent / name


def _is_ours(folder: str) -> bool:
    if folder.startswith("."):
        return folder in _HIDDEN_BUT_OURS
    return folder not in _LEFT_OUT and not folder.endswith(".egg-info")
