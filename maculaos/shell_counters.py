"""What only the shells around a node can count, put into its answer to ``macula.stats``."""

from __future__ import annotations

from typing import TYPE_CHECKING

from maculaos.effects import Effect, SendToClient
from maculaos.quic.facts import facts_of
from maculaos.wire.messages import RpcResult
from maculaos.wire.values import decode_value, encode_value

if TYPE_CHECKING:
    from collections.abc import Mapping

    from maculaos.control import ControlSocket
    from maculaos.outgoing import Outgoing
    from maculaos.quic.endpoint import Endpoint
    from maculaos.quic.link import Link


class ShellCounters:
    """The shells of one node, read at the moment of the answer."""

    def __init__(
        self,
        outgoing: Outgoing,
        control: ControlSocket,
        endpoint: Endpoint,
        links: Mapping[int, Link],
    ) -> None:
        self._outgoing = outgoing
        self._control = control
        self._endpoint = endpoint
        self._links = links

    def added_to(self, effect: Effect) -> Effect:
        """The same effect; an answer with a map for a client has ``shell`` in it."""
        if not isinstance(effect, SendToClient) or not isinstance(effect.message, RpcResult):
            return effect
        stats = decode_value(effect.message.payload)
        if isinstance(stats, dict):
            stats["shell"] = {
                "sends_dropped": self._outgoing.dropped,
                "client_events_dropped": self._control.events_dropped,
                "handshakes_refused": dict(self._endpoint.refused),
                "send_errors": dict(self._endpoint.send_errors),
                "not_carried": dict(self._endpoint.counts),
                "links": [facts_of(link) for link in self._links.values()],
            }
        return SendToClient(effect.client, RpcResult(effect.message.call, encode_value(stats)))
