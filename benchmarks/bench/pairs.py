"""Two nodes on the loopback, without the limits on handshakes, which are not what is measured."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from maculaos.settings import LimitSettings
from mesh_peers import node

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from credentials import RealmFolder
    from mesh_peers import Node

_LIMITS = LimitSettings(
    links=1000, links_per_source=1000, pending_per_source=1000, handshakes_per_s=10_000
)


@asynccontextmanager
async def linked_pair(realm: RealmFolder) -> AsyncIterator[tuple[Node, Node]]:
    """Two open nodes of ``realm``; who dials whom is for the caller."""
    opened = [
        node(realm.node_settings(name, limits=_LIMITS), realm.credentials(name))
        for name in ("n1", "n2")
    ]
    async with opened[0] as one, opened[1] as two:
        yield one, two
