"""SWIM membership of one node, with Lifeguard: the one door to ``maculaos.swim``.

It joins the view (what is believed), the detector (who is probed and accused) and the exchange
(views compared), and says when to wake up. The node says which members are linked; only those are
probed and told, and news of all others comes through them: links may form any connected graph.
This module decides nothing about links and addresses.

Leaving is final: a node that left says and believes nothing more.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from maculaos.errors import UsageError
from maculaos.swim.detector import Detector
from maculaos.swim.exchange import Exchange
from maculaos.swim.requests import (
    MemberChanged,
    MemberForgotten,
    Request,
    SendPong,
    SendState,
)
from maculaos.swim.rumour import MAX_METADATA_SIZE, Health, Rumour
from maculaos.swim.view import View

if TYPE_CHECKING:
    import random
    from collections.abc import Iterable, Sequence

    from maculaos.identity import NodeId
    from maculaos.settings import SwimSettings
    from maculaos.swim.members import Members


class Membership:
    """The view of one node, ``me``, of the realm; times are monotonic seconds."""

    def __init__(
        self, me: Rumour, settings: SwimSettings, limit: int, rng: random.Random, now: float
    ) -> None:
        # Whether this node took its leave.
        self.has_left = False
        self._view = View(me, settings, limit, rng)
        self._detector = Detector(self._view, settings, rng, now)
        self._exchange = Exchange(self._view)
        self._settings = settings
        self._rng = rng
        self._push_pull_at = now + rng.uniform(0, settings.push_pull_interval_s)
        self._last_gossip_at = -math.inf
        self._gossip_at = math.inf
        self._deadline = self._earliest()

    @property
    def me(self) -> Rumour:
        """What this node says of itself."""
        return self._view.me

    @property
    def members(self) -> Members:
        """What this node believes of all others."""
        return self._view.members

    @property
    def awareness(self) -> int:
        """How much this node doubts its own health: 0, not at all, to ``awareness_max``."""
        return self._detector.awareness.score

    def counts(self) -> dict[str, int]:
        """What is worth watching, by name; each number only grows."""
        return {
            "refutations": self._view.refutations,
            "suspicions_refused": self._view.suspicions_refused,
            "members_refused": self.members.refused,
            "requests_refused": self._detector.requests_allowed.refused
            + self._exchange.answers_allowed.refused,
        }

    def is_silent(self, node_id: NodeId) -> bool:
        """Whether a linked member did not answer when this node asked it last."""
        return node_id in self._detector.silent

    def next_deadline(self) -> float:
        """When ``advance`` has something to do; infinity once this node left."""
        return self._deadline

    def peer_up(self, peer: Rumour, now: float) -> list[Request]:
        """A link to ``peer`` is up; what it says of itself counts if it was a stranger."""
        self._detector.link_up(peer.node_id, now)
        self._view.gossip.open(peer.node_id)
        requests: list[Request] = []
        held = self.members.get(peer.node_id)
        if held is None:
            # However full the table is of hearsay: this one proved that it exists.
            requests.append(self._view.adopt(peer, peer.node_id, now))
        elif held.said != peer.said:
            # It alone can put right what is wrong, or go on where its earlier life ended.
            requests.append(SendState(peer.node_id, (held,)))
        if self.me.node_id < peer.node_id:
            requests.append(self._exchange.propose(peer.node_id))
        return self._settled(requests, now)

    def peer_down(self, node_id: NodeId, now: float, *, is_lost: bool = True) -> list[Request]:
        """The last link to that member is gone: as bad as a direct probe without answer.

        A link that both ends gave up on purpose is not lost, and raises no doubt.
        """
        self._detector.link_down(node_id, now, is_lost=is_lost)
        self._view.gossip.close(node_id)
        self._exchange.answers_allowed.drop(node_id)
        return self._settled([], now)

    def unreachable(self, node_id: NodeId, now: float) -> list[Request]:
        """A member without link does not answer at its addresses."""
        if node_id not in self._detector.peers:
            self._detector.doubt(node_id, now)
        return self._settled([], now)

    def hear(
        self, rumours: Sequence[Rumour], now: float, source: NodeId | None = None
    ) -> list[Request]:
        """Take in rumours, from the linked member ``source`` if one told them."""
        if not rumours or self.has_left:
            return []
        before = self._view.refutations
        changes = self._view.hear(rumours, source, now)
        if not changes:
            # At most it was seconded, or need not be told again.
            return self._settled([], now)
        if self._view.refutations > before:
            self._detector.awareness.worsen()
        return self._settled([*changes, *self._detector.buddy(changes, now)], now)

    def hear_ping(
        self,
        sender: NodeId,
        sequence: int,
        rumours: Sequence[Rumour],
        now: float,
        *,
        is_urgent: bool = False,
    ) -> list[Request]:
        """A linked member probes this node: answer, with rumours, the way it asked."""
        requests = self.hear(rumours, now, sender)
        self._detector.hear_from(sender, now)
        if not self.has_left:
            riders = self._view.gossip.piggyback(sender)
            if rumours and self.me.incarnation and not riders:
                riders = self._refutation(rumours)
            requests.append(SendPong(sender, sequence, riders, is_urgent))
        return requests

    def hear_pong(
        self, sender: NodeId, sequence: int, rumours: Sequence[Rumour], now: float
    ) -> list[Request]:
        """A linked member answers; an answer to nobody's question still carries rumours."""
        self._detector.hear_from(sender, now)
        requests = self._detector.hear_pong(sender, sequence)
        return self._settled([*requests, *self.hear(rumours, now, sender)], now)

    def hear_relayed_pong(self, sender: NodeId, sequence: int, now: float) -> list[Request]:
        """A member without link answers what this node asked it for somebody else."""
        return self._settled(self._detector.hear_relayed_pong(sender, sequence), now)

    def hear_ping_request(
        self, sender: NodeId, sequence: int, target: NodeId, now: float
    ) -> list[Request]:
        """A linked member asks this node to probe ``target`` in its stead."""
        if self.has_left:
            return []
        requests = self._detector.hear_ping_request(sender, sequence, target, now)
        return self._settled(requests, now)

    def hear_nack(self, sender: NodeId, sequence: int) -> list[Request]:
        """A linked member could not find out what this node asked it."""
        self._detector.hear_nack(sender, sequence)
        return []

    def hear_digest(
        self, sender: NodeId, members: int, total: int, buckets: bytes, now: float
    ) -> list[Request]:
        """A linked member tells the digest of its view; ``buckets`` is empty or of all 256."""
        if self.has_left:
            return []
        return self._exchange.hear_digest(sender, members, total, buckets, now)

    def hear_state(
        self,
        sender: NodeId,
        rumours: Sequence[Rumour],
        wants_reply: bool,
        buckets: bytes,
        now: float,
    ) -> list[Request]:
        """A linked member gossips or, with buckets or a wish for a reply, tells of its view."""
        is_gossip = not buckets and not wants_reply
        believed = rumours if is_gossip else self._exchange.soften(rumours)
        requests = self.hear(believed, now, sender)
        if wants_reply and not self.has_left:
            requests += self._exchange.reply(sender, rumours, buckets, now)
        return requests

    def set_metadata(self, metadata: bytes, now: float) -> list[Request]:
        """Tell the realm something else of this node; raises ``UsageError`` above 512 bytes."""
        if len(metadata) > MAX_METADATA_SIZE:
            what = f"{len(metadata)} bytes of metadata, at most {MAX_METADATA_SIZE} are told"
            raise UsageError(what, "say less, or where more is to be found")
        if self.has_left or metadata == self.me.metadata:
            return []
        return self._settled([*self._view.announce(self.me._replace(metadata=metadata))], now)

    def set_addresses(self, addresses: tuple[str, ...], now: float) -> list[Request]:
        """Tell the realm where this node is to be dialled from now on."""
        if self.has_left or addresses == self.me.addresses:
            return []
        return self._settled([*self._view.announce(self.me._replace(addresses=addresses))], now)

    def leave(self) -> list[Request]:
        """Take leave: tell every linked member, and stop."""
        before, self.has_left = self.me, True
        self._view.me = before._replace(health=Health.LEFT)
        self._deadline = math.inf
        farewells = [SendState(peer, (self.me,)) for peer in self._detector.peers]
        return [*farewells, MemberChanged(before, self.me)]

    def advance(self, now: float) -> list[Request]:
        """Do what is due: probes, verdicts, gossip, push-pull, tombstones."""
        if self.has_left:
            return []
        self._forgive_own_sleep(now)
        requests = self._detector.advance(now)
        requests += self._bury_suspects(now)
        requests += self._gossip_round(now)
        requests += self._push_pull(now)
        if now >= self.members.next_deadline():
            requests += [MemberForgotten(self._forget(each)) for each in self.members.bury(now)]
        return self._settled(requests, now)

    def _forgive_own_sleep(self, now: float) -> None:
        """After a pause of our own, others get as much more time (Lifeguard, section 3)."""
        overslept = now - self._deadline
        if overslept > self._settings.probe_interval_s:
            self._detector.forgive(overslept)
            self._view.suspicions.postpone(overslept)

    def _bury_suspects(self, now: float) -> list[Request]:
        requests: list[Request] = []
        for suspect in self._view.suspicions.expired(now):
            requests += self._view.worsen(suspect, Health.DEAD, now)
        return requests

    def _gossip_round(self, now: float) -> list[Request]:
        if now < self._gossip_at:
            return []
        self._last_gossip_at, self._gossip_at = now, math.inf
        told = self._view.gossip.next_round(self._settings.gossip_fanout)
        return [SendState(peer, rumours) for peer, rumours in told]

    def _push_pull(self, now: float) -> list[Request]:
        if now < self._push_pull_at:
            return []
        self._push_pull_at = now + self._settings.push_pull_s(self._view.size())
        peers = self._detector.peers
        if not peers:
            return []
        return [self._exchange.propose(self._rng.choice(list(peers)))]

    def _refutation(self, rumours: Iterable[Rumour]) -> tuple[Rumour, ...]:
        """What this node says of itself, for who probed it with something else."""
        me = self.me
        is_wrong = any(each.node_id == me.node_id and each.said != me.said for each in rumours)
        return (me,) if is_wrong else ()

    def _forget(self, member: Rumour) -> Rumour:
        self._view.gossip.forget(member.node_id)
        self._detector.forget(member.node_id)
        return member

    def _settled(self, requests: list[Request], now: float) -> list[Request]:
        """Note when to wake up next, then return ``requests``."""
        if self.has_left:
            return requests
        if not self._view.gossip:
            self._gossip_at = math.inf
        elif self._gossip_at == math.inf:
            # The first news goes at once; more of it waits for the next round.
            self._gossip_at = max(now, self._last_gossip_at + self._settings.gossip_interval_s)
        self._deadline = self._earliest()
        return requests

    def _earliest(self) -> float:
        return min(
            self._push_pull_at,
            self._gossip_at,
            self._detector.next_deadline(),
            self._view.suspicions.next_deadline(),
            self.members.next_deadline(),
        )
