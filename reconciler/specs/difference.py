"""What differs between two desired states, item by item and key by key. Pure; for who reviews.

It compares what the items mean after profiles, overlays, templates and defaults, so a change of
``realm.yaml`` shows in every node that it changes, and one of a comment nowhere. Secrets are not
in items, only the names of their files.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from reconciler.specs.items import encode_item

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from reconciler.specs.desired import Desired
    from reconciler.specs.items import Item


class Verb(StrEnum):
    """What happens to an item."""

    ADDED = "added"
    REMOVED = "removed"
    CHANGED = "changed"
    MOVED = "moved"
    BROKEN = "broken"  # it was whole before
    MENDED = "mended"


@dataclass(frozen=True, slots=True)
class Entry:
    """One key with a dotted path; None on a side where it is not said."""

    path: str
    before: Any
    after: Any

    def describe(self) -> str:
        """One line for people."""
        if self.before is None:
            return f"+ {self.path}: {_shown(self.after)}"
        if self.after is None:
            return f"- {self.path}: {_shown(self.before)}"
        return f"~ {self.path}: {_shown(self.before)} -> {_shown(self.after)}"


@dataclass(frozen=True, slots=True)
class Change:
    """One item that differs."""

    key: str
    verb: Verb
    entries: tuple[Entry, ...] = ()
    # The former key of an item that moved.
    former: str = ""

    def as_json(self) -> dict[str, Any]:
        """For programs."""
        entries = [{"path": e.path, "before": e.before, "after": e.after} for e in self.entries]
        return {
            "item": self.key,
            "change": str(self.verb),
            "former": self.former,
            "entries": entries,
        }


def difference(before: Desired, after: Desired) -> tuple[Change, ...]:
    """The changes from one to the other, by key; empty if both mean the same."""
    keys = {*before.items, *after.items, *before.broken, *after.broken}
    moved = {new: old for new, old in after.moved.items() if old in before.items}
    gone = frozenset(moved.values()) - after.items.keys()
    changes = (_change(key, before, after, moved) for key in sorted(keys - gone))
    return tuple(change for change in changes if change is not None)


def _change(key: str, before: Desired, after: Desired, moved: Mapping[str, str]) -> Change | None:
    old, new = before.items.get(key), after.items.get(key)
    if key in after.broken:
        return None if key in before.broken else Change(key, Verb.BROKEN)
    if key in before.broken:
        return Change(key, Verb.MENDED if new is not None else Verb.REMOVED)
    former = moved.get(key, "") if old is None else ""
    if former:
        return Change(key, Verb.MOVED, _entries(before.items[former], new), former)
    if old is None:
        return Change(key, Verb.ADDED, _entries(None, new))
    if new is None:
        return Change(key, Verb.REMOVED)
    return Change(key, Verb.CHANGED, _entries(old, new)) if old.digest != new.digest else None


def _entries(old: Item | None, new: Item | None) -> tuple[Entry, ...]:
    return tuple(_compared("", _spec(old), _spec(new)))


def _spec(item: Item | None) -> dict[str, Any]:
    if item is None:
        return {}
    spec: dict[str, Any] = json.loads(encode_item(item))["spec"]
    # Known by the key already.
    return {key: value for key, value in spec.items() if key not in {"version", "name"}}


def _compared(path: str, old: Any, new: Any) -> Iterator[Entry]:
    if isinstance(old, dict) or isinstance(new, dict):
        ours, theirs = old or {}, new or {}
        for key in sorted({*ours, *theirs}):
            yield from _compared(f"{path}.{key}" if path else key, ours.get(key), theirs.get(key))
    elif old != new:
        yield Entry(path, old, new)


def _shown(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)
