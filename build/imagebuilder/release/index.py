"""Entries kept as a file, so that a set that was read once is not read again.

One JSON object a line. An index is only of use while the bytes that it names are in the store;
``read_index`` tells.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from imagebuilder.entries import Entry, Kind
from imagebuilder.release.archive import read_set
from maculaos.host.files import write_atomically

if TYPE_CHECKING:
    from collections.abc import Iterable

    from imagebuilder.packages.store import ContentStore


def encode_entry(entry: Entry) -> str:
    """One line of an index; fields that say nothing are left out."""
    fields: dict[str, Any] = {
        "path": entry.path,
        "kind": str(entry.kind),
        "mode": entry.mode,
        "owner": entry.owner,
        "group": entry.group,
        "flags": list(entry.flags),
        "target": entry.target,
        "source": "" if entry.source is None else str(entry.source),
        "same_as": entry.same_as,
    }
    needed = ("path", "kind", "mode", "owner", "group")
    return json.dumps({name: value for name, value in fields.items() if value or name in needed})


def decode_entry(line: str) -> Entry:
    """The entry of a line; raises ``ValueError`` or ``KeyError`` if it is none."""
    fields = json.loads(line)
    source = fields.pop("source", "")
    flags = tuple(fields.pop("flags", ()))
    kind = Kind(fields.pop("kind"))
    return Entry(kind=kind, flags=flags, source=Path(source) if source else None, **fields)


def write_index(path: Path, entries: Iterable[Entry]) -> None:
    """Keep the entries."""
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(path, "".join(f"{encode_entry(entry)}\n" for entry in entries).encode())


def read_index(path: Path) -> list[Entry] | None:
    """The entries; None if there is no index, it is damaged, or bytes that it names are gone."""
    try:
        entries = [decode_entry(line) for line in path.read_text().splitlines()]
    except (OSError, ValueError, KeyError, TypeError):
        return None
    complete = all(entry.source is None or entry.source.is_file() for entry in entries)
    return entries if entries and complete else None


def indexed_set(archive: Path, sha256: str, store: ContentStore, folder: Path) -> list[Entry]:
    """The entries of a set whose hash is known: from the index in ``folder``, else by reading it.

    Raises ``BadArchive`` as ``read_set`` does.
    """
    index = folder / f"{sha256}.jsonl"
    entries = read_index(index)
    if entries is None:
        entries = read_set(archive, store)
        write_index(index, entries)
    return entries
