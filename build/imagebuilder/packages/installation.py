"""What all packages and wheels of an image bring together: entries, accounts wanted, scripts left.

Two that bring the same path are a mistake that names both. Folders that are only implied by the
paths in them are left to whoever lays out the tree, as are the files of the base system.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from imagebuilder.entries import Entry, Kind
from maculaos.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from imagebuilder.packages.package import Unpacked

CONFLICTS_SHOWN: Final = 10
_PLAIN: Final = (0o755, "root", "wheel", ())


class Conflict(UsageError):
    """Two packages bring the same path."""


@dataclass(frozen=True, slots=True)
class Script:
    """A script of a package that nobody ran: what it would have done has to be done otherwise."""

    package: str
    # As pkg names it: post-install, lua post-install, ...
    when: str
    text: str


@dataclass(frozen=True, slots=True)
class Installation:
    """Everything at once; entries in order of path."""

    entries: tuple[Entry, ...]
    users: tuple[str, ...] = ()
    groups: tuple[str, ...] = ()
    scripts: tuple[Script, ...] = ()


def install(packages: Sequence[Unpacked], wheels: Mapping[str, Sequence[Entry]]) -> Installation:
    """The sum of packages and of wheels (label -> entries); raises ``Conflict``."""
    bringers = {package.label: package.entries for package in packages}
    manifests = [package.manifest for package in packages]
    return Installation(
        entries=merge({**bringers, **wheels}),
        users=_sorted(name for manifest in manifests for name in manifest.users),
        groups=_sorted(name for manifest in manifests for name in manifest.groups),
        scripts=tuple(
            Script(package.label, when, text)
            for package in packages
            for when, text in package.manifest.scripts.items()
            # Scripts of removal never have a turn on an image.
            if "deinstall" not in when
        ),
    )


def merge(bringers: Mapping[str, Iterable[Entry]]) -> tuple[Entry, ...]:
    """All entries by path; folders may come from several, everything else from one only."""
    found: dict[str, tuple[str, Entry]] = {}
    conflicts: list[str] = []
    for label, entries in bringers.items():
        for entry in entries:
            bringer, known = found.get(entry.path, (label, entry))
            kept = _same_folder(known, entry) if known is not entry else entry
            if kept is None:
                conflicts.append(f"{entry.path} ({bringer} and {label})")
            else:
                found[entry.path] = (bringer if kept is known else label, kept)
    conflicts += _below_what_is_no_folder(found)
    if conflicts:
        shown = ", ".join(sorted(conflicts)[:CONFLICTS_SHOWN])
        raise Conflict(
            f"{len(conflicts)} paths come from two packages: {shown}",
            "take one of the two out of the list of packages",
        )
    return tuple(found[path][1] for path in sorted(found))


def _same_folder(one: Entry, other: Entry) -> Entry | None:
    """The folder that both mean; a plain one gives way to one with an owner or mode of its own."""
    if one.kind is not Kind.FOLDER or other.kind is not Kind.FOLDER:
        return None
    if _rights(one) == _rights(other) or _rights(other) == _PLAIN:
        return one
    return other if _rights(one) == _PLAIN else None


def _rights(entry: Entry) -> tuple[int, str, str, tuple[str, ...]]:
    return entry.mode, entry.owner, entry.group, entry.flags


def _below_what_is_no_folder(found: Mapping[str, tuple[str, Entry]]) -> list[str]:
    """Paths that lie below a file or a link of another package: they would land elsewhere."""
    strays = []
    for path, (label, _) in found.items():
        above = path
        while above := above.rpartition("/")[0]:
            bringer, entry = found.get(above, ("", None))
            if entry is not None and entry.kind is not Kind.FOLDER:
                strays.append(f"{path} below {above} ({bringer} and {label})")
    return strays


def _sorted(names: Iterable[str]) -> tuple[str, ...]:
    return tuple(sorted(set(names)))
