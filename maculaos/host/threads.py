"""Work that blocks, each piece in a thread of its own that nobody waits for at the end.

``asyncio.to_thread`` lends threads that the event loop and the interpreter join when they end:
one call that hangs, in the kernel or in a program, would then keep the whole process. These are
daemon threads instead: a process that has nothing else to do ends, and what hangs ends with it.
How many there are at once is for the caller to bound.
"""

from __future__ import annotations

import asyncio
import threading
from contextlib import suppress
from typing import TYPE_CHECKING, ParamSpec, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable

P = ParamSpec("P")
T = TypeVar("T")


async def in_thread(work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """What ``work`` returns, or raises. Cancelled, it is not waited for, and goes on by itself."""
    loop = asyncio.get_running_loop()
    outcome: asyncio.Future[T] = loop.create_future()

    def settle(result: T | None, error: BaseException | None) -> None:
        if outcome.done():
            return  # nobody waits any more
        if error is not None:
            outcome.set_exception(error)
        else:
            outcome.set_result(result)  # type: ignore[arg-type]  # T may be None itself

    def run() -> None:
        result, error = None, None
        try:
            result = work(*args, **kwargs)
        except BaseException as raised:  # noqa: BLE001  # whoever waits gets it, whatever it is
            error = raised
        with suppress(RuntimeError):  # the loop may have ended meanwhile
            loop.call_soon_threadsafe(settle, result, error)

    name = getattr(work, "__name__", "work")
    threading.Thread(target=run, daemon=True, name=name).start()
    return await outcome
