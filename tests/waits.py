"""Waiting in tests for what a mesh comes to by and by; whoever waits has a deadline around it."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from maculaos.client import CallFailed

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from maculaos.client import Mesh, Value

_POLL_S = 0.02


async def until(holds: Callable[[], bool]) -> None:
    """Wait until that holds."""
    while True:
        if holds():
            return
        await asyncio.sleep(_POLL_S)


async def until_told(holds: Callable[[], Awaitable[object]]) -> None:
    """Wait until the answer to that is something."""
    while True:
        if await holds():
            return
        await asyncio.sleep(_POLL_S)


async def until_linked(mesh: Mesh, count: int) -> None:
    """Wait until a node has so many links."""

    async def holds() -> bool:
        return sum(bool(each["linked"]) for each in await mesh.members()) >= count

    await until_told(holds)


async def until_wanted(mesh: Mesh, topic: str) -> None:
    """Wait until a node has heard that somebody wants ``topic``."""
    await until_told(lambda: mesh.trace(topic))


async def answered(mesh: Mesh, method: str, value: Value = None) -> Value:
    """The result of a method that the node may not have heard of yet."""
    while True:
        try:
            return await mesh.call(method, value)
        except CallFailed as error:
            if error.code != "NO_PROVIDER":
                raise
        await asyncio.sleep(_POLL_S)
