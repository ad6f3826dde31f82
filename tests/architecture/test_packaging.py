"""Packaging: the wheel holds the three packages, and ``build/`` hides nobody's module."""

from __future__ import annotations

import importlib
import tomllib
import zipfile
from pathlib import Path
from typing import Final

import pytest

from architecture import tree

_COMMANDS: Final[dict[str, str]] = tomllib.loads(tree.text_of(tree.ROOT / "pyproject.toml"))[
    "project"
]["scripts"]


def test_build_is_a_folder_and_not_a_package() -> None:
    assert not (tree.ROOT / "build/__init__.py").exists(), (
        "build/__init__.py would hide the tool python -m build: delete it"
    )


def test_build_still_means_the_python_build_tool() -> None:
    found = tree.python("-c", "import build; print(build.__file__)")
    assert found.returncode == 0, found.stderr
    assert "site-packages" in Path(found.stdout.strip()).parts


def test_imagebuilder_is_ours() -> None:
    found = tree.python("-m", "imagebuilder", cwd=tree.ROOT / "build")
    assert found.returncode == 2
    assert found.stdout == ""
    assert len(found.stderr.splitlines()) == 1


@pytest.mark.timeout(120)
def test_wheel_holds_exactly_the_three_packages(tmp_path: Path) -> None:
    before = {file for file in tree.files() if file.is_relative_to(tree.ROOT / "build")}
    made = tree.python("-m", "build", "--wheel", "--no-isolation", "--outdir", tmp_path)
    assert made.returncode == 0, f"{made.stdout}{made.stderr}"
    (wheel,) = tmp_path.glob("*.whl")
    with zipfile.ZipFile(wheel) as opened:
        names = opened.namelist()
    tops = {name.split("/")[0] for name in names}
    (facts,) = (top for top in tops if top.endswith(".dist-info"))
    assert tops - {facts} == set(tree.PACKAGES)
    assert f"{facts}/licenses/LICENSE" in names
    after = {file for file in tree.files() if file.is_relative_to(tree.ROOT / "build")}
    assert after == before, "building a wheel wrote into build/"


@pytest.mark.parametrize("package", tree.PACKAGES)
def test_every_folder_of_modules_is_a_package(package: str) -> None:
    bare = {
        tree.name_of(file.parent)
        for file in tree.python_files(package)
        if not (file.parent / "__init__.py").exists()
    }
    assert not bare, f"add an __init__.py with a docstring to {', '.join(sorted(bare))}"


@pytest.mark.parametrize("command", _COMMANDS)
def test_command_leads_to_a_function(command: str) -> None:
    module, function = _COMMANDS[command].split(":")
    assert callable(getattr(importlib.import_module(module), function))
