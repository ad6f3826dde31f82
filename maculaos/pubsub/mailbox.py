"""Mailboxes: what waits for one subscription, and what gives way when it is full.

A subscriber grants credit, in events; what it cannot be handed at once waits here, the more urgent
first, and what is overdue by then is dropped. An acknowledged run is never dropped: a full mailbox
refuses it, whatever its policy, and whoever sent it offers it again. Sending is not done here.
"""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass, replace
from enum import IntEnum
from typing import TYPE_CHECKING, Final

from msgspec import Raw

if TYPE_CHECKING:
    from maculaos.identity import NodeId

PRIORITIES: Final = 4
MAX_CREDIT: Final = 1 << 31


class Overflow(IntEnum):
    """What gives way when a mailbox is full; the numbers are those of the wire."""

    BLOCK = 0
    DROP_OLDEST = 1
    DROP_NEWEST = 2
    DISCONNECT = 3


class Taking:
    """An acknowledged run at one node, until everybody there has taken it."""

    __slots__ = ("code", "left", "sequence", "source")

    def __init__(self, source: tuple[NodeId, str, int], sequence: int) -> None:
        # See ``arrivals``.
        self.source = source
        self.sequence = sequence
        # So many deliveries and mailboxes hold parts of it.
        self.left = 0
        # Why it was not taken, if so.
        self.code = 0


@dataclass(slots=True)
class Run:
    """Events of one publisher, one after the other, on their way to subscribers of one node."""

    topic: str
    publisher: bytes
    # Of the first payload.
    sequence: int
    payloads: tuple[Raw, ...]
    priority: int = 2
    # On the monotonic clock, in seconds.
    expires_at: float = math.inf
    is_retained: bool = False
    taking: Taking | None = None

    def cut(self, count: int) -> tuple[Run, Run]:
        """The first ``count`` events, and the others."""
        first = replace(self, payloads=self.payloads[:count])
        rest = replace(self, sequence=self.sequence + count, payloads=self.payloads[count:])
        return first, rest


class Mailbox:
    """At most ``limit`` events and ``limit_bytes`` wait; but one run may always wait alone."""

    __slots__ = (
        "_bytes", "_limit", "_limit_bytes", "_queues", "credit", "dropped", "overflow", "waiting",
    )  # fmt: skip

    def __init__(self, credit: int, limit: int, overflow: Overflow, limit_bytes: int) -> None:
        self.credit = credit
        self.overflow = overflow
        # Events that wait, and those that were dropped.
        self.waiting = 0
        self.dropped = 0
        self._bytes = 0
        self._limit = limit
        self._limit_bytes = limit_bytes
        # By priority; made when something has to wait.
        self._queues: tuple[deque[Run], ...] = ()

    def grant(self, credit: int) -> None:
        """The subscriber takes so many events more."""
        self.credit = min(MAX_CREDIT, self.credit + max(0, credit))

    def has_room(self, run: Run) -> bool:
        """Whether an acknowledged run may be put in."""
        return not self.waiting or self._fits(run)

    @property
    def waiting_bytes(self) -> int:
        """Bytes of the payloads that wait."""
        return self._bytes

    @property
    def is_at_ease(self) -> bool:
        """Whether what was refused may come again: at most half is full."""
        return self.waiting * 2 <= self._limit and self._bytes * 2 <= self._limit_bytes

    def put(self, run: Run) -> bool:
        """Let a run wait, or what there is room for; false if the subscription ends by that."""
        if run.taking is not None:
            run.taking.left += 1
        elif not self._fits(run):
            if self.overflow is Overflow.DISCONNECT:
                return False
            shortened = self._shortened(run)
            if shortened is None:
                return True
            run = shortened
        if not self._queues:
            self._queues = tuple(deque() for _ in range(PRIORITIES))
        self._queues[run.priority].append(run)
        self.waiting += len(run.payloads)
        self._bytes += _size(run)
        return True

    def take(self, now: float, room: float = math.inf) -> tuple[list[Run], list[Run]]:
        """What may be handed out now, the more urgent first, and acknowledged runs overdue.

        The last run handed out may go beyond ``room``, in bytes. An acknowledged run in pieces is
        counted once more for each; its place here is given up with the last one.
        """
        handed: list[Run] = []
        late: list[Run] = []
        for queue in self._queues:
            while queue and ((self.credit and room > 0) or queue[0].expires_at <= now):
                run = queue.popleft()
                if run.expires_at <= now:
                    self._forget(run)
                    self._count_late(run, late)
                    continue
                piece = run
                if len(run.payloads) > self.credit:
                    piece, rest = run.cut(self.credit)
                    queue.appendleft(rest)
                self._forget(piece)
                room -= _size(piece)
                self.credit -= len(piece.payloads)
                if run.taking is not None and piece is not run:
                    run.taking.left += 1
                handed.append(piece)
        return handed, late

    def clear(self) -> list[Run]:
        """The subscription is gone: the acknowledged runs that waited."""
        held = [run for queue in self._queues for run in queue if run.taking is not None]
        self._queues = ()
        self.waiting = self._bytes = 0
        return held

    def _forget(self, run: Run) -> None:
        self.waiting -= len(run.payloads)
        self._bytes -= _size(run)

    def _count_late(self, run: Run, late: list[Run]) -> None:
        if run.taking is None:
            self.dropped += len(run.payloads)
        else:
            late.append(run)

    def _fits(self, run: Run) -> bool:
        is_short = self.waiting + len(run.payloads) <= self._limit
        return is_short and self._bytes + _size(run) <= self._limit_bytes

    def _shortened(self, run: Run) -> Run | None:
        """What of a run may wait, after others gave way if that is the policy."""
        is_newest = self.overflow is Overflow.DROP_OLDEST
        if is_newest:
            self._make_room(run)
        fits = self._fitting(run)
        self.dropped += len(run.payloads) - fits
        if not fits:
            return None
        kept = run.payloads[-fits:] if is_newest else run.payloads[:fits]
        skipped = len(run.payloads) - fits if is_newest else 0
        # Copies: views would keep the whole frame that they came in.
        payloads = tuple(Raw(bytes(payload)) for payload in kept)
        return replace(run, sequence=run.sequence + skipped, payloads=payloads)

    def _make_room(self, run: Run) -> None:
        """Drop the oldest of what is least urgent, until ``run`` fits or nothing may be dropped."""
        for queue in reversed(self._queues):
            kept: list[Run] = []
            while queue and not self._fits(run):
                oldest = queue.popleft()
                if oldest.taking is not None:
                    kept.append(oldest)
                    continue
                self._forget(oldest)
                excess = self.waiting + len(oldest.payloads) + len(run.payloads) - self._limit
                # Where bytes are short and not events, the whole run goes.
                stays = len(oldest.payloads) - excess if excess > 0 else 0
                self.dropped += len(oldest.payloads) - max(0, stays)
                if stays > 0:
                    _, remainder = oldest.cut(len(oldest.payloads) - stays)
                    queue.appendleft(remainder)
                    self.waiting += stays
                    self._bytes += _size(remainder)
            queue.extendleft(reversed(kept))

    def _fitting(self, run: Run) -> int:
        """How many events of a run there is room for."""
        room = self._limit_bytes - self._bytes
        fits = 0
        for payload in run.payloads[: max(0, self._limit - self.waiting)]:
            room -= len(payload)
            if room < 0:
                break
            fits += 1
        return fits


def _size(run: Run) -> int:
    return sum(map(len, run.payloads))
