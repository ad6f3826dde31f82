"""Paths: members without a link that this node calls, or that call it, numbered as links are.

A link has a positive number, a path a negative one: so a call waits for either in the same way.
What goes over a path is in an envelope (``maculaos.node.relay``).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from maculaos.effects import Effect, Send

if TYPE_CHECKING:
    from maculaos.identity import NodeId
    from maculaos.node.relay import Relay


class Paths:
    """The paths of one node; one stays until its member is gone."""

    def __init__(self, relay: Relay) -> None:
        self._relay = relay
        self._numbers: dict[NodeId, int] = {}
        self._members: dict[int, NodeId] = {}
        self._last = 0

    def number_of(self, member: NodeId) -> int:
        """The number of the path to that member."""
        number = self._numbers.get(member)
        if number is None:
            self._last -= 1
            number = self._numbers[member] = self._last
            self._members[number] = member
        return number

    def drop(self, member: NodeId) -> int | None:
        """That member is gone; the number that its path had."""
        number = self._numbers.pop(member, None)
        if number is not None:
            del self._members[number]
        return number

    def bring(self, effects: list[Effect]) -> list[Effect]:
        """The same effects; what is for a path goes over links instead, or is lost."""
        if all(not isinstance(each, Send) or each.link > 0 for each in effects):
            return effects
        return [sent for each in effects for sent in self._brought(each)]

    def _brought(self, effect: Effect) -> list[Effect]:
        if not isinstance(effect, Send) or effect.link > 0:
            return [effect]
        member = self._members.get(effect.link)
        return [] if member is None else self._relay.send(member, effect.message)
