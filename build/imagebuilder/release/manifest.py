"""The MANIFEST of a FreeBSD release's distribution sets: which sets there are, and their hashes.

One line for each set, its fields apart by tabs, as ``release/scripts/make-manifest.sh`` writes
them: file, SHA-256, number of files, name, description in quotes, ``on`` or ``off``. The MANIFEST
is not signed; ``lock`` pins its own hash. Pure: nothing is fetched here.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

from maculaos.errors import UsageError

MANIFEST_BYTES_MAX: Final = 64 * 1024
SETS_MAX: Final = 64
MANDATORY: Final = ("base", "kernel")
_FIELDS: Final = 6
_FILE_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}\.txz")
_SHA256: Final = re.compile(r"[0-9a-f]{64}")


class InvalidManifest(UsageError):
    """A MANIFEST that cannot be used; ``problems`` has a line for each thing that is wrong."""

    def __init__(self, problems: list[str]) -> None:
        super().__init__(
            "MANIFEST: " + "; ".join(problems), "take MANIFEST and sets from the same release"
        )
        self.problems = tuple(problems)


@dataclass(frozen=True, slots=True)
class DistSet:
    """One distribution set."""

    file: str
    sha256: str
    files: int
    name: str
    description: str
    is_default: bool


@dataclass(frozen=True, slots=True)
class Manifest:
    """All sets of a release, in the order of the file."""

    sets: tuple[DistSet, ...]

    def find(self, name: str) -> DistSet:
        """The set of that name, such as ``base``; raises ``UsageError`` if there is none."""
        for each in self.sets:
            if each.name == name:
                return each
        known = ", ".join(each.name for each in self.sets)
        raise UsageError(f"the release has no set {name!r}", f"it has: {known}")


def parse_manifest(content: bytes) -> Manifest:
    """The sets that ``content`` lists; raises ``InvalidManifest`` with every problem in it."""
    if len(content) > MANIFEST_BYTES_MAX:
        raise InvalidManifest([f"larger than {MANIFEST_BYTES_MAX} bytes"])
    try:
        lines = content.decode("utf-8").splitlines()
    except UnicodeDecodeError:
        raise InvalidManifest(["not text"]) from None
    sets: list[DistSet] = []
    problems: list[str] = []
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        fields = line.split("\t")
        wrong = _wrong_fields(fields) or _wrong_among(fields, sets)
        if wrong:
            problems.append(f"line {number}: {wrong}")
        else:
            sets.append(_dist_set(fields))
    if not problems:
        names = {each.name for each in sets}
        problems = [f"the set {name} is missing" for name in MANDATORY if name not in names]
    if problems:
        raise InvalidManifest(problems)
    return Manifest(tuple(sets))


def _wrong_fields(fields: list[str]) -> str:
    """What is wrong with the fields of a line; empty if nothing is."""
    if len(fields) != _FIELDS:
        return f"{len(fields)} fields, not {_FIELDS}"
    file, sha256, files, name, _, default = fields
    checks = (
        (_FILE_NAME.fullmatch(file), f"{file!r} is no file name of a set"),
        (_SHA256.fullmatch(sha256), "the second field is no SHA-256 in hexadecimal"),
        (re.fullmatch("[0-9]{1,9}", files), f"{files!r} is no number of files"),
        (name == file.removesuffix(".txz").replace("-", "_"), f"{name!r} does not fit {file}"),
        (default in ("on", "off"), f"{default!r} is neither on nor off"),
    )
    return next((problem for holds, problem in checks if not holds), "")


def _wrong_among(fields: list[str], sets: list[DistSet]) -> str:
    if len(sets) >= SETS_MAX:
        return f"more than {SETS_MAX} sets"
    if any(each.name == fields[3] for each in sets):
        return f"the set {fields[3]} is listed twice"
    return ""


def _dist_set(fields: list[str]) -> DistSet:
    file, sha256, files, name, description, default = fields
    return DistSet(file, sha256, int(files), name, description.strip('"'), default == "on")
