"""A node without links, behind a real control socket: what clients see, without any network."""

from __future__ import annotations

import asyncio
import random
import shutil
import tempfile
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from maculaos.control import ControlSocket
from maculaos.effects import CloseClient, Effect, SendToClient
from maculaos.host.clock import SystemClock
from maculaos.identity import Identity, NodeId
from maculaos.node import Node
from maculaos.settings import CredentialSettings, LimitSettings, ListenSettings, NodeSettings
from maculaos.wire.messages import HandshakeAck
from simulation.world import notary_of

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from maculaos.wire.messages import Message

IDENTITY = Identity("home", NodeId(bytes(range(32))), "n1")


class LoneNode:
    """Carries out what the node wants of its clients; there is nobody else."""

    def __init__(self, path: Path, limits: LimitSettings) -> None:
        self.path = path
        self.went: list[str] = []
        self._clock = SystemClock()
        self._settings = NodeSettings(
            version=1,
            name=IDENTITY.name,
            realm=IDENTITY.realm,
            listen=ListenSettings(port=4701),
            credentials=CredentialSettings(
                certificate=path / "node.crt", key=path / "node.key", realm_ca=path / "realm.crt"
            ),
            control_socket=path,
            limits=limits,
        )
        rng = random.Random(1)  # replays the run
        now = self._clock.monotonic()
        self._node = Node(IDENTITY, self._settings, notary_of(IDENTITY), rng, now, "test")
        self.control: ControlSocket

    @property
    def events_overflowed(self) -> int:
        """Events that a full mailbox dropped."""
        return self._node._cores.counters.events_overflowed

    async def open(self) -> None:
        """Listen."""
        ack = HandshakeAck(2, IDENTITY.realm, IDENTITY.node_id, IDENTITY.name, (), "test")
        self.control = await ControlSocket.open(self.path, self._settings.limits, ack, self)

    def client_up(self, client: int, software: str) -> None:
        """See ``ControlObserver``."""
        del software
        self._carry_out(self._node.client_up(client, self._clock.monotonic()))

    def client_message(self, client: int, message: Message) -> None:
        """See ``ControlObserver``."""
        now = self._clock.monotonic()
        self._carry_out(self._node.receive_from_client(client, message, now))

    def client_full(self, client: int) -> None:
        """See ``ControlObserver``."""
        self._node.client_full(client)

    def client_room(self, client: int) -> None:
        """See ``ControlObserver``."""
        self._carry_out(self._node.client_room(client, self._clock.monotonic()))

    def client_down(self, client: int, reason: str) -> None:
        """See ``ControlObserver``."""
        self.went.append(reason)
        self._carry_out(self._node.client_down(client, self._clock.monotonic()))

    def _carry_out(self, effects: list[Effect]) -> None:
        for effect in effects:
            if isinstance(effect, SendToClient):
                self.control.send(effect.client, effect.message)
            elif isinstance(effect, CloseClient):
                self.control.close_client(effect.client, effect.code, effect.reason)
        if self._node.next_deadline() <= self._clock.monotonic():
            asyncio.get_running_loop().call_soon(self._go_on)

    def _go_on(self) -> None:
        self._carry_out(self._node.advance(self._clock.monotonic()))


@asynccontextmanager
async def lone_node(limits: LimitSettings | None = None) -> AsyncIterator[LoneNode]:
    """A running ``LoneNode`` in a folder with a short name; both are gone afterwards."""
    folder = Path(tempfile.mkdtemp(prefix="lone", dir="/tmp"))  # socket paths are short
    node = LoneNode(folder / "n1.sock", limits or LimitSettings())
    try:
        await node.open()
        try:
            yield node
        finally:
            await node.control.close()
    finally:
        shutil.rmtree(folder)
