"""SHA256SUMS: written in one way, read strictly, and every difference told."""

from __future__ import annotations

import shutil
import subprocess
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from imagebuilder.disk.checksums import (
    SUMS_BYTES_MAX,
    check_sums,
    format_sums,
    parse_sums,
    write_sums,
)
from maculaos.errors import UsageError

if TYPE_CHECKING:
    from pathlib import Path

NAMES = st.from_regex(r"[A-Za-z0-9][A-Za-z0-9._+~-]{0,50}", fullmatch=True)
DIGESTS = st.binary(min_size=32, max_size=32).map(bytes.hex)


def _files(folder: Path) -> list[Path]:
    files = [folder / name for name in ("b.raw", "a.xz")]
    for file in files:
        file.write_text(file.name)
    return files


@given(st.dictionaries(NAMES, DIGESTS))
def test_what_is_written_is_read(sums: dict[str, str]) -> None:
    text = format_sums(sums)
    assert parse_sums(text) == sums
    assert text == format_sums(dict(reversed(sums.items())))


@pytest.mark.parametrize("name", ["", "a b", "../a", "a/b", ".a", "a\nb", "ä", "\\a", "a" * 256])
def test_odd_names_are_refused(name: str) -> None:
    with pytest.raises(UsageError, match="plain file names"):
        format_sums({name: "0" * 64})


def test_bad_line_is_named_by_its_number() -> None:
    good = f"{'0' * 64}  a\n"
    with pytest.raises(UsageError, match="SHA256SUMS:2: not a digest"):
        parse_sums(good + good[:-3] + "\n")
    with pytest.raises(UsageError, match="SHA256SUMS:2: a stands twice"):
        parse_sums(good + good)


def test_every_difference_is_told(tmp_path: Path) -> None:
    first, second = _files(tmp_path)
    write_sums([first, second], tmp_path)
    assert check_sums(tmp_path) == ()
    first.write_text("changed")
    second.unlink()
    assert check_sums(tmp_path) == ("a.xz: missing", "b.raw: content differs")


@pytest.mark.skipif(shutil.which("sha256sum") is None, reason="sha256sum is not installed")
def test_sha256sum_takes_it(tmp_path: Path) -> None:
    write_sums(_files(tmp_path), tmp_path)
    argv = ["sha256sum", "--check", "--strict", "SHA256SUMS"]
    said = subprocess.run(argv, cwd=tmp_path, capture_output=True, text=True, check=True)
    assert said.stdout == "a.xz: OK\nb.raw: OK\n"


def test_endless_list_is_not_read(tmp_path: Path) -> None:
    (tmp_path / "SHA256SUMS").write_bytes(b"x" * (SUMS_BYTES_MAX + 1))
    with pytest.raises(UsageError, match="larger than"):
        check_sums(tmp_path)
