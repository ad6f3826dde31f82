"""One wheel, as it lies on the image: every file checked against RECORD, commands made.

It follows the binary distribution format (packaging.python.org, PEP 427) without running anything:
no compiling to bytecode, no build hooks. Whether a wheel may be used is its caller's question.
"""

from __future__ import annotations

import base64
import configparser
import csv
import io
import posixpath
import re
import zipfile
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from packaging.utils import InvalidWheelFilename, canonicalize_name, parse_wheel_filename

from imagebuilder.entries import Entry, Kind
from maculaos.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from imagebuilder.packages.store import ContentStore

MEMBERS_MAX: Final = 50_000
WHEEL_BYTES_MAX: Final = 512 * 1024 * 1024
METADATA_BYTES_MAX: Final = 16 * 1024 * 1024
PATH_CHARACTERS_MAX: Final = 512
_CHUNK: Final = 256 * 1024
_VERSION: Final = re.compile(r"[0-9]+\.[0-9]+")
_OBJECT: Final = re.compile(
    r"(?P<module>[A-Za-z_][\w.]*):(?P<attribute>[A-Za-z_][\w.]*)(\s*\[.*\])?"
)
_COMMAND: Final = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]*")
_PURE_TAG: Final = "none-any"


class BadWheel(UsageError):
    """A wheel is not what its RECORD says, or not of the form that is read here."""


@dataclass(frozen=True, slots=True)
class PythonTarget:
    """The Python of the image, as in ``3.12``."""

    version: str

    def __post_init__(self) -> None:
        if not _VERSION.fullmatch(self.version):
            raise UsageError(f"Python {self.version!r}: write it as 3.12")

    @property
    def site_packages(self) -> str:
        """Where packages of Python lie, relative to the root."""
        return f"usr/local/lib/python{self.version}/site-packages"

    @property
    def interpreter(self) -> str:
        """The absolute path that scripts start with."""
        return f"/usr/local/bin/python{self.version}"


@dataclass(frozen=True, slots=True)
class UnpackedWheel:
    """A wheel that was read and found whole."""

    name: str
    version: str
    entries: tuple[Entry, ...]
    commands: tuple[str, ...] = ()

    @property
    def label(self) -> str:
        """Name and version, as people write them."""
        return f"{self.name}-{self.version}"


def is_pure(path: Path) -> bool:
    """Whether the name of a wheel says that it runs on every machine with Python 3."""
    _, _, tags = _named(path)
    return any(tag.endswith(_PURE_TAG) and "py3" in tag for tag in tags)


def name_of(path: Path) -> tuple[str, str]:
    """Normalised name and version that the name of a wheel states."""
    name, version, _ = _named(path)
    return name, version


def _named(path: Path) -> tuple[str, str, tuple[str, ...]]:
    try:
        name, version, _, tags = parse_wheel_filename(path.name)
    except InvalidWheelFilename as error:
        raise BadWheel(f"{path}: {error}") from error
    return canonicalize_name(name), str(version), tuple(sorted(str(tag) for tag in tags))


def read_wheel(path: Path, store: ContentStore, target: PythonTarget) -> UnpackedWheel:
    """The wheel at ``path`` with its files in ``store``; raises ``BadWheel``."""
    name, version = name_of(path)
    try:
        with zipfile.ZipFile(path) as opened:
            return _Reading(opened, path, store, target).unpacked(name, version)
    except (zipfile.BadZipFile, NotImplementedError, RuntimeError, EOFError) as error:
        raise BadWheel(f"{path}: cannot be read: {error}", "fetch it again") from error


class _Reading:
    """One wheel while it is read."""

    def __init__(
        self, opened: zipfile.ZipFile, path: Path, store: ContentStore, target: PythonTarget
    ) -> None:
        self._zip = opened
        self._path = path
        self._store = store
        self._target = target
        self._left = WHEEL_BYTES_MAX
        self._members = dict(self._checked_members())
        self._info = self._info_folder()
        self._record_name = f"{self._info}/RECORD"

    def unpacked(self, name: str, version: str) -> UnpackedWheel:
        """Everything in it, and what it becomes."""
        self._check_format()
        sums = self._sums()
        seals = {self._record_name, f"{self._record_name}.jws", f"{self._record_name}.p7s"}
        entries = [self._entry(member, sums) for member in sorted(self._members.keys() - seals)]
        commands = self._commands()
        for command, module, attribute in commands:
            text = _script(self._target.interpreter, module, attribute)
            entries.append(self._made(f"usr/local/bin/{command}", text.encode(), 0o755))
        installer = f"{self._target.site_packages}/{self._info}/INSTALLER"
        entries.append(self._made(installer, b"imagebuilder\n"))
        entries.append(self._record_of(entries))
        if len({entry.path for entry in entries}) != len(entries):
            raise BadWheel(f"{self._path}: two of its files would lie at one path")
        ordered = tuple(sorted(entries, key=lambda entry: entry.path))
        return UnpackedWheel(name, version, ordered, tuple(command[0] for command in commands))

    def _checked_members(self) -> Iterator[tuple[str, zipfile.ZipInfo]]:
        members = [info for info in self._zip.infolist() if not info.is_dir()]
        if len(members) > MEMBERS_MAX or sum(info.file_size for info in members) > WHEEL_BYTES_MAX:
            raise BadWheel(f"{self._path}: too many files, or too large")
        if len({info.filename for info in members}) != len(members):
            raise BadWheel(f"{self._path}: a file comes twice")
        for info in members:
            _check_path(info.filename, self._path)
            yield info.filename, info

    def _info_folder(self) -> str:
        folders = {name.split("/")[0] for name in self._members if ".dist-info/" in name}
        if len(folders) != 1:
            raise BadWheel(f"{self._path}: it needs one folder .dist-info, not {len(folders)}")
        return folders.pop()

    def _check_format(self) -> None:
        lines = self._metadata(f"{self._info}/WHEEL").splitlines()
        if not any(re.fullmatch(r"Wheel-Version:\s*1\.[0-9]+", line) for line in lines):
            raise BadWheel(f"{self._path}: not of wheel version 1")

    def _metadata(self, name: str, *, optional: bool = False) -> str:
        if name not in self._members:
            if optional:
                return ""
            raise BadWheel(f"{self._path}: it lacks {name}")
        if self._members[name].file_size > METADATA_BYTES_MAX:
            raise BadWheel(f"{self._path}: {name} is too large")
        return self._zip.read(name).decode("utf-8", "replace")

    def _sums(self) -> dict[str, str]:
        """Path in the wheel -> SHA-256 in hexadecimal, as RECORD states it."""
        sums: dict[str, str] = {}
        for row in csv.reader(io.StringIO(self._metadata(self._record_name))):
            if len(row) == 3 and row[1].startswith("sha256="):
                sums[row[0]] = _hexadecimal(row[1].removeprefix("sha256="))
        if strangers := sorted(sums.keys() - self._members.keys()):
            raise BadWheel(f"{self._path}: {strangers[0]} is in its RECORD and not there")
        return sums

    def _entry(self, member: str, sums: dict[str, str]) -> Entry:
        """One file, checked, at its place."""
        info = self._members[member]
        path, is_script = self._place(member)
        with self._zip.open(info) as stream:
            sha256, source = self._store.add(iter(lambda: stream.read(_CHUNK), b""), info.file_size)
        if sha256 != sums.get(member):
            raise BadWheel(f"{self._path}: {member} has other bytes than RECORD says")
        if is_script:
            return self._made(path, _with_interpreter(source, self._target), 0o755)
        runs = (info.external_attr >> 16) & 0o111
        return Entry(path=path, kind=Kind.FILE, mode=0o755 if runs else 0o644, source=source)

    def _place(self, member: str) -> tuple[str, bool]:
        """Where a member lies on the image, and whether it is a script."""
        first, _, rest = member.partition("/")
        site = self._target.site_packages
        if not first.endswith(".data"):
            return f"{site}/{member}", False
        scheme, _, inner = rest.partition("/")
        places = {
            "purelib": site,
            "platlib": site,
            "scripts": "usr/local/bin",
            "data": "usr/local",
            "headers": f"usr/local/include/python{self._target.version}",
        }
        if scheme not in places or not inner:
            raise BadWheel(f"{self._path}: {member} has no place of those that wheels know")
        return f"{places[scheme]}/{inner}", scheme == "scripts"

    def _commands(self) -> list[tuple[str, str, str]]:
        """Command, module and attribute of every console script, in order of name."""
        text = self._metadata(f"{self._info}/entry_points.txt", optional=True)
        parser = configparser.RawConfigParser(delimiters=("=",), strict=False)
        parser.optionxform = str  # type: ignore[assignment,method-assign]  # names keep their case
        try:
            parser.read_string(text)
        except configparser.Error as error:
            raise BadWheel(f"{self._path}: its entry points cannot be read: {error}") from error
        if not parser.has_section("console_scripts"):
            return []
        return [self._command(*said) for said in sorted(parser.items("console_scripts"))]

    def _command(self, command: str, reference: str) -> tuple[str, str, str]:
        found = _OBJECT.fullmatch(reference.strip())
        if found is None or not _COMMAND.fullmatch(command):
            raise BadWheel(f"{self._path}: the command {command!r} = {reference!r} cannot be made")
        return command, found["module"], found["attribute"]

    def _made(self, path: str, content: bytes, mode: int = 0o644) -> Entry:
        source = self._store.add_bytes(content)
        return Entry(path=path, kind=Kind.FILE, mode=mode, source=source)

    def _record_of(self, entries: list[Entry]) -> Entry:
        """RECORD as an installer leaves it: every file where it lies now."""
        site = self._target.site_packages
        text = io.StringIO()
        rows = csv.writer(text, lineterminator="\n")
        for entry in sorted(entries, key=lambda entry: entry.path):
            if entry.source is not None:
                # Files of the store are named by the SHA-256 of their content.
                digest = base64.urlsafe_b64encode(bytes.fromhex(entry.source.name))
                size = entry.source.stat().st_size
                place = posixpath.relpath(entry.path, site)
                rows.writerow([place, f"sha256={digest.decode().rstrip('=')}", size])
        rows.writerow([self._record_name, "", ""])
        return self._made(f"{site}/{self._record_name}", text.getvalue().encode())


def _check_path(name: str, wheel: Path) -> None:
    strays = any(part in {"", ".", ".."} for part in name.split("/"))
    if strays or not name.isprintable() or "\\" in name or len(name) > PATH_CHARACTERS_MAX:
        raise BadWheel(f"{wheel}: {name[:100]!r} is no path that a wheel may have")


def _hexadecimal(text: str) -> str:
    try:
        return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4)).hex()
    except ValueError:
        # No file has this sum, so the file that it stands for is refused by name.
        return ""


def _with_interpreter(source: Path, target: PythonTarget) -> bytes:
    """A script of a wheel, its first line pointing at the Python of the image."""
    content = source.read_bytes()
    first, newline, rest = content.partition(b"\n")
    if first.startswith(b"#!python"):
        return f"#!{target.interpreter}".encode() + newline + rest
    return content


def _script(interpreter: str, module: str, attribute: str) -> str:
    """A program that calls one function and ends with what it returns."""
    name = attribute.partition(".")[0]
    return (
        f"#!{interpreter}\nimport sys\n\nfrom {module} import {name}\n\nsys.exit({attribute}())\n"
    )
