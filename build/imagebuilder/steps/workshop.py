"""The workshop: what all steps of one build share, and how they pass entries to each other."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from imagebuilder.disk.signature import SigningKey
from imagebuilder.order import Order
from imagebuilder.packages.store import ContentStore
from imagebuilder.release.download import Downloader
from imagebuilder.release.index import read_index
from maculaos.errors import LocalProtocolError

if TYPE_CHECKING:
    from pathlib import Path

    from imagebuilder.entries import Entry


@dataclass(frozen=True, slots=True, kw_only=True)
class Workshop:
    """One build: its order, its tools, and the content that outlives it."""

    order: Order
    store: ContentStore
    downloader: Downloader
    key: SigningKey

    @property
    def indexes(self) -> Path:
        """What was read of sets, by their digest."""
        return self.order.cache / "index"


def entries_in(path: Path) -> list[Entry]:
    """The entries that an earlier step wrote."""
    entries = _read(path)
    if entries is None:
        raise LocalProtocolError(f"{path} cannot be read: whether it can was asked before")
    return entries


def are_readable(folder: Path) -> bool:
    """Whether every list of entries in ``folder`` and the bytes that it names are there."""
    return all(_read(path) is not None for path in folder.glob("*.jsonl"))


def _read(path: Path) -> list[Entry] | None:
    # An index without entries counts as none; an overlay may well be empty.
    return read_index(path) if path.stat().st_size else []


def write_json(path: Path, content: Any) -> None:
    """Write ``content`` the same way each time."""
    path.write_text(json.dumps(content, indent=2, sort_keys=True) + "\n")


def read_json(path: Path) -> Any:
    """What ``write_json`` wrote."""
    return json.loads(path.read_text())
