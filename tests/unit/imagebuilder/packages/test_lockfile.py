"""The lock file: every line is read or named, and markers are those of FreeBSD."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from imagebuilder.packages.lockfile import Locked, on_freebsd, parse_lock
from maculaos.errors import UsageError

ROOT = Path(__file__).parents[4]
A, B = "a" * 64, "b" * 64
TEXT = f"""# made by a tool
Foo_Bar==1.2.3 \\
    --hash=sha256:{A} \\
    --hash=sha256:{B}
    # via something
colour==0.4 ; sys_platform == 'win32' \\
    --hash=sha256:{A}
"""


def test_names_versions_hashes_and_markers_are_read() -> None:
    colour, foo = parse_lock(TEXT, "run.lock")
    assert (foo.name, foo.version) == ("foo-bar", "1.2.3")
    assert foo.sha256s == frozenset({A, B})
    assert (colour.name, colour.marker) == ("colour", "sys_platform == 'win32'")


def test_markers_are_those_of_freebsd() -> None:
    assert [one.name for one in on_freebsd(parse_lock(TEXT, "l"), "3.12")] == ["foo-bar"]
    own = f"x==1 ; sys_platform == 'freebsd' and python_version >= '3.12' --hash=sha256:{A}"
    assert on_freebsd(parse_lock(own, "l"), "3.12")
    assert not on_freebsd(parse_lock(own, "l"), "3.11")


HASHES = st.frozensets(st.sampled_from([A, B, "c" * 64]), min_size=1)


@given(st.from_regex(r"[a-z]{1,8}", fullmatch=True), HASHES)
def test_line_asks_for_what_it_was_read_from(name: str, hashes: frozenset[str]) -> None:
    (first,) = parse_lock(
        "".join([f"{name}==1.0", *(f" --hash=sha256:{one}" for one in hashes)]), "l"
    )
    assert first == Locked(first.name, "1.0", hashes)
    assert parse_lock(first.line(), "l") == (first,)


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("foo==1.0", 1),
        ("foo>=1.0 --hash=sha256:" + A, 1),
        ("\n-r other.txt", 2),
        ("\n\nfoo @ https://x/y.whl --hash=sha256:" + A, 3),
        (f"foo==1 --hash=md5:{A}", 1),
    ],
)
def test_line_without_version_or_hash_is_named(text: str, line: int) -> None:
    with pytest.raises(UsageError, match=f"l: line {line}: "):
        parse_lock(text, "l")


def test_what_is_locked_twice_is_named() -> None:
    line = f"foo==1 --hash=sha256:{A}\n"
    with pytest.raises(UsageError, match="foo is locked twice"):
        parse_lock(line + line.replace("foo", "Foo"), "l")


def test_our_own_lock_is_read() -> None:
    found = parse_lock((ROOT / "requirements/run.lock").read_text(), "run.lock")
    names = {one.name for one in on_freebsd(found, "3.12")}
    assert {"aioquic", "cryptography", "rich"} <= names
    assert "colorama" not in names
