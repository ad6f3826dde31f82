"""What a Git host takes as a request, and that no name leads out of its folder."""

from __future__ import annotations

import posixpath

import pytest
from hypothesis import given
from hypothesis import strategies as st

from maculaos.errors import UsageError
from reconciler.hosting.forced import asked_of
from reconciler.hosting.requests import (
    GitRequest,
    NotServed,
    Service,
    check_name,
    parse_http,
    parse_ssh,
)

HOSTILE = [
    "",
    ".",
    "..",
    "../etc",
    "a/../b",
    "a//b",
    "/a",
    "a/",
    "-x",
    "a/-x",
    ".hidden",
    "a.git",
    "a.git/b",
    "a.lock",
    "a.",
    "a b",
    "a\n",
    "a%2e",
    "a\\b",
    "a/b/c/d",
    "x" * 65,
    "é",
    "$(id)",
]


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_names_are_refused(name: str) -> None:
    with pytest.raises(ValueError, match="cannot name"):
        check_name(name)
    with pytest.raises(NotServed):
        parse_http("GET", f"/{name}.git/info/refs", "service=git-upload-pack")
    if name not in {"a.git", "/a"}:  # ssh may write both ends, or leave them out
        with pytest.raises(NotServed):
            parse_ssh(f"git-upload-pack '{name}'")


@given(st.text("ab./-_%~ '\\", max_size=12))
def test_no_name_climbs(name: str) -> None:
    try:
        check_name(name)
    except ValueError:
        return
    assert posixpath.normpath(f"/root/{name}.git") == f"/root/{name}.git"


def test_the_smart_protocol_is_served() -> None:
    read, write = Service.READ, Service.WRITE
    refs = "/ada/site.git/info/refs"
    assert parse_http("GET", refs, f"service={read}") == GitRequest("ada/site", read, True)
    assert parse_http("GET", refs, f"service={write}") == GitRequest("ada/site", write, True)
    assert parse_http("POST", f"/site.git/{write}", "") == GitRequest("site", write)


@pytest.mark.parametrize(
    ("method", "path", "query", "status"),
    [
        ("GET", "/site.git/HEAD", "", 404),
        ("GET", "/site.git/objects/info/packs", "", 404),
        ("GET", "/site.git/config", "", 404),
        ("GET", "/site.git/info/refs", "", 403),
        ("GET", "/site.git/info/refs", "service=git-upload-archive", 403),
        ("GET", "/site.git/info/refs", "service=git-upload-pack&x=y", 403),
        ("POST", "/site.git/info/refs", "service=git-upload-pack", 405),
        ("GET", "/site.git/git-upload-pack", "", 405),
        ("POST", "/site.git/git-upload-archive", "", 404),
        ("GET", "/site/info/refs", "service=git-upload-pack", 404),
    ],
)
def test_nothing_else_is(method: str, path: str, query: str, status: int) -> None:
    with pytest.raises(NotServed) as refused:
        parse_http(method, path, query)
    assert refused.value.status == status


@pytest.mark.parametrize("path", ["site", "/site", "site.git", "/site.git"])
def test_ssh_names_a_repository_in_quotes(path: str) -> None:
    assert parse_ssh(f"git-upload-pack '{path}'") == GitRequest("site", Service.READ)
    assert parse_ssh(f"git receive-pack '{path}'") == GitRequest("site", Service.WRITE)


@pytest.mark.parametrize(
    "command",
    [
        "",
        "sh",
        "git-upload-pack site",
        "git-upload-pack 'site'; id",
        "git-upload-pack 'site' '--x'",
        "git-upload-pack  'site'",
        "git-upload-archive 'site'",
        "git-upload-pack --upload-pack=id 'site'",
        "git-upload-pack 'a'\\''b'",
        "git-upload-pack 'site'\n",
    ],
)
def test_ssh_runs_no_other_command(command: str) -> None:
    with pytest.raises(NotServed):
        parse_ssh(command)


def test_a_key_reaches_what_its_line_says() -> None:
    read, write = "git-upload-pack 'site'", "git-receive-pack 'site'"
    assert asked_of(read, may_write=False, names=()).service is Service.READ
    assert asked_of(write, may_write=True, names=("site",)).service is Service.WRITE
    with pytest.raises(UsageError, match="only read"):
        asked_of(write, may_write=False, names=())
    with pytest.raises(UsageError, match="no repository"):
        asked_of(read, may_write=True, names=("other",))
