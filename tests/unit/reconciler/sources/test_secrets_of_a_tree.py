"""Encrypted files of a commit: only those that specs name are read, and within limits."""

from __future__ import annotations

from typing import TYPE_CHECKING

from reconciler.sources.git import GitSource
from reconciler.sources.tree import SECRETS_MAX, Tree, TreeLimits, named_secrets
from reconciler.sources.worktree import read_work_tree
from upstream import Upstream

if TYPE_CHECKING:
    from pathlib import Path

SPEC = "environment: {P: {secret: s/a.age}, Q: {secret: b/c/d.sops.yaml, key: k}, R: 's/none.age'}"


def both(upstream: Upstream, folder: Path, limits: TreeLimits) -> tuple[Tree, Tree]:
    git = GitSource(str(upstream.path), "main", folder, limits=limits)
    return git.tree(git.fetch()), read_work_tree(upstream.work, limits)


def test_only_named_files_are_read_wherever_they_lie(tmp_path: Path) -> None:
    upstream = Upstream(tmp_path)
    secrets = {"s/a.age": b"\x00a\xff", "b/c/d.sops.yaml": b"d: e\n"}
    upstream.commit({"apps/x.yaml": SPEC, **secrets, "s/other.age": "o", ".sops.yaml": "keys"})
    committed, written = both(upstream, tmp_path, TreeLimits())
    assert committed == written
    assert committed.secrets == secrets
    assert not committed.unreadable


def test_what_is_no_file_or_too_large_is_a_problem_of_its_own(tmp_path: Path) -> None:
    upstream = Upstream(tmp_path)
    upstream.commit({"apps/x.yaml": SPEC, "s/a.age": b"x" * 2000, "b/c/d.sops.yaml": "d"})
    limits = TreeLimits(secret_bytes=1000)
    committed, written = both(upstream, tmp_path, limits)
    assert committed == written
    assert [(p.path, p.what) for p in committed.unreadable] == [
        ("s/a.age", "the file has 2000 bytes, at most 1000 are read")
    ]
    assert committed.secrets == {"b/c/d.sops.yaml": b"d"}
    (upstream.work / "s/a.age").unlink()
    (upstream.work / "s/a.age").symlink_to("/etc/passwd")
    upstream.record()
    committed, written = both(upstream, tmp_path, limits)
    assert committed.unreadable == written.unreadable
    assert "link" in committed.unreadable[0].what


def test_a_folder_that_is_a_link_is_not_entered(tmp_path: Path) -> None:
    work, outside = tmp_path / "work", tmp_path / "outside"
    (work / "apps").mkdir(parents=True)
    outside.mkdir()
    (outside / "a.age").write_text("elsewhere")
    (work / "apps/x.yaml").write_text(SPEC)
    (work / "s").symlink_to(outside)
    assert read_work_tree(work).secrets == {}


def test_together_they_have_a_bound(tmp_path: Path) -> None:
    upstream = Upstream(tmp_path)
    upstream.commit({"apps/x.yaml": SPEC, "s/a.age": b"x" * 600, "b/c/d.sops.yaml": b"y" * 600})
    committed, _ = both(upstream, tmp_path, TreeLimits(total_bytes=1000))
    assert len(committed.secrets) == 1
    assert "together" in committed.unreadable[0].what


def test_names_that_no_secret_can_have_are_not_looked_for() -> None:
    said = b"../x.age /etc/y.age .hidden.age a/.sops.yaml x.agee x.age.bak y.sops.yaml.txt z.age,"
    assert named_secrets([said]) == ("z.age",)
    many = " ".join(f"s/{number}.age" for number in range(2 * SECRETS_MAX)).encode()
    assert len(named_secrets([many])) == SECRETS_MAX
