"""Tokens: kept as hashes, found in constant work, believed only from a private file."""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from maculaos.errors import UsageError
from maculaos.host.entropy import SeededEntropy
from reconciler.hosting.repositories import Repositories
from reconciler.hosting.requests import GitRequest, Service
from reconciler.hosting.tokens import bearer, make_record, new_token, token_in

if TYPE_CHECKING:
    from pathlib import Path

READ, WRITE = GitRequest("site", Service.READ), GitRequest("site", Service.WRITE)


@given(st.lists(st.binary(min_size=32, max_size=32), min_size=1, max_size=5, unique=True))
def test_a_token_finds_its_record_and_no_other(drawn: list[bytes]) -> None:
    tokens = [new_token(one) for one in drawn]
    records = [
        make_record(f"t{n}", token, may_write=False, repositories=())
        for n, token in enumerate(tokens)
    ]
    for record, token in zip(records, tokens, strict=True):
        assert bearer(records, token) == record
        assert token not in str(record)
    for wrong in ("", "x", tokens[0][:-1], tokens[0] + "A"):
        assert bearer(records, wrong) is None


def test_access_and_repositories_bound_a_token() -> None:
    reader = make_record("r", "x", may_write=False, repositories=())
    writer = make_record("w", "y", may_write=True, repositories=("other",))
    assert reader.allows(READ)
    assert not reader.allows(WRITE)
    assert not writer.allows(READ)
    assert writer.allows(GitRequest("other", Service.WRITE))


@pytest.mark.parametrize(
    ("header", "token"),
    [
        ("Bearer abc", "abc"),
        ("bearer abc ", "abc"),
        ("Basic " + base64.b64encode(b"ada:abc").decode(), "abc"),
        ("Basic " + base64.b64encode(b"ada:a:b").decode(), "a:b"),
        ("Basic %%%", ""),
        ("Digest abc", ""),
        ("", ""),
    ],
)
def test_a_request_carries_its_token(header: str, token: str) -> None:
    assert token_in({"authorization": header}) == token


def test_the_file_is_private_and_holds_no_token(tmp_path: Path) -> None:
    host = Repositories(tmp_path / "git")
    entropy = SeededEntropy(1)
    token = host.add_token("ada", may_write=True, repositories=(), entropy=entropy)
    file = tmp_path / "git" / "tokens.json"
    assert file.stat().st_mode & 0o777 == 0o600
    assert token not in file.read_text()
    assert bearer(host.tokens(), token) is not None
    with pytest.raises(UsageError, match="already"):
        host.add_token("ada", may_write=True, repositories=(), entropy=entropy)
    host.remove_token("ada")
    assert bearer(host.tokens(), token) is None
    file.chmod(0o644)
    with pytest.raises(UsageError, match="read by others"):
        host.tokens()


def test_a_repository_behind_a_link_is_none(tmp_path: Path) -> None:
    host = Repositories(tmp_path / "git")
    made = host.create("ada/site")
    assert host.find("ada/site") == made
    (tmp_path / "git" / "link.git").symlink_to(made)
    (tmp_path / "git" / "eve").symlink_to(tmp_path / "git" / "ada")
    for name in ("link", "eve/site", "none"):
        with pytest.raises(UsageError, match="no repository"):
            host.find(name)
    with pytest.raises(UsageError, match="exists"):
        host.create("ada/site")
