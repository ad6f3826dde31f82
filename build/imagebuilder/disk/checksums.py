"""Checksums of a release: the text ``SHA256SUMS``, as sha256sum(1) writes and checks it.

It says which bytes belong together. Who says so is the matter of ``signature``.
"""

from __future__ import annotations

import hashlib
import re
from typing import TYPE_CHECKING, Final

from maculaos.errors import UsageError
from maculaos.host.files import write_atomically

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

SUMS: Final = "SHA256SUMS"
SUMS_BYTES_MAX: Final = 64 * 1024
# Two spaces: text mode, on Unix the same as binary. Names are plain, so nothing is escaped.
_LINE: Final = re.compile(r"([0-9a-f]{64})  ([A-Za-z0-9][A-Za-z0-9._+~-]{0,254})")


def sha256_of(path: Path) -> str:
    """The SHA-256 of a file, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def format_sums(sums: Mapping[str, str]) -> str:
    """One line for each name, in the order of names; raises ``UsageError`` for odd names."""
    lines = [f"{digest}  {name}" for name, digest in sorted(sums.items())]
    for line in lines:
        if not _LINE.fullmatch(line):
            raise UsageError(f"not a line of {SUMS}: {line!r}", "use plain file names")
    return "".join(f"{line}\n" for line in lines)


def parse_sums(text: str) -> dict[str, str]:
    """Name to digest; raises ``UsageError`` with the line that is wrong, or is there twice."""
    sums: dict[str, str] = {}
    for number, line in enumerate(text.splitlines(), 1):
        found = _LINE.fullmatch(line)
        if found is None:
            raise UsageError(f"{SUMS}:{number}: not a digest and a name", "fetch the file again")
        if found[2] in sums:
            raise UsageError(f"{SUMS}:{number}: {found[2]} stands twice", "fetch the file again")
        sums[found[2]] = found[1]
    return sums


def write_sums(files: Iterable[Path], folder: Path) -> Path:
    """Hash ``files``, which lie in ``folder``, into its ``SHA256SUMS``; returns its path."""
    content = format_sums({path.name: sha256_of(path) for path in files}).encode()
    if len(content) > SUMS_BYTES_MAX:
        raise UsageError(f"{SUMS} would have {len(content)} bytes", f"at most {SUMS_BYTES_MAX}")
    target = folder / SUMS
    write_atomically(target, content)
    return target


def check_sums(folder: Path) -> tuple[str, ...]:
    """What does not match the ``SHA256SUMS`` in ``folder``: one line for each file, or nothing."""
    with (folder / SUMS).open("rb") as file:
        content = file.read(SUMS_BYTES_MAX + 1)
    if len(content) > SUMS_BYTES_MAX:
        raise UsageError(f"{SUMS} is larger than {SUMS_BYTES_MAX} bytes", "fetch the file again")
    problems: list[str] = []
    for name, digest in parse_sums(content.decode("ascii", "replace")).items():
        path = folder / name
        if not path.is_file():
            problems.append(f"{name}: missing")
        elif sha256_of(path) != digest:
            problems.append(f"{name}: content differs")
    return tuple(problems)
