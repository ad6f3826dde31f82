"""One iterative lookup, as a machine that says whom to ask next (Kademlia, section 2.3).

It ends when each of the k closest candidates that it knows has answered; who fails is none any
more. It never ends before that, but for its bound on requests, and then says so.

What an answer brings are candidates, and is not trusted: one answer brings at most k of them, each
must be closer than the k-th closest that answered already, and when there are too many, whoever
brought the most unasked ones loses its farthest first. So no node can crowd out what others say.

Alpha requests are under way at a time, but for those that are slow: they may still be answered,
and the lookup waits for them, but it asks on meanwhile. So the dead cost one timeout, not many.
"""

from __future__ import annotations

from bisect import insort
from collections import Counter
from dataclasses import dataclass
from enum import IntEnum
from typing import TYPE_CHECKING, Final

from maculaos.kademlia.contact import Contact

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from maculaos.kademlia.settings import KademliaSettings

# Who brought the candidates of the own table; no position is below 0.
_OWN_TABLE: Final = -1


class Standing(IntEnum):
    """How far a candidate is."""

    UNASKED = 0
    ASKED = 1
    SLOW = 2
    ANSWERED = 3
    FAILED = 4


@dataclass(slots=True)
class Candidate:
    """A contact that may be among the closest; ``hops`` requests one after the other led to it."""

    contact: Contact
    hops: int
    source: int
    standing: Standing = Standing.UNASKED


class Lookup:
    """The search for the k contacts closest to ``target``, by the node at ``me``."""

    def __init__(
        self, target: int, start: Iterable[Contact], me: int, settings: KademliaSettings
    ) -> None:
        self.target: Final = target
        self.asked = 0
        self._me = me
        self._settings = settings
        self._candidates: dict[int, Candidate] = {}
        # Distances, in order: of who did not fail, and of who answered. A distance is a node.
        self._order: list[int] = []
        self._answered: list[int] = []
        self._unasked = 0
        # Requests without answer, and those of them that are not slow.
        self._open = 0
        self._prompt = 0
        for contact in start:
            self._consider(contact, 0, _OWN_TABLE)

    def next(self) -> list[Contact]:
        """Whom to ask now: the closest that were not asked, at most alpha at a time."""
        free = self._settings.alpha - self._prompt
        if free <= 0:
            return []
        batch: list[Contact] = []
        wanted = self._settings.k
        for way in self._order:
            candidate = self._candidates[way]
            if candidate.standing is Standing.UNASKED:
                if len(batch) >= free or self.asked >= self._settings.lookup_requests:
                    break
                candidate.standing = Standing.ASKED
                self.asked += 1
                self._unasked -= 1
                batch.append(candidate.contact)
            # A slow one is likely dead: whoever would take its place is asked already.
            wanted -= candidate.standing is not Standing.SLOW
            if not wanted:
                break
        self._open += len(batch)
        self._prompt += len(batch)
        return batch

    def answer(self, position: int, contacts: Sequence[Contact]) -> None:
        """The node there answered, with the contacts that it knows to be closest."""
        candidate = self._close(position, Standing.ANSWERED)
        if candidate is None:
            return
        insort(self._answered, position ^ self.target)
        hops = candidate.hops + 1
        for contact in contacts[: self._settings.k]:
            self._consider(contact, hops, position)

    def slow(self, position: int) -> None:
        """The node there has not answered for long: ask another one meanwhile."""
        candidate = self._candidates.get(position ^ self.target)
        if candidate is not None and candidate.standing is Standing.ASKED:
            candidate.standing = Standing.SLOW
            self._prompt -= 1

    def fail(self, position: int) -> None:
        """The node there did not answer in time, or cannot be reached."""
        if self._close(position, Standing.FAILED) is not None:
            self._order.remove(position ^ self.target)

    @property
    def is_complete(self) -> bool:
        """Whether the k closest candidates, or all if they are fewer, have answered."""
        nearest = self._order[: self._settings.k]
        return self._answered[: len(nearest)] == nearest

    @property
    def is_done(self) -> bool:
        """Whether there is nothing left to ask or to wait for."""
        if self.is_complete:
            return True
        return not self._open and self.asked >= self._settings.lookup_requests

    @property
    def hops(self) -> int:
        """How many requests, one after the other, led to the closest's answer, its own included."""
        return self._candidates[self._answered[0]].hops + 1 if self._answered else 0

    def closest(self) -> tuple[Contact, ...]:
        """The k closest that answered, the closest first."""
        nearest = self._answered[: self._settings.k]
        return tuple(self._candidates[way].contact for way in nearest)

    def _close(self, position: int, standing: Standing) -> Candidate | None:
        """Whoever was asked there, with its new standing; ``None`` if nobody was."""
        candidate = self._candidates.get(position ^ self.target)
        if candidate is None or candidate.standing not in (Standing.ASKED, Standing.SLOW):
            return None
        self._open -= 1
        self._prompt -= candidate.standing is Standing.ASKED
        candidate.standing = standing
        return candidate

    def _consider(self, contact: Contact, hops: int, source: int) -> None:
        way = contact.position ^ self.target
        known = self._candidates.get(way)
        if known is not None:
            # Whoever was first may have lied about the addresses: the others are tried as well.
            if known.standing is Standing.UNASKED and known.contact.addresses != contact.addresses:
                known.contact = known.contact.joined_with(contact)
        elif contact.position != self._me and not self._is_too_far(way):
            self._candidates[way] = Candidate(contact, hops, source)
            insort(self._order, way)
            self._unasked += 1
            if self._unasked > self._settings.candidates:
                self._drop_one()

    def _is_too_far(self, way: int) -> bool:
        k = self._settings.k
        return len(self._answered) >= k and way > self._answered[k - 1]

    def _drop_one(self) -> None:
        unasked = [way for way in self._order if self._candidates[way].standing is Standing.UNASKED]
        brought = Counter(self._candidates[way].source for way in unasked)
        greediest = max(brought, key=lambda source: (brought[source], source))
        way = max(way for way in unasked if self._candidates[way].source == greediest)
        self._unasked -= 1
        del self._candidates[way]
        self._order.remove(way)
