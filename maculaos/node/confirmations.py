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
        confirmation = Confirmation(asked, now)
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
        leg, sequences = (source, receipt.group, receipt.priority), receipt.sequences
        if receipt.is_under_way:
            orders = self._outstanding.under_way(leg, sequences[-1] if sequences else 0, now)
            return self._carry(orders, now)
        is_nobody = receipt.code == RpcErrorCode.NO_PROVIDER and not receipt.group
        taken = () if receipt.code else sequences
        if is_nobody:
            began_at = now - receipt.up_ms / 1000
            taken = tuple(each for each in sequences if self._is_since(leg, each, began_at))
        complete, orders = self._outstanding.confirmed(
            leg, taken, now, receipt.through, is_missed=not is_nobody
        )
        if not sequences:
            orders = self._outstanding.missed(leg, now) or orders
        effects = [*self._answers(complete), *self._carry(orders, now)]
        return [*effects, *self._not_taken(leg, receipt, now)] if receipt.code else effects

    def member_gone(self, node: NodeId, now: float) -> list[Effect]:
        """A target is dead or has left."""
        effects: list[Effect] = []
        for (_, group, _), sending in self._outstanding.abandon(node):
            others = [each for each in self._members_of(sending, group) if each != node]
            if group:
                effects += self._give_to_others(sending, group, others, now)
            else:
                effects += self._fail(sending.confirmation, f"{self._name(node)} is gone")
        return effects

    def retry(self, node: NodeId, now: float) -> list[Effect]:
        """There is a new way to that target."""
        return self._carry(self._outstanding.retry(node, now), now)

    def advance(self, now: float) -> list[Effect]:
        """Send again, and give up what is overdue."""
        late, orders = self._outstanding.advance(now)
        effects = self._carry(orders, now)
        overdue: dict[Leg, list[int]] = {}
        for sending in late:
            names = ", ".join(self._name(node) for node, *_ in list(sending.legs)[:_NAMED])
            effects += self._fail(sending.confirmation, f"not confirmed in time by {names}")
            for leg in sending.legs:
                overdue.setdefault(leg, []).append(sending.sequence)
        for leg, sequences in overdue.items():
            _, orders = self._outstanding.withdraw(leg, sequences)
            effects += self._carry(orders, now)
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
        if orders[0].is_again:
            self._multicast.turn()
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

    def _is_since(self, leg: Leg, sequence: int, began_at: float) -> bool:
        """Whether a target that began its life then has had that run in the same life only."""
        sending = self._outstanding.get(leg, sequence)
        return sending is None or sending.confirmation.began_at >= began_at

    def _not_taken(self, leg: Leg, receipt: Receipt, now: float) -> list[Effect]:
        """A target refused runs, or lost them."""
        node, group, _ = leg
        # Who lost a run may take it again, under another number.
        may_again = receipt.code == RpcErrorCode.PROVIDER_LOST
        given_up: list[tuple[Sending, list[NodeId]]] = []
        for sequence in dict.fromkeys(receipt.sequences):
            sending = self._outstanding.get(leg, sequence)
            if sending is None:
                continue
            others = [n for n in self._members_of(sending, group) if may_again or n != node]
            if receipt.code == RpcErrorCode.OVERLOADED and not others:
                # All behind it waits, too.
                self._outstanding.refused(leg, sequence, now)
                break
            given_up.append((sending, others))
        # In one go: what was sent behind them is sent again, and once only.
        withdrawn = [sending.sequence for sending, _ in given_up]
        effects = self._carry(self._outstanding.withdraw(leg, withdrawn)[1], now)
        for sending, others in given_up:
            if group:
                effects += self._give_to_others(sending, group, others, now)
            else:
                effects += self._fail(sending.confirmation, self._why(node, receipt.code))
        return effects

    def _members_of(self, sending: Sending, group: str) -> tuple[NodeId, ...]:
        """Who shares a run; nobody without a group."""
        return self._plans.members_of(sending.run.topic, group) if group else ()

    def _give_to_others(
        self, old: Sending, group: str, others: Sequence[NodeId], now: float
    ) -> list[Effect]:
        """A member of a group did not take its part: another one may, under a new number."""
        confirmation = old.confirmation
        if not others:
            # Nobody is in that group any more.
            return [] if confirmation.left else self._answers([confirmation])
        run = self._runs.anew(old.run)
        confirmation.targets -= 1
        ((node, _),) = self._turns.deal(group, others, 1)
        sending = Sending(run.sequence, run, old.size, old.expires_at, confirmation)
        leg = (node, group, run.priority)
        return self._carry(self._outstanding.add(sending, [leg], now), now)

    def _fail(self, confirmation: Confirmation, detail: str) -> list[Effect]:
        """A target will not take a run any more: its publisher gets an error, once."""
        if confirmation.is_answered:
            return []
        self._counters.runs_failed += 1
        confirmation.is_answered = True
        client, request = confirmation.asked
        if not request:
            return []
        return [SendToClient(client, RpcError(request, RpcErrorCode.NOT_DELIVERED, detail))]

    def _answers(self, complete: Iterable[Confirmation]) -> list[Effect]:
        effects: list[Effect] = []
        for each in complete:
            client, request = each.asked
            if request and not each.is_answered:
                said = counted(each.targets, each.confirmed)
                effects.append(SendToClient(client, RpcResult(request, said)))
            each.is_answered = True
        return effects

    def _why(self, node: NodeId, code: int) -> str:
        """Why a target did not take a run, for people."""
        if code == RpcErrorCode.PROVIDER_LOST:
            return f"a subscriber on {self._name(node)} was lost before it took it"
        if code == RpcErrorCode.NO_PROVIDER:
            return f"{self._name(node)} started again before its subscribers took it"
        return f"{self._name(node)} did not hand it over in time"

    def _name(self, node: NodeId) -> str:
        if node == self._me:
            return "this node"
        member = self._members.get(node)
        return node.hex()[:16] if member is None else member.name
