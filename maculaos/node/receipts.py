"""Acknowledged runs at a target: taken in order, each once, and receipts for them."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from msgspec import structs

from maculaos.effects import Effect, Send
from maculaos.node.runs import for_clients
from maculaos.pubsub.arrivals import Arrivals, Standing
from maculaos.pubsub.mailbox import Taking
from maculaos.wire.events import Receipt
from maculaos.wire.registry import RpcErrorCode, StreamClass

if TYPE_CHECKING:
    from maculaos.identity import NodeId
    from maculaos.node.counters import Counters
    from maculaos.node.deliveries import Deliveries
    from maculaos.node.letters import Letters
    from maculaos.node.links import Link, Links
    from maculaos.pubsub.arrivals import Source
    from maculaos.wire.events import Events


class Receipts:
    """What this node takes of others, and of itself; times are monotonic seconds."""

    def __init__(
        self,
        limit: int,
        deliveries: Deliveries,
        links: Links,
        letters: Letters,
        counters: Counters,
        now: float,
    ) -> None:
        self._began_at = now
        self._deliveries = deliveries
        self._links = links
        self._letters = letters
        self._counters = counters
        self._arrivals = Arrivals(limit)
        # The links that runs of others came over: that way was open, and leads back.
        self._ways: dict[NodeId, Link] = {}

    def take(
        self, publisher: NodeId, run: Events, now: float
    ) -> tuple[Receipt | None, list[Effect]]:
        """Hand an acknowledged run to its subscribers here.

        What is to be answered at once, or ``None``: later, or not at all because another run has
        to come first.
        """
        source = (publisher, run.group, run.priority)
        match self._arrivals.judge(source, run.life, run.after, run.sequence):
            case Standing.TAKEN:
                code = self._arrivals.code_of(source, run.sequence)
                if code == RpcErrorCode.NO_PROVIDER:
                    return self._nobody(source, run.sequence, now), []
                return self.receipt(source, (run.sequence,), code), []
            case Standing.UNDER_WAY:
                return self.receipt(source, (run.sequence,), is_under_way=True), []
            case Standing.GAP:
                is_told = not self._arrivals.tells_gap(source, run.life)
                return None if is_told else self.receipt(source, ()), []
        taking = Taking(source, run.sequence)
        effects = self._deliveries.deliver(for_clients(run, now, taking), run.group, now)
        if effects is None:
            self._counters.runs_refused += 1
            self._arrivals.refuse(source, run.life, run.topic)
            return self.receipt(source, (run.sequence,), int(RpcErrorCode.OVERLOADED)), []
        self._arrivals.accept(source, run.life, run.sequence)
        if not (taking.left or run.group):
            self._deliveries.finished.remove(taking)
            self._arrivals.taken(source, run.sequence, int(RpcErrorCode.NO_PROVIDER))
            return self._nobody(source, run.sequence, now), effects
        return None, effects

    def settled(self) -> dict[tuple[Source, int], list[int]]:
        """The runs that became clear since the last time, by source and code."""
        finished, self._deliveries.finished = self._deliveries.finished, []
        runs: dict[tuple[Source, int], list[int]] = {}
        for taking in finished:
            self._arrivals.taken(taking.source, taking.sequence, taking.code)
            runs.setdefault((taking.source, taking.code), []).append(taking.sequence)
        return runs

    def with_room(self) -> list[Source]:
        """Whose run was refused, and has room now; each is named once."""
        refused = self._arrivals.refused
        ready = [
            source
            for source, topic in refused.items()
            if self._deliveries.is_at_ease(topic, source[1])
        ]
        for source in ready:
            del refused[source]
        return ready

    def receipt(
        self,
        source: Source,
        sequences: tuple[int, ...],
        code: int = 0,
        *,
        is_under_way: bool = False,
    ) -> Receipt:
        """What a publisher is told of runs, and of all before them."""
        _, group, priority = source
        through = self._arrivals.through(source)
        return Receipt(sequences, code, "", (), group, is_under_way, through, priority)

    def _nobody(self, source: Source, sequence: int, now: float) -> Receipt:
        """Nobody here wants that run: its publisher finds out whether somebody did.

        Who wanted it in this life has said that he does no more; who did in an earlier one, not.
        """
        told = self.receipt(source, (sequence,), int(RpcErrorCode.NO_PROVIDER))
        return structs.replace(told, up_ms=math.floor((now - self._began_at) * 1000))

    def tell(self, publisher: NodeId, receipt: Receipt, now: float) -> list[Effect]:
        """Bring a receipt to whom it is for: over its link, or in a letter that is sent once.

        One that is lost is asked for by the run, which comes again.
        """
        self._counters.receipts_out += 1
        link = self._links.to(publisher)
        if link is not None:
            return [Send(link.number, receipt, StreamClass.MESSAGES)]
        way = self._ways.get(publisher)
        return self._letters.send(publisher, receipt, now, now, back_over=way) or []

    def came_over(self, link: Link, publisher: NodeId) -> None:
        """An acknowledged run of that publisher came over others."""
        self._ways[publisher] = link

    def link_down(self, link: Link) -> None:
        """A link is gone: no way leads over it."""
        for publisher in [each for each, way in self._ways.items() if way is link]:
            del self._ways[publisher]

    def forget(self, publisher: NodeId) -> None:
        """Nobody remembers that publisher any more."""
        self._ways.pop(publisher, None)
        self._arrivals.forget(publisher)
