"""MANIFEST: what a release lists is taken whole, or refused with every problem in it."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

import smallrelease
from imagebuilder.release.manifest import (
    MANIFEST_BYTES_MAX,
    SETS_MAX,
    DistSet,
    InvalidManifest,
    parse_manifest,
)
from maculaos.errors import UsageError

SHA256 = "ab" * 32
BASE = f'base.txz\t{SHA256}\t27000\tbase\t"Base system (MANDATORY)"\ton\n'
KERNEL = f'kernel.txz\t{SHA256}\t900\tkernel\t"Kernel (MANDATORY)"\ton\n'
DEBUG = f'base-dbg.txz\t{SHA256}\t500\tbase_dbg\t"Debugging"\toff\n'


def test_every_field_of_a_set_is_read() -> None:
    manifest = parse_manifest((BASE + KERNEL + DEBUG).encode())
    assert manifest.find("base_dbg") == DistSet(
        "base-dbg.txz", SHA256, 500, "base_dbg", "Debugging", is_default=False
    )
    assert [each.name for each in manifest.sets] == ["base", "kernel", "base_dbg"]


def test_the_small_release_lists_what_it_holds() -> None:
    sets = {"base.txz": (b"one", 3), "kernel.txz": (b"two", 4)}
    assert parse_manifest(smallrelease.manifest_of(sets)).find("kernel").files == 4


def test_every_problem_is_told_with_its_line() -> None:
    text = BASE + "base.txz\tshort\n" + KERNEL.replace(SHA256, "xyz") + BASE
    with pytest.raises(InvalidManifest) as caught:
        parse_manifest(text.encode())
    assert caught.value.problems == (
        "line 2: 2 fields, not 6",
        "line 3: the second field is no SHA-256 in hexadecimal",
        "line 4: the set base is listed twice",
    )
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("old", "new", "problem"),
    [
        ("base.txz", "../base.txz", "no file name"),
        ("\tbase\t", "\tother\t", "does not fit base.txz"),
        ("27000", "-1", "no number of files"),
        ("\ton", "\tmaybe", "neither on nor off"),
    ],
)
def test_a_field_that_cannot_be_is_refused(old: str, new: str, problem: str) -> None:
    with pytest.raises(InvalidManifest, match=problem):
        parse_manifest((BASE.replace(old, new) + KERNEL).encode())


def test_a_release_without_kernel_is_refused() -> None:
    with pytest.raises(InvalidManifest, match="the set kernel is missing"):
        parse_manifest(BASE.encode())


def test_size_and_number_of_sets_are_bounded() -> None:
    many = "".join(
        DEBUG.replace("base-dbg", f"s{n}").replace("base_dbg", f"s{n}") for n in range(70)
    )
    with pytest.raises(InvalidManifest, match=f"more than {SETS_MAX} sets"):
        parse_manifest((BASE + KERNEL + many).encode())
    with pytest.raises(InvalidManifest, match="larger than"):
        parse_manifest(b"x" * (MANIFEST_BYTES_MAX + 1))


def test_an_unknown_set_is_refused_with_those_that_are_there() -> None:
    with pytest.raises(UsageError, match="base, kernel"):
        parse_manifest((BASE + KERNEL).encode()).find("ports")


@given(st.binary(max_size=300))
def test_no_bytes_break_the_parser(content: bytes) -> None:
    with pytest.raises(InvalidManifest):
        parse_manifest(content)
