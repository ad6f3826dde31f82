"""Links between simulated hosts: dialled, used, lost and cut, as QUIC does it, but no packets.

A message arrives as the object that was sent: whoever changed one would change it for both, and
messages are frozen.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from maculaos.effects import Carriage, CloseLink, Dial, Send
from maculaos.node import Introduction
from maculaos.settings import LinkSettings
from maculaos.wire.events import Events
from maculaos.wire.registry import ErrorCode
from maculaos.wire.table import Routed
from simulation.hosts import End, Host, Pipe

if TYPE_CHECKING:
    import random
    from collections.abc import Callable

    from maculaos.effects import Effect
    from maculaos.wire.messages import Message
    from simulation.faults import Faults
    from simulation.timeline import Timeline

_LINK: Final = LinkSettings()
# How often a message that came to a cut is sent again.
_RESEND_S: Final = 0.5


class Network:
    """The links of all hosts; what nodes want done after each event goes to ``carry_out``."""

    def __init__(
        self,
        timeline: Timeline,
        faults: Faults,
        rng: random.Random,
        carry_out: Callable[[Host, list[Effect]], None],
    ) -> None:
        self.faults = faults
        self.sent_messages = 0
        # Who listens where, and other ways to write an address: what a name service says.
        self.listening: dict[str, Host] = {}
        self.aliases: dict[str, str] = {}
        self._timeline = timeline
        self._rng = rng
        self._carry_out = carry_out

    def dial(self, host: Host, wanted: Dial) -> None:
        """Three latencies to a link, two of them to be seen by who was dialled."""
        latency = self.faults.stream_delay(self._rng)
        is_lost = self._rng.random() < self.faults.dial_loss
        now = self._timeline.now
        self._timeline.at(now + 2 * latency, self._accept, host, wanted, latency, is_lost)

    def send(self, host: Host, effect: Send) -> None:
        """Put a message on its way, unless the link is gone."""
        end = host.links.get(effect.link)
        if end is None or not end.pipe.is_open:
            return
        if self._is_dropped(effect.message):
            return
        self.sent_messages += 1
        now, at = self._timeline.now, self._timeline.at
        if effect.carriage is Carriage.DATAGRAM:
            for delay in self.faults.datagram_delays(self._rng):
                at(max(now + delay, end.opens_at), self._deliver_datagram, end, effect.message)
            return
        earliest = end.arrivals.get(effect.stream, end.opens_at)
        arrival = end.arrivals[effect.stream] = max(
            now + self.faults.stream_delay(self._rng), earliest
        )
        at(arrival, self._deliver, end, effect.message)

    def _is_dropped(self, message: Message) -> bool:
        """Whether a node between, or a link that is full, loses it."""
        faults = self.faults
        if isinstance(message, Routed):
            return faults.envelope_loss > 0 and self._rng.random() < faults.envelope_loss
        is_event = isinstance(message, Events) and faults.event_loss > 0
        return is_event and self._rng.random() < faults.event_loss

    def close(self, host: Host, effect: CloseLink) -> None:
        """End a link: the other end hears so after everything that was sent before."""
        end = host.links.pop(effect.link, None)
        if end is None:
            return
        end.pipe.is_open = False
        now = self._timeline.now
        # The transport reports the end of every link, also of those the node closed itself.
        self._timeline.at(now, self._link_down, end, "closed")
        if self.faults.is_cut(host.name, end.far.host.name):
            at = now + _LINK.idle_timeout_s
            self._timeline.at(at, self._link_down, end.far, "idle timeout")
            return
        arrival = max(now + self.faults.stream_delay(self._rng), end.opens_at, end.last_arrival)
        reason = f"closed by peer: {effect.code.name}"
        is_lost = effect.code not in (ErrorCode.SPARE_LINK, ErrorCode.LIMIT_EXCEEDED)
        self._timeline.at(arrival, self._link_down, end.far, reason, is_lost)

    def abandon(self, host: Host) -> None:
        """That host is gone without a word: the others notice by silence."""
        for end in tuple(host.links.values()):
            self._break_later(end)

    def sever(self, end: End) -> None:
        """A link breaks for both of its ends, though both live: a firewall forgot it."""
        end.pipe.is_open = False
        self._link_down(end, "idle timeout")
        self._link_down(end.far, "idle timeout")

    def cut(self) -> None:
        """Links across the present cut end when they have been idle for too long."""
        ends = (end for host in self.listening.values() for end in host.links.values())
        pipes: dict[Pipe, None] = {}
        for end in ends:
            if end.pipe not in pipes and self.faults.is_cut(end.host.name, end.far.host.name):
                pipes[end.pipe] = None
                self._break_later(end)

    def _accept(self, host: Host, wanted: Dial, latency: float, is_lost: bool) -> None:
        if not host.is_running:
            return
        address = wanted.address
        target = self.listening.get(self.aliases.get(address, address))
        now = self._timeline.now
        if is_lost or target is None or self.faults.is_cut(host.name, target.name):
            self._timeline.at(now + _LINK.handshake_timeout_s, self._fail, host, address, "timeout")
        elif target is host or not target.is_running:
            # The handshake tells a node that it reached itself; to the dialler it is a failure.
            self._fail(host, address, "refused")
        else:
            pipe = Pipe()
            end = host.add_end(pipe, now)
            end.join(target.add_end(pipe, now + latency))
            # First, so that it comes before the first message of the other end.
            self._timeline.at(now + latency, self._link_up, end, address)
            self._link_up(end.far, None)
            for word in wanted.first_words:
                self._receive(end.far, word)

    def _fail(self, host: Host, address: str, reason: str) -> None:
        if host.is_running:
            now = host.clock.monotonic(self._timeline.now)
            self._carry_out(host, host.node.dial_failed(address, reason, now))

    def _link_up(self, end: End, dialled: str | None) -> None:
        host, peer = end.host, end.far.host
        if not host.is_running:
            return
        if not end.pipe.is_open and dialled is not None:
            self._fail(host, dialled, "closed during the handshake")
            return
        met = Introduction(
            addresses=(peer.address,),
            is_outbound=dialled is not None,
            dialled=dialled,
            life=peer.life,
        )
        now = host.clock.monotonic(self._timeline.now)
        self._carry_out(host, host.node.link_up(end.number, peer.identity, met, now))

    def _deliver(self, end: End, message: Message) -> None:
        """A message on a stream comes to the other end; at a cut it waits for its turn."""
        target, held = end.far.host, end.pipe.held
        if not target.is_running or end.far.number not in target.links:
            return
        if held or self.faults.is_cut(end.host.name, target.name):
            if not held:
                self._timeline.at(self._timeline.now + _RESEND_S, self._resend, end.pipe)
            held.append((end, message))
            return
        self._receive(end.far, message)

    def _deliver_datagram(self, end: End, message: Message) -> None:
        if not self.faults.is_cut(end.host.name, end.far.host.name):
            self._receive(end.far, message)

    def _receive(self, end: End, message: Message) -> None:
        host = end.host
        if host.is_running and end.number in host.links:
            now = host.clock.monotonic(self._timeline.now)
            self._carry_out(host, host.node.receive(end.number, message, now))

    def _resend(self, pipe: Pipe) -> None:
        """QUIC sends again until the link is given up."""
        end, _ = pipe.held[0]
        if self.faults.is_cut(end.host.name, end.far.host.name) and pipe.is_open:
            self._timeline.at(self._timeline.now + _RESEND_S, self._resend, pipe)
            return
        held, pipe.held = pipe.held, []
        for sender, message in held:
            self._receive(sender.far, message)

    def _break_later(self, end: End) -> None:
        """Both ends notice the silence after the idle timeout, unless it ends before."""
        self._timeline.at(self._timeline.now + _LINK.idle_timeout_s, self._break, end)

    def _break(self, end: End) -> None:
        one, other = end.host, end.far.host
        is_alive = one.is_running and other.is_running
        if end.pipe.is_open and not (is_alive and not self.faults.is_cut(one.name, other.name)):
            end.pipe.is_open = False
            self._link_down(end, "idle timeout")
            self._link_down(end.far, "idle timeout")

    def _link_down(self, end: End, reason: str, is_lost: bool = True) -> None:
        host = end.host
        host.links.pop(end.number, None)
        if host.is_running:
            now = host.clock.monotonic(self._timeline.now)
            effects = host.node.link_down(end.number, reason, now, is_lost=is_lost)
            self._carry_out(host, effects)
