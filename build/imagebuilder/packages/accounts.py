"""Accounts that packages want: added to the text of ``master.passwd`` and ``group``.

Their numbers are data in ``image/accounts.toml``, taken from the files UIDs and GIDs of the ports
tree, so that they are the same on every image. The hashed databases (``pwd_mkdb``) are not made
here; the text of both files is what they are made from. Accounts have no password.
"""

from __future__ import annotations

import re
import tomllib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, TypeVar

import msgspec

from maculaos.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

NUMBER_MAX: Final = 65_533
# passwd(5): at most 32 characters; colons would split the line.
_NAME: Final = re.compile(r"[a-z_][a-z0-9_-]{0,31}")
_FIELD: Final = re.compile(r"[^:\n\r\0]{0,255}")
_PASSWORD_FIELDS: Final = 10
_GROUP_FIELDS: Final = 4


class User(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """One user; its group is a group's number."""

    name: str
    uid: int
    gid: int
    full_name: str = ""
    home: str = "/nonexistent"
    shell: str = "/usr/sbin/nologin"
    # Who wants it: for the reader of the file.
    why: str = ""

    def line(self) -> str:
        """The line of master.passwd(5), with a password that nothing matches."""
        return f"{self.name}:*:{self.uid}:{self.gid}::0:0:{self.full_name}:{self.home}:{self.shell}"


class Group(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """One group; its members beside those who have it as their own."""

    name: str
    gid: int
    members: list[str] = msgspec.field(default_factory=list)
    why: str = ""

    def line(self) -> str:
        """The line of group(5)."""
        return f"{self.name}:*:{self.gid}:{','.join(self.members)}"


_Account = TypeVar("_Account", User, Group)


class _File(msgspec.Struct, forbid_unknown_fields=True):
    user: list[User] = msgspec.field(default_factory=list)
    group: list[Group] = msgspec.field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Accounts:
    """The accounts that are known, by name."""

    users: dict[str, User]
    groups: dict[str, Group]


def parse_accounts(text: str, where: str = "accounts.toml") -> Accounts:
    """The accounts in the TOML ``text``; raises ``UsageError`` for names and numbers that clash."""
    try:
        raw = msgspec.convert(tomllib.loads(text), _File)
    except (tomllib.TOMLDecodeError, msgspec.ValidationError) as error:
        raise UsageError(f"{where}: {error}") from error
    for user in raw.user:
        _check_words(
            where, user.name, (user.uid, user.gid), (user.full_name, user.home, user.shell)
        )
    for group in raw.group:
        _check_words(where, group.name, (group.gid,), ())
        for member in group.members:
            _check_words(where, member, (), ())
    users = {user.name: user for user in raw.user}
    groups = {group.name: group for group in raw.group}
    unique = (
        (len(raw.user), len(users), len({user.uid for user in raw.user})),
        (len(raw.group), len(groups), len({group.gid for group in raw.group})),
    )
    if any(len(set(counts)) > 1 for counts in unique):
        raise UsageError(f"{where}: two accounts with one name or one number")
    return Accounts(users, groups)


def _check_words(where: str, name: str, numbers: Sequence[int], words: Sequence[str]) -> None:
    if not _NAME.fullmatch(name):
        raise UsageError(f"{where}: {name!r} is no name of an account")
    if not all(0 <= number <= NUMBER_MAX for number in numbers):
        raise UsageError(f"{where}: {name}: numbers lie between 0 and {NUMBER_MAX}")
    if not all(_FIELD.fullmatch(word) for word in words):
        raise UsageError(f"{where}: {name}: a colon or line break in its words")


def add_users(master_passwd: str, names: Sequence[str], known: Accounts) -> str:
    """``master_passwd`` with a line more for each of ``names`` that it lacks, in order of number.

    Raises ``UsageError`` for a name that is not known, or whose number somebody else has.
    """
    there = _numbers(master_passwd, _PASSWORD_FIELDS, "master.passwd")
    missing = {name for name in names if name not in there}
    users = [_known(name, known.users, "user") for name in sorted(missing)]
    for name in names:
        user = known.users.get(name)
        if name in there and user is not None and user.uid != there[name]:
            raise UsageError(f"user {name} is {there[name]} in the base system, not {user.uid}")
    _check_free(there, {user.name: user.uid for user in users}, "user")
    return _appended(master_passwd, [u.line() for u in sorted(users, key=lambda u: u.uid)])


def add_groups(group: str, names: Sequence[str], known: Accounts) -> str:
    """``group`` with a line more for each of ``names`` that it lacks; see ``add_users``."""
    there = _numbers(group, _GROUP_FIELDS, "group")
    missing = {name for name in names if name not in there}
    groups = [_known(name, known.groups, "group") for name in sorted(missing)]
    for name in names:
        wanted = known.groups.get(name)
        if name in there and wanted is not None and wanted.gid != there[name]:
            raise UsageError(f"group {name} is {there[name]} in the base system, not {wanted.gid}")
    _check_free(there, {one.name: one.gid for one in groups}, "group")
    return _appended(group, [g.line() for g in sorted(groups, key=lambda g: g.gid)])


def _known(name: str, known: Mapping[str, _Account], what: str) -> _Account:
    if name not in known:
        raise UsageError(
            f"a package wants the {what} {name}, whose number is not known",
            "add it to image/accounts.toml with the number in the ports tree",
        )
    return known[name]


def _numbers(text: str, fields: int, where: str) -> dict[str, int]:
    """Name -> number of every account in the text of a password or group file."""
    numbers: dict[str, int] = {}
    for place, line in enumerate(text.splitlines(), 1):
        if not line.strip() or line.startswith(("#", "+")):
            continue
        parts = line.split(":")
        if len(parts) != fields or not parts[2].isdecimal():
            raise UsageError(f"{where}: line {place} is not of the form that FreeBSD has")
        numbers.setdefault(parts[0], int(parts[2]))
    return numbers


def _check_free(there: Mapping[str, int], wanted: Mapping[str, int], what: str) -> None:
    owners = {number: name for name, number in there.items()}
    for name, number in wanted.items():
        if number in owners:
            raise UsageError(f"{what} {name} wants {number}, which is {owners[number]} already")


def _appended(text: str, lines: Sequence[str]) -> str:
    start = text if not text or text.endswith("\n") else f"{text}\n"
    return start + "".join(f"{line}\n" for line in lines)
