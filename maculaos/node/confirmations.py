"""Acknowledged publications: kept, and sent again, until every target has taken them.

Whoever published gets one answer: how many nodes took part and took it, or the first thing that
stood in the way. This node is a target like others where its own clients want the topic.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import msgspec

from maculaos.effects import Effect, SendToClient
from maculaos.node.plans import counted
from maculaos.node.runs import left_ms
from maculaos.pubsub.groups import Turns
from maculaos.pubsub.outstanding import Confirmation, Leg, Order, Sending
from maculaos.wire.messages import RpcError, RpcResult
from maculaos.wire.registry import RpcErrorCode

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from maculaos.identity import NodeId
    from maculaos.node.counters import Counters
    from maculaos.node.plans import Plan, Plans
    from maculaos.node.receipts import Receipts
    from maculaos.node.runs import Runs
    from maculaos.pubsub.outstanding import Outstanding
    from maculaos.swim.membership import Membership
    from maculaos.wire.events import Events, Receipt

# A publication without a time to live is given up after this, in seconds.
DEFAULT_DEADLINE_S: Final = 30.0
# So many of the targets that did not confirm are named.
_NAMED: Final = 5


class Confirmations:
    """What a node published and is not confirmed; times are monotonic seconds."""

    def __init__(
        self,
        membership: Membership,
        outstanding: Outstanding,
        runs: Runs,
        plans: Plans,
        receipts: Receipts,
        counters: Counters,
    ) -> None:
        self._me = membership.me.node_id
        self._members = membership.members
        self._outstanding = outstanding
        self._runs = runs
        self._plans = plans
        self._multicast = plans.multicast
        self._receipts = receipts
        self._counters = counters
        self._turns = Turns()
        self.has_room = outstanding.has_room
        self.next_deadline = outstanding.next_deadline
        self.forget = outstanding.forget

    def __len__(self) -> int:
        return len(self._outstanding)

    def begin(
        self, asked: tuple[int, int], run: Events, plan: Plan, size: int, now: float
    ) -> list[Effect]:
        """Send a run of a client (and the number of its request), and keep it."""
        self._counters.runs_acknowledged += 1
        expires_at = now + (run.ttl_ms / 1000 if run.ttl_ms else DEFAULT_DEADLINE_S)
        confirmation = Confirmation(asked)
        orders: list[Order] = []
        nodes = (*plan.nodes, self._me) if plan.is_here else plan.nodes
        if nodes:
            sending = Sending(run.sequence, run, size, expires_at, confirmation)
            orders += self._outstanding.add(
                sending, [(node, "", run.priority) for node in nodes], now
            )
        for group, members in plan.groups:
            for node, part in self._turns.deal(group, members, len(run.payloads)):
                piece = self._runs.slice(run, group, part)
                sending = Sending(piece.sequence, piece, size, expires_at, confirmation)
                orders += self._outstanding.add(sending, [(node, group, run.priority)], now)
        if not confirmation.targets:
            return self._answers([confirmation])
        return self._carry(orders, now)

    def receipt(self, source: NodeId, receipt: Receipt, now: float) -> list[Effect]:
        """A target, or this node itself, says what became of runs."""
        leg, code = (source, receipt.group, receipt.priority), receipt.code
        if receipt.is_under_way:
            orders = self._outstanding.under_way(leg, receipt.sequences[-1], now)
            return self._carry(orders, now)
        taken = () if code else receipt.sequences
        complete, orders = self._outstanding.confirmed(leg, taken, now, receipt.through)
        if not receipt.sequences:
            orders = self._outstanding.missed(leg, now)
        effects = [*self._answers(complete), *self._carry(orders, now)]
        if not code:
            return effects
        for sequence in receipt.sequences:
            if leg[1]:
                effects += self._give_to_another(leg, sequence, code, now)
            elif code == RpcErrorCode.OVERLOADED:
                self._outstanding.refused(leg, sequence, now)
            else:
                detail = f"{self._name(leg[0])} did not hand it over in time"
                effects += self._give_up(leg, sequence, detail, now)
        return effects

    def member_gone(self, node: NodeId, now: float) -> list[Effect]:
        """A target is dead or has left."""
        effects: list[Effect] = []
        for leg, sending in self._outstanding.pending_of(node):
            if leg[1]:
                nobody = RpcErrorCode.NO_PROVIDER
                effects += self._give_to_another(leg, sending.sequence, nobody, now)
            else:
                detail = f"{self._name(node)} is gone"
                effects += self._give_up(leg, sending.sequence, detail, now)
        return effects

    def retry(self, node: NodeId, now: float) -> list[Effect]:
        """There is a new way to that target."""
        return self._carry(self._outstanding.retry(node, now), now)

    def advance(self, now: float) -> list[Effect]:
        """Send again, and give up what is overdue."""
        late, orders = self._outstanding.advance(now)
        effects = self._carry(orders, now)
        for sending in late:
            names = ", ".join(self._name(node) for node, *_ in list(sending.legs)[:_NAMED])
            for leg in tuple(sending.legs):
                detail = f"not confirmed in time by {names}"
                effects += self._give_up(leg, sending.sequence, detail, now)
        return effects

    def _carry(self, orders: list[Order], now: float) -> list[Effect]:
        """Send what is waited for; one copy for all who get it after the same run."""
        if not orders:
            return []
        alike: dict[tuple[int, str, int, bool], list[Order]] = {}
        for order in orders:
            sending = order.sending
            key = (sending.sequence, order.leg[1], order.after, order.is_again)
            alike.setdefault(key, []).append(order)
        effects: list[Effect] = []
        for (_, _, after, is_again), same in alike.items():
            sending = same[0].sending
            run = sending.run
            if after or is_again:
                ttl_ms = left_ms(run.ttl_ms, sending.expires_at, now)
                run = msgspec.structs.replace(run, after=after, ttl_ms=ttl_ms)
            nodes = [order.leg[0] for order in same]
            self._counters.runs_sent_again += is_again
            if self._me in nodes:
                nodes.remove(self._me)
                effects += self._take_here(run, now)
            if nodes:
                linked, far = self._multicast.split(nodes)
                effects += self._multicast.send(run, linked, far, is_again=is_again)
        return effects

    def _take_here(self, run: Events, now: float) -> list[Effect]:
        """This node is a target of its own run."""
        receipt, effects = self._receipts.take(self._me, run, now)
        if receipt is not None:
            effects += self.receipt(self._me, receipt, now)
        return effects

    def _give_to_another(self, leg: Leg, sequence: int, code: int, now: float) -> list[Effect]:
        """A member of a group did not take its part: another one may, under a new number."""
        node, group, _ = leg
        sending = self._outstanding.get(leg, sequence)
        if sending is None:
            return []
        candidates = [
            each
            for each in self._plans.members_of(sending.run.topic, group)
            if each != node or code == RpcErrorCode.PROVIDER_LOST
        ]
        if not candidates and code == RpcErrorCode.OVERLOADED:
            self._outstanding.refused(leg, sequence, now)
            return []
        _, orders = self._outstanding.withdraw(leg, sequence, now)
        confirmation = sending.confirmation
        if candidates:
            orders += self._send_anew(sending, group, candidates, now)
        if confirmation.left:
            return self._carry(orders, now)
        # Nobody is in that group any more, and it was the last that was waited for.
        return [*self._answers([confirmation]), *self._carry(orders, now)]

    def _send_anew(
        self, old: Sending, group: str, candidates: Sequence[NodeId], now: float
    ) -> list[Order]:
        run = self._runs.anew(old.run)
        old.confirmation.targets -= 1
        ((node, _),) = self._turns.deal(group, candidates, 1)
        sending = Sending(run.sequence, run, old.size, old.expires_at, old.confirmation)
        return self._outstanding.add(sending, [(node, group, run.priority)], now)

    def _give_up(self, leg: Leg, sequence: int, detail: str, now: float) -> list[Effect]:
        """A target will not take a run any more: its publisher gets an error."""
        sending, orders = self._outstanding.withdraw(leg, sequence, now)
        effects = self._carry(orders, now)
        if sending is None or sending.confirmation.is_answered:
            return effects
        self._counters.runs_failed += 1
        sending.confirmation.is_answered = True
        client, request = sending.confirmation.asked
        if request:
            failed = RpcError(request, RpcErrorCode.NOT_DELIVERED, detail)
            effects.append(SendToClient(client, failed))
        return effects

    def _answers(self, complete: Iterable[Confirmation]) -> list[Effect]:
        effects: list[Effect] = []
        for each in complete:
            client, request = each.asked
            if request and not each.is_answered:
                said = counted(each.targets, each.confirmed)
                effects.append(SendToClient(client, RpcResult(request, said)))
            each.is_answered = True
        return effects

    def _name(self, node: NodeId) -> str:
        if node == self._me:
            return "this node"
        member = self._members.get(node)
        return node.hex()[:16] if member is None else member.name
