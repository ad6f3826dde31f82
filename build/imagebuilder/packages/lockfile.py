"""The lock file of our Python dependencies: exact versions with the hashes of their files.

It is of the form that ``pip install --require-hashes`` reads. What applies on the appliance is told
by evaluating each line's marker for a CPython on FreeBSD, never for the host.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from packaging.markers import InvalidMarker, Marker
from packaging.utils import NormalizedName, canonicalize_name

from maculaos.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Sequence

LOCK_CHARACTERS_MAX: Final = 4 * 1024 * 1024
_LINE: Final = re.compile(
    r"(?P<name>[A-Za-z0-9][A-Za-z0-9._-]*)==(?P<version>[A-Za-z0-9.!+_-]+)"
    r"(?:\s*;\s*(?P<marker>.*?))?(?P<hashes>(?:\s+--hash=sha256:[0-9a-f]{64})+)\s*"
)


@dataclass(frozen=True, slots=True)
class Locked:
    """One distribution of the lock; its name as PEP 503 normalises it."""

    name: NormalizedName
    version: str
    # SHA-256 of every file that may be taken, in hexadecimal.
    sha256s: frozenset[str]
    marker: str = ""

    def line(self) -> str:
        """The line of a requirements file that asks for exactly this."""
        hashes = "".join(f" --hash=sha256:{sha256}" for sha256 in sorted(self.sha256s))
        return f"{self.name}=={self.version}{hashes}"


def parse_lock(text: str, where: str) -> tuple[Locked, ...]:
    """Every distribution of the lock in order of name; raises ``UsageError`` with the line."""
    if len(text) > LOCK_CHARACTERS_MAX:
        raise UsageError(f"{where}: longer than {LOCK_CHARACTERS_MAX} characters")
    locked: dict[str, Locked] = {}
    for number, line in _joined(text):
        found = _LINE.fullmatch(line)
        if found is None:
            raise UsageError(
                f"{where}: line {number}: not of the form name==version --hash=sha256:...",
                "run make lock",
            )
        hashes = frozenset(re.findall(r"sha256:([0-9a-f]{64})", found["hashes"]))
        one = Locked(
            canonicalize_name(found["name"]), found["version"], hashes, found["marker"] or ""
        )
        if one.name in locked:
            raise UsageError(f"{where}: line {number}: {one.name} is locked twice", "run make lock")
        locked[one.name] = one
    return tuple(locked[name] for name in sorted(locked))


def _joined(text: str) -> list[tuple[int, str]]:
    """Lines without comments, each with those that a backslash joins to it, and its number."""
    lines: list[tuple[int, str]] = []
    open_line = False
    for number, raw in enumerate(text.splitlines(), 1):
        line = "" if raw.lstrip().startswith("#") else raw.rstrip()
        goes_on = line.endswith("\\")
        content = line.removesuffix("\\").strip()
        if open_line and lines:
            lines[-1] = (lines[-1][0], f"{lines[-1][1]} {content}".strip())
        elif content:
            lines.append((number, content))
        open_line = goes_on
    return lines


def on_freebsd(locked: Sequence[Locked], python_version: str) -> tuple[Locked, ...]:
    """Those that a CPython ``python_version`` (as in ``3.12``) on FreeBSD needs."""
    environment = {
        "implementation_name": "cpython",
        "implementation_version": f"{python_version}.0",
        "os_name": "posix",
        "platform_machine": "amd64",
        "platform_python_implementation": "CPython",
        "platform_release": "",
        "platform_system": "FreeBSD",
        "platform_version": "",
        "python_full_version": f"{python_version}.0",
        "python_version": python_version,
        "sys_platform": "freebsd",
    }
    return tuple(one for one in locked if _applies(one, environment))


def _applies(locked: Locked, environment: dict[str, str]) -> bool:
    if not locked.marker:
        return True
    try:
        return Marker(locked.marker).evaluate(environment)
    except InvalidMarker as error:
        raise UsageError(f"{locked.name}: its marker cannot be read: {error}") from error
