"""What this node believes, and what it passes on of it.

Every rumour goes through here, wherever it came from: it is merged into the members table, handed
to gossip, and begins, shortens or ends a suspicion. Who is probed, and when, is decided elsewhere.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from maculaos.swim.gossip import GossipQueue
from maculaos.swim.members import Members
from maculaos.swim.requests import MemberChanged
from maculaos.swim.rumour import MAX_INCARNATION, NOBODY, Health, Rumour, beats
from maculaos.swim.suspicion import Patience, Suspicions

if TYPE_CHECKING:
    import random
    from collections.abc import Iterable

    from maculaos.identity import NodeId
    from maculaos.settings import SwimSettings


class View:
    """The beliefs of the node that ``me`` speaks of; times are monotonic seconds."""

    def __init__(self, me: Rumour, settings: SwimSettings, limit: int, rng: random.Random) -> None:
        self.me = me
        self.members = Members(limit, settings.tombstone_s)
        self.members.digest.toggle(me)
        self.gossip = GossipQueue(rng)
        self.suspicions = Suspicions(settings.suspicions_per_accuser)
        self._settings = settings
        # How often this node had to refute what others said of it.
        self.refutations = 0
        self.suspicions_refused = 0

    def size(self) -> int:
        """How many take part in the realm as far as this node knows, itself included."""
        return self.members.count_present() + 1

    def hear(
        self, rumours: Iterable[Rumour], source: NodeId | None, now: float
    ) -> list[MemberChanged]:
        """Believe what is news, and pass it on; ``source`` is the linked member that says it."""
        changes: list[MemberChanged] = []
        get, own_id = self.members.get, self.me.node_id
        is_pending = bool(self.gossip)
        for rumour in rumours:
            held = get(rumour.node_id)
            if held is rumour:
                # Most of what is heard was heard before.
                if is_pending:
                    self.gossip.heard(source, rumour)
            elif rumour.node_id == own_id:
                changes += self._hear_of_me(rumour)
            elif held is not None and not beats(rumour, held):
                self._hear_again(rumour, held, source)
            elif self._is_credible(rumour) and self.members.is_news(rumour):
                changes.append(self.adopt(rumour, source, now))
        return changes

    def adopt(self, rumour: Rumour, source: NodeId | None, now: float) -> MemberChanged:
        """Believe ``rumour`` and pass it on."""
        before = self.members.put(rumour, now)
        self.gossip.put(rumour, source, self._budget())
        if rumour.health is Health.SUSPECT:
            patience = self._patience(rumour.accuser)
            self.suspicions.start(rumour.node_id, rumour.incarnation, rumour.accuser, patience, now)
        else:
            self.suspicions.clear(rumour.node_id)
        return MemberChanged(before, rumour)

    def worsen(self, node_id: NodeId, health: Health, now: float) -> list[MemberChanged]:
        """This node finds a member to be suspect or dead."""
        held = self.members.get(node_id)
        if held is None or held.health >= health:
            return []
        accusation = held._replace(health=health, accuser=self.me.node_id)
        return [self.adopt(accusation, None, now)]

    def second(self, suspect: Rumour) -> None:
        """This node finds, too, that a suspect does not answer."""
        self._second(suspect._replace(accuser=self.me.node_id), None)

    def announce(self, me: Rumour) -> list[MemberChanged]:
        """Say something new about this node, with the next incarnation."""
        before, self.me = self.me, me._replace(incarnation=me.incarnation + 1)
        self.members.digest.replace(before, self.me)
        self.gossip.put(self.me, None, self._budget())
        return [MemberChanged(before, self.me)]

    def state(self) -> tuple[Rumour, ...]:
        """Everything that this node believes, beginning with itself."""
        return (self.me, *self.members)

    def _hear_again(self, heard: Rumour, held: Rumour, source: NodeId | None) -> None:
        """What is no news may still come from one more accuser."""
        if heard.said != held.said:
            return
        if heard.health is Health.SUSPECT:
            self._second(heard, source)
        else:
            self.gossip.heard(source, heard)

    def _second(self, heard: Rumour, source: NodeId | None) -> None:
        if self.suspicions.second(heard.node_id, heard.incarnation, heard.accuser):
            self.gossip.put(heard, source, self._budget())
        else:
            self.gossip.heard(source, heard)

    def _is_credible(self, heard: Rumour) -> bool:
        """Whether the accuser is not one that accuses everybody."""
        if heard.health is not Health.SUSPECT:
            return True
        if not self.suspicions.is_too_suspicious(heard.accuser):
            return True
        self.suspicions_refused += 1
        return False

    def _hear_of_me(self, heard: Rumour) -> list[MemberChanged]:
        """Outbid what is wrong about this node, be it bad news or an earlier life."""
        is_true = heard.said[1:] == self.me.said[1:]
        is_old = heard.incarnation < self.me.incarnation
        is_absurd = heard.incarnation >= MAX_INCARNATION
        is_current = heard.incarnation == self.me.incarnation and is_true
        if is_old or is_absurd or is_current or self.me.health is Health.LEFT:
            return []
        if heard.health is not Health.ALIVE:
            self.refutations += 1
        return self.announce(self.me._replace(incarnation=heard.incarnation))

    def _patience(self, accuser: NodeId) -> Patience:
        """How long a new suspicion lasts; one that nobody answers for lasts longest."""
        settings, size = self._settings, self.size()
        shortest_s = settings.suspicion_timeout_s(size)
        longest_s = settings.longest_suspicion_s(size)
        # The suspect and the first accuser do not count.
        wanted = settings.suspicion_multiplier - 2
        if size - 2 < wanted:
            wanted = 0
        if accuser == NOBODY:
            shortest_s = longest_s
        return Patience(shortest_s, longest_s, wanted)

    def _budget(self) -> int:
        return self._settings.retransmits(self.size())
