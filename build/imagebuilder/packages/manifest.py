"""``+MANIFEST`` of a package: what each of its files is, typed and checked (pkg-create(8)).

Paths are absolute and percent-encoded there; here they are relative to the image's root, as in
``Entry``. Scripts are kept as text for a report.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Final
from urllib.parse import unquote

import msgspec

from imagebuilder.packages.catalogue import Dependency
from maculaos.errors import UsageError

MANIFEST_BYTES_MAX: Final = 64 * 1024 * 1024
FILES_MAX: Final = 200_000
PATH_CHARACTERS_MAX: Final = 1024
_SUM: Final = re.compile(r"(?:1\$)?([0-9a-f]{64})")
# How pkg counts the kinds of checksums; only number 1 is still written.
_OTHER_SUM: Final = re.compile(r"[0-9]+\$.*")
NO_SUM: Final = "-"


class BadPackage(UsageError):
    """A package is not what it says it is."""


@dataclass(frozen=True, slots=True)
class Attributes:
    """What the manifest says of a path; empty where it leaves that to the archive."""

    sha256: str = ""
    owner: str = ""
    group: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Manifest:
    """One package from its own mouth."""

    name: str
    version: str
    origin: str = ""
    files: dict[str, Attributes] = field(default_factory=dict)
    folders: dict[str, Attributes] = field(default_factory=dict)
    users: tuple[str, ...] = ()
    groups: tuple[str, ...] = ()
    # When a script would run -> its text.
    scripts: dict[str, str] = field(default_factory=dict)
    messages: tuple[str, ...] = ()


class _Attributes(msgspec.Struct):
    sum: str = NO_SUM
    uname: str = ""
    gname: str = ""


class _Message(msgspec.Struct):
    message: str = ""


class _Manifest(msgspec.Struct):
    name: str
    version: str | int
    origin: str = ""
    files: dict[str, str | _Attributes] = {}
    directories: dict[str, str | bool | _Attributes] = {}
    deps: dict[str, Dependency | list[Dependency]] = {}
    users: list[str | dict[str, str]] = []
    groups: list[str | dict[str, str]] = []
    scripts: dict[str, str] = {}
    lua_scripts: dict[str, list[str]] = {}
    messages: list[_Message] = []


def parse_manifest(content: bytes, where: str) -> Manifest:
    """The manifest in the JSON text ``content``; raises ``BadPackage`` naming ``where``."""
    if len(content) > MANIFEST_BYTES_MAX:
        raise BadPackage(f"{where}: a manifest of more than {MANIFEST_BYTES_MAX} bytes")
    try:
        raw = msgspec.json.decode(content, type=_Manifest)
    except msgspec.DecodeError as error:
        raise BadPackage(f"{where}: its manifest cannot be read: {error}") from error
    if len(raw.files) + len(raw.directories) > FILES_MAX:
        raise BadPackage(f"{where}: more than {FILES_MAX} files")
    return Manifest(
        name=raw.name,
        version=str(raw.version),
        origin=raw.origin,
        files=_paths(raw.files, where),
        folders=_paths(_without_root(raw.directories), where),
        users=_names(raw.users),
        groups=_names(raw.groups),
        scripts=_scripts(raw),
        messages=tuple(unquote(message.message) for message in raw.messages),
    )


def is_root(text: str) -> bool:
    """Whether ``text`` is the root itself, which base packages list among their folders."""
    return text.strip("/") in {"", "."}


def relative_path(text: str, where: str) -> str:
    """``text`` as a path below the image's root; raises ``BadPackage`` if it leads elsewhere."""
    path = text.strip("/")
    strays = any(part in {"", ".", ".."} for part in path.split("/"))
    if strays or not path.isprintable() or len(path) > PATH_CHARACTERS_MAX:
        raise BadPackage(f"{where}: {text!r} is no path that a package may have")
    return path


def _paths(
    raw: dict[str, str | _Attributes] | dict[str, str | bool | _Attributes], where: str
) -> dict[str, Attributes]:
    found: dict[str, Attributes] = {}
    for encoded, said in raw.items():
        path = relative_path(unquote(encoded), where)
        if path in found:
            raise BadPackage(f"{where}: {path} is listed twice")
        found[path] = _attributes(said, f"{where}: {path}")
    return found


def _without_root(
    raw: dict[str, str | bool | _Attributes],
) -> dict[str, str | bool | _Attributes]:
    """The root is the image's own, whoever lists it."""
    return {path: said for path, said in raw.items() if not is_root(path)}


def _attributes(said: str | bool | _Attributes, where: str) -> Attributes:
    if isinstance(said, _Attributes):
        return Attributes(_checked_sum(said.sum, where), said.uname, said.gname)
    return Attributes(_checked_sum(said, where) if isinstance(said, str) else "")


def _checked_sum(text: str, where: str) -> str:
    """The SHA-256 in hexadecimal, or nothing where the manifest has none."""
    if found := _SUM.fullmatch(text):
        return found.group(1)
    if _OTHER_SUM.fullmatch(text):
        raise BadPackage(f"{where}: a checksum of kind {text.partition('$')[0]} is not read here")
    # A folder says "y", a link "-".
    return ""


def _names(raw: list[str | dict[str, str]]) -> tuple[str, ...]:
    """Names of accounts; old manifests give each with its line of the password file."""
    return tuple(
        name for said in raw for name in ([said] if isinstance(said, str) else sorted(said))
    )


def _scripts(raw: _Manifest) -> dict[str, str]:
    lua = {f"lua {when}": "\n".join(texts) for when, texts in raw.lua_scripts.items()}
    return {when: unquote(text) for when, text in sorted({**raw.scripts, **lua}.items())}
