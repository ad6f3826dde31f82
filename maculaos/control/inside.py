"""A program in the process of its node: a client like others, without a socket in between.

Messages change hands as they are, nothing is encoded. What the node says waits until datagrams
were read or the loop comes round, so that neither side ever runs inside of the other's work.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable

    from maculaos.wire.messages import Close, Error, Message


class Program(Protocol):
    """Who speaks with the node from inside; called from the event loop, must not raise."""

    def take(self, message: Message) -> None:
        """The node says something."""
        ...

    def room(self) -> None:
        """The node takes what was held back."""
        ...

    def lost(self, reason: str) -> None:
        """The node has ended this; nothing more will come."""
        ...


class Inside:
    """The node's side of one program in its own process; see ``ControlSocket.enter_inside``."""

    def __init__(
        self,
        number: int,
        program: Program,
        leave: Callable[[str], None],
        soon: Callable[[Callable[[], None]], None],
    ) -> None:
        self.number = number
        #: The node cannot pass on what this program says just now.
        self.is_full = False
        # So many hold the program back.
        self._holds = 0
        self._program = program
        self._leave = leave
        self._soon = soon
        self._inbox: list[Message] = []
        self._is_over = False
        self._loop = asyncio.get_running_loop()

    @property
    def queued_bytes(self) -> int:
        """Nothing waits here for longer than a turn of the loop."""
        return 0

    def send(self, message: Message) -> bool:
        """Hand ``message`` over when the loop comes round; false if the program is gone."""
        if self._is_over:
            return False
        if not self._inbox:
            self._soon(self._hand_over)
        self._inbox.append(message)
        return True

    def end(self, last_words: Error | Close, reason: str) -> None:
        """Let the program have what was said to it, then tell it that this is over."""
        del last_words  # it would say the reason again
        if self._is_over:
            return
        self._is_over = True
        self._loop.call_soon(self._program.lost, reason)
        self._leave(reason)

    def close(self) -> None:
        """The program goes; can be repeated."""
        self._is_over = True
        self._leave("the program left")

    def pause(self) -> None:
        """Ask the program to say no more for now; see ``Held``."""
        self._holds += 1
        self.is_full = True

    def resume(self) -> None:
        """Let the program go on, if nobody else holds it back."""
        self._holds -= 1
        if self._holds:
            return
        self.is_full = False
        if not self._is_over:
            self._program.room()

    def _hand_over(self) -> None:
        inbox, self._inbox = self._inbox, []
        take = self._program.take
        for message in inbox:
            take(message)
