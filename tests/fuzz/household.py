"""A whole node between two peers and a program, all of whom say what the attacker says.

Nothing may leave the node but effects: whoever breaks the rules loses its link or its connection,
and comes again. What the node says is encoded, as its shells would.
"""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Final

from bare_node import ADDRESS, make_node
from maculaos.effects import CloseClient, CloseLink, Send, SendToClient
from maculaos.identity import Identity, NodeId
from maculaos.node import Introduction
from maculaos.wire.frames import FrameError
from maculaos.wire.messages import Message, encode_message
from simulation.world import REALM

if TYPE_CHECKING:
    from maculaos.effects import Effect

# The first is the one that the attacker's frames name.
PEERS: Final = (NodeId(bytes(range(32))), NodeId(bytes([7]) * 32))
_STEP_S: Final = 0.01
# What hostile members made it believe goes with the node.
_LIFE: Final = 2000


class Household:
    """Nodes one after the other; each hears so many messages, over a link and from a program."""

    def __init__(self) -> None:
        self.heard = 0
        self._begin()

    def hear(self, message: Message) -> None:
        """A peer and a program say the same; raises whatever should never be raised."""
        if self.heard % _LIFE == _LIFE - 1:
            self._begin()
        self.heard += 1
        self._now += _STEP_S
        self._carry_out(self._node.receive(self._links[0], message, self._now))
        self._carry_out(self._node.receive_from_client(self._client, message, self._now))
        if self._node.next_deadline() <= self._now:
            self._carry_out(self._node.advance(self._now))

    def _begin(self) -> None:
        self._now, self._client, self._last_link = 0.0, 0, 0
        self._node = make_node()
        self._node.set_wall_clock(1e9, 0.0)
        self._links = [self._link_up(peer) for peer in PEERS]
        self._client_up()

    def _link_up(self, peer: NodeId) -> int:
        self._last_link += 1
        who = Identity(REALM, peer, f"n{peer[1]}")
        met = Introduction(addresses=(ADDRESS["b"],), is_outbound=False, life=self._last_link)
        self._carry_out(self._node.link_up(self._last_link, who, met, self._now))
        return self._last_link

    def _client_up(self) -> None:
        self._client += 1
        self._carry_out(self._node.client_up(self._client, self._now))

    def _carry_out(self, effects: list[Effect]) -> None:
        for effect in effects:
            match effect:
                case Send() | SendToClient():
                    with suppress(FrameError):
                        encode_message(effect.message)
                case CloseLink(link) if link in self._links:
                    at = self._links.index(link)
                    self._links[at] = self._link_up(PEERS[at])
                case CloseClient(client) if client == self._client:
                    self._carry_out(self._node.client_down(client, self._now))
                    self._client_up()
                case _:
                    pass
