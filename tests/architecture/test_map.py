"""The map is true: ARCHITECTURE.md names every room and module, and only what exists."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest

from architecture import codemap, tree

if TYPE_CHECKING:
    from pathlib import Path

# What is made at run time, or is a file inside a node, on the appliance, or in the repository that
# a machine follows: no part of the tree.
MADE_ELSEWHERE = ("var/", "/", ".venv/", "~/", "realm.yaml", "nodes/", "apps/", "https:")
DOCUMENTS = ("ARCHITECTURE.md", "CONTRIBUTING.md", "README.md")
_QUOTED = re.compile(r"`([^`\s]+)`")
_LINKED = re.compile(r"\]\(([^)#\s]+)[^)]*\)")
_LINK = re.compile(r"\]\((?!https?:|mailto:)([^)#\s]*)(?:#([^)\s]+))?\)")
_HEADING = re.compile(r"^#+ (.*)$", re.MULTILINE)
_ENDINGS = (".py", ".md", ".toml", ".yaml", ".sh", ".lock", ".json")


def _paths_in(text: str) -> set[str]:
    """What is written as a path of this tree: quoted with a slash or an ending, or linked."""
    quoted = {word for word in _QUOTED.findall(text) if "/" in word or word.endswith(_ENDINGS)}
    named = quoted | set(_LINKED.findall(text))
    return {
        path
        for path in named
        if not path.startswith(MADE_ELSEWHERE) and re.fullmatch(r"[\w./-]+", path)
    }


def _map() -> set[str]:
    return {path.rstrip("/") for path in _paths_in(tree.text_of(tree.ROOT / "ARCHITECTURE.md"))}


@pytest.mark.parametrize("document", DOCUMENTS)
def test_every_path_that_is_named_exists(document: str) -> None:
    gone = sorted(
        path
        for path in _paths_in(tree.text_of(tree.ROOT / document))
        if not (tree.ROOT / path).exists()
    )
    assert not gone, f"{document} names what is not there: {', '.join(gone)}"


def test_every_top_level_folder_is_on_the_map() -> None:
    folders = {
        tree.name_of(file).split("/")[0] for file in tree.files() if file.parent != tree.ROOT
    }
    missing = sorted(folders - {path.split("/")[0] for path in _map()})
    assert not missing, f"say in ARCHITECTURE.md what these are for: {', '.join(missing)}"


def test_code_map_says_what_the_modules_say() -> None:
    text = tree.text_of(codemap.DOCUMENT)
    assert codemap.renewed(text) == text, "run make format: it renews the code map"


def test_every_package_and_module_is_on_the_map() -> None:
    modules = {
        tree.name_of(file).removesuffix("/__init__.py")
        for file in tree.python_files(*tree.PACKAGES, tree.IMAGEBUILDER, tree.APPLIANCE)
        if file.name != "__main__.py"
    }
    missing = sorted(modules - _map())
    assert not missing, "ARCHITECTURE.md does not name:\n" + "\n".join(missing)


def test_every_link_between_documents_leads_somewhere() -> None:
    dead = [
        f"{tree.name_of(file)}: {target}#{anchor}".rstrip("#")
        for file in tree.files()
        if file.suffix == ".md"
        for target, anchor in _LINK.findall(tree.text_of(file))
        if not _leads_somewhere(file.parent / target if target else file, anchor)
    ]
    assert not dead, "links that lead nowhere:\n" + "\n".join(dead)


def _leads_somewhere(target: Path, anchor: str) -> bool:
    if not anchor or not target.is_file():
        return target.exists()
    headings = _HEADING.findall(tree.text_of(target))
    return anchor in {re.sub(r"[^\w -]", "", h.lower()).replace(" ", "-") for h in headings}


def test_a_path_that_is_gone_would_be_found() -> None:
    text = "See `maculaos/gone.py`, `var/demo/`, `reconciler` and [here](docs/spec.md#keys)."
    assert _paths_in(text) == {"maculaos/gone.py", "docs/spec.md"}
