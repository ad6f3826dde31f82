"""The catalogue: both forms say the same, and what becomes a path or a hash is checked."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from imagebuilder.packages import catalogue as catalogues
from imagebuilder.packages.catalogue import (
    BadCatalogue,
    is_repository_path,
    parse_data,
    parse_packagesite,
)


def row(name: str = "tool", **more: Any) -> dict[str, Any]:
    said = {"name": name, "version": "1.0", "origin": f"misc/{name}", "sum": "a" * 64}
    return {**said, "path": f"All/{name}-1.0.pkg", "pkgsize": 10, **more}


def data(*rows: dict[str, Any]) -> bytes:
    return json.dumps({"groups": [], "packages": rows}).encode()


NAMES = st.lists(st.from_regex(r"[a-z][a-z0-9-]{0,8}", fullmatch=True), unique=True, max_size=6)


@given(NAMES)
def test_both_forms_say_the_same(names: list[str]) -> None:
    rows = [row(name, deps={"libx": {"origin": "devel/libx", "version": "1"}}) for name in names]
    lines = b"".join(json.dumps(one).encode() + b"\n" for one in rows)
    assert parse_data(data(*rows)) == parse_packagesite(lines)


def test_fields_that_nobody_asks_for_are_passed_over() -> None:
    found = parse_data(data(row(messages=[{"message": "hi"}], vital=True, options={"A": "on"})))
    assert found.by_name["tool"].label == "tool-1.0"


def test_numbers_as_versions_are_text() -> None:
    assert parse_data(data(row(version=2024))).by_name["tool"].label == "tool-2024"


def test_of_two_with_one_name_the_newer_counts() -> None:
    for rows in (
        (row(version="1.9"), row(version="1.10")),
        (row(version="1.10"), row(version="1.9")),
    ):
        assert parse_data(data(*rows)).by_name["tool"].version == "1.10"


def test_flavours_share_an_origin() -> None:
    rows = [row(name, origin="devel/py-x") for name in ("py311-x", "py312-x")]
    found = parse_data(data(*rows))
    assert [package.name for package in found.by_origin["devel/py-x"]] == ["py311-x", "py312-x"]


def test_array_of_dependencies_is_a_choice() -> None:
    deps = {"db": [{"origin": "databases/db5"}, {"origin": "databases/db18"}]}
    package = parse_data(data(row(deps=deps))).by_name["tool"]
    assert list(package.alternatives()) == [("db", ("databases/db5", "databases/db18"))]


@pytest.mark.parametrize(
    "wrong",
    [
        {"sum": "abc"},
        {"sum": "A" * 64},
        {"path": "../etc/passwd"},
        {"path": "/etc/passwd"},
        {"path": "All//x.pkg"},
        {"path": "", "repopath": ""},
        {"path": "a\\b"},
        {"name": "../x"},
        {"pkgsize": -1},
        {"version": None},
        {"deps": {"x": "y"}},
    ],
)
def test_field_that_cannot_be_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(BadCatalogue, match=r"^data: "):
        parse_data(data({**row(), **wrong}))


def test_bad_line_is_named() -> None:
    with pytest.raises(BadCatalogue, match="line 2"):
        parse_packagesite(json.dumps(row()).encode() + b"\n{}\n")


def test_too_many_packages_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(catalogues, "PACKAGES_MAX", 1)
    with pytest.raises(BadCatalogue, match="more than 1 packages"):
        parse_data(data(row("a"), row("b")))


@given(st.text(max_size=30))
def test_repository_path_never_leaves_its_root(path: str) -> None:
    if is_repository_path(path):
        assert not path.startswith("/")
        assert ".." not in path.split("/")
