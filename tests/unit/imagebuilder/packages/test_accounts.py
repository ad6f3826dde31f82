"""Accounts: known numbers only, nobody else's, and adding twice changes nothing."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from imagebuilder.packages.accounts import Accounts, add_groups, add_users, parse_accounts
from maculaos.errors import UsageError

MASTER = """# $FreeBSD$
root:*:0:0::0:0:Charlie &:/root:/bin/sh
daemon:*:1:1::0:0:Owner of many system processes:/root:/usr/sbin/nologin
"""
GROUP = "# $FreeBSD$\nwheel:*:0:root\ndaemon:*:1:\n"
NAMES = st.lists(st.from_regex(r"[a-z]{3,6}x", fullmatch=True), unique=True, max_size=5)


def known(*names: str, first: int = 900) -> Accounts:
    lines = [
        f'[[user]]\nname = "{name}"\nuid = {first + n}\ngid = {first + n}\n'
        f'[[group]]\nname = "{name}"\ngid = {first + n}\n'
        for n, name in enumerate(names)
    ]
    return parse_accounts("".join(lines))


def test_line_is_of_the_form_of_the_ports_tree() -> None:
    accounts = parse_accounts(
        '[[user]]\nname = "git_daemon"\nuid = 964\ngid = 964\nfull_name = "git daemon"\n'
    )
    added = add_users(MASTER, ["git_daemon"], accounts)
    line = "git_daemon:*:964:964::0:0:git daemon:/nonexistent:/usr/sbin/nologin\n"
    assert added == MASTER + line


@given(NAMES)
def test_what_was_there_stays_and_adding_twice_changes_nothing(names: list[str]) -> None:
    accounts = known(*names)
    for text, add in ((MASTER, add_users), (GROUP, add_groups)):
        once = add(text, names, accounts)
        assert once.startswith(text)
        assert len(once.splitlines()) == len(text.splitlines()) + len(names)
        assert add(once, list(reversed(names)), accounts) == once


@given(NAMES)
def test_order_of_wishes_does_not_matter(names: list[str]) -> None:
    accounts = known(*names)
    shuffled = sorted(names, reverse=True)
    assert add_users(MASTER, names, accounts) == add_users(MASTER, shuffled, accounts)


def test_base_account_is_left_as_it_is() -> None:
    assert add_users(MASTER, ["daemon"], known()) == MASTER
    assert add_groups(GROUP, ["wheel"], known()) == GROUP


def test_unknown_account_says_where_to_add_it() -> None:
    with pytest.raises(UsageError, match=r"accounts\.toml"):
        add_users(MASTER, ["nobody_knows"], known())


def test_number_of_another_is_refused() -> None:
    with pytest.raises(UsageError, match="wants 1, which is daemon"):
        add_users(MASTER, ["other"], known("other", first=1))
    with pytest.raises(UsageError, match="wants 1, which is daemon"):
        add_groups(GROUP, ["other"], known("other", first=1))


def test_known_name_with_another_number_in_the_base_is_refused() -> None:
    with pytest.raises(UsageError, match="daemon is 1 in the base"):
        add_users(MASTER, ["daemon"], known("daemon"))


def test_last_line_without_end_gets_one() -> None:
    assert ":/usr/sbin/nologin\nnew:" in add_users(MASTER.rstrip(), ["new"], known("new"))


@pytest.mark.parametrize(
    "text",
    [
        '[[user]]\nname = "a:b"\nuid = 1\ngid = 1\n',
        '[[user]]\nname = "ab"\nuid = -1\ngid = 1\n',
        '[[user]]\nname = "ab"\nuid = 1\ngid = 1\nhome = "/a\\nroot::0"\n',
        '[[user]]\nname = "ab"\nuid = 1\ngid = 1\npassword = "x"\n',
        '[[user]]\nname = "ab"\nuid = 1\ngid = 1\n[[user]]\nname = "cd"\nuid = 1\ngid = 1\n',
        '[[group]]\nname = "ab"\ngid = 1\nmembers = ["x:y"]\n',
        "[[user",
    ],
)
def test_account_that_would_break_the_file_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match=r"^accounts\.toml: "):
        parse_accounts(text)


def test_broken_base_file_is_named_with_its_line() -> None:
    with pytest.raises(UsageError, match=r"master\.passwd: line 2"):
        add_users("# x\nroot:*:0\n", ["a"], known("a"))
