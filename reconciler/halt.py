"""Ending what runs: every jail stopped, or removed, several at once, whatever wants them.

For ``reconciler down`` and for the end of ``reconciler run --stop-jails-on-exit``. The caller
holds the lock, so that nothing starts them again.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

from jails.runtime import JailError
from maculaos.errors import MaculaError
from reconciler.control import SOCKET_NAME
from reconciler.machine import remove_socket_folder
from reconciler.names import kind_and_name
from reconciler.traffic import clear_traffic

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from jails.runtime import Runtime

AT_ONCE: Final = 8


async def stop_all(runtime: Runtime) -> dict[str, str]:
    """Stop every jail and keep its files; return by jail why one could not be stopped."""
    return await _each(runtime, runtime.stop)


async def remove_all(runtime: Runtime, run_dir: Path) -> dict[str, str]:
    """Stop and delete every jail, and the sockets that killed programs left behind.

    Returns by jail why one could not be removed; its socket stays with it.
    """
    jails = await asyncio.to_thread(runtime.look)
    failures = await _each(runtime, runtime.remove)
    nodes = [kind_and_name(jail) for jail in jails if jail not in failures]
    gone = [name for kind, name in nodes if kind == "node"]
    await asyncio.to_thread(_clear, run_dir, gone)
    return failures


async def _each(runtime: Runtime, end: Callable[[str], None]) -> dict[str, str]:
    at_once = asyncio.Semaphore(AT_ONCE)

    async def one(jail: str) -> str:
        async with at_once:
            try:
                await asyncio.to_thread(end, jail)
            except (JailError, MaculaError, OSError) as error:
                return str(error)
        return ""

    jails = sorted(await asyncio.to_thread(runtime.look))
    reasons = await asyncio.gather(*map(one, jails))
    return {jail: reason for jail, reason in zip(jails, reasons, strict=True) if reason}


def _clear(run_dir: Path, nodes: list[str]) -> None:
    clear_traffic(run_dir)
    for node in nodes:
        remove_socket_folder(run_dir, node)
    if (run_dir / SOCKET_NAME).is_socket():
        (run_dir / SOCKET_NAME).unlink(missing_ok=True)
