"""Ending what runs: every jail stopped, or removed, several at once, whatever wants them.

For ``reconciler down`` and for the end of ``reconciler run --stop-jails-on-exit``. The caller
holds the lock, so that nothing starts them again.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import TYPE_CHECKING, Final

from jails.runtime import JailError
from jails.spec import HookKind
from maculaos.errors import MaculaError, UsageError
from maculaos.host.threads import in_thread
from reconciler.control import SOCKET_NAME
from reconciler.machine import remove_socket_folder
from reconciler.names import kind_and_name
from reconciler.porter import JAIL as FRONT
from reconciler.traffic import clear_traffic

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from jails.runtime import Runtime
    from jails.spec import JailFacts
    from reconciler.porter import Porter

AT_ONCE: Final = 8
# A machine that cannot be looked at, and a jail that does not end, by then: something hangs.
LOOK_TIMEOUT_S: Final = 60.0
END_TIMEOUT_S: Final = 900.0


async def stop_all(runtime: Runtime) -> dict[str, str]:
    """Stop every jail and keep its files; return by jail why one could not be stopped."""
    return await _each(runtime, runtime.stop)


async def remove_all(runtime: Runtime, run_dir: Path) -> dict[str, str]:
    """Stop and delete every jail, and the sockets that killed programs left behind.

    Returns by jail why one could not be removed; its socket stays with it.
    """
    jails = await _looked(runtime)
    failures = await _each(runtime, runtime.remove)
    nodes = [kind_and_name(jail) for jail in jails if jail not in failures]
    gone = [name for kind, name in nodes if kind == "node"]
    await in_thread(_clear, run_dir, gone)
    return failures


async def stop_front(porter: Porter) -> dict[str, str]:
    """Stop what connections come by; return why that was not possible, as for a jail."""
    return await _front(porter.stop)


async def remove_front(porter: Porter) -> dict[str, str]:
    """Stop and delete what connections come by; return why that was not possible."""
    return await _front(porter.remove)


async def _front(end: Callable[[], None]) -> dict[str, str]:
    try:
        await in_thread(end)
    except (JailError, MaculaError, OSError) as error:
        return {FRONT: str(error)}
    return {}


async def _each(runtime: Runtime, end: Callable[[str], None]) -> dict[str, str]:
    at_once = asyncio.Semaphore(AT_ONCE)

    async def one(jail: str) -> str:
        async with at_once:
            try:
                async with asyncio.timeout(END_TIMEOUT_S):
                    # It ends, whatever its hook says.
                    with suppress(JailError):
                        await in_thread(runtime.hook, jail, HookKind.STOP)
                    await in_thread(end, jail)
            except TimeoutError:
                return f"not done within {END_TIMEOUT_S:g} s"
            except (JailError, MaculaError, OSError) as error:
                return str(error)
        return ""

    jails = sorted(await _looked(runtime))
    reasons = await asyncio.gather(*map(one, jails))
    return {jail: reason for jail, reason in zip(jails, reasons, strict=True) if reason}


async def _looked(runtime: Runtime) -> Mapping[str, JailFacts]:
    try:
        async with asyncio.timeout(LOOK_TIMEOUT_S):
            return await in_thread(runtime.look)
    except TimeoutError:
        what = f"the machine cannot be looked at: not done within {LOOK_TIMEOUT_S:g} s"
        raise UsageError(what, "see what hangs: reconciler doctor") from None


def _clear(run_dir: Path, nodes: list[str]) -> None:
    clear_traffic(run_dir)
    for node in nodes:
        remove_socket_folder(run_dir, node)
    if (run_dir / SOCKET_NAME).is_socket():
        (run_dir / SOCKET_NAME).unlink(missing_ok=True)
