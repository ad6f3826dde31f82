"""The estate: what this reconciler owns, and the last good version of each item, on disk.

``inventory.json`` says what was made here (``reconciler.inventory``), ``versions.jsonl`` holds the
items themselves, so that one whose file is broken today goes on as it was, after a restart too.
Both are replaced atomically, versions first: an inventory never names a version that is not there.
The order of a pass is settle, claim, steps, release; whatever is lost in between is settled again.
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, Final

from maculaos.errors import UsageError
from maculaos.host.files import write_atomically
from reconciler.inventory import (
    Claims,
    Guard,
    Inventory,
    Settlement,
    decode_inventory,
    encode_inventory,
    settle,
)
from reconciler.names import item_key
from reconciler.specs.desired import Desired
from reconciler.specs.items import Item, decode_item, encode_item, version_of

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping
    from pathlib import Path

INVENTORY: Final = "inventory.json"
VERSIONS: Final = "versions.jsonl"
MOST_VERSIONS: Final = 20_000


@dataclass(frozen=True, slots=True)
class Tenure:
    """What one commit comes to on this machine."""

    # With the last good version in the place of what is broken.
    desired: Desired
    settlement: Settlement

    def kept(self, found: Iterable[str]) -> frozenset[str]:
        """Of the jails that were found those that nothing is known to do about: left as they are.

        They are not ours, or wait for consent, or are broken and their good version is lost.
        """
        known = self.settlement.removals | self.desired.items.keys()
        return frozenset(jail for jail in found if item_key(jail) not in known)


class Estate:
    """The two files in ``state_dir``; only the holder of the lock writes."""

    def __init__(self, folder: Path, guard: Guard) -> None:
        self._folder = folder
        self._guard = guard
        self._inventory: Inventory | None = None
        # By digest; and as they are written, because writing all of them anew is the costly part.
        self._items: dict[str, Item] = {}
        self._lines: dict[str, bytes] = {}
        # Items that are not owned any more and still run, or may be gone back to.
        self._held: frozenset[str] = frozenset()
        # By digest of the item; working one out is costly.
        self._versions: dict[str, str] = {}
        self._on_disk: frozenset[str] = frozenset()

    @property
    def owned(self) -> Collection[str]:
        """The keys of all that was made here and is not gone yet."""
        return self._owned().owned.keys()

    def versions(self) -> Mapping[str, Item]:
        """Every app that is kept, by its version."""
        self._owned()
        kept = (item for item in self._items.values() if item.kind == "app")
        return MappingProxyType({self.version(item): item for item in kept})

    def settle(self, desired: Desired, *, has_consent: bool = False) -> Tenure:
        """What ``desired`` comes to; writes nothing.

        ``has_consent``: whether an operator consented to the removals of this commit. Raises
        ``UsageError`` if what is owned cannot be read.
        """
        readable = {key: item.digest for key, item in desired.items.items()}
        broken = frozenset(desired.broken) - readable.keys()
        claims = Claims(readable=readable, broken=broken, moved=desired.moved)
        settlement = settle(self._owned(), claims, self._guard, has_consent=has_consent)
        past = {settlement.wanted[key] for key in broken & settlement.wanted.keys()}
        kept = (self._items[digest] for digest in past & self._items.keys())
        return Tenure(desired.keeping(kept), settlement)

    def claim(self, tenure: Tenure, named: Collection[str] = ()) -> None:
        """Write down what is about to be made, before it is; raises ``OSError`` if it cannot be.

        ``named`` are versions of apps that are to be kept as well.
        """
        for item in tenure.desired.items.values():
            if item.digest not in self._items:
                self._items[item.digest], self._lines[item.digest] = item, encode_item(item)
        before = self._owned()
        after = before.claiming(tenure.settlement)
        held = self._holding(after, named)
        if after != before or not held <= self._on_disk:
            self._write(before, after, held)
        self._held = held

    def release(self, tenure: Tenure, found: Collection[str]) -> None:
        """Forget what was to go and is not among the jails that were found; raises ``OSError``."""
        there = {item_key(jail) for jail in found}
        to_go = tenure.settlement.removals | frozenset(tenure.settlement.moves.values())
        gone = (to_go - there) & self._owned().owned.keys()
        if gone:
            before = self._owned()
            self._write(before, before.releasing(gone), self._held)

    def _holding(self, owned: Inventory, named: Collection[str]) -> frozenset[str]:
        """The items by which versions are kept that no owned item has; one for each."""
        current = frozenset(owned.owned.values())
        had = {self.version(self._items[digest]) for digest in current & self._items.keys()}
        kept = self.versions()
        return frozenset(kept[version].digest for version in {*named} - had if version in kept)

    def _write(self, before: Inventory, after: Inventory, held: frozenset[str]) -> None:
        # What the files on disk still name stays until they are replaced: the inventory's, and
        # those of rollouts, which are written after this.
        former = frozenset(before.owned.values()) | self._held
        versions = frozenset(after.owned.values()) | held
        if not versions <= self._on_disk:
            self._write_versions(versions | former)
        if after != before:
            write_atomically(self._folder / INVENTORY, encode_inventory(after), 0o600)
            self._inventory = after
        for digest in self._items.keys() - versions - self._held:
            del self._items[digest], self._lines[digest]

    def _write_versions(self, digests: frozenset[str]) -> None:
        there = digests & self._lines.keys()
        lines = (self._lines[digest] for digest in sorted(there))
        write_atomically(self._folder / VERSIONS, b"".join(lines), 0o600)
        self._on_disk = there

    def version(self, item: Item) -> str:
        """The version of that app: ``reconciler.specs.items.version_of``."""
        if item.digest not in self._versions:
            if len(self._versions) > MOST_VERSIONS:
                self._versions.clear()
            self._versions[item.digest] = version_of(item)
        return self._versions[item.digest]

    def _owned(self) -> Inventory:
        if self._inventory is None:
            self._inventory = self._read_inventory()
            self._read_versions()
        return self._inventory

    def _read_inventory(self) -> Inventory:
        path = self._folder / INVENTORY
        try:
            return decode_inventory(path.read_bytes())
        except FileNotFoundError:
            return Inventory()
        except UsageError as error:
            raise UsageError(f"{path}: {error.what}", error.hint) from error

    def _read_versions(self) -> None:
        """What cannot be read, by an older program or a newer one, is as good as lost."""
        try:
            lines = (self._folder / VERSIONS).read_bytes().splitlines(keepends=True)
        except FileNotFoundError:
            return
        for line in lines:
            with suppress(UsageError):
                item = decode_item(line)
                self._items[item.digest], self._lines[item.digest] = item, line
        self._on_disk = frozenset(self._items)
