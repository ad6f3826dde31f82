"""Who this node is linked with now, for methods that want to know.

The daemon says it, link by link; as many are held as there are links.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from maculaos.identity import NodeId


class Linked:
    """The links by number, and a sign that there is news of them."""

    def __init__(self) -> None:
        self._links: dict[int, tuple[NodeId, tuple[str, ...]]] = {}
        # How many links came up so far.
        self.count = 0
        self._news = asyncio.Event()

    def up(self, link: int, node_id: NodeId, addresses: tuple[str, ...]) -> None:
        """A link is up; ``addresses`` are where its other end may be found again."""
        self._links[link] = (node_id, addresses)
        self.count += 1
        # Whoever waits hears of this one; whoever waits later, of the next.
        self._news.set()
        self._news = asyncio.Event()

    def down(self, link: int) -> None:
        """A link is gone."""
        self._links.pop(link, None)

    def now(self) -> tuple[tuple[NodeId, tuple[str, ...]], ...]:
        """The other ends of all links, oldest link first."""
        return tuple(self._links.values())

    async def wait(self, seen: int) -> int:
        """Return ``count`` once it is more than ``seen``."""
        while self.count <= seen:
            await self._news.wait()
        return self.count
