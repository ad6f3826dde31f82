"""The routing table: up to 256 buckets of k contacts each (Kademlia, sections 2.2 and 2.4).

Only contacts that were authenticated and spoke themselves enter it. It asks for pings and sends
none. A contact that did not answer is doubtful: it is not given away, it is asked again when its
bucket is refreshed, and it stands in for the others when nobody else is left, so that an outage
of this node's own network does not empty its table.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from maculaos.kademlia.distance import bucket_index

if TYPE_CHECKING:
    from collections.abc import Iterator

    from maculaos.identity import NodeId
    from maculaos.kademlia.contact import Contact

# A doubtful contact that failed this often in a row is forgotten.
MAX_FAILURES: Final = 3


class Bucket:
    """The contacts at one range of distances, by position; at most ``k`` of each standing."""

    __slots__ = ("doubtful", "failures", "live", "ping_at", "spare", "touched_at")

    def __init__(self, now: float) -> None:
        # Least recently seen first.
        self.live: dict[int, Contact] = {}
        # The replacement cache: who waits for a place, the newest last.
        self.spare: dict[int, Contact] = {}
        self.doubtful: dict[int, Contact] = {}
        self.failures: dict[int, int] = {}
        self.ping_at = now
        self.touched_at = now

    def see(self, contact: Contact, k: int) -> bool:
        """Note that ``contact`` lives; whether it is new among the live ones."""
        position = contact.position
        if position in self.live:
            del self.live[position]
            self.live[position] = contact
            return False
        if self.failures:
            self.doubtful.pop(position, None)
            self.failures.pop(position, None)
        self.spare.pop(position, None)
        if len(self.live) < k:
            self.live[position] = contact
            return True
        if len(self.spare) >= k:
            del self.spare[next(iter(self.spare))]
        self.spare[position] = contact
        return False

    def fail(self, position: int, k: int) -> None:
        """The contact there did not answer: a spare one takes its place."""
        contact = self.live.pop(position, None) or self.spare.pop(position, None)
        contact = contact or self.doubtful.pop(position, None)
        if contact is not None:
            self._doubt(contact, k)
        self._promote(k)

    def forget(self, position: int, k: int) -> None:
        """The contact there is gone for good."""
        for standing in (self.live, self.spare, self.doubtful):
            standing.pop(position, None)
        self.failures.pop(position, None)
        self._promote(k)

    def _doubt(self, contact: Contact, k: int) -> None:
        failures = self.failures.pop(contact.position, 0) + 1
        if failures >= MAX_FAILURES:
            return
        if len(self.doubtful) >= k:
            oldest = next(iter(self.doubtful))
            del self.doubtful[oldest], self.failures[oldest]
        self.doubtful[contact.position] = contact
        self.failures[contact.position] = failures

    def _promote(self, k: int) -> None:
        while self.spare and len(self.live) < k:
            position, contact = self.spare.popitem()
            # It waited unseen: it is the first to be asked for life.
            self.live = {position: contact, **self.live}


class RoutingTable:
    """What node ``me`` knows of others: much of those near to it, little of those far away."""

    def __init__(self, me: NodeId, k: int) -> None:
        self.me: Final = int.from_bytes(me)
        self._k = k
        self._buckets: dict[int, Bucket] = {}
        # Bit i is set while bucket i has live contacts.
        self._occupied = 0

    def __len__(self) -> int:
        return sum(len(bucket.live) for bucket in self._buckets.values())

    def __iter__(self) -> Iterator[Contact]:
        for index in sorted(self._buckets):
            yield from self._buckets[index].live.values()

    def get(self, position: int) -> Contact | None:
        """The live contact there, if there is one."""
        bucket = self._buckets.get(bucket_index(self.me, position))
        return bucket.live.get(position) if bucket else None

    def see(self, contact: Contact, now: float) -> bool:
        """An authenticated contact spoke; whether it is new in the table."""
        index = (self.me ^ contact.position).bit_length() - 1
        if index < 0:
            return False
        bucket = self._buckets.get(index)
        if bucket is None:
            bucket = self._buckets[index] = Bucket(now)
        is_new = bucket.see(contact, self._k)
        if is_new:
            self._occupied |= 1 << index
        return is_new

    def ping_due(self, newcomer: Contact, ping_interval_s: float, now: float) -> Contact | None:
        """Whom to ask for life, now that ``newcomer`` waits for a place in a full bucket."""
        bucket = self._buckets.get(bucket_index(self.me, newcomer.position))
        if bucket is None or newcomer.position not in bucket.spare or now < bucket.ping_at:
            return None
        bucket.ping_at = now + ping_interval_s
        return next(iter(bucket.live.values()))

    def fail(self, position: int) -> None:
        """The node there did not answer a request."""
        index = bucket_index(self.me, position)
        if bucket := self._buckets.get(index):
            bucket.fail(position, self._k)
            self._mark(index, bucket)

    def forget(self, position: int) -> None:
        """The node there is known to be gone."""
        index = bucket_index(self.me, position)
        if bucket := self._buckets.get(index):
            bucket.forget(position, self._k)
            self._mark(index, bucket)

    def closest(self, target: int, count: int) -> list[Contact]:
        """The ``count`` live contacts closest to ``target``, the closest first.

        The buckets themselves have an order by distance to any target, so that only the contacts
        of few buckets are sorted. With no live contact left, the doubtful ones are given.
        """
        found: list[Contact] = []
        key = target.__xor__
        for index in self._by_distance(target):
            live = self._buckets[index].live
            found += [live[position] for position in sorted(live, key=key)]
            if len(found) >= count:
                break
        if not found:
            found = sorted(self._all_doubtful(), key=lambda contact: contact.position ^ target)
        return found[:count]

    def count_closer(self, target: int) -> int:
        """How many live contacts are closer to ``target`` than this node is."""
        top, closer, _ = self._ranges(target)
        return sum(len(self._buckets[index].live) for index in (*_downwards(top | closer),))

    def touch(self, target: int, now: float) -> None:
        """Something near ``target`` was looked up: its bucket is fresh."""
        if bucket := self._buckets.get(bucket_index(self.me, target)):
            bucket.touched_at = now

    def stale(self, before: float) -> list[int]:
        """The buckets, farthest first, that nobody looked into since the time ``before``.

        Buckets nearer than the closest contact are empty: looking up oneself covers them.
        """
        return [
            index
            for index in sorted(self._buckets, reverse=True)
            if self._buckets[index].touched_at <= before
        ]

    def missing(self) -> list[int]:
        """The buckets, farthest first, from the closest contact's on up: all that may be filled."""
        if not self._occupied:
            return []
        lowest = (self._occupied & -self._occupied).bit_length() - 1
        return list(range(255, lowest - 1, -1))

    def doubtful(self, index: int) -> list[Contact]:
        """Those of one bucket that did not answer last time."""
        bucket = self._buckets.get(index)
        return list(bucket.doubtful.values()) if bucket else []

    def _all_doubtful(self) -> list[Contact]:
        return [contact for index in sorted(self._buckets) for contact in self.doubtful(index)]

    def _mark(self, index: int, bucket: Bucket) -> None:
        bit = 1 << index
        self._occupied = self._occupied | bit if bucket.live else self._occupied & ~bit

    def _by_distance(self, target: int) -> Iterator[int]:
        """The occupied buckets, ordered by the distance of what they hold to ``target``."""
        top, closer, farther = self._ranges(target)
        yield from _downwards(top)
        yield from _downwards(closer)
        while farther:
            yield (farther & -farther).bit_length() - 1
            farther &= farther - 1

    def _ranges(self, target: int) -> tuple[int, int, int]:
        """The occupied buckets as three sets of bits, seen from ``target``.

        With ``d = me ^ target`` and ``top`` its highest bit: a contact of bucket ``top`` shares
        more bits with the target than this node does. One of a lower bucket ``j`` differs from
        this node first in bit ``j``: that brings it closer to the target if ``d`` has that bit,
        and farther away if not. Those of higher buckets are farther than all.
        """
        apart = self.me ^ target
        bit = (1 << apart.bit_length()) >> 1
        top = self._occupied & bit
        below = self._occupied & (bit - 1) if bit else 0
        closer = below & apart
        return top, closer, self._occupied ^ top ^ closer


def _downwards(bits: int) -> Iterator[int]:
    while bits:
        index = bits.bit_length() - 1
        yield index
        bits ^= 1 << index
