"""The failure detector of one node: probes of its own and for others, and what follows of them.

    time      0            timeout                  1.5 * timeout        2 * timeout
    direct    PING ------> no PONG: PING, urgent -> no PONG: the same -> no PONG from
    indirect               PING_REQUEST to others --------------------> anybody: accused

Whoever was neither asked nor heard for longest is asked next, and who probes this node is heard: a
round over all linked members stays bounded (SWIM, section 4.3), and the dead come first in it.

A member whose link is lost is asked through others only. Times are stretched by the awareness that
the node has of its own health; a node that is sick itself accuses one member at a time.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from maculaos.swim.allowance import Allowance
from maculaos.swim.awareness import Awareness
from maculaos.swim.probe import Probe, Probes
from maculaos.swim.relays import Relay, Relays
from maculaos.swim.requests import (
    Request,
    SendNack,
    SendPing,
    SendPingRequest,
    SendPong,
    SendRelayedPing,
)
from maculaos.swim.rumour import Health

if TYPE_CHECKING:
    import random
    from collections.abc import Iterable

    from maculaos.identity import NodeId
    from maculaos.settings import SwimSettings
    from maculaos.swim.requests import MemberChanged
    from maculaos.swim.view import View

# A peer that probes once a second asks as often at most, but for a burst when links are lost.
_REQUESTS_AT_ONCE: Final = 16
_REQUESTS_PER_S: Final = 4.0
# Who asks for others answers a little before those give up on it (as memberlist does).
_HELPER_SHARE: Final = 0.8


class Detector:
    """Probes linked members in turn, and accuses; ``rng`` picks helpers, and scatters turns."""

    def __init__(self, view: View, settings: SwimSettings, rng: random.Random, now: float) -> None:
        self.awareness = Awareness(settings.awareness_max)
        # Linked members, and when each was asked or heard last.
        self.peers: dict[NodeId, float] = {}
        # Linked members whose last probe went unanswered.
        self.silent: dict[NodeId, None] = {}
        self.requests_allowed = Allowance(_REQUESTS_AT_ONCE, _REQUESTS_PER_S)
        self._view = view
        self._settings = settings
        self._rng = rng
        self._probes = Probes()
        self._relays = Relays()
        # Unlinked members that were accused once since their link was lost.
        self._accused: dict[NodeId, None] = {}
        # Whose probes failed while this node may accuse nobody more.
        self._doubted: dict[NodeId, None] = {}
        self._probe_at = now + rng.uniform(0, settings.probe_interval_s)

    def link_up(self, peer: NodeId, now: float) -> None:
        """From now on probe that member."""
        # Links that come together are not asked together for ever.
        self.peers[peer] = now - self._rng.uniform(0, self._settings.probe_interval_s)
        self._absolve(peer)
        self._accused.pop(peer, None)

    def link_down(self, peer: NodeId, now: float, *, is_lost: bool) -> None:
        """Probe it no more; one whose link was lost is in doubt."""
        self.peers.pop(peer, None)
        self.requests_allowed.drop(peer)
        self._absolve(peer)
        if is_lost:
            # The grace of one timeout lets two links of one pair settle without an accusation.
            self.doubt(peer, now)

    def doubt(self, target: NodeId, now: float) -> None:
        """Find out about a member without link that seems out of reach."""
        held = self._view.members.get(target)
        if held is None or held.health is not Health.ALIVE or target in self._accused:
            return
        if self._probes.of(target) is None and self._probes.has_room():
            self._probes.open(target, now + self._timeout_s())

    def forget(self, node_id: NodeId) -> None:
        """The tombstone of that member has expired."""
        self._accused.pop(node_id, None)

    def buddy(self, changes: Iterable[MemberChanged], now: float) -> list[Request]:
        """Let linked suspects know at once, and see whether they answer (Lifeguard, 4.3)."""
        return [
            self._ping(change.after.node_id, now)
            for change in changes
            if change.after.health is Health.SUSPECT
            and change.after.node_id in self.peers
            and self._probes.of(change.after.node_id) is None
        ]

    def hear_from(self, peer: NodeId, now: float) -> None:
        """A linked member is alive: others are asked before it."""
        if peer in self.peers:
            self.peers[peer] = now

    def hear_pong(self, sender: NodeId, sequence: int) -> list[Request]:
        """An answer: to a probe of this node, to one for somebody else, or to nobody's."""
        probe = self._probes.answer(sequence, sender)
        if probe is not None:
            self.silent.pop(probe.target, None)
            self._doubted.pop(probe.target, None)
            self.awareness.improve()
            return []
        return self.hear_relayed_pong(sender, sequence)

    def hear_relayed_pong(self, sender: NodeId, sequence: int) -> list[Request]:
        """An answer that came over others, who vouch for its sender: it answers no own probe."""
        relay = self._relays.answer(sequence, sender)
        return [] if relay is None else [SendPong(relay.asker, relay.sequence, ())]

    def hear_nack(self, sender: NodeId, sequence: int) -> None:
        """Who was asked to ask for this node could not; so at least it is in reach."""
        self._probes.deny(sequence, sender)

    def hear_ping_request(
        self, sender: NodeId, sequence: int, target: NodeId, now: float
    ) -> list[Request]:
        """A linked member asks this node to probe ``target`` for it."""
        if not self.requests_allowed.take(sender, now):
            return []
        if target == sender or not self._knows(target) or not self._relays.has_room():
            return [SendNack(sender, sequence)]
        number = self._probes.number()
        deadline = now + _HELPER_SHARE * self._settings.probe_timeout_s
        self._relays.open(number, Relay(sender, sequence, target, deadline))
        if target in self.peers:
            return [SendPing(target, number, ())]
        return [SendRelayedPing(target, number)]

    def advance(self, now: float) -> list[Request]:
        """Do what is due: verdicts on probes, relays, and the next probe."""
        requests: list[Request] = [
            SendNack(relay.asker, relay.sequence) for relay in self._relays.expired(now)
        ]
        for probe in self._probes.overdue(now):
            requests += self._turn(probe, now)
        if now >= self._probe_at:
            requests += self._next_probe(now)
        return requests

    def forgive(self, seconds: float) -> None:
        """This node itself was away for that long."""
        self._probes.postpone(seconds)
        self.awareness.worsen()

    def next_deadline(self) -> float:
        """When ``advance`` has something to do."""
        return min(self._probe_at, self._probes.next_deadline(), self._relays.next_deadline())

    def _knows(self, target: NodeId) -> bool:
        """Whether that member may be asked: linked, or at least not gone."""
        held = self._view.members.get(target)
        return held is not None and (target in self.peers or not held.health.is_gone)

    def _next_probe(self, now: float) -> list[Request]:
        self._probe_at = now + self._settings.probe_interval_s * self.awareness.factor
        requests = self._accuse_doubted(now)
        target = min(self.peers, key=self.peers.__getitem__, default=None)
        if target is not None:
            self.peers[target] = now
            if self._probes.of(target) is None:
                requests.append(self._ping(target, now))
        return requests

    def _ping(self, target: NodeId, now: float) -> SendPing:
        probe = self._probes.open(target, now + self._timeout_s())
        return self._packet(probe, is_urgent=False)

    def _packet(self, probe: Probe, *, is_urgent: bool) -> SendPing:
        """A probe that also carries any bad news about its target, which alone can refute it."""
        rumours = self._view.gossip.piggyback(probe.target)
        held = self._view.members.get(probe.target)
        if held is not None and held.health is not Health.ALIVE and held not in rumours:
            rumours = (held, *rumours)
        return SendPing(probe.target, probe.sequence, rumours, is_urgent)

    def _turn(self, probe: Probe, now: float) -> list[Request]:
        """One stage of a probe is over without an answer."""
        is_linked = probe.target in self.peers
        probe.stage += 1
        if probe.stage > 2 or (probe.stage == 1 and not self._ask_others(probe) and not is_linked):
            return self._fail(probe, now)
        probe.deadline = now + self._timeout_s() / 2
        requests: list[Request] = []
        if probe.stage == 1:
            requests += (
                SendPingRequest(each, probe.sequence, probe.target) for each in probe.helpers
            )
        if is_linked:
            requests.append(self._packet(probe, is_urgent=True))
        return requests

    def _ask_others(self, probe: Probe) -> bool:
        """Choose who is to ask the target; whether there is anybody.

        Suspects and the silent are passed over: most likely they are dead, too, and their silence
        would be taken for a fault of this node.
        """
        candidates = [peer for peer in self.peers if peer != probe.target and self._is_well(peer)]
        count = min(self._settings.indirect_probes, len(candidates))
        probe.helpers = tuple(self._rng.sample(candidates, count))
        probe.awaited = dict.fromkeys(probe.helpers)
        return bool(probe.helpers)

    def _is_well(self, peer: NodeId) -> bool:
        held = self._view.members.get(peer)
        return held is not None and held.health is Health.ALIVE and peer not in self.silent

    def _fail(self, probe: Probe, now: float) -> list[Request]:
        """Nobody brought an answer: the target is accused, and this node doubts itself.

        Helpers that said NACK show that this node is in reach; only their silence counts against
        it, and where nobody could be asked, the failure itself (Lifeguard, section 4.1).
        """
        self._probes.close(probe)
        self.awareness.worsen(len(probe.awaited) if probe.helpers else 1)
        if probe.target in self.peers:
            self.silent[probe.target] = None
        return self._accuse(probe.target, now)

    def _accuse(self, target: NodeId, now: float) -> list[Request]:
        """Suspect a member that is held to be alive, or second those who do.

        One without link is accused once only: if it refutes through others, it is alive and out
        of our reach, and accusing it again and again would make it flap.
        """
        held = self._view.members.get(target)
        if held is None or held.health.is_gone or target in self._accused:
            return []
        if held.health is Health.SUSPECT:
            self._view.second(held)
        elif self._may_accuse():
            changes = self._view.worsen(target, Health.SUSPECT, now)
            self._note_accused(target)
            return [*changes, *self.buddy(changes, now)]
        else:
            self._doubted[target] = None
            return []
        self._note_accused(target)
        return []

    def _note_accused(self, target: NodeId) -> None:
        if target not in self.peers:
            self._accused[target] = None

    def _may_accuse(self) -> bool:
        """The circuit breaker: a node that is sick itself accuses one member at a time."""
        own = self._view.suspicions.count_begun(self._view.me.node_id)
        limit = 1 if self.awareness.is_sick else self._settings.suspicions_per_accuser
        return own < limit

    def _accuse_doubted(self, now: float) -> list[Request]:
        requests: list[Request] = []
        for target in list(self._doubted):
            if not self._may_accuse():
                break
            del self._doubted[target]
            requests += self._accuse(target, now)
        return requests

    def _absolve(self, node_id: NodeId) -> None:
        """What was found out about it over the old link counts no more."""
        self._probes.cancel(node_id)
        self.silent.pop(node_id, None)
        self._doubted.pop(node_id, None)

    def _timeout_s(self) -> float:
        return self._settings.probe_timeout_s * self.awareness.factor
