"""Where a load test happens: the control sockets of its nodes, and what can be done to them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from maculaos.errors import UsageError

if TYPE_CHECKING:
    from pathlib import Path


class Site(Protocol):
    """Nodes that run, in the order of their numbers."""

    @property
    def sockets(self) -> tuple[Path, ...]:
        """The control socket of each node."""
        ...

    async def kill(self, node: str) -> None:
        """End that node as a power cut would."""
        ...

    async def start(self, node: str) -> None:
        """Start that node again."""
        ...

    def pause(self, node: str) -> None:
        """Let that node do nothing."""
        ...

    def resume(self, node: str) -> None:
        """Let that node go on."""
        ...

    def lose(self, node: str, share: float) -> None:
        """Throw away that share of the datagrams to and from the node; 0: none any more."""
        ...

    def fallen(self) -> dict[str, str]:
        """The nodes that ended though nobody ended them, and what is known of each end."""
        ...


class Standing:
    """Nodes that ran before the test and go on after it; nothing is done to them."""

    def __init__(self, sockets: tuple[Path, ...]) -> None:
        self.sockets = sockets

    async def kill(self, node: str) -> None:
        """Refused."""
        raise _hands_off(node)

    async def start(self, node: str) -> None:
        """Refused."""
        raise _hands_off(node)

    def pause(self, node: str) -> None:
        """Refused."""
        raise _hands_off(node)

    def resume(self, node: str) -> None:
        """Refused."""
        raise _hands_off(node)

    def lose(self, node: str, share: float) -> None:
        """Refused."""
        del share
        raise _hands_off(node)

    def fallen(self) -> dict[str, str]:
        """None: whether they live is not this test's to know."""
        return {}


def _hands_off(node: str) -> UsageError:
    return UsageError(f"{node} is not the load test's own", "leave out --at, or the faults")
