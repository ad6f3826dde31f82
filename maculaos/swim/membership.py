"""SWIM membership of one node: probing, suspicion, refutation, gossip and push-pull.

Rumours travel three ways: on PING and PONG, in bursts of gossip while there is news, and as the
full state at link-up and in every push-pull. The node says which members are linked; only those
are probed and told. This module decides nothing about links and addresses.

Leaving is final: a node that left says and believes nothing more.
"""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from maculaos.swim.gossip import GossipQueue
from maculaos.swim.members import Members
from maculaos.swim.probe import Probes
from maculaos.swim.requests import (
    MemberChanged,
    MemberForgotten,
    Request,
    SendPing,
    SendPong,
    SendState,
)
from maculaos.swim.rumour import MAX_INCARNATION, Health, Rumour
from maculaos.swim.suspicion import Suspicions

if TYPE_CHECKING:
    import random
    from collections.abc import Iterable

    from maculaos.identity import NodeId
    from maculaos.settings import SwimSettings

# memberlist gossips every 200 ms to 3 nodes with a probe interval of 1 s; we keep the ratio.
GOSSIP_ROUNDS_PER_PROBE: Final = 5
GOSSIP_FANOUT: Final = 3


class Membership:
    """The view of one node, ``me``, of the realm; times are monotonic seconds."""

    def __init__(
        self, me: Rumour, settings: SwimSettings, limit: int, rng: random.Random, now: float
    ) -> None:
        self.me = me
        self.members = Members(limit, settings.tombstone_s)
        self._settings = settings
        self._rng = rng
        self._gossip = GossipQueue()
        self._probes = Probes(rng)
        self._suspicions = Suspicions()
        self._peers: dict[NodeId, None] = {}
        # Linked members whose last probe went unanswered.
        self._silent: dict[NodeId, None] = {}
        # Unlinked members that were accused once since their link was lost.
        self._accused: dict[NodeId, None] = {}
        self._probe_at = now + rng.uniform(0, settings.probe_interval_s)
        self._push_pull_at = now + rng.uniform(0, settings.push_pull_interval_s)
        self._gossip_at = math.inf
        self._last_gossip_at = -math.inf
        self._deadline = self._earliest()

    @property
    def has_left(self) -> bool:
        """Whether this node took its leave."""
        return self.me.health is Health.LEFT

    def is_silent(self, node_id: NodeId) -> bool:
        """Whether a linked member did not answer when this node asked it last."""
        return node_id in self._silent

    def next_deadline(self) -> float:
        """When ``advance`` has something to do; infinity once this node left."""
        return self._deadline

    def peer_up(self, peer: Rumour, now: float) -> list[Request]:
        """A link to ``peer`` is up; what it says of itself counts if it was a stranger."""
        self._peers[peer.node_id] = None
        self._probes.cancel(peer.node_id)
        self._silent.pop(peer.node_id, None)
        self._accused.pop(peer.node_id, None)
        requests: list[Request] = []
        if self.members.get(peer.node_id) is None:
            # However full the table is of hearsay: this one proved that it exists.
            requests += self._adopt(peer, now)
        requests.append(SendState(peer.node_id, self._state()))
        return self._settled(requests, now)

    def peer_down(self, node_id: NodeId, now: float) -> list[Request]:
        """The last link to that member is gone: as bad as a probe without answer."""
        self._peers.pop(node_id, None)
        self._silent.pop(node_id, None)
        self._probes.cancel(node_id)
        # The grace of one probe timeout lets two links of one pair settle without an accusation.
        self._probes.open(node_id, now + self._settings.probe_timeout_s)
        return self._settled([], now)

    def unreachable(self, node_id: NodeId, now: float) -> list[Request]:
        """A member without link does not answer at its addresses."""
        if node_id in self._peers:
            return []
        return self._settled(self._accuse(node_id, now), now)

    def hear(self, rumours: Iterable[Rumour], now: float) -> list[Request]:
        """Take in rumours, from anywhere."""
        requests: list[Request] = []
        for rumour in rumours:
            if rumour.node_id == self.me.node_id:
                requests += self._hear_of_me(rumour)
            elif self.members.is_news(rumour):
                requests += self._adopt(rumour, now)
        return self._settled(requests, now)

    def hear_ping(
        self, sender: NodeId, sequence: int, rumours: Iterable[Rumour], now: float
    ) -> list[Request]:
        """A linked member probes this node: answer, with rumours."""
        requests = self.hear(rumours, now)
        pong = SendPong(sender, sequence, self._take_rumours())
        return self._settled([*requests, pong], now)

    def hear_pong(
        self, sender: NodeId, sequence: int, rumours: Iterable[Rumour], now: float
    ) -> list[Request]:
        """A linked member answers; an answer to nobody's question still carries rumours."""
        if self._probes.answer(sequence, sender):
            self._silent.pop(sender, None)
        return self.hear(rumours, now)

    def hear_state(
        self, sender: NodeId, rumours: Iterable[Rumour], wants_reply: bool, now: float
    ) -> list[Request]:
        """A linked member tells what it knows, and may ask for the same."""
        requests = self.hear(rumours, now)
        if wants_reply:
            requests.append(SendState(sender, self._state()))
        return requests

    def leave(self) -> list[Request]:
        """Take leave: tell every linked member, and stop."""
        before, self.me = self.me, replace(self.me, health=Health.LEFT)
        self._deadline = math.inf
        farewells = [SendState(peer, (self.me,)) for peer in self._peers]
        return [*farewells, MemberChanged(before, self.me)]

    def advance(self, now: float) -> list[Request]:
        """Do what is due: probes, verdicts, gossip, push-pull, tombstones."""
        if self.has_left:
            return []
        self._forgive_own_sleep(now)
        requests = [
            *self._judge(now),
            *self._probe(now),
            *self._gossip_round(now),
            *self._push_pull(now),
            *(MemberForgotten(self._forget(member)) for member in self.members.bury(now)),
        ]
        return self._settled(requests, now)

    def _forgive_own_sleep(self, now: float) -> None:
        """After a pause of our own, others get as much more time (Lifeguard, section 3)."""
        overslept = now - self._deadline
        if overslept > self._settings.probe_interval_s:
            self._probes.postpone(overslept)
            self._suspicions.postpone(overslept)

    def _judge(self, now: float) -> list[Request]:
        """Accuse who did not answer, and bury who did not refute."""
        requests: list[Request] = []
        for target in self._probes.expired(now):
            if target in self._peers:
                self._silent[target] = None
            requests += self._accuse(target, now)
        for suspect in self._suspicions.expired(now):
            requests += self._worsen(suspect, Health.DEAD, now)
        return requests

    def _accuse(self, target: NodeId, now: float) -> list[Request]:
        """Suspect a member that is held to be alive.

        One without link is accused once only: if it refutes through others, it is alive and out
        of our reach, and accusing it again and again would make it flap.
        """
        held = self.members.get(target)
        if held is None or held.health is not Health.ALIVE or target in self._accused:
            return []
        if target not in self._peers:
            self._accused[target] = None
        return self._worsen(target, Health.SUSPECT, now)

    def _worsen(self, node_id: NodeId, health: Health, now: float) -> list[Request]:
        held = self.members.get(node_id)
        return self._adopt(replace(held, health=health), now) if held else []

    def _adopt(self, rumour: Rumour, now: float) -> list[Request]:
        """Believe ``rumour`` and pass it on."""
        node_id = rumour.node_id
        before = self.members.put(rumour, now)
        self._gossip.put(rumour)
        requests: list[Request] = [MemberChanged(before, rumour)]
        if rumour.health is not Health.SUSPECT:
            self._suspicions.clear(node_id)
            return requests
        timeout_s = self._settings.suspicion_timeout_s(self._size())
        self._suspicions.start(node_id, now, timeout_s)
        if node_id in self._peers:
            # Ask it ourselves, and let it know at once (Lifeguard's buddy system).
            requests.append(self._ping(node_id, now))
        return requests

    def _hear_of_me(self, heard: Rumour) -> list[Request]:
        """Outbid what is wrong about this node, be it bad news or an earlier life."""
        is_true = (heard.health, heard.addresses, heard.name) == (
            Health.ALIVE,
            self.me.addresses,
            self.me.name,
        )
        is_old = heard.incarnation < self.me.incarnation
        is_absurd = heard.incarnation >= MAX_INCARNATION
        is_current = heard.incarnation == self.me.incarnation and is_true
        if is_old or is_absurd or is_current or self.has_left:
            return []
        before, self.me = self.me, replace(self.me, incarnation=heard.incarnation + 1)
        self._gossip.put(self.me)
        return [MemberChanged(before, self.me)]

    def _probe(self, now: float) -> list[Request]:
        if now < self._probe_at:
            return []
        self._probe_at = now + self._settings.probe_interval_s
        target = self._probes.next_target(self._peers)
        return [] if target is None else [self._ping(target, now)]

    def _ping(self, target: NodeId, now: float) -> SendPing:
        """A probe that also carries any bad news about its target, which alone can refute it."""
        sequence = self._probes.open(target, now + self._settings.probe_timeout_s)
        rumours = self._take_rumours()
        held = self.members.get(target)
        if held is not None and held.health is not Health.ALIVE and held not in rumours:
            rumours = (held, *rumours)
        return SendPing(target, sequence, rumours)

    def _gossip_round(self, now: float) -> list[Request]:
        if now < self._gossip_at:
            return []
        self._last_gossip_at = now
        count = min(GOSSIP_FANOUT, len(self._peers))
        listeners = self._rng.sample(list(self._peers), count)
        rounds = ((peer, self._take_rumours()) for peer in listeners)
        return [SendState(peer, rumours) for peer, rumours in rounds if rumours]

    def _push_pull(self, now: float) -> list[Request]:
        if now < self._push_pull_at:
            return []
        self._push_pull_at = now + self._settings.push_pull_interval_s
        if not self._peers:
            return []
        partner = self._rng.choice(list(self._peers))
        return [SendState(partner, self._state(), wants_reply=True)]

    def _forget(self, member: Rumour) -> Rumour:
        self._gossip.forget(member.node_id)
        self._accused.pop(member.node_id, None)
        return member

    def _take_rumours(self) -> tuple[Rumour, ...]:
        return self._gossip.take(self._settings.retransmits(self._size()))

    def _state(self) -> tuple[Rumour, ...]:
        return (self.me, *self.members)

    def _size(self) -> int:
        return self.members.count_present() + 1

    def _settled(self, requests: list[Request], now: float) -> list[Request]:
        """Note when to wake up next, then return ``requests``."""
        if self.has_left:
            return requests
        self._gossip_at = math.inf
        if self._gossip and self._peers:
            # The first news goes at once; more of it waits for the next round.
            round_s = self._settings.probe_interval_s / GOSSIP_ROUNDS_PER_PROBE
            self._gossip_at = max(now, self._last_gossip_at + round_s)
        self._deadline = self._earliest()
        return requests

    def _earliest(self) -> float:
        return min(
            self._probe_at,
            self._push_pull_at,
            self._gossip_at,
            self._probes.next_deadline(),
            self._suspicions.next_deadline(),
            self.members.next_deadline(),
        )
