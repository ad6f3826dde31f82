"""Dependencies: declared, explained and locked are the same, and so is what is installed."""

from __future__ import annotations

import ast
import re
import sys
import tomllib
from importlib import metadata
from typing import TYPE_CHECKING, Final

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from architecture import tree

if TYPE_CHECKING:
    from collections.abc import Collection

_PROJECT: Final = tomllib.loads(tree.text_of(tree.ROOT / "pyproject.toml"))
_RUN: Final = {
    canonicalize_name(wanted.name): wanted
    for wanted in map(Requirement, _PROJECT["project"]["dependencies"])
}
_DEV: Final = {
    canonicalize_name(wanted.name): wanted
    for wanted in map(Requirement, _PROJECT["dependency-groups"]["dev"])
}
_LOCK_LINE: Final = re.compile(r"^(?P<name>[A-Za-z0-9._-]+)==(?P<version>\S+)(?P<rest>[^#]*)$")
_TABLE_ROW: Final = re.compile(r"^\| `([A-Za-z0-9._-]+)`")
# Parts of pydantic with a name of their own; pydantic declares them.
_COMES_WITH: Final = {"annotated-types": "pydantic", "pydantic-core": "pydantic"}
_RENEW: Final = "run make lock"


def _locked(name: str) -> dict[str, tuple[str, str]]:
    """Name -> version and the rest of the entry (marker and hashes) of one lock file."""
    text = tree.text_of(tree.ROOT / "requirements" / name).replace("\\\n", " ")
    matches = (_LOCK_LINE.match(line) for line in text.splitlines())
    return {canonicalize_name(m["name"]): (m["version"], m["rest"]) for m in matches if m}


def _explained(heading: str) -> set[str]:
    """The packages that the table under ``heading`` of docs/dependencies.md explains."""
    text = tree.text_of(tree.ROOT / "docs/dependencies.md")
    section = text.split(f"\n## {heading}\n", 1)[-1].split("\n## ", 1)[0]
    rows = (_TABLE_ROW.match(line) for line in section.splitlines())
    return {canonicalize_name(row[1]) for row in rows if row}


@pytest.mark.parametrize(("heading", "declared"), [("Run time", _RUN), ("Development", _DEV)])
def test_every_dependency_is_explained(heading: str, declared: dict[str, Requirement]) -> None:
    assert _explained(heading) == set(declared), (
        f"docs/dependencies.md, {heading}: one row for each dependency of pyproject.toml"
    )


@pytest.mark.parametrize(
    ("lock", "declared"), [("run.lock", _RUN), ("dev.lock", _RUN | _DEV)], ids=["run", "dev"]
)
def test_lock_holds_what_is_declared(lock: str, declared: dict[str, Requirement]) -> None:
    locked = _locked(lock)
    missing = sorted(set(declared) - set(locked))
    assert not missing, f"{_RENEW}: {lock} lacks {', '.join(missing)}"
    outdated = [
        f"{wanted} but {locked[name][0]} is locked"
        for name, wanted in declared.items()
        if not wanted.specifier.contains(locked[name][0])
    ]
    assert not outdated, f"{_RENEW}: {'; '.join(outdated)}"


@pytest.mark.parametrize("lock", ["run.lock", "dev.lock"])
def test_every_locked_package_has_hashes(lock: str) -> None:
    bare = [name for name, (_, rest) in _locked(lock).items() if "--hash=sha256:" not in rest]
    assert _locked(lock), f"{lock} could not be read"
    assert not bare, f"{_RENEW}: {lock} has no hash for {', '.join(bare)}"


def test_both_locks_name_the_same_versions() -> None:
    dev = _locked("dev.lock")
    apart = [
        f"{name} {version} and {dev.get(name, ('nothing', ''))[0]}"
        for name, (version, _) in _locked("run.lock").items()
        if dev.get(name, ("", ""))[0] != version
    ]
    assert not apart, f"{_RENEW}: run.lock and dev.lock differ: {'; '.join(apart)}"


def test_what_is_installed_is_what_is_locked() -> None:
    locked = _locked("dev.lock")
    apart = [
        f"{name} {metadata.version(name)}, locked {locked[name][0]}"
        for name in sorted(_RUN | _DEV)
        if metadata.version(name) != locked[name][0]
    ]
    assert not apart, f"make clean up-to-date again: rm -r .venv; make check ({'; '.join(apart)})"


def test_every_library_that_is_imported_is_declared() -> None:
    owners = metadata.packages_distributions()
    undeclared = {
        f"{tree.name_of(file)} imports {top}"
        for room, declared in (
            *((package, _RUN) for package in (*tree.PACKAGES, tree.APPLIANCE)),
            # It runs from a checkout, which has all of them.
            (tree.IMAGEBUILDER, _RUN | _DEV),
        )
        for file in tree.python_files(room)
        for top in _libraries(tree.text_of(file))
        if not _is_declared(owners.get(top, [top]), declared)
    }
    assert not undeclared, "declare it and explain it in docs/dependencies.md:\n" + "\n".join(
        sorted(undeclared)
    )


def test_every_declared_library_is_imported() -> None:
    owners = metadata.packages_distributions()
    used = {
        canonicalize_name(owner)
        for file in tree.python_files(*tree.PACKAGES)
        for top in _libraries(tree.text_of(file))
        for owner in owners.get(top, [])
    }
    idle = sorted(set(_RUN) - used)
    assert not idle, f"nothing imports {', '.join(idle)}: take it out of pyproject.toml"


def _is_declared(distributions: list[str], declared: Collection[str]) -> bool:
    names = {canonicalize_name(name) for name in distributions}
    return bool({_COMES_WITH.get(name, name) for name in names} & set(declared))


def _libraries(source: str) -> set[str]:
    """Top-level names of what is imported and is neither ours nor Python's."""
    tops = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            tops |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and not node.level:
            tops.add((node.module or "").split(".")[0])
    return tops - set(sys.stdlib_module_names) - {*tree.PACKAGES, "imagebuilder", "appliance"}
