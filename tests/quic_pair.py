"""Two QUIC connections joined by a path of one thread: virtual time, a size limit, seeded loss."""

from __future__ import annotations

import heapq
import itertools
import math
import random
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from aioquic.quic import events

from maculaos.host.clock import SystemClock
from maculaos.quic.mutual_tls import MutualConnection, quic_configuration

if TYPE_CHECKING:
    from collections.abc import Callable

    from maculaos.security.credentials import Credentials

Host = tuple[str, int]


@dataclass(eq=False)
class End:
    """One end: its connection, where it is, and what it heard."""

    quic: MutualConnection
    address: Host
    streams: dict[int, bytearray] = field(default_factory=dict)
    datagrams: list[bytes] = field(default_factory=list)
    #: Stream ids in the order in which their bytes came.
    order: list[int] = field(default_factory=list)
    is_connected: bool = False
    sent: int = 0

    def drain(self) -> None:
        """Take what the connection has to tell."""
        while (event := self.quic.next_event()) is not None:
            match event:
                case events.StreamDataReceived(stream_id=stream_id, data=data):
                    self.streams.setdefault(stream_id, bytearray()).extend(data)
                    self.order.append(stream_id)
                case events.DatagramFrameReceived(data=data):
                    self.datagrams.append(data)
                case events.HandshakeCompleted():
                    self.is_connected = True


class Pair:
    """A client and a server; ``carries`` is the largest datagram that arrives."""

    def __init__(self, client: Credentials, server: Credentials, *, seed: int = 1) -> None:
        clock = SystemClock()
        ours = quic_configuration(client, is_client=True, idle_timeout_s=30.0)
        theirs = quic_configuration(server, is_client=False, idle_timeout_s=30.0)
        opener = MutualConnection(client, clock, configuration=ours)
        answerer = MutualConnection(
            server,
            clock,
            configuration=theirs,
            original_destination_connection_id=opener.original_destination_connection_id,
        )
        self.now = 1.0
        self.latency_s = 0.005
        self.loss = 0.0
        self.carries = 65_000
        #: Addresses that nobody can be reached at any more.
        self.gone: set[Host] = set()
        self.client = End(opener, ("10.0.0.1", 1000))
        self.server = End(answerer, ("10.0.0.2", 2000))
        #: Every datagram that was sent: by whom, from where, how large.
        self.seen: list[tuple[End, Host, int]] = []
        self._rng = random.Random(seed)
        self._numbers = itertools.count()
        self._way: list[tuple[float, int, Host, Host, bytes]] = []
        opener.connect(self.server.address, now=self.now)

    def connect(self) -> None:
        """Finish the handshake, at both ends."""
        self.run(lambda: self.client.is_connected and self.server.is_connected)
        self.run(lambda: self.client.quic._handshake_confirmed)

    def run(self, until: Callable[[], object], limit_s: float = 60.0) -> None:
        """Let time pass until ``until`` holds; fails the test if it never does."""
        deadline = self.now + limit_s
        while not until():
            self._transmit()
            if until():
                return
            self._step()
            assert self.now < deadline, "nothing came of it in time"

    def run_for(self, seconds: float) -> None:
        """Let that much time pass."""
        deadline = self.now + seconds
        while self.now < deadline:
            self._transmit()
            self._step(deadline)
        self._transmit()

    def inject(self, datagram: bytes, source: Host, to: End) -> None:
        """A stranger sends something."""
        heapq.heappush(self._way, (self.now, next(self._numbers), source, to.address, datagram))

    def _transmit(self) -> None:
        for end in (self.client, self.server):
            end.drain()
            if end.quic.get_peer_address() is None:
                continue
            for datagram, remote in end.quic.datagrams_to_send(now=self.now):
                end.sent += 1
                self.seen.append((end, end.address, len(datagram)))
                if len(datagram) > self.carries or self._rng.random() < self.loss:
                    continue
                due = self.now + self.latency_s
                entry = (due, next(self._numbers), end.address, remote, datagram)
                heapq.heappush(self._way, entry)

    def _step(self, limit: float = math.inf) -> None:
        """Go to what happens next, at most to ``limit``: a datagram arrives, or a timer is due."""
        times = [(end, end.quic.get_timer()) for end in (self.client, self.server)]
        timers = [(time, end) for end, time in times if time is not None]
        due = min([limit, *(time for time, _ in timers)])
        if self._way and self._way[0][0] <= due:
            moment, _, source, target, datagram = heapq.heappop(self._way)
            self.now = max(self.now, moment)
            self._deliver(datagram, source, target)
            return
        self.now = max(self.now, due)
        for time, end in timers:
            if time <= self.now:
                end.quic.handle_timer(now=self.now)

    def _deliver(self, datagram: bytes, source: Host, target: Host) -> None:
        for end in (self.client, self.server):
            if end.address == target and target not in self.gone:
                end.quic.receive_datagram(datagram, source, now=self.now)
