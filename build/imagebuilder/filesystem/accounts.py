"""Users and groups of the image, by name: its own master.passwd and group.

Names become numbers here, and never by asking the build host.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from imagebuilder.filesystem.problems import in_one_line
from maculaos.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from imagebuilder.entries import Entry

ID_MAX = 2**32 - 2


@dataclass(frozen=True, slots=True)
class Accounts:
    """Numbers of users and groups by name."""

    users: Mapping[str, int]
    groups: Mapping[str, int]

    def user(self, name: str) -> int | None:
        """The number of a user; a name of digits is the number itself; None if unknown."""
        return _number(name, self.users)

    def group(self, name: str) -> int | None:
        """The number of a group; a name of digits is the number itself; None if unknown."""
        return _number(name, self.groups)


def _number(name: str, known: Mapping[str, int]) -> int | None:
    if name in known:
        return known[name]
    if name.isascii() and name.isdigit() and int(name) <= ID_MAX:
        return int(name)
    return None


def parse_accounts(master_passwd: str, group: str) -> Accounts:
    """The accounts of passwd(5) and group(5) text; raises ``UsageError`` with file and line."""
    return Accounts(_parse(master_passwd, "etc/master.passwd", 10), _parse(group, "etc/group", 4))


def _parse(text: str, file: str, fields: int) -> dict[str, int]:
    """Name to number: the first and the third field of either file."""
    found: dict[str, int] = {}
    for number, line in enumerate(text.splitlines(), 1):
        if not line.strip() or line.startswith("#"):
            continue
        parts = line.split(":")
        if len(parts) != fields or not parts[0] or not (parts[2].isascii() and parts[2].isdigit()):
            raise UsageError(
                f"{file}, line {number}: not {fields} fields with a number in the third",
                "mend the file in the layer that brings it",
            )
        # The first line of a name counts, as it does for getpwnam(3).
        found.setdefault(parts[0], int(parts[2]))
    return found


def unknown_owners(entries: Iterable[Entry], accounts: Accounts) -> list[str]:
    """One line for every path whose owner or group the image does not know."""
    problems = []
    for entry in entries:
        if accounts.user(entry.owner) is None:
            problems.append(f"{entry.path or '/'}: owner {entry.owner!r} is not in master.passwd")
        if accounts.group(entry.group) is None:
            problems.append(f"{entry.path or '/'}: group {entry.group!r} is not in etc/group")
    return problems


def require_owners(entries: Iterable[Entry], accounts: Accounts) -> None:
    """Raise ``UsageError`` unless every owner and group is known."""
    problems = unknown_owners(entries, accounts)
    if problems:
        raise UsageError(in_one_line(problems), "add the account to the image, or change the owner")
