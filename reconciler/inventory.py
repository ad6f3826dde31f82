"""The inventory: what this reconciler created, and so what it may remove.

Pure. A commit says which items there are, and which of them cannot be read; the inventory says
which were made here before. Both together settle what is to run: a broken item keeps the last
version that was good, one that moved takes its past along, one that is gone is removed, and if
too many are gone at once, nothing is until somebody consents. What is not in the inventory is
never removed, whatever its name.

Items are known by key, such as ``app/echo``, and their versions by digest.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, ClassVar, Final, Literal

from pydantic import TypeAdapter, ValidationError

from maculaos.errors import UsageError
from reconciler.values import STRICT

if TYPE_CHECKING:
    from collections.abc import Iterable


@dataclass(frozen=True, slots=True, kw_only=True)
class Inventory:
    """Every item that was made here and is not gone yet, with the digest of its good version."""

    __pydantic_config__: ClassVar[dict[str, Any]] = STRICT

    version: Literal[1] = 1
    owned: Mapping[str, str] = field(default_factory=dict)
    # Moves that have begun: new key to former key, both owned until the move is done.
    moving: Mapping[str, str] = field(default_factory=dict)
    # Made while removals waited for consent: they make those no smaller a share.
    newcomers: frozenset[str] = frozenset()

    def claiming(self, settlement: Settlement) -> Inventory:
        """With all that is about to be made: to be kept before the first step is taken."""
        owned = dict(sorted({**self.owned, **settlement.wanted}.items()))
        newcomers = self.newcomers | (owned.keys() - self.owned.keys())
        return Inventory(
            owned=owned,
            moving=dict(settlement.moves),
            newcomers=newcomers if settlement.held else frozenset(),
        )

    def releasing(self, gone: Iterable[str]) -> Inventory:
        """Without those items: the machine was looked at, and they are not there."""
        left = frozenset(self.owned) - frozenset(gone)
        return Inventory(
            owned={key: self.owned[key] for key in self.owned if key in left},
            moving={new: former for new, former in self.moving.items() if {new, former} <= left},
            newcomers=self.newcomers & left,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Claims:
    """What one commit says, as far as this machine is concerned."""

    # Digests of the items that can be read, by key.
    readable: Mapping[str, str]
    # Those that are there and cannot be read.
    broken: frozenset[str] = frozenset()
    # The former key of items that were renamed, by their key now.
    moved: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Guard:
    """How much may go without consent: above both bounds a removal waits."""

    # Items, and their share of all that are owned.
    items: int = 2
    share: float = 0.5


@dataclass(frozen=True, slots=True, kw_only=True)
class Settlement:
    """What is to be: by key, and for ``wanted`` with the digest of the version that is to run."""

    wanted: Mapping[str, str]
    # Renamed items that were made here under their former key: new key to former key.
    moves: Mapping[str, str]
    removals: frozenset[str]
    # Would be removals, if somebody consented.
    held: frozenset[str]
    # Broken without any good version to keep.
    missing: frozenset[str]


def settle(
    inventory: Inventory, claims: Claims, guard: Guard, *, has_consent: bool = False
) -> Settlement:
    """What is to run and what is to go; nothing outside ``inventory`` ever goes."""
    owned = inventory.owned
    moves = _moves(inventory, claims)
    kept = {key: owned[key] for key in claims.broken if key in owned}
    kept |= {new: owned[past] for new, past in moves.items() if new in claims.broken - kept.keys()}
    wanted = dict(sorted({**kept, **claims.readable}.items()))
    gone = frozenset(owned) - wanted.keys() - frozenset(moves.values())
    counted = len(owned.keys() - inventory.newcomers)
    is_held = not has_consent and _is_too_much(len(gone), counted, guard)
    return Settlement(
        wanted=MappingProxyType(wanted),
        moves=moves,
        removals=frozenset() if is_held else gone,
        held=gone if is_held else frozenset(),
        missing=claims.broken - wanted.keys(),
    )


def _moves(inventory: Inventory, claims: Claims) -> Mapping[str, str]:
    """Who takes over whose past. One past has one heir, and who has a past of its own gets none."""
    named = claims.readable.keys() | claims.broken
    heirs: dict[str, str] = {}
    for new, former in sorted(claims.moved.items()):
        begun = inventory.moving.get(new) == former
        is_free = former in inventory.owned and former not in named
        if new in named and is_free and (begun or new not in inventory.owned):
            heirs.setdefault(former, new)
    return MappingProxyType(dict(sorted((new, former) for former, new in heirs.items())))


def _is_too_much(gone: int, owned: int, guard: Guard) -> bool:
    return gone > guard.items and gone > guard.share * owned


def encode_inventory(inventory: Inventory) -> bytes:
    """One JSON object."""
    return _INVENTORY.dump_json(inventory, indent=2) + b"\n"


def decode_inventory(content: bytes) -> Inventory:
    """Read what ``encode_inventory`` wrote; raises ``UsageError`` for anything else."""
    try:
        return _INVENTORY.validate_json(content)
    except ValidationError as error:
        wrong = error.errors(include_url=False)[0]
        where = ".".join(map(str, wrong["loc"])) or "the whole"
        raise UsageError(
            f"the inventory cannot be read ({where}: {wrong['msg']})",
            "move the file away; what runs and is no longer wanted is then left as it is",
        ) from error


_INVENTORY: Final = TypeAdapter(Inventory)
