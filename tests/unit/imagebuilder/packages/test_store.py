"""The content store: files by what is in them."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from imagebuilder.packages.store import ContentStore
from maculaos.errors import UsageError

if TYPE_CHECKING:
    from pathlib import Path


@given(pieces=st.lists(st.binary(max_size=50), max_size=5))
def test_content_lies_under_its_sum(
    pieces: list[bytes], tmp_path_factory: pytest.TempPathFactory
) -> None:
    content = b"".join(pieces)
    sha256, path = ContentStore(tmp_path_factory.mktemp("store")).add(pieces, 1000)
    assert path.read_bytes() == content
    assert sha256 == path.name == hashlib.sha256(content).hexdigest()


def test_same_content_lies_once(tmp_path: Path) -> None:
    store = ContentStore(tmp_path)
    assert store.add_bytes(b"x") == store.add([b"", b"x"], 1)[1]
    assert len([path for path in tmp_path.rglob("*") if path.is_file()]) == 1


def test_too_much_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="more than 3 bytes"):
        ContentStore(tmp_path).add([b"12", b"34"], 3)
    assert not list(tmp_path.iterdir())
