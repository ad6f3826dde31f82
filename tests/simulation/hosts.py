"""A simulated machine with one real node, and the links between two of them."""

from __future__ import annotations

import hashlib
import math
from collections import deque
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from maculaos.effects import Note
from maculaos.identity import Identity, NodeId
from maculaos.kademlia.signing import Notary
from maculaos.node import Node
from maculaos.settings import CredentialSettings, ListenSettings, NodeSettings
from maculaos.wire.messages import Message
from maculaos.wire.registry import StreamClass
from simulation.clocks import HostClock

REALM: Final = "simulated"
# The notes that a host keeps; thousands of nodes make millions.
_NOTES: Final = 256


@dataclass(eq=False, slots=True)
class Pipe:
    """What both ends of one link share."""

    is_open: bool = True
    # Messages that came to a cut, in the order in which they came: from which end, and what.
    held: list[tuple[End, Message]] = field(default_factory=list)


@dataclass(eq=False, slots=True)
class End:
    """One end of a link: whose it is, and that owner's ``number`` for it."""

    host: Host
    number: int
    pipe: Pipe
    # No message that leaves here arrives before that time: streams begin with a handshake.
    opens_at: float
    # When the last message that left here arrives, by stream: each stream keeps its order.
    arrivals: dict[StreamClass, float] = field(default_factory=dict)
    _far: End | None = None

    def join(self, far: End) -> None:
        """Make these two the ends of one link."""
        self._far, far._far = far, self

    @property
    def far(self) -> End:
        """The other end."""
        assert self._far is not None
        return self._far

    @property
    def last_arrival(self) -> float:
        """When everything that left here has arrived."""
        return max(self.arrivals.values(), default=0.0)


@dataclass(eq=False, slots=True)
class Host:
    """One life of a node: a restart makes another host of the same identity."""

    identity: Identity
    address: str
    node: Node
    life: int
    clock: HostClock
    is_running: bool = True
    links: dict[int, End] = field(default_factory=dict)
    heard: dict[int, list[Message]] = field(default_factory=dict)
    # The last notes, and how many there were.
    notes: deque[Note] = field(default_factory=lambda: deque(maxlen=_NOTES))
    note_count: int = 0
    # For when a wake is planned, in the time of this machine.
    wakes_at: float = math.inf
    last_link: int = 0
    last_call: int = 0

    @property
    def name(self) -> str:
        """The name of the node."""
        return self.identity.name

    @property
    def neighbours(self) -> list[Host]:
        """The other end of each link."""
        return [end.far.host for end in self.links.values()]

    def add_end(self, pipe: Pipe, opens_at: float) -> End:
        """Take up a link under a new number."""
        self.last_link += 1
        end = self.links[self.last_link] = End(self, self.last_link, pipe, opens_at)
        return end


def node_id_of(name: str) -> NodeId:
    """The same name is the same node, in every life."""
    return NodeId(hashlib.sha256(name.encode()).digest())


def notary_of(identity: Identity) -> Notary:
    """Signatures that cost nothing and that nobody in the simulation forges."""

    def sign(text: bytes) -> bytes:
        return hashlib.sha256(identity.node_id + text).digest()

    def verify(publisher: NodeId, credential: bytes, text: bytes, signature: bytes) -> bool:
        del credential
        return signature == hashlib.sha256(publisher + text).digest()

    return Notary(identity.realm, b"", sign, verify)


class LetterSealOf:
    """Signatures of letters that cost nothing; only their own node makes them in the simulation."""

    def __init__(self, identity: Identity) -> None:
        self._me = identity.node_id

    def sign(self, text: bytes) -> tuple[bytes, bytes]:
        """The node id in the place of a key, and a digest."""
        return self._me, hashlib.sha256(self._me + text).digest()

    def is_genuine(self, writer: bytes, public_key: bytes, signature: bytes, text: bytes) -> bool:
        """Whether that node made the digest."""
        return public_key == writer and signature == hashlib.sha256(writer + text).digest()


def settings_for(name: str, address: str, peers: tuple[str, ...]) -> NodeSettings:
    """The settings of a node as it would run, with the shipped defaults."""
    host, _, port = address.rpartition(":")
    return NodeSettings(
        version=1,
        name=name,
        realm=REALM,
        listen=ListenSettings(address=host, port=int(port)),
        credentials=CredentialSettings(
            certificate=Path("node.crt"), key=Path("node.key"), realm_ca=Path("realm.crt")
        ),
        control_socket=Path("control.sock"),
        peers=peers,
    )
