"""Virtual machines: each runs one real node, in one life after the other, without any socket.

Identities and signatures cost nothing here: nobody in a virtual mesh lies.
"""

from __future__ import annotations

import hashlib
import math
import random
from collections import deque
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Final

from maculaos.identity import Identity, NodeId
from maculaos.kademlia.signing import Notary
from maculaos.node import Node
from maculaos.settings import CredentialSettings, LimitSettings, ListenSettings, NodeSettings
from maculaos.wire.registry import StreamClass

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

REALM: Final = "virtual"
_SOFTWARE: Final = "virtual"
# Nodes of a virtual mesh believe that it began then; nobody else looks at their clocks.
_EPOCH_S: Final = 1_767_225_600.0


@dataclass(eq=False, slots=True)
class Pipe:
    """What both ends of a link share."""

    is_open: bool = True


@dataclass(eq=False, slots=True)
class End:
    """One end of a link, under the number that its machine gave it."""

    machine: Machine
    number: int
    pipe: Pipe
    # Nothing that leaves here comes before that; then, when the last of each stream comes.
    opens_at: float
    arrivals: dict[StreamClass, float] = field(default_factory=dict)
    far: End | None = None


class Machine:
    """Where one node runs; its name, identity and address outlive the node."""

    def __init__(self, name: str, address: str, seeds: Sequence[str], rng: random.Random) -> None:
        self.identity = Identity(REALM, NodeId(hashlib.sha256(name.encode()).digest()), name)
        self.address = address
        self.life = 0
        self.is_up = False
        self.is_paused = False
        self.pauses = 0
        # Of the datagrams to and from here, thrown away, and until when.
        self.loss = 0.0
        self.loses_until = 0.0
        self.links: dict[int, End] = {}
        # What comes while nothing is done.
        self.held: deque[tuple[Callable[..., None], tuple[object, ...]]] = deque()
        self.wakes_at = math.inf
        self.node: Node
        self._numbers = 0
        self._rng = rng
        host, _, port = address.rpartition(":")
        self._settings = NodeSettings(
            version=1,
            name=name,
            realm=REALM,
            listen=ListenSettings(address=host, port=int(port)),
            credentials=CredentialSettings(
                certificate=Path("node.crt"), key=Path("node.key"), realm_ca=Path("realm.crt")
            ),
            control_socket=Path("control.sock"),
            peers=tuple(each for each in seeds if each != address),
            limits=LimitSettings(clients=10_000),
        )

    @property
    def name(self) -> str:
        """The name of the node."""
        return self.identity.name

    @property
    def is_awake(self) -> bool:
        """Whether the node runs, and does what comes."""
        return self.is_up and not self.is_paused

    def loss_at(self, moment: float) -> float:
        """The share of the datagrams that is thrown away then."""
        return self.loss if moment < self.loses_until else 0.0

    def boot(self, now: float) -> None:
        """Begin another life of the node, which knows nothing of the last one."""
        self.life += 1
        self.is_up = True
        self.is_paused = False
        self.links.clear()
        self.held.clear()
        self.wakes_at = math.inf
        rng = random.Random(self._rng.random())  # noqa: S311  # a seed replays the run
        notary = _notary_of(self.identity)
        self.node = Node(self.identity, self._settings, notary, rng, now, _SOFTWARE)
        self.node.seal_letters(_Letters(self.identity))
        self.node.set_wall_clock(_EPOCH_S + now, now)

    def add_end(self, pipe: Pipe, opens_at: float) -> End:
        """Take up a link under a new number."""
        self._numbers += 1
        end = self.links[self._numbers] = End(self, self._numbers, pipe, opens_at)
        return end


class _Letters:
    """Signatures of letters; see ``maculaos.node.letters``."""

    def __init__(self, identity: Identity) -> None:
        self._me = identity.node_id

    def sign(self, text: bytes) -> tuple[bytes, bytes]:
        """The node id in the place of a key, and a digest."""
        return self._me, _digest(self._me, text)

    def is_genuine(self, writer: bytes, public_key: bytes, signature: bytes, text: bytes) -> bool:
        """Whether that node made the digest."""
        return public_key == writer and signature == _digest(writer, text)


def _notary_of(identity: Identity) -> Notary:
    def sign(text: bytes) -> bytes:
        return _digest(identity.node_id, text)

    def verify(publisher: NodeId, credential: bytes, text: bytes, signature: bytes) -> bool:
        del credential
        return signature == _digest(publisher, text)

    return Notary(identity.realm, b"", sign, verify)


def _digest(who: bytes, text: bytes) -> bytes:
    return hashlib.sha256(who + text).digest()
