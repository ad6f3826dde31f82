"""What operators are told of one link: who, how far, how much; numbers as they stand now."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from maculaos.quic.link import Link
    from maculaos.wire.values import Value


def facts_of(link: Link) -> dict[str, Value]:
    """``link`` for ``macula.stats``; bytes and datagrams only grow, the rest comes and goes.

    ``rtt_ms`` is 0 before the first sample; ``queued_bytes`` are accepted and unacknowledged.
    """
    return {
        "number": link.number,
        "name": link.peer.name,
        "node_id": link.peer.node_id.hex(),
        "remote": link.remote,
        "is_outbound": link.is_outbound,
        "rtt_ms": round(link.rtt_s * 1000, 3),
        "queued_bytes": link.queued_bytes,
        "datagram_size": link.datagram_size,
        "bytes_out": link.bytes_sent,
        "bytes_in": link.bytes_received,
        "datagrams_out": link.datagrams_sent,
        "not_carried": dict(link.counts),
    }
