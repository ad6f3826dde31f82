"""Acknowledged runs at a target: taken in order, each once, and receipts for them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from maculaos.identity import NodeId
from maculaos.node.runs import for_clients
from maculaos.pubsub.arrivals import Arrivals, Standing
from maculaos.pubsub.mailbox import Taking
from maculaos.wire.registry import RpcErrorCode

if TYPE_CHECKING:
    from maculaos.effects import Effect
    from maculaos.node.counters import Counters
    from maculaos.node.deliveries import Deliveries
    from maculaos.node.relay import Relay
    from maculaos.wire.events import Events, Receipt


class Receipts:
    """What this node takes of others, and of itself; times are monotonic seconds."""

    def __init__(
        self, limit: int, deliveries: Deliveries, relay: Relay, counters: Counters
    ) -> None:
        self._deliveries = deliveries
        self._relay = relay
        self._counters = counters
        self._arrivals = Arrivals(limit)
        self.forget = self._arrivals.forget

    def take(self, publisher: NodeId, run: Events, now: float) -> tuple[int | None, list[Effect]]:
        """Hand an acknowledged run to its subscribers here.

        What is to be answered at once (0: taken, or the code of a refusal), or ``None``: later,
        or not at all because another run has to come first.
        """
        source = (publisher, run.group)
        match self._arrivals.judge(source, run.life, run.after, run.sequence):
            case Standing.TAKEN:
                return self._arrivals.code_of(source, run.sequence), []
            case Standing.GAP | Standing.UNDER_WAY:
                return None, []
        taking = Taking(publisher, run.sequence, run.group)
        effects = self._deliveries.deliver(for_clients(run, now, taking), run.group, now)
        if effects is None:
            self._counters.runs_refused += 1
            return int(RpcErrorCode.OVERLOADED), []
        self._arrivals.accept(source, run.life, run.sequence)
        return None, effects

    def settled(self) -> dict[tuple[NodeId, str, int], list[int]]:
        """The runs that became clear since the last time, by publisher, group and code."""
        finished, self._deliveries.finished = self._deliveries.finished, []
        runs: dict[tuple[NodeId, str, int], list[int]] = {}
        for taking in finished:
            publisher = NodeId(taking.publisher)
            self._arrivals.taken((publisher, taking.group), taking.sequence, taking.code)
            runs.setdefault((publisher, taking.group, taking.code), []).append(taking.sequence)
        return runs

    def tell(self, publisher: NodeId, receipt: Receipt) -> list[Effect]:
        """Bring a receipt to whom it is for."""
        self._counters.receipts_out += 1
        return self._relay.send(publisher, receipt)
