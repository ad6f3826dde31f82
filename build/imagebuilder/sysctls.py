"""Sysctls: whether every name that the image sets is one that the release has.

An unknown name only prints an error while the machine boots, so it is found here instead. Pure;
which names a release has is data, one list for each release, recorded on a running system.

A list may be older than the release: ``changes.toml`` says which names went since, and why.

A setting may be marked: ``# optional: REASON`` behind it, or alone on the line above it. Then a
release without that name gets a note instead of an error.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import msgspec

from imagebuilder.filesystem.problems import in_one_line
from maculaos.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Iterable

# The top of FreeBSD's tree of names. loader.conf also sets much that is no sysctl.
TOPS: Final = frozenset(
    (
        *("compat", "debug", "dev", "hw", "kern", "kstat", "machdep", "net", "p1003_1b"),
        *("regression", "security", "user", "vfs", "vm"),
    )
)
_SETTING: Final = re.compile(r"\s*(?P<name>[A-Za-z0-9_.%/-]+)\s*=")
_OPTIONAL: Final = re.compile(r"#\s*optional:\s*(?P<reason>\S.*?)\s*$")
_NAME: Final = re.compile(r"[a-z0-9_]+(\.[A-Za-z0-9_%-]+)*")
_RELEASE: Final = re.compile(r"(\d+)\.(\d+)")


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """One line that sets a sysctl or a tunable of that name."""

    # File and line, as in ``etc/sysctl.conf:3``.
    place: str
    name: str
    # Why a release may lack it; empty if none may.
    optional: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Findings:
    """What is wrong, and what is only worth knowing: one line each."""

    problems: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()

    def require(self) -> None:
        """Raise ``UsageError`` if there is a problem."""
        if self.problems:
            raise UsageError(
                in_one_line(self.problems),
                "mend the name, or write '# optional: REASON' on the line above it",
            )


class Change(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A name that came or went: the first release with it, or without it."""

    name: str
    why: str
    came: str = ""
    gone: str = ""


class _Changes(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    change: list[Change] = []


@dataclass(frozen=True, slots=True)
class Known:
    """What is known of all releases: a list of names for some, and what changed between them."""

    lists: Mapping[str, frozenset[str]]
    changes: tuple[Change, ...] = ()

    def gone(self, name: str, release: str) -> str:
        """Since when and why ``release`` lacks the name; empty if nothing says so."""
        for change in self.changes:
            if change.name == name and change.gone and _number(change.gone) <= _number(release):
                return f"gone since {change.gone}: {change.why}"
        return ""


def parse_changes(text: str, where: str) -> tuple[Change, ...]:
    """The changes in TOML; raises ``UsageError``."""
    try:
        changes = tuple(msgspec.convert(tomllib.loads(text), _Changes).change)
    except (tomllib.TOMLDecodeError, msgspec.ValidationError) as error:
        raise UsageError(f"{where}: {error}", "see what stands there already") from error
    for one in changes:
        if not all(_number(each) for each in (one.came, one.gone) if each):
            raise UsageError(f"{where}: {one.name}: no release", "write it like 15.0")
    return changes


def parse_names(text: str, where: str) -> frozenset[str]:
    """The names of a list, one a line; raises ``UsageError`` for a line that is none."""
    names = set()
    for number, line in enumerate(text.splitlines(), 1):
        name = line.partition("#")[0].strip()
        if name and not _NAME.fullmatch(name):
            raise UsageError(f"{where}:{number}: {name[:60]!r} is no name of a sysctl")
        names.add(name)
    return frozenset(names - {""})


def settings_in(text: str, where: str) -> tuple[Setting, ...]:
    """The sysctls that a sysctl.conf(5) or loader.conf(5) sets, in order."""
    found, above = [], ""
    for number, line in enumerate(text.splitlines(), 1):
        marked = _OPTIONAL.search(line)
        reason = marked["reason"] if marked else ""
        setting = _SETTING.match(line)
        if setting is None:
            above = reason
            continue
        name = setting["name"]
        if "." in name and name.partition(".")[0] in TOPS:
            place = f"{where}:{number}"
            found.append(Setting(place=place, name=name, optional=reason or above))
        above = ""
    return tuple(found)


def list_for(release: str, releases: Iterable[str]) -> str | None:
    """Which list to check ``release`` by: its own, else that of the newest release before it."""
    wanted = _number(release)
    before = [each for each in releases if _number(each) and _number(each) <= wanted]
    return max(before, key=_number, default=None)


def _number(release: str) -> tuple[int, ...]:
    """A release as numbers, so that 9.3 comes before 13.1; empty if it is none."""
    found = _RELEASE.match(release)
    return tuple(map(int, found.groups())) if found else ()


def check(settings: Iterable[Setting], release: str, known: Known) -> Findings:
    """Compare the settings with what is known of ``release``; without any list that is a note."""
    settings = tuple(settings)
    chosen = list_for(release, known.lists)
    if chosen is None:
        told = f"{len(settings)} sysctls not checked: no list for {release}"
        return Findings(notes=(told,) if settings else ())
    problems, notes = [], []
    for one in settings:
        missing = _missing(one.name, release, chosen, known)
        if missing and one.optional:
            notes.append(f"{one.place}: {one.name}: {missing} ({one.optional})")
        elif missing:
            problems.append(f"{one.place}: {one.name}: {missing}")
    if chosen != release:
        notes.append(f"sysctls were checked by the list of {chosen}: there is none for {release}")
    return Findings(problems=tuple(problems), notes=tuple(notes))


def _missing(name: str, release: str, chosen: str, known: Known) -> str:
    """Why the release has no such name; empty if it has."""
    if gone := known.gone(name, release):
        return gone
    return "" if name in known.lists[chosen] else f"FreeBSD {chosen} has no such name"
