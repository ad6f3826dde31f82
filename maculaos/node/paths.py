"""Paths: members without a link that this node calls, or that call it, numbered as links are.

A link has a positive number, a path a negative one: so a call waits for either in the same way.
What goes over a path is a letter (``maculaos.node.letters``).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from maculaos.effects import Effect
    from maculaos.identity import NodeId
    from maculaos.node.letters import Letters
    from maculaos.wire.messages import Message


class Paths:
    """The paths of one node; one stays until its member is gone."""

    def __init__(self, letters: Letters) -> None:
        self.letters = letters
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

    def member_at(self, number: int) -> NodeId | None:
        """Whom that path leads to; ``None`` once it is gone."""
        return self._members.get(number)

    def drop(self, member: NodeId) -> int | None:
        """That member is gone; the number that its path had."""
        self.letters.drop(member)
        number = self._numbers.pop(member, None)
        if number is not None:
            del self._members[number]
        return number

    def send(
        self, number: int, message: Message, now: float, until: float, *, is_word: bool = False
    ) -> list[Effect] | None:
        """Bring ``message`` over that path, unless it takes longer than ``until``.

        ``None`` if its member is gone, or if too much is on its way; for one that ``is_word`` see
        ``Outbox.write``.
        """
        member = self._members.get(number)
        if member is None:
            return None
        return self.letters.send(member, message, now, until, is_word=is_word)
