"""Owners by name: the image's own accounts, and nobody else's."""

from __future__ import annotations

import pytest

import smallrelease
from imagebuilder.entries import Entry, Kind
from imagebuilder.filesystem.accounts import parse_accounts, require_owners
from maculaos.errors import UsageError

ACCOUNTS = parse_accounts(smallrelease.ACCOUNTS, smallrelease.GROUP)


def owned(owner: str, group: str = "wheel", path: str = "var/unbound") -> Entry:
    return Entry(path=path, kind=Kind.FOLDER, mode=0o755, owner=owner, group=group)


def test_names_become_the_images_numbers() -> None:
    assert (ACCOUNTS.user("unbound"), ACCOUNTS.group("operator")) == (59, 5)
    assert ACCOUNTS.user("nobody") == 65534


def test_a_name_of_digits_is_a_number() -> None:
    assert ACCOUNTS.user("845") == 845
    assert ACCOUNTS.user(str(2**32)) is None
    assert ACCOUNTS.user("\u0661") is None


def test_an_unknown_owner_is_an_error_that_names_the_path() -> None:
    require_owners([owned("unbound", "unbound")], ACCOUNTS)
    with pytest.raises(UsageError, match=r"var/unbound: owner 'nsd' is not in master\.passwd"):
        require_owners([owned("root"), owned("nsd")], ACCOUNTS)
    with pytest.raises(UsageError, match="/: group 'nsd' is not in etc/group"):
        require_owners([owned("root", "nsd", path="")], ACCOUNTS)


def test_many_unknown_owners_are_counted() -> None:
    with pytest.raises(UsageError, match="and 15 more"):
        require_owners([owned("nsd") for _ in range(20)], ACCOUNTS)


@pytest.mark.parametrize("line", ["root", "a:b:c:d", ":*:5:", "wheel:*:x:", "wheel:*:-1:"])
def test_a_broken_line_is_told_with_file_and_number(line: str) -> None:
    with pytest.raises(UsageError, match="etc/group, line 2"):
        parse_accounts("", f"# comment\n{line}\n")


def test_the_first_line_of_a_name_counts() -> None:
    assert parse_accounts("", "a:*:1:\na:*:2:\n").group("a") == 1
