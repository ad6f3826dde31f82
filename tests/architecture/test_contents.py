"""What must not lie in the tree: vague names, promises, secrets, addresses of registries."""

from __future__ import annotations

import re
import tomllib

import pytest

from architecture import tree

VAGUE_NAMES = {"utils", "util", "helpers", "helper", "common", "types", "manager", "misc"}
# Spelled in pieces so that this file does not hold what it looks for.
PROMISES = re.compile("|".join(("TO" + "DO", "FIX" + "ME", "XX" + "X")))
SECRETS = {
    "a private key in PEM": re.compile(
        r"-----BEGIN [A-Z ]*PRIVATE KEY-----\s+[A-Za-z0-9+/=\s]{32,}"
    ),
    "an age identity": re.compile(r"AGE-SECRET-KEY-1[0-9A-Z]{58}"),
}
REGISTRIES = tuple(
    ".".join(parts)
    for parts in (
        ("pypi", "org"),
        ("files", "pythonhosted", "org"),
        ("registry", "npmjs", "org"),
        ("deb", "debian", "org"),
    )
)
SOURCES = {".py", ".sh", ".toml", ".yaml", ".yml", ".md", ""}


def test_modules_are_named_after_what_they_hold() -> None:
    vague = [
        tree.name_of(path)
        for file in tree.python_files()
        for path in (file, file.parent)
        if path.stem in VAGUE_NAMES
    ]
    assert not vague, "put the content where its noun lives:\n" + "\n".join(sorted(set(vague)))


def test_sources_promise_nothing() -> None:
    promises = [
        f"{tree.name_of(file)}:{number}: {line.strip()[:100]}"
        for file in tree.files()
        if file.suffix in SOURCES
        for number, line in enumerate(tree.text_of(file).splitlines(), 1)
        if PROMISES.search(line)
    ]
    assert not promises, "write what is, or do it now:\n" + "\n".join(promises)


@pytest.mark.parametrize("what", SECRETS)
def test_no_secret_lies_in_the_tree(what: str) -> None:
    found = [
        tree.name_of(file) for file in tree.files() if SECRETS[what].search(tree.text_of(file))
    ]
    assert not found, f"{what} in {', '.join(found)}: make it when the test or program runs"


def test_no_registry_is_written_into_the_tree() -> None:
    found = [
        f"{tree.name_of(file)}: {host}"
        for file in tree.files()
        for host in REGISTRIES
        if f"//{host}" in tree.text_of(file)
    ]
    assert not found, "the machine's settings say where packages come from:\n" + "\n".join(found)


def test_no_file_names_the_folder_of_this_checkout() -> None:
    found = [tree.name_of(file) for file in tree.files() if f"{tree.ROOT}/" in tree.text_of(file)]
    assert not found, f"paths of this machine in {', '.join(found)}: write them relative"


def test_a_private_key_would_be_found() -> None:
    key = "-----BEGIN PRIVATE" + " KEY-----\n" + "MC4CAQAwBQYDK2VwBCIEIA" * 3
    assert SECRETS["a private key in PEM"].search(key)


def test_licence_is_apache_2_in_word_and_text() -> None:
    project = tomllib.loads(tree.text_of(tree.ROOT / "pyproject.toml"))["project"]
    assert project["license"] == "Apache-2.0"
    licence = tree.text_of(tree.ROOT / "LICENSE")
    assert "Apache License" in licence
    assert "Version 2.0, January 2004" in licence
