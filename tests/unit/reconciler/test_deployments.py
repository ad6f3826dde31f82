"""Deployments on disk: what was kept is read again, and damage is told with a way out."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from maculaos.errors import UsageError
from reconciler.deployments import DEPLOYMENTS, Deployments
from reconciler.rollouts.deployment import Deployment, Placed, Rejection
from reconciler.rollouts.instances import Colour

if TYPE_CHECKING:
    from pathlib import Path

ONE = Deployment(
    stable="a" * 64,
    live=Colour.GREEN,
    placed=(Placed(colour=Colour.GREEN, index=1, digest="a" * 64),),
    rejected=(Rejection(digest="b" * 64, reason='it said "no"\n'),),
)


def test_what_was_kept_is_read_again(tmp_path: Path) -> None:
    kept = Deployments(tmp_path)
    assert kept.known() == {}
    kept.keep({"shop": ONE, "echo": Deployment()})
    kept.keep({"shop": ONE, "web": Deployment(is_paused=True)})
    assert Deployments(tmp_path).known() == {"shop": ONE, "web": Deployment(is_paused=True)}


def test_nothing_is_written_where_nothing_changed(tmp_path: Path) -> None:
    kept = Deployments(tmp_path)
    kept.keep({"shop": ONE})
    (tmp_path / DEPLOYMENTS).unlink()
    kept.keep({"shop": ONE})
    assert not (tmp_path / DEPLOYMENTS).exists()


@pytest.mark.parametrize(
    "content", [b"{", b"[]\n", b'{"app": "shop"}\n', b'{"app":"a","deployment":{"x":1}}\n']
)
def test_file_that_cannot_be_read_is_named_with_a_way_out(tmp_path: Path, content: bytes) -> None:
    (tmp_path / DEPLOYMENTS).write_bytes(content)
    with pytest.raises(UsageError, match=r"deployments.jsonl.*move the file away"):
        Deployments(tmp_path).known()
