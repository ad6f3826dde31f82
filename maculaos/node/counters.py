"""What the node counts for ``macula stats``; every number only grows."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(slots=True)
class Counters:
    """Events are counted per copy, calls once."""

    # Published by clients of this node.
    events_published: int = 0
    # Sent to other nodes, and received from them.
    events_out: int = 0
    events_in: int = 0
    # Handed to clients of this node.
    events_delivered: int = 0
    # Received twice, or wanted by no client any more.
    events_dropped: int = 0
    # With a false signature, or without one where one is asked for.
    events_refused: int = 0
    # Asked by clients of this node, and by other nodes.
    calls_out: int = 0
    calls_in: int = 0
    calls_answered: int = 0
    calls_failed: int = 0
    # Results that nobody waits for any more.
    results_late: int = 0
    # Envelopes between other nodes, and those that led nowhere.
    envelopes_passed_on: int = 0
    envelopes_dropped: int = 0
    links_refused: int = 0
    peers_malformed: int = 0
    messages_ignored: int = 0
