"""ELF: read from files made by hand and by a real linker; damage is told."""

from __future__ import annotations

import shutil
import struct
import subprocess
from contextlib import suppress
from typing import TYPE_CHECKING

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

import smallrelease
from imagebuilder.elf import BrokenElf, NotElf, parse_elf, parse_shared_object

if TYPE_CHECKING:
    from pathlib import Path

MADE = smallrelease.elf(
    ("libc.so.7", "libm.so.5"),
    interpreter="/libexec/ld-elf.so.1",
    soname="libx.so.1",
    runpath="$ORIGIN/../lib:/usr/local/lib/x",
)


def test_needs_are_read() -> None:
    elf = parse_elf(MADE + b"code")
    assert elf.is_dynamic
    assert elf.target == (64, "<", 62)
    assert elf.needed == ("libc.so.7", "libm.so.5")
    assert elf.interpreter == "/libexec/ld-elf.so.1"
    assert elf.soname == "libx.so.1"
    assert elf.runpath == ("$ORIGIN/../lib", "/usr/local/lib/x")
    assert elf.rpath == ()


def test_a_real_linkers_work_is_read(tmp_path: Path) -> None:
    gcc = shutil.which("gcc")
    if gcc is None:
        pytest.skip("gcc is not installed")
    source = tmp_path / "x.c"
    source.write_text("int f(void) { return 1; }\n")
    library = tmp_path / "libx.so"
    shared = [gcc, "-shared", "-nostdlib", "-o", str(library), str(source)]
    subprocess.run([*shared, "-Wl,-soname,libx.so.3"], check=True)
    user = tmp_path / "liby.so"
    words = [gcc, "-shared", "-nostdlib", "-Wl,--no-as-needed", "-o", str(user), str(source)]
    tags = ["-Wl,-rpath,/opt/x:$ORIGIN", "-Wl,--disable-new-dtags", "-L", str(tmp_path), "-lx"]
    subprocess.run([*words, *tags], check=True)
    assert parse_elf(library.read_bytes()).soname == "libx.so.3"
    elf = parse_elf(user.read_bytes())
    assert elf.needed == ("libx.so.3",)
    assert elf.rpath == ("/opt/x", "$ORIGIN")


def test_a_static_program_needs_nothing() -> None:
    # No segments at all.
    header = bytearray(MADE[:64])
    header[56:58] = b"\0\0"
    elf = parse_elf(bytes(header))
    assert not elf.is_dynamic
    assert elf.needed == ()


@given(st.integers(4, len(MADE) - 1))
def test_a_file_that_is_cut_is_told_or_says_less(length: int) -> None:
    try:
        elf = parse_elf(MADE[:length])
    except BrokenElf:
        return
    assert set(elf.needed) <= {"libc.so.7", "libm.so.5"}


@example(39, 255)
@given(st.integers(4, len(MADE) - 1), st.integers(0, 255))
def test_one_wrong_byte_never_breaks_the_parser(place: int, value: int) -> None:
    wrong = bytearray(MADE)
    wrong[place] = value
    with suppress(BrokenElf):
        parse_elf(bytes(wrong))


BASE = 0x10000


def shared_object(*needed: str, abi: int = 0, machine: int = 62, kind: int = 3) -> bytes:
    """A header, two segments, a dynamic section, and its strings."""
    strings = b"\0" + b"".join(name.encode() + b"\0" for name in needed)
    names, at = [], 1
    for name in needed:
        names.append(at)
        at += len(name) + 1
    start = 64 + 2 * 56
    dynamic_size = (len(names) + 2) * 16
    place = start + dynamic_size
    dynamic = b"".join(struct.pack("<qQ", 1, name) for name in names)
    dynamic += struct.pack("<qQ", 5, BASE + place) + struct.pack("<qQ", 0, 0)
    whole = place + len(strings)
    ident = b"\x7fELF\x02\x01\x01" + bytes([abi]) + bytes(8)
    form = "<16sHHIQQQIHHHHHH"
    header = struct.pack(form, ident, kind, machine, 1, 0, 64, 0, 0, 64, 56, 2, 0, 0, 0)
    load = struct.pack("<IIQQQQQQ", 1, 5, 0, BASE, BASE, whole, whole, 4096)
    section = struct.pack("<IIQQQQQQ", 2, 6, start, BASE + start, 0, dynamic_size, dynamic_size, 8)
    return header + load + section + dynamic + strings


def test_a_shared_object_names_its_machine_and_libraries() -> None:
    found = parse_shared_object(shared_object("libc.so.7", "libthr.so.3"), "x.so")
    assert (found.machine, found.needed) == ("amd64", ("libc.so.7", "libthr.so.3"))
    assert parse_shared_object(shared_object(machine=183), "x.so").machine == "aarch64"


@pytest.mark.parametrize(
    ("needed", "abi", "ours"),
    [
        (("libc.so.7",), 0, True),
        ((), 9, True),
        (("libc.so.6",), 0, False),
        ((), 0, False),
        (("libc.so.7",), 3, False),
    ],
)
def test_brand_or_libc_tells_whether_it_is_for_freebsd(
    needed: tuple[str, ...], abi: int, ours: bool
) -> None:
    assert parse_shared_object(shared_object(*needed, abi=abi), "x.so").is_for_freebsd is ours


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"#!/bin/sh\n" * 20,
        MADE[:5] + b"\x02" + MADE[6:],
        shared_object(kind=2),
        shared_object(machine=3),
        shared_object()[:90],
    ],
)
def test_what_is_no_shared_object_is_refused(content: bytes) -> None:
    with pytest.raises(NotElf, match=r"^x\.so: "):
        parse_shared_object(content, "x.so")


def test_a_name_far_outside_the_file_is_refused() -> None:
    content = shared_object("libc.so.7")
    name = struct.pack("<qQ", 1, 1)
    with pytest.raises(NotElf, match="broken"):
        parse_shared_object(content.replace(name, struct.pack("<qQ", 1, 2**63 + 1)), "x.so")


@given(st.data())
def test_a_broken_shared_object_is_read_or_refused(data: st.DataObject) -> None:
    content = bytearray(shared_object("libc.so.7"))
    for _ in range(data.draw(st.integers(1, 6))):
        content[data.draw(st.integers(5, len(content) - 1))] = data.draw(st.integers(0, 255))
    with suppress(NotElf):
        assert parse_shared_object(bytes(content), "x.so").machine


def test_what_a_shared_object_is_can_be_said_in_one_line() -> None:
    made = shared_object("libc.so.7", machine=183)
    assert str(parse_elf(made)) == "aarch64, ABI 0, needs libc.so.7"
    assert str(parse_elf(shared_object(machine=3))) == "machine 3, ABI 0, needs no library"
