"""What clients of this node publish, on its way to whom it concerns.

One publication is one run; only a shared subscription gets it in slices. What is to be confirmed
goes on in ``confirmations``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from maculaos.effects import Effect, SendToClient
from maculaos.node.runs import for_clients
from maculaos.pubsub.groups import Turns
from maculaos.pubsub.topics import InvalidTopic
from maculaos.wire.events import MAX_TIME_MS
from maculaos.wire.messages import RpcError, RpcResult
from maculaos.wire.registry import MESSAGE_STREAMS, RpcErrorCode
from maculaos.wire.values import MAX_VALUE_SIZE

if TYPE_CHECKING:
    from maculaos.identity import NodeId
    from maculaos.node.confirmations import Confirmations
    from maculaos.node.counters import Counters
    from maculaos.node.deliveries import Deliveries
    from maculaos.node.multicast import Multicast
    from maculaos.node.plans import Plan, Plans
    from maculaos.node.retention import Retention
    from maculaos.node.runs import Runs
    from maculaos.wire.events import Events, Post

# Payloads of one publication.
MAX_PAYLOADS: Final = 10_000


class Refused(Exception):  # it is an answer, and no error of ours
    """A publication that is not taken: ``code``, and why."""

    def __init__(self, code: RpcErrorCode, detail: str) -> None:
        super().__init__(detail)
        self.code = code
        self.detail = detail


class Posts:
    """The publications of node ``me``; times are monotonic seconds."""

    def __init__(
        self,
        me: NodeId,
        runs: Runs,
        plans: Plans,
        deliveries: Deliveries,
        multicast: Multicast,
        counters: Counters,
    ) -> None:
        self._me = me
        self._runs = runs
        self._plans = plans
        self._deliveries = deliveries
        self._multicast = multicast
        self._counters = counters
        self._turns = Turns()

    def post(
        self,
        client: int,
        post: Post,
        retention: Retention,
        confirmations: Confirmations,
        now: float,
    ) -> list[Effect]:
        """A client publishes: on to whom it concerns, and an answer if it wants one."""
        try:
            size = _checked(post)
            plan = self._plans.plan(post.topic)
            if post.acknowledge and not confirmations.has_room(size):
                detail = "too much is published and not confirmed yet"
                raise Refused(RpcErrorCode.OVERLOADED, detail)
        except (InvalidTopic, Refused) as error:
            self._counters.posts_refused += 1
            code = error.code if isinstance(error, Refused) else RpcErrorCode.INVALID_REQUEST
            return refusal(client, post.request, code, str(error))
        self._counters.events_published += len(post.payloads)
        run = self._runs.make(post)
        if post.retain_ms:
            retention.keep(run, now)
        if post.acknowledge:
            return confirmations.begin((client, post.request), run, plan, size, now)
        effects = self._send(run, plan, now)
        if post.request:
            effects.append(SendToClient(client, RpcResult(post.request, plan.answer)))
        return effects

    def _send(self, run: Events, plan: Plan, now: float) -> list[Effect]:
        """At most once: to everybody, and forgotten."""
        effects: list[Effect] = []
        if plan.nodes:
            effects = self._multicast.send(run, plan.linked, plan.far)
        if plan.is_here:
            effects += self._deliveries.deliver(for_clients(run, now), "", now) or ()
        for group, nodes in plan.groups:
            for node, part in self._turns.deal(group, nodes, len(run.payloads)):
                piece = self._runs.slice(run, group, part)
                if node == self._me:
                    effects += self._deliveries.deliver(for_clients(piece, now), group, now) or ()
                else:
                    effects += self._multicast.send(piece, *self._multicast.split((node,)))
        return effects


def refusal(client: int, request: int, code: RpcErrorCode, detail: str) -> list[Effect]:
    """The answer to a client that asks for something impossible, if it wants one."""
    return [SendToClient(client, RpcError(request, code, detail))] if request else []


def _checked(post: Post) -> int:
    """The bytes of a publication; raises ``Refused`` if it cannot be one."""
    size = sum(map(len, post.payloads))
    detail = ""
    if not 0 < len(post.payloads) <= MAX_PAYLOADS:
        detail = f"a publication has 1 to {MAX_PAYLOADS} payloads"
    elif size > MAX_VALUE_SIZE:
        detail = f"a publication has at most {MAX_VALUE_SIZE} bytes"
    if detail:
        raise Refused(RpcErrorCode.INVALID_REQUEST, detail)
    check_way(post)
    return size


def check_way(post: Post) -> None:
    """Raise ``Refused`` unless priority and times make sense."""
    if not 0 <= post.priority < len(MESSAGE_STREAMS):
        detail = f"a priority is one of 0 to {len(MESSAGE_STREAMS) - 1}"
        raise Refused(RpcErrorCode.INVALID_REQUEST, detail)
    if not (0 <= post.ttl_ms <= MAX_TIME_MS and 0 <= post.retain_ms <= MAX_TIME_MS):
        detail = f"a time is at most {MAX_TIME_MS} ms"
        raise Refused(RpcErrorCode.INVALID_REQUEST, detail)
