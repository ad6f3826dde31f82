"""Telling the program in a jail to read its files again; only nodes understand that."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

from maculaos.client import connect
from maculaos.errors import MaculaError
from maculaos.host.logbook import Level
from reconciler.names import kind_and_name, spoken
from reconciler.placement import socket_path

if TYPE_CHECKING:
    from pathlib import Path

    from reconciler.journal import Journal

RELOAD_TIMEOUT_S: Final = 5.0


async def reload_node(run_dir: Path, journal: Journal, jail: str) -> str:
    """Ask the node in ``jail`` over its control socket; return why it did not, or nothing."""
    kind, name = kind_and_name(jail)
    if kind != "node":
        return "only nodes can be told to reload"
    try:
        async with (
            asyncio.timeout(RELOAD_TIMEOUT_S),
            connect(socket_path(run_dir, name), name="reconciler", reconnect=False) as mesh,
        ):
            await mesh.reload()
    except (MaculaError, OSError, TimeoutError) as error:
        reason = str(error) or f"no answer within {RELOAD_TIMEOUT_S:g} s"
        said = f"{spoken(jail)} does not reload and is restarted: {reason}"
        journal.note("reload_failed", said, Level.WARNING, jail=jail, reason=reason)
        return reason
    return ""
