"""The neighbours of one node: which links to open, and which it may close.

It wants what the rings name (``maculaos.topology.rings``). A neighbour that cannot be reached is
tried again, and until then the next on the same side of the ring stands in for it. Because all
nodes work out the same rings, both ends want a link, or neither does; while their views differ a
link stays as long as one end wants it:

- who opened a link closes it, once it has not wanted it for the grace period; the other end only
  when it holds more than k links that it does not want;
- a link that is pinned is never closed;
- no link is closed before k/2 links to wanted, living members are up;
- but a node that has as many links as it may have closes those that it has not wanted longest, an
  eighth of what it may have, as soon as both ends had the time to tell each other what they know:
  else nobody whom it wants finds room.

One lost member at a time is tried until the caller gives it up, so that a partition heals. How to
reach a member, who is alive, and how two simultaneous dials settle is the caller's business.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from maculaos.identity import NodeId
from maculaos.topology.attempts import Attempts
from maculaos.topology.lost import Lost
from maculaos.topology.rings import Rings

if TYPE_CHECKING:
    import random

    from maculaos.topology.settings import TopologySettings


# A link that lasted this long was a good one: after its loss it is dialled at once.
STABLE_AFTER_S: Final = 10.0
# So long a link stays where room is short: views are exchanged in a few round trips.
_EXCHANGE_S: Final = 1.0


@dataclass(frozen=True, slots=True)
class Want:
    """Dial that member once; answer with ``link_up`` or ``unreachable``."""

    node_id: NodeId


@dataclass(frozen=True, slots=True)
class Spare:
    """The topology needs the link to that member no more; close it, and say ``link_down``."""

    node_id: NodeId


Request = Want | Spare


@dataclass(slots=True)
class _Link:
    is_outbound: bool
    # Since when this node does not want it; None while it does.
    unwanted_since: float | None
    since: float
    # Dials in a row that failed before it.
    failures: int
    is_spared: bool = False


class Neighbours:
    """The decider of node ``me``; ``limit`` bounds the lost, ``links_max`` what links there may be.

    Times are monotonic seconds.

    Carry out whatever a method returns, and call ``advance`` at ``next_deadline()``, which every
    method may bring nearer.
    """

    def __init__(
        self,
        me: NodeId,
        realm: str,
        settings: TopologySettings,
        limit: int,
        rng: random.Random,
        links_max: int = 256,
    ) -> None:
        self._me = me
        self._settings = settings
        self._links_max = links_max
        self.rings = Rings(realm, settings.degree, (me,))
        self._links: dict[NodeId, _Link] = {}
        self._pinned: dict[NodeId, None] = {}
        self._attempts = Attempts(settings, rng)
        self._lost = Lost(limit, settings.retry_lost_interval_s, rng)
        self._wanted: dict[NodeId, None] = {}
        # Members or links changed since links were chosen; and when to choose anew at the earliest.
        self._is_stale = False
        self._choose_at = -math.inf
        self._deadline = math.inf

    @property
    def wanted(self) -> tuple[NodeId, ...]:
        """Those this node wants links to: what the rings name, and who stands in."""
        return tuple(self._wanted)

    @property
    def lost(self) -> int:
        """How many members are lost."""
        return len(self._lost)

    def next_deadline(self) -> float:
        """When ``advance`` has something to do; infinity if never."""
        return self._deadline

    def member_up(self, node_id: NodeId, now: float) -> None:
        """A member is new, or is back; a suspect is still up. Links follow when news settles."""
        if node_id != self._me and self.rings.add(node_id):
            self._lost.remove(node_id)
            self._gather(now)

    def member_down(self, node_id: NodeId, now: float, *, has_left: bool = False) -> None:
        """A member is dead, or took its leave; only the dead are lost, and tried again."""
        if node_id == self._me:
            return
        self._attempts.forget(node_id)
        if has_left:
            self._lost.remove(node_id)
        else:
            self._lost.put(node_id, now)
        self.rings.discard(node_id)
        self._gather(now)

    def give_up(self, node_id: NodeId) -> None:
        """Nobody knows any more how to reach a lost member."""
        self._lost.remove(node_id)

    def link_up(self, node_id: NodeId, now: float, *, is_outbound: bool) -> list[Request]:
        """The one link to that node is up, or was replaced by another."""
        failures = self._attempts.linked(node_id)
        unwanted_since = None if node_id in self._wanted else now
        self._links[node_id] = _Link(is_outbound, unwanted_since, now, failures)
        return self._changed(now)

    def link_down(self, node_id: NodeId, now: float, *, is_lost: bool = False) -> list[Request]:
        """The link to that node is gone, whoever closed it.

        One that was lost soon after it came counts as a failed dial: else a node that takes every
        link and drops it at once would be dialled without a pause.
        """
        link = self._links.pop(node_id, None)
        if link is None:
            return []
        if is_lost and now - link.since < STABLE_AFTER_S and node_id in self.rings:
            self._attempts.fail_again(node_id, link.failures, now)
        return self._changed(now)

    def unreachable(self, node_id: NodeId, now: float) -> list[Request]:
        """A dial to that node came to nothing."""
        if node_id in self._links:
            return []
        if node_id in self.rings:
            self._attempts.fail(node_id, now)
        else:
            self._attempts.forget(node_id)
        return self._changed(now)

    def pin(self, node_id: NodeId) -> None:
        """The link to that node is used for something else, too."""
        self._pinned[node_id] = None

    def unpin(self, node_id: NodeId, now: float) -> list[Request]:
        """Nothing else uses the link to that node any more; its grace begins."""
        self._pinned.pop(node_id, None)
        link = self._links.get(node_id)
        if link is None or link.unwanted_since is None:
            return []
        link.unwanted_since = now
        return self._changed(now)

    def advance(self, now: float) -> list[Request]:
        """Do what is due."""
        if now < self._deadline:
            return []
        for node_id in self._attempts.take_overdue(now):
            if node_id in self.rings:
                self._attempts.fail(node_id, now)
        requests = self._try_lost(now)
        if self._is_stale and now < self._choose_at:
            self._deadline = self._choose_at
            return requests
        return [*requests, *self._follow(now)]

    def _gather(self, now: float) -> None:
        """News of one member seldom comes alone: follow all of it at once, a little later."""
        if not self._is_stale:
            self._is_stale = True
            self._choose_at = max(self._choose_at, now + self._settings.settle_s)
        self._deadline = min(self._deadline, self._choose_at, self._lost.next_deadline())

    def _changed(self, now: float) -> list[Request]:
        """Follow a change of links at once after a quiet time, else with others soon."""
        self._is_stale = True
        if now >= self._choose_at:
            return self._follow(now)
        self._deadline = min(self._deadline, self._choose_at)
        return []

    def _follow(self, now: float) -> list[Request]:
        """Choose whom to be linked with, then say what is to be opened and what may be closed."""
        self._is_stale = False
        self._choose_at = now + self._settings.settle_s
        self._wanted = self._choose()
        for node_id, link in self._links.items():
            if node_id in self._wanted:
                link.unwanted_since, link.is_spared = None, False
            elif link.unwanted_since is None:
                link.unwanted_since = now
        requests = [*self._open(now), *self._close(now)]
        self._deadline = self._next_deadline(now)
        return requests

    def _choose(self) -> dict[NodeId, None]:
        """What the rings name, and for each that is out of reach the next beyond it."""
        sides = self.rings.sides(self._me)
        wanted = dict.fromkeys(sides)
        for node_id, side in sides.items():
            if self._attempts.is_out_of_reach(node_id):
                for other in self.rings.beyond(node_id, side):
                    is_spoken_for = other in wanted or other == self._me
                    if not is_spoken_for and not self._attempts.is_out_of_reach(other):
                        wanted[other] = None
                        break
        return wanted

    def _open(self, now: float) -> list[Request]:
        """Dials, at most as many at a time as the node is to have links."""
        room = self._settings.degree - self._attempts.under_way
        due = [
            node_id
            for node_id in self._wanted
            if node_id not in self._links and self._attempts.may_start(node_id, now)
        ][: max(room, 0)]
        for node_id in due:
            self._attempts.start(node_id, now)
        return [Want(node_id) for node_id in due]

    def _close(self, now: float) -> list[Request]:
        spare: list[Request] = []
        for node_id, link, at in self._spare():
            if at <= now:
                link.is_spared = True
                spare.append(Spare(node_id))
        return spare

    def _spare(self) -> list[tuple[NodeId, _Link, float]]:
        """Links that may be closed, and when: some for room, none while too few wanted are up."""
        unwanted = [
            (node_id, link, link.unwanted_since + self._settings.grace_s)
            for node_id, link in self._links.items()
            if link.unwanted_since is not None
            and not link.is_spared
            and node_id not in self._pinned
        ]
        staying = sum(not link.is_spared for link in self._links.values())
        if staying >= self._links_max and unwanted:
            # Several at a time: where one found no room, most likely more wait.
            oldest = sorted(unwanted, key=lambda each: each[2])[: self._links_max // 8 or 1]
            early_s = self._settings.grace_s - _EXCHANGE_S
            return [(node_id, link, at - early_s) for node_id, link, at in oldest]
        up = sum(node_id in self._links for node_id in self._wanted)
        if up < max(1, min(self._settings.degree // 2, len(self.rings) - 1)):
            return []
        opened_here = [each for each in unwanted if each[1].is_outbound]
        opened_there = sorted(
            (each for each in unwanted if not each[1].is_outbound), key=lambda each: each[2]
        )
        return opened_here + opened_there[: max(0, len(opened_there) - self._settings.degree)]

    def _try_lost(self, now: float) -> list[Request]:
        node_id = self._lost.take_due(now)
        if node_id is None or node_id in self._links or self._attempts.is_under_way(node_id):
            return []
        self._attempts.start(node_id, now)
        return [Want(node_id)]

    def _next_deadline(self, now: float) -> float:
        deadlines = [self._attempts.overdue_at(), self._lost.next_deadline()]
        deadlines += (at for _, _, at in self._spare())
        if self._attempts.under_way < self._settings.degree:
            deadlines += (
                max(now, self._attempts.retry_at(node_id))
                for node_id in self._wanted
                if node_id not in self._links
            )
        return min(deadlines)
