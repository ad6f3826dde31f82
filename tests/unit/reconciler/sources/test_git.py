"""Laws of the Git source: what it reads, what it refuses, what it survives."""

from __future__ import annotations

import os
import socket
import threading
import time
from typing import TYPE_CHECKING

import pytest

from maculaos.errors import UsageError
from reconciler.sources.git import GitSource, Revision
from reconciler.sources.tree import TreeLimits
from reconciler.sources.unreachable import (
    DamagedClone,
    EmptyRepository,
    SourceUnreachable,
    redacted,
    unreachable,
)
from upstream import Upstream

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

REALM = "version: 1\nname: demo\n"


@pytest.fixture
def upstream(tmp_path: Path) -> Upstream:
    return Upstream(tmp_path)


def source(upstream: Upstream, state: Path, **options: object) -> GitSource:
    return GitSource(str(upstream.path), "main", state, **options)  # type: ignore[arg-type]


def test_fetch_returns_the_tip_and_its_files(upstream: Upstream, tmp_path: Path) -> None:
    pushed = upstream.commit({"realm.yaml": REALM, "nodes/n1.yaml": "a: 1\n", "src/x.yaml": "no"})
    git = source(upstream, tmp_path)
    tip = git.fetch()
    assert tip == pushed == git.tip()
    assert git.tree(tip).files == {"realm.yaml": REALM.encode(), "nodes/n1.yaml": b"a: 1\n"}


def test_tree_holds_binary_blobs_unchanged(upstream: Upstream, tmp_path: Path) -> None:
    content = bytes(range(256)) + b"\n\n" + b"x blob 3\nabc\n"
    upstream.commit({"nodes/n1.yaml": content, "nodes/n2.yaml": b""})
    git = source(upstream, tmp_path)
    assert git.tree(git.fetch()).files == {"nodes/n1.yaml": content, "nodes/n2.yaml": b""}


def test_tree_of_an_older_commit_can_still_be_read(upstream: Upstream, tmp_path: Path) -> None:
    old = Revision(upstream.commit({"realm.yaml": "old"}))
    upstream.commit({"realm.yaml": "new"})
    git = source(upstream, tmp_path)
    git.fetch()
    assert git.tree(old).files == {"realm.yaml": b"old"}


def test_misspelt_folders_are_read_too(upstream: Upstream, tmp_path: Path) -> None:
    upstream.commit({"node/n1.yaml": "a", "Apps/x.yaml": "b", "docs/y.yaml": "c"})
    git = source(upstream, tmp_path)
    assert sorted(git.tree(git.fetch()).files) == ["Apps/x.yaml", "node/n1.yaml"]


def test_no_commit_fetched_means_no_tip(upstream: Upstream, tmp_path: Path) -> None:
    assert source(upstream, tmp_path).tip() is None


def test_commit_facts_hold_no_control_characters(upstream: Upstream, tmp_path: Path) -> None:
    upstream.commit({"a": "1"}, subject="red \x1b[31m alarm\x07" + "x" * 500 + "\n\nbody")
    git = source(upstream, tmp_path)
    commit = git.commit(git.fetch())
    assert commit.subject.startswith("red [31m alarm xxx")
    assert commit.subject.isprintable()
    assert len(commit.subject) == 120
    assert commit.author == "Ada"
    assert abs(commit.time - time.time()) < 60


def test_rewritten_history_is_followed_and_told_apart(upstream: Upstream, tmp_path: Path) -> None:
    first = Revision(upstream.commit({"realm.yaml": "1"}))
    git = source(upstream, tmp_path)
    git.fetch()
    second = Revision(upstream.commit({"realm.yaml": "2"}))
    assert git.fetch() == second
    assert git.is_ancestor(first, second)
    assert not git.is_ancestor(second, first)
    third = Revision(upstream.rewrite({"realm.yaml": "3"}))
    assert git.fetch() == third
    assert not git.is_ancestor(second, third)
    assert git.holds(second)


def test_kept_commit_survives_a_clean_up(upstream: Upstream, tmp_path: Path) -> None:
    kept = Revision(upstream.commit({"realm.yaml": "1"}))
    git = source(upstream, tmp_path)
    git.fetch()
    git.keep(kept)
    upstream.rewrite({"realm.yaml": "2"})
    git.fetch()
    upstream.git("gc", "--quiet", "--prune=now", cwd=tmp_path / "repository.git")
    assert git.tree(kept).files == {"realm.yaml": b"1"}


@pytest.mark.parametrize(("target", "kind"), [("symlink", "symbolic link"), ("submodule", "sub")])
def test_what_is_no_regular_file_is_a_problem(
    upstream: Upstream, tmp_path: Path, target: str, kind: str
) -> None:
    upstream.commit({"realm.yaml": REALM, "nodes/n1.yaml": "a"})
    if target == "symlink":
        (upstream.work / "nodes/n2.yaml").symlink_to("/etc/passwd")
    else:
        elsewhere = "1234567890" * 4
        words = ("update-index", "--add", "--cacheinfo", f"160000,{elsewhere},nodes/n2.yaml")
        (upstream.work / "nodes/n2.yaml").mkdir()
        upstream.git(*words, cwd=upstream.work)
    upstream.record()
    git = source(upstream, tmp_path)
    tree = git.tree(git.fetch())
    assert set(tree.files) == {"realm.yaml", "nodes/n1.yaml"}
    assert [problem.path for problem in tree.unreadable] == ["nodes/n2.yaml"]
    assert kind in tree.unreadable[0].what


@pytest.mark.parametrize("limits", [TreeLimits(files=1), TreeLimits(total_bytes=6)])
def test_beyond_a_limit_nothing_is_read(
    upstream: Upstream, tmp_path: Path, limits: TreeLimits
) -> None:
    upstream.commit({"nodes/n1.yaml": "1234", "nodes/n2.yaml": "1234"})
    git = source(upstream, tmp_path, limits=limits)
    tree = git.tree(git.fetch())
    assert tree.problems
    assert not tree.files


def test_file_beyond_the_limit_is_a_problem_by_itself(upstream: Upstream, tmp_path: Path) -> None:
    upstream.commit({"nodes/n1.yaml": "1234", "nodes/n2.yaml": "12345"})
    git = source(upstream, tmp_path, limits=TreeLimits(file_bytes=4))
    tree = git.tree(git.fetch())
    assert set(tree.files) == {"nodes/n1.yaml"}
    assert [problem.path for problem in tree.unreadable] == ["nodes/n2.yaml"]


def test_missing_repository_says_so(tmp_path: Path) -> None:
    git = GitSource(str(tmp_path / "nowhere.git"), "main", tmp_path)
    with pytest.raises(SourceUnreachable, match=r"nowhere\.git: there is no repository; check"):
        git.fetch()


def test_empty_repository_has_its_own_message(upstream: Upstream, tmp_path: Path) -> None:
    with pytest.raises(EmptyRepository, match="the repository is empty; push a commit to main"):
        source(upstream, tmp_path).fetch()


def test_missing_branch_names_those_that_exist(upstream: Upstream, tmp_path: Path) -> None:
    upstream.commit({"a": "1"})
    git = GitSource(str(upstream.path), "stable", tmp_path)
    with pytest.raises(SourceUnreachable, match=r"no branch 'stable'; .*one of: main"):
        git.fetch()


def test_unreachable_repository_loses_nothing(upstream: Upstream, tmp_path: Path) -> None:
    revision = Revision(upstream.commit({"realm.yaml": REALM}))
    git = source(upstream, tmp_path)
    git.fetch()
    upstream.hide()
    with pytest.raises(SourceUnreachable):
        git.fetch()
    assert git.tip() == revision
    assert git.tree(revision).files
    upstream.show()
    assert git.fetch() == revision


def test_emptied_repository_loses_nothing(upstream: Upstream, tmp_path: Path) -> None:
    revision = Revision(upstream.commit({"realm.yaml": REALM}))
    git = source(upstream, tmp_path)
    git.fetch()
    upstream.empty()
    with pytest.raises(EmptyRepository):
        git.fetch()
    assert git.tree(revision).files


def damage_head(clone: Path) -> None:
    (clone / "HEAD").write_text("garbage\n")


def damage_objects(clone: Path) -> None:
    for file in (clone / "objects").rglob("*"):
        if file.is_file():
            file.chmod(0o600)
            file.write_bytes(b"garbage")


def damage_refs(clone: Path) -> None:
    (clone / "refs/remotes/origin/main").write_text("0" * 39 + "1\n")


@pytest.mark.parametrize("damage", [damage_head, damage_objects, damage_refs])
def test_damaged_clone_is_cloned_again(upstream: Upstream, tmp_path: Path, damage: object) -> None:
    upstream.commit({"realm.yaml": REALM})
    git = source(upstream, tmp_path)
    git.fetch()
    damage(tmp_path / "repository.git")  # type: ignore[operator]
    revision = upstream.commit({"realm.yaml": REALM, "nodes/n1.yaml": "a"})
    assert git.fetch() == revision
    assert set(git.tree(Revision(revision)).files) == {"realm.yaml", "nodes/n1.yaml"}


def test_unreadable_commit_can_be_repaired(upstream: Upstream, tmp_path: Path) -> None:
    revision = Revision(upstream.commit({"realm.yaml": REALM}))
    heard: list[str] = []
    git = source(upstream, tmp_path, note=heard.append)
    git.fetch()
    damage_objects(tmp_path / "repository.git")
    with pytest.raises(DamagedClone):
        git.tree(revision)
    git.repair()
    assert git.tree(revision).files == {"realm.yaml": REALM.encode()}
    assert len(heard) == 1


def test_lock_files_of_a_killed_git_do_not_stop_the_next(
    upstream: Upstream, tmp_path: Path
) -> None:
    upstream.commit({"realm.yaml": "1"})
    git = source(upstream, tmp_path)
    git.fetch()
    clone = tmp_path / "repository.git"
    for name in ("packed-refs.lock", "refs/remotes/origin/main.lock", "config.lock"):
        (clone / name).touch()
    revision = upstream.commit({"realm.yaml": "2"})
    assert git.fetch() == revision


def test_environment_of_the_operator_does_not_redirect(
    upstream: Upstream, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    revision = upstream.commit({"realm.yaml": REALM})
    monkeypatch.setenv("GIT_DIR", "/nowhere")
    monkeypatch.setenv("GIT_WORK_TREE", "/nowhere")
    monkeypatch.setenv("GIT_CONFIG_COUNT", "1")
    monkeypatch.setenv("GIT_CONFIG_KEY_0", "protocol.file.allow")
    monkeypatch.setenv("GIT_CONFIG_VALUE_0", "never")
    assert source(upstream, tmp_path).fetch() == revision


@pytest.mark.parametrize(
    "url",
    ["--upload-pack=touch /tmp/x", "ext::sh -c id", "http://example.test/x", "git://x/y", ""],
)
def test_url_outside_of_the_list_is_refused(tmp_path: Path, url: str) -> None:
    with pytest.raises(UsageError, match="mend repository in the settings"):
        GitSource(url, "main", tmp_path)


@pytest.mark.parametrize("branch", ["-f", "a..b", "a b", "@{-1}", "x.lock", "a//b", "a/", ""])
def test_branch_that_could_be_an_option_or_range_is_refused(tmp_path: Path, branch: str) -> None:
    with pytest.raises(UsageError, match="cannot name a branch"):
        GitSource("/srv/x.git", branch, tmp_path)


def test_password_in_what_git_said_is_never_shown() -> None:
    url = "https://ada:hunter2@example.test/x.git"
    assert redacted(url) == "https://ada:***@example.test/x.git"
    assert "hunter2" not in str(unreachable(url, f"fatal: something odd about {url}"))


def test_named_commits_resolve_and_options_do_not(upstream: Upstream, tmp_path: Path) -> None:
    revision = upstream.commit({"a": "1"})
    git = source(upstream, tmp_path)
    git.fetch()
    assert git.resolve("main") == git.resolve(revision[:8]) == revision
    for named in ("--all", "nothing", "main..main", "a b"):
        with pytest.raises(UsageError, match="names no commit"):
            git.resolve(named)


@pytest.fixture
def silent_server() -> Iterator[int]:
    """The port of a server that accepts and never says a word."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()[1]


def test_silent_server_is_given_up_in_time(tmp_path: Path, silent_server: int) -> None:
    git = GitSource(f"https://127.0.0.1:{silent_server}/x", "main", tmp_path, timeout_s=0.5)
    begun = time.monotonic()
    with pytest.raises(SourceUnreachable, match="does not answer"):
        git.fetch()
    assert time.monotonic() - begun < 10


def test_abort_ends_a_running_fetch_and_refuses_later_ones(
    tmp_path: Path, silent_server: int
) -> None:
    git = GitSource(f"https://127.0.0.1:{silent_server}/x", "main", tmp_path, timeout_s=60)
    timer = threading.Timer(0.3, git.abort)
    timer.start()
    begun = time.monotonic()
    with pytest.raises(SourceUnreachable):
        git.fetch()
    timer.join()
    assert time.monotonic() - begun < 20
    with pytest.raises(SourceUnreachable, match="git was stopped"):
        git.fetch()


def test_no_process_stays_behind(upstream: Upstream, tmp_path: Path) -> None:
    upstream.commit({"realm.yaml": REALM})
    git = source(upstream, tmp_path)
    git.tree(git.fetch())
    with pytest.raises(ChildProcessError):
        os.waitpid(-1, os.WNOHANG)
