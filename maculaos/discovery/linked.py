"""Who this node is linked with now, for methods that want to know.

The daemon says it, link by link; as many are held as there are links, and the last few that were,
so that nobody who was linked only for a moment is missed.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from maculaos.identity import NodeId

# So many that came up last are held, be they gone or not.
RECENT_MAX: Final = 64


class Linked:
    """The links by number, and a sign that there is news of them."""

    def __init__(self) -> None:
        self._links: dict[int, tuple[NodeId, tuple[str, ...]]] = {}
        # Node id -> which link it was, counted from 1, and where its other end may be found.
        self._recent: dict[NodeId, tuple[int, tuple[str, ...]]] = {}
        # How many links came up so far.
        self.count = 0
        self._news = asyncio.Event()

    def up(self, link: int, node_id: NodeId, addresses: tuple[str, ...]) -> None:
        """A link is up; ``addresses`` are where its other end may be found again."""
        self._links[link] = (node_id, addresses)
        self.count += 1
        self._recent.pop(node_id, None)
        self._recent[node_id] = (self.count, addresses)
        if len(self._recent) > RECENT_MAX:
            del self._recent[next(iter(self._recent))]
        # Whoever waits hears of this one; whoever waits later, of the next.
        self._news.set()
        self._news = asyncio.Event()

    def down(self, link: int) -> None:
        """A link is gone."""
        self._links.pop(link, None)

    def now(self) -> tuple[tuple[NodeId, tuple[str, ...]], ...]:
        """The other ends of all links, oldest link first."""
        return tuple(self._links.values())

    def since(self, seen: int) -> tuple[tuple[NodeId, tuple[str, ...]], ...]:
        """Those that were linked after ``count`` was ``seen``, the last of each, oldest first."""
        recent = self._recent.items()
        return tuple((peer, addresses) for peer, (at, addresses) in recent if at > seen)

    async def wait(self, seen: int) -> int:
        """Return ``count`` once it is more than ``seen``."""
        while self.count <= seen:
            await self._news.wait()
        return self.count
