"""What the node counts for ``macula stats``; every number only grows."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(slots=True)
class Counters:
    """Events are counted per copy, calls once."""

    # Published by clients of this node.
    events_published: int = 0
    # Publications that were not taken up.
    posts_refused: int = 0
    # Sent to other nodes, and received from them.
    events_out: int = 0
    events_in: int = 0
    # Handed to clients of this node.
    events_delivered: int = 0
    # Received twice, or wanted by no client any more.
    events_dropped: int = 0
    # With a false signature, or without one where one is asked for.
    events_refused: int = 0
    # Dropped because a subscription's queue was full, or because they were overdue.
    events_overflowed: int = 0
    events_expired: int = 0
    # Passed on to other nodes for their publisher.
    events_passed_on: int = 0
    # Acknowledged runs: published here, sent again, and those that not every target took.
    runs_acknowledged: int = 0
    runs_sent_again: int = 0
    runs_failed: int = 0
    # Runs refused for want of room, here as a target.
    runs_refused: int = 0
    receipts_in: int = 0
    receipts_out: int = 0
    # Words about interest: taken up, and those beyond a bound.
    interest_heard: int = 0
    interest_refused: int = 0
    # Asked by clients of this node, and by other nodes.
    calls_out: int = 0
    calls_in: int = 0
    calls_answered: int = 0
    calls_failed: int = 0
    # Results that nobody waits for any more.
    results_late: int = 0
    # Calls that their callers, or their deadlines, took back from a provider.
    calls_cancelled: int = 0
    # Letters in envelopes that were not taken at once.
    letters_sent_again: int = 0
    # Envelopes between other nodes, and those that led nowhere.
    envelopes_passed_on: int = 0
    envelopes_dropped: int = 0
    links_refused: int = 0
    peers_malformed: int = 0
    messages_ignored: int = 0
