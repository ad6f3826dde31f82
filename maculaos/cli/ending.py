"""The end of a verb that a signal asks for: what it has begun is ended first, as after Ctrl-C."""

from __future__ import annotations

import asyncio
import signal
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

# What supervisors, ``timeout`` and a terminal that closes send; asyncio sees to SIGINT itself.
_SIGNALS: Final = (signal.SIGTERM, signal.SIGHUP)
# What shells add to the number of a signal.
_BASE_STATUS: Final = 128


@asynccontextmanager
async def ending_on_signals() -> AsyncIterator[None]:
    """Cancel the task within on SIGTERM and SIGHUP, then end the process with 128 + the number.

    The first of them cancels; what comes while the task cleans up changes nothing. A signal that
    the process was started to ignore (``nohup``) is left so. Once the task has ended, by being
    cancelled or in spite of it, this raises ``SystemExit``; every other error passes. Only for the
    main thread.
    """
    task = asyncio.current_task()
    heard: list[signal.Signals] = []

    def end(number: signal.Signals) -> None:
        if not heard and task is not None:
            heard.append(number)
            task.cancel()

    loop = asyncio.get_running_loop()
    watched = [each for each in _SIGNALS if signal.getsignal(each) is not signal.SIG_IGN]
    for each in watched:
        loop.add_signal_handler(each, end, each)
    try:
        yield
    except asyncio.CancelledError:
        if not heard:
            raise
    finally:
        for each in watched:
            loop.remove_signal_handler(each)
    if heard:
        raise SystemExit(_BASE_STATUS + heard[0])
