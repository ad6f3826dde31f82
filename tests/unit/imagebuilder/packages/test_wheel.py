"""A wheel: RECORD vouches for every byte, and commands are made for the image's Python."""

from __future__ import annotations

import base64
import csv
import hashlib
import io
import zipfile
from typing import TYPE_CHECKING

import pytest

from imagebuilder.packages.store import ContentStore
from imagebuilder.packages.wheel import (
    BadWheel,
    PythonTarget,
    UnpackedWheel,
    is_pure,
    name_of,
    read_wheel,
)
from maculaos.errors import UsageError

if TYPE_CHECKING:
    from pathlib import Path

TARGET = PythonTarget("3.12")
SITE = "usr/local/lib/python3.12/site-packages"
INFO = "demo-1.0.dist-info"
BASE = {
    "demo/__init__.py": b"x = 1\n",
    f"{INFO}/METADATA": b"Metadata-Version: 2.1\nName: demo\nVersion: 1.0\n",
    f"{INFO}/WHEEL": b"Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
}


def record(files: dict[str, bytes]) -> bytes:
    lines = []
    for name, content in files.items():
        digest = base64.urlsafe_b64encode(hashlib.sha256(content).digest()).decode().rstrip("=")
        lines.append(f"{name},sha256={digest},{len(content)}\n")
    return "".join([*lines, f"{INFO}/RECORD,,\n"]).encode()


def make(
    folder: Path, files: dict[str, bytes], sealed: bytes | None = None, name: str = ""
) -> Path:
    path = folder / (name or "demo-1.0-py3-none-any.whl")
    with zipfile.ZipFile(path, "w") as opened:
        for member, content in files.items():
            opened.writestr(member, content)
        opened.writestr(f"{INFO}/RECORD", record(files) if sealed is None else sealed)
    return path


def read(path: Path) -> UnpackedWheel:
    return read_wheel(path, ContentStore(path.parent / "store"), TARGET)


def content_of(unpacked: UnpackedWheel, path: str) -> bytes:
    (found,) = [entry for entry in unpacked.entries if entry.path == path]
    assert found.source is not None
    return found.source.read_bytes()


def test_files_lie_in_site_packages(tmp_path: Path) -> None:
    unpacked = read(make(tmp_path, BASE))
    assert (unpacked.label, unpacked.commands) == ("demo-1.0", ())
    assert {entry.path for entry in unpacked.entries} == {
        f"{SITE}/demo/__init__.py",
        *(f"{SITE}/{INFO}/{name}" for name in ("METADATA", "WHEEL", "INSTALLER", "RECORD")),
    }
    assert {(entry.owner, entry.group, entry.mode) for entry in unpacked.entries} == {
        ("root", "wheel", 0o644)
    }


def test_command_calls_its_function_with_the_python_of_the_image(tmp_path: Path) -> None:
    points = b"[console_scripts]\nDemo = demo.cli:app.main [extra]\n[other]\nx = y:z\n"
    unpacked = read(make(tmp_path, {**BASE, f"{INFO}/entry_points.txt": points}))
    assert unpacked.commands == ("Demo",)
    text = content_of(unpacked, "usr/local/bin/Demo").decode()
    assert text.startswith("#!/usr/local/bin/python3.12\n")
    assert "from demo.cli import app\n" in text
    assert text.endswith("sys.exit(app.main())\n")
    compile(text, "Demo", "exec")
    (mode,) = [entry.mode for entry in unpacked.entries if entry.path == "usr/local/bin/Demo"]
    assert mode == 0o755


def test_data_folders_go_where_they_belong(tmp_path: Path) -> None:
    files = {
        **BASE,
        "demo-1.0.data/scripts/run": b"#!python\nprint(1)\n",
        "demo-1.0.data/purelib/extra.py": b"",
        "demo-1.0.data/data/share/man/man1/d.1": b".TH",
    }
    unpacked = read(make(tmp_path, files))
    assert content_of(unpacked, "usr/local/bin/run") == b"#!/usr/local/bin/python3.12\nprint(1)\n"
    paths = {entry.path for entry in unpacked.entries}
    assert {f"{SITE}/extra.py", "usr/local/share/man/man1/d.1"} <= paths


def test_record_tells_every_file_where_it_lies_now(tmp_path: Path) -> None:
    points = b"[console_scripts]\ndemo = demo:main\n"
    unpacked = read(make(tmp_path, {**BASE, f"{INFO}/entry_points.txt": points}))
    rows = list(csv.reader(io.StringIO(content_of(unpacked, f"{SITE}/{INFO}/RECORD").decode())))
    assert "../../../bin/demo" in {row[0] for row in rows}
    assert len(rows) == len(unpacked.entries)
    sums = {row[0]: row[1] for row in rows}
    expected = base64.urlsafe_b64encode(hashlib.sha256(b"x = 1\n").digest()).decode().rstrip("=")
    assert sums["demo/__init__.py"] == f"sha256={expected}"


def test_changed_byte_is_refused(tmp_path: Path) -> None:
    path = make(tmp_path, {**BASE, "demo/__init__.py": b"x = 2\n"}, sealed=record(BASE))
    with pytest.raises(BadWheel, match=r"demo/__init__\.py has other bytes"):
        read(path)


def test_file_that_record_does_not_list_is_refused(tmp_path: Path) -> None:
    path = make(tmp_path, {**BASE, "demo/evil.py": b""}, sealed=record(BASE))
    with pytest.raises(BadWheel, match=r"demo/evil\.py has other bytes"):
        read(path)


def test_listed_file_that_is_missing_is_refused(tmp_path: Path) -> None:
    path = make(tmp_path, BASE, sealed=record({**BASE, "demo/gone.py": b""}))
    with pytest.raises(BadWheel, match=r"demo/gone\.py is in its RECORD and not there"):
        read(path)


@pytest.mark.parametrize("name", ["../x.py", "/etc/x", "a//b", "a\\b", "demo/./x"])
def test_path_that_strays_is_refused(name: str, tmp_path: Path) -> None:
    with pytest.raises(BadWheel, match="no path that a wheel may have"):
        read(make(tmp_path, {**BASE, name: b""}))


@pytest.mark.parametrize(
    "points",
    [
        b"[console_scripts]\n../../evil = demo:main\n",
        b"[console_scripts]\nx = demo:main();import os\n",
        b"[console_scripts]\nx = demo\n",
        b"x = demo:main\n",
    ],
)
def test_command_that_cannot_be_made_is_refused(points: bytes, tmp_path: Path) -> None:
    with pytest.raises(BadWheel):
        read(make(tmp_path, {**BASE, f"{INFO}/entry_points.txt": points}))


def test_two_files_at_one_place_are_refused(tmp_path: Path) -> None:
    files = {**BASE, "demo-1.0.data/purelib/demo/__init__.py": b"y"}
    with pytest.raises(BadWheel, match="at one path"):
        read(make(tmp_path, files))


def test_other_wheel_version_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BadWheel, match="wheel version 1"):
        read(make(tmp_path, {**BASE, f"{INFO}/WHEEL": b"Wheel-Version: 2.0\n"}))


def test_what_is_no_zip_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "demo-1.0-py3-none-any.whl"
    path.write_bytes(b"<html>")
    with pytest.raises(BadWheel, match="fetch it again"):
        read(path)


@pytest.mark.parametrize(
    ("name", "pure"),
    [
        ("demo-1.0-py3-none-any.whl", True),
        ("demo-1.0-py2.py3-none-any.whl", True),
        ("demo-1.0-cp312-cp312-manylinux_2_17_x86_64.whl", False),
        ("demo-1.0-cp311-abi3-freebsd_15_0_amd64.whl", False),
        ("demo-1.0-py3-none-macosx_10_9_x86_64.whl", False),
    ],
)
def test_name_tells_whether_it_is_pure(name: str, pure: bool, tmp_path: Path) -> None:
    assert is_pure(tmp_path / name) is pure
    assert name_of(tmp_path / name) == ("demo", "1.0")


def test_target_is_checked() -> None:
    with pytest.raises(UsageError, match=r"3\.12"):
        PythonTarget("3.12.1")
