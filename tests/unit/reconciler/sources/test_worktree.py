"""A work tree is read as its commit would be."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from maculaos.errors import UsageError
from reconciler.sources.git import GitSource
from reconciler.sources.tree import TreeLimits
from reconciler.sources.worktree import read_work_tree
from upstream import Upstream

if TYPE_CHECKING:
    from pathlib import Path


def test_work_tree_and_its_commit_read_the_same(tmp_path: Path) -> None:
    upstream = Upstream(tmp_path)
    upstream.commit(
        {
            "realm.yaml": "a",
            "README.md": "b",
            "nodes/n1.yaml": "c",
            "nodes/deep/n2.yaml": "d",
            "Apps/x.yml": "e",
            "docs/y.yaml": "f",
        }
    )
    git = GitSource(str(upstream.path), "main", tmp_path)
    committed = git.tree(git.fetch())
    assert read_work_tree(upstream.work) == committed
    (upstream.work / "nodes/n3.yaml").symlink_to("/etc/passwd")
    upstream.record()
    assert read_work_tree(upstream.work) == git.tree(git.fetch())
    assert read_work_tree(upstream.work).unreadable


def test_beyond_the_limits_nothing_is_read(tmp_path: Path) -> None:
    (tmp_path / "nodes").mkdir()
    for number in range(5):
        (tmp_path / f"nodes/n{number}.yaml").write_text("x" * 10)
    assert not read_work_tree(tmp_path).problems
    assert len(read_work_tree(tmp_path, TreeLimits(file_bytes=9)).unreadable) == 5
    for limits in (TreeLimits(files=4), TreeLimits(total_bytes=49)):
        assert read_work_tree(tmp_path, limits).problems


def test_missing_folder_is_told(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="No such file"):
        read_work_tree(tmp_path / "nowhere")
