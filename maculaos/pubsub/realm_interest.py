"""Who wants what, of all nodes: link state, as in MOSPF (RFC 1584; the flooding of RFC 2328, 13).

Every node says what its own clients want, in changes that are numbered from the start of its life;
whoever hears one that is new to it hears it from then on. A node that is not there (yet, or any
more) keeps what it said and gets no events by it. Carrying words from node to node is not done
here.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum
from typing import TYPE_CHECKING, Final, TypeAlias

from maculaos.errors import MaculaError
from maculaos.pubsub.patterns import check_group, check_pattern
from maculaos.pubsub.topics import InvalidTopic
from maculaos.pubsub.tree import PatternTree

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable

    from maculaos.identity import NodeId

# A pattern, the group that shares what it gets (the empty name is no group), and how many members
# of it there are: so often it is that node's turn.
Wish: TypeAlias = tuple[str, str, int]
MAX_WEIGHT: Final = 64
# All that one node wants goes into one frame.
MAX_BYTES: Final = 8 * 1024 * 1024

_NONE: Final[tuple[Wish, ...]] = ()


class TooManySubscriptions(MaculaError):
    """More subscriptions than a node may have."""


class Outcome(Enum):
    """What a node does with a word about interest."""

    # Taken up: it goes on to other neighbours.
    NEW = "new"
    # Known, or older than what is known.
    OLD = "old"
    # Something before it is missing: the whole is asked for.
    GAP = "gap"
    # More than one node, or all, may want.
    REFUSED = "refused"


@dataclass(frozen=True, slots=True)
class Version:
    """How far the words of one node were heard; a later life counts for more."""

    life: int
    number: int

    def is_before(self, life: int, number: int) -> bool:
        """Whether that life and number are newer."""
        return (self.life, self.number) < (life, number)


@dataclass(frozen=True, slots=True)
class Change:
    """A word about what a node wants: ``number`` of its ``life``; see ``wire.events.Interest``."""

    life: int
    number: int
    added: tuple[Wish, ...]
    removed: tuple[Wish, ...] = ()
    is_whole: bool = False


@dataclass(slots=True)
class _Known:
    version: Version
    wishes: dict[Wish, None] = field(default_factory=dict)
    size_bytes: int = 0
    is_there: bool = False


NEVER: Final = Version(-1, 0)


class RealmInterest:
    """At most ``limit`` wishes of all nodes, ``share`` of one, and ``node_limit`` nodes."""

    def __init__(self, limit: int, share: int, node_limit: int) -> None:
        self._limit = limit
        self._share = share
        self._node_limit = node_limit
        self._known: dict[NodeId, _Known] = {}
        # Of the nodes that are there.
        self._tree: PatternTree[tuple[NodeId, str, int]] = PatternTree()
        self._size = 0
        # Rises with every change of what ``match`` finds.
        self.changes = 0

    def __len__(self) -> int:
        return self._size

    def match(self, topic: str) -> list[tuple[NodeId, str, int]]:
        """The nodes that want ``topic``, with group and weight; some more than once."""
        return self._tree.match(topic)

    def version_of(self, node: NodeId) -> Version:
        """How far the words of ``node`` were heard; ``NEVER`` if there was none."""
        known = self._known.get(node)
        return NEVER if known is None else known.version

    def versions(self) -> list[tuple[NodeId, Version]]:
        """How far the words of each node that is there were heard."""
        return [(node, each.version) for node, each in self._known.items() if each.is_there]

    def wishes_of(self, node: NodeId) -> Collection[Wish]:
        """What ``node`` wants."""
        known = self._known.get(node)
        return _NONE if known is None else known.wishes.keys()

    def judge(self, node: NodeId, change: Change) -> Outcome:
        """What is to be done with that word; ``apply`` it if it is new."""
        held = self.version_of(node)
        if not held.is_before(change.life, change.number):
            return Outcome.OLD
        follows = change.number - 1 == (held.number if held.life == change.life else 0)
        if not (change.is_whole or follows):
            return Outcome.GAP
        own = self.wishes_of(node)
        is_anew = change.is_whole or held.life != change.life
        kept = 0 if is_anew else len(own)
        gone = [] if is_anew else [wish for wish in dict.fromkeys(change.removed) if wish in own]
        if kept + len(change.added) - len(gone) > self._share:
            return Outcome.REFUSED
        before = 0 if is_anew else self._bytes_of(node) - _bytes(gone)
        if before + _bytes(change.added) > MAX_BYTES:
            return Outcome.REFUSED
        growth = kept - len(own) + len(change.added)
        if self._is_full(node, growth):
            # Who is not there gives way to who may be.
            self._forget_absent(node)
        return Outcome.REFUSED if self._is_full(node, growth) else Outcome.NEW

    def apply(self, node: NodeId, change: Change, *, is_there: bool) -> tuple[Wish, ...]:
        """Take up a word that was judged to be new; return what the node wants beyond before.

        Raises ``InvalidTopic`` for a pattern or group that nobody can want, and changes nothing.
        """
        for pattern, group, weight in change.added:
            check_pattern(pattern)
            check_group(group)
            if not 0 < weight <= MAX_WEIGHT:
                raise InvalidTopic(f"a wish of weight {weight}")
        known = self._known.get(node)
        if known is None:
            known = self._known[node] = _Known(NEVER)
        back = self.appear(node) if is_there else ()
        if not is_there:
            self.vanish(node)
        removed: Iterable[Wish] = change.removed
        if change.is_whole or known.version.life != change.life:
            kept = frozenset(change.added)
            removed = [wish for wish in known.wishes if wish not in kept]
        known.version = Version(change.life, change.number)
        self._drop(node, known, removed)
        fresh = [wish for wish in dict.fromkeys(change.added) if wish not in known.wishes]
        known.wishes.update(dict.fromkeys(fresh))
        known.size_bytes += _bytes(fresh)
        self._size += len(fresh)
        if known.is_there:
            self._plant(node, fresh)
        return (*(wish for wish in back if wish in known.wishes), *fresh)

    def appear(self, node: NodeId) -> tuple[Wish, ...]:
        """That node is there; what it wants, if it was not there before."""
        known = self._known.get(node)
        if known is None or known.is_there:
            return _NONE
        known.is_there = True
        self._plant(node, known.wishes)
        return tuple(known.wishes)

    def vanish(self, node: NodeId) -> None:
        """That node is not there any more; what it said is kept."""
        known = self._known.get(node)
        if known is not None and known.is_there:
            known.is_there = False
            self._uproot(node, known.wishes)

    def forget(self, node: NodeId) -> None:
        """Nobody remembers that node any more."""
        self.vanish(node)
        known = self._known.pop(node, None)
        self._size -= len(known.wishes) if known else 0

    def missing(
        self, told: Iterable[tuple[NodeId, Version]], is_known: Callable[[NodeId], bool]
    ) -> list[NodeId]:
        """Of which nodes another one has heard more, as it tells; only of known ones."""
        wanted = []
        for node, version in told:
            held = self.version_of(node)
            # Who wants nothing in its first words is not asked about, unless it wanted before.
            is_news = version.number > 0 or held is not NEVER
            if is_news and is_known(node) and held.is_before(version.life, version.number):
                wanted.append(node)
        return wanted

    def _drop(self, node: NodeId, known: _Known, removed: Iterable[Wish]) -> None:
        """A node wants these no more."""
        gone = [wish for wish in removed if known.wishes.pop(wish, self) is None]
        known.size_bytes -= _bytes(gone)
        self._size -= len(gone)
        if known.is_there:
            self._uproot(node, gone)

    def _bytes_of(self, node: NodeId) -> int:
        known = self._known.get(node)
        return 0 if known is None else known.size_bytes

    def _plant(self, node: NodeId, wishes: Collection[Wish]) -> None:
        self.changes += bool(wishes)
        for pattern, group, weight in wishes:
            self._tree.add(pattern, (node, group, weight))

    def _uproot(self, node: NodeId, wishes: Collection[Wish]) -> None:
        self.changes += bool(wishes)
        for pattern, group, weight in wishes:
            self._tree.remove(pattern, (node, group, weight))

    def _is_full(self, node: NodeId, growth: int) -> bool:
        is_stranger = node not in self._known and len(self._known) >= self._node_limit
        return is_stranger or self._size + growth > self._limit

    def _forget_absent(self, but: NodeId) -> None:
        absent = [node for node, each in self._known.items() if not each.is_there and node != but]
        for node in absent:
            self.forget(node)


def wish_bytes(pattern: str, group: str) -> int:
    """About the bytes of a wish in a frame."""
    return len(pattern.encode(errors="replace")) + len(group.encode(errors="replace")) + 10


def _bytes(wishes: Iterable[Wish]) -> int:
    return sum(wish_bytes(pattern, group) for pattern, group, _ in wishes)
