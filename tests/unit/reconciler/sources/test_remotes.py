"""Several remotes: whose head counts, what is told, and when each is asked again."""

from __future__ import annotations

import shutil
from random import Random
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gitservers import HttpsGit, needs_backend
from reconciler.convergence import Backoff
from reconciler.sources.following import Follower
from reconciler.sources.git import GitSource, Revision
from reconciler.sources.remotes import (
    OPEN,
    Access,
    Asked,
    Remote,
    Roster,
    choose_head,
    fallback_name,
    remotes_of,
)
from reconciler.sources.unreachable import EmptyRepository, SourceUnreachable
from upstream import Upstream

if TYPE_CHECKING:
    from pathlib import Path

BACKOFF = Backoff(base_s=10.0, max_s=100.0)
NAMES = ("origin", "second", "third")
REMOTES = tuple(Remote(name, f"/srv/{name}") for name in NAMES)
FAILED = SourceUnreachable("nobody answers", "")


def is_ancestor(older: str, newer: str) -> bool:
    """Heads are paths in a tree of commits: ``ab`` contains ``a``."""
    return newer.startswith(older)


def chosen(answered: dict[str, str], remembered: dict[str, str] | None = None) -> tuple[str, int]:
    found = choose_head(REMOTES, answered, remembered or {}, is_ancestor)
    assert found is not None
    return found.head, len(found.notices)


def test_newest_head_by_ancestry_wins_wherever_it_is() -> None:
    assert chosen({"origin": "ab", "second": "abc", "third": "a"}) == ("abc", 0)


def test_mirror_that_is_behind_takes_nothing_back() -> None:
    assert chosen({"second": "a"}, {"origin": "ab"}) == ("ab", 0)


def test_first_remote_wins_where_histories_part_and_it_is_told() -> None:
    assert chosen({"origin": "ax", "second": "ay"}) == ("ax", 1)


def test_remote_that_answers_wins_over_one_that_is_only_remembered() -> None:
    assert chosen({"second": "ay"}, {"origin": "ax"}) == ("ay", 1)


def test_no_head_is_no_choice() -> None:
    assert choose_head(REMOTES, {}, {}, is_ancestor) is None


@given(
    answered=st.dictionaries(st.sampled_from(NAMES), st.text("ab", min_size=1, max_size=4)),
    remembered=st.dictionaries(st.sampled_from(NAMES), st.text("ab", min_size=1, max_size=4)),
)
def test_nobody_is_ahead_of_the_choice(
    answered: dict[str, str], remembered: dict[str, str]
) -> None:
    found = choose_head(REMOTES, answered, remembered, is_ancestor)
    heads = {**remembered, **answered}
    assert (found is None) == (not heads)
    if found is not None:
        assert heads[found.remote] == found.head
        assert not [h for h in heads.values() if h != found.head and is_ancestor(found.head, h)]
        parted = [h for h in heads.values() if not is_ancestor(h, found.head)]
        assert len(found.notices) == len(parted)


def roster() -> Roster:
    return Roster(REMOTES, BACKOFF, Random(1))


def test_remote_that_failed_is_left_out_alone_and_for_a_while() -> None:
    one = roster()
    assert one.due(0.0) == NAMES
    asked = (Asked("origin", error=FAILED), Asked("second", "a"), Asked("third", "a"))
    one.heard(asked, 100.0)
    first = one.statuses[0]
    assert (first.failures, first.error, first.head) == (1, "nobody answers", None)
    assert first.retry_at is not None
    assert 100.0 <= first.retry_at <= 110.0
    assert one.due(100.0) == NAMES[1:]
    assert one.due(first.retry_at) == NAMES
    assert one.due(100.0, is_forced=True) == NAMES
    # A clock that was set back keeps nobody out.
    assert one.due(50.0) == NAMES


def test_if_all_failed_all_are_asked() -> None:
    one = roster()
    one.heard([Asked(name, error=FAILED) for name in NAMES], 100.0)
    assert one.due(100.0) == NAMES


def test_answer_ends_the_wait_and_failures_in_a_row_are_counted() -> None:
    one = roster()
    for _ in range(3):
        one.heard([Asked("origin", error=FAILED)], 100.0)
    assert one.statuses[0].failures == 3
    one.heard([Asked("origin", "a")], 200.0)
    status = one.statuses[0]
    assert (status.failures, status.error, status.ok_at, status.head) == (0, "", 200.0, "a")


def test_fallback_keeps_its_name_wherever_it_stands() -> None:
    one, other = ("/srv/a", OPEN), ("/srv/b", OPEN)
    names = {r.url: r.name for r in remotes_of("/srv/x", OPEN, [one, other])}
    assert names == {r.url: r.name for r in remotes_of("/srv/x", OPEN, [other, one])}
    assert names["/srv/x"] == "origin"
    assert names["/srv/a"] == fallback_name("/srv/a") != names["/srv/b"]


# With real git.


@pytest.fixture
def upstream(tmp_path: Path) -> Upstream:
    return Upstream(tmp_path)


def mirrored(upstream: Upstream, folder: Path) -> Path:
    """A copy of the upstream as it is now."""
    mirror = folder / "mirror.git"
    shutil.rmtree(mirror, ignore_errors=True)
    shutil.copytree(upstream.path, mirror)
    return mirror


def source(upstream: Upstream, mirror: Path, state: Path) -> GitSource:
    remotes = remotes_of(str(upstream.path), OPEN, [(str(mirror), OPEN)])
    return GitSource(remotes, "main", state)


def test_mirror_stands_in_and_never_takes_back(upstream: Upstream, tmp_path: Path) -> None:
    upstream.commit({"realm.yaml": "1"})
    mirror = mirrored(upstream, tmp_path)
    newest = upstream.commit({"realm.yaml": "2"})
    git = source(upstream, mirror, tmp_path)
    assert git.fetch() == newest
    upstream.hide()
    assert git.fetch() == newest
    assert git.tree(Revision(newest)).files == {"realm.yaml": b"2"}
    upstream.show()
    later = upstream.commit({"realm.yaml": "3"})
    mirrored(upstream, tmp_path)
    upstream.hide()
    assert git.fetch() == git.tip() == later


def test_all_remotes_gone_is_told_once(upstream: Upstream, tmp_path: Path) -> None:
    upstream.commit({"realm.yaml": "1"})
    git = source(upstream, tmp_path / "nowhere.git", tmp_path)
    git.fetch()
    upstream.hide()
    with pytest.raises(SourceUnreachable, match=r"upstream.git: .*1 more of the remotes failed"):
        git.fetch()


def test_empty_mirror_does_not_hide_why_the_first_failed(
    upstream: Upstream, tmp_path: Path
) -> None:
    mirror = mirrored(upstream, tmp_path)
    git = source(upstream, mirror, tmp_path)
    with pytest.raises(EmptyRepository):
        git.fetch()
    upstream.hide()
    with pytest.raises(SourceUnreachable, match=r"upstream.git: there is no repository"):
        git.fetch()


def test_follower_tells_parted_remotes_and_rewrites(upstream: Upstream, tmp_path: Path) -> None:
    old = upstream.commit({"realm.yaml": "1"})
    mirror = mirrored(upstream, tmp_path)
    git = source(upstream, mirror, tmp_path)
    follower = Follower(git, Roster(git.remotes, BACKOFF, Random(1)))
    assert follower.fetch(None, 0.0, is_forced=False) == (old, "")
    new = upstream.rewrite({"realm.yaml": "2"})
    tip, notice = follower.fetch(old, 1.0, is_forced=False)
    assert tip == new
    assert "has another history than" in notice
    assert f"was rewritten: {old[:10]} is no part of it now" in notice
    assert [status.head for status in follower.statuses] == [new, old]


@needs_backend
def test_partial_clone_goes_on_from_a_mirror_in_full(upstream: Upstream, tmp_path: Path) -> None:
    upstream.git("config", "uploadpack.allowFilter", "true", cwd=upstream.path)
    upstream.commit({"realm.yaml": "1", "nodes/n1.yaml": "a", "docs/x": "x" * 1000})
    server = HttpsGit(tmp_path)
    try:
        first = (server.url(upstream.path), Access(ca_file=server.ca_file))
        remotes = remotes_of(*first, [(str(tmp_path / "mirror.git"), OPEN)])
        git = GitSource(remotes, "main", tmp_path)
        git.fetch()
        newest = upstream.commit({"nodes/n1.yaml": "b"})
        mirrored(upstream, tmp_path)
    finally:
        server.close()
    assert git.fetch() == newest
    # What the server kept back comes from the mirror now.
    files = git.tree(Revision(newest)).files
    assert files == {"realm.yaml": b"1", "nodes/n1.yaml": b"b"}
    # The settings may name the mirror alone one day.
    (tmp_path / "mirror.git").rename(tmp_path / "only.git")
    alone = GitSource(str(tmp_path / "only.git"), "main", tmp_path)
    later = upstream.commit({"docs/x": "y"})
    upstream.git("push", "--quiet", str(tmp_path / "only.git"), "main", cwd=upstream.work)
    assert alone.fetch() == later
