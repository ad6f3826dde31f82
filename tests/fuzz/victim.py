"""What hostile frames are thrown at: the reader, the session, and whatever reads what they carry.

Nothing but ``FrameError`` may leave the reader and nothing at all the session; what it delivers
is encoded again and its payloads are read, as a node and its clients would; then a node hears it.
"""

from __future__ import annotations

from collections import Counter
from contextlib import suppress
from dataclasses import replace
from typing import Final

from msgspec import Raw

from fuzz.household import Household
from maculaos.errors import RemoteProtocolError
from maculaos.identity import Identity, NodeId
from maculaos.session import PROTOCOL_VERSION, Deliver, Refuse, Reply, Session, SessionTerms
from maculaos.wire.events import Events
from maculaos.wire.fragments import MAX_HELD_SIZE
from maculaos.wire.frames import Frame, FrameError, FrameReader
from maculaos.wire.messages import Handshake, HandshakeAck, Message, encode_message
from maculaos.wire.packing import Packer
from maculaos.wire.registry import StreamClass
from maculaos.wire.signatures import BadSignature, check_run, is_signed
from maculaos.wire.values import decode_value

OWN: Final = Identity("home", NodeId(bytes(32)), "n0")
PEER: Final = Identity("home", NodeId(bytes(range(32))), "n1")
_TERMS: Final = SessionTerms(
    local=OWN,
    addresses=(),
    software="",
    life=1,
    peer=PEER,
    is_dialler=False,
    deadline=1e9,
    waiting_bytes=100_000,
)
_GREETINGS: Final = {
    kind: kind(PROTOCOL_VERSION, PEER.realm, PEER.node_id, PEER.name, (), "")
    for kind in (Handshake, HandshakeAck)
}


class Victim:
    """One end of a link; when it has ended, the next one begins."""

    def __init__(self) -> None:
        self.outcomes: Counter[str] = Counter()
        self._household = Household()
        self._links = 0
        self._begin()

    def hear(self, octets: bytes) -> None:
        """Take bytes of a stream; raises whatever should never be raised."""
        try:
            frames = self._reader.feed(octets)
        except FrameError as error:
            self.outcomes[f"cut: {error.code.name}"] += 1
            self._session.refuse_stream(error)
            self._begin()
            return
        for frame in frames:
            if not self._take(frame):
                self._begin()
                return

    @property
    def is_waiting(self) -> bool:
        """Whether the rest of a frame is missing."""
        return self._reader.pending_bytes > 0

    def hang_up(self) -> None:
        """Give the link up in the middle of a frame."""
        self.outcomes["hung up"] += 1
        self._begin()

    def _begin(self) -> None:
        """A new link: fresh, dialled or established, in turn."""
        self._links += 1
        is_dialler = self._links % 4 == 0
        self._reader = FrameReader()
        self._session = Session(replace(_TERMS, is_dialler=is_dialler))
        self._session.start()
        if self._links % 4 != 1:
            greeting = _GREETINGS[HandshakeAck if is_dialler else Handshake]
            (frame,) = FrameReader().feed(encode_message(greeting))
            self._session.receive(frame, StreamClass.CONTROL)

    def _take(self, frame: Frame) -> bool:
        """Whether the link goes on."""
        for effect in self._session.receive(frame, StreamClass.CONTROL, 1.0):
            match effect:
                case Refuse(code):
                    self.outcomes[f"refused: {code.name}"] += 1
                    return False
                case Reply(message):
                    self.outcomes["answered"] += 1
                    encode_message(message)
                case Deliver(message):
                    self.outcomes["delivered"] += 1
                    _use(message)
                    self._household.hear(message)
                case _:
                    self.outcomes["established"] += 1
        held = self._session._unpacker.assembler.held_size
        assert held <= MAX_HELD_SIZE
        return True


def _use(message: Message) -> None:
    """Do with a message what a node and a client do: pass it on, and read its payload."""
    with suppress(FrameError):
        Packer().pack(message)
    if isinstance(message, Events) and is_signed(message):
        with suppress(BadSignature):
            check_run(message, OWN.realm)
    for payload in (getattr(message, "payload", None), *getattr(message, "payloads", ())):
        if isinstance(payload, Raw):
            with suppress(RemoteProtocolError):
                decode_value(payload)
