"""One timer of the loop for each link; it may fire early, and is then set anew.

Deadlines move with every packet, mostly to later: a timer that is left to fire too early costs less
than one that is taken back each time. What happens in time is the link's business.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from maculaos.quic.link import Link

# Nothing that a packet brings about is due sooner: an acknowledgement waits for so long.
_SOONEST_S: Final = 0.001


class LinkTimers:
    """The timers of all links of one endpoint, on the running loop."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._handles: dict[int, asyncio.TimerHandle] = {}
        self._is_closed = False

    def arm(self, link: Link, now: float) -> None:
        """See to it that the loop comes round when ``link`` has something to do."""
        handle = self._handles.get(link.number)
        if handle is not None and handle.when() <= now + _SOONEST_S:
            return
        wanted = link.next_timer()
        if handle is not None and wanted is not None and handle.when() <= wanted:
            return
        self.forget(link)
        if wanted is not None and not self._is_closed:
            self._handles[link.number] = self._loop.call_at(wanted, self._fire, link, wanted)

    def forget(self, link: Link) -> None:
        """Nothing of ``link`` is left to do."""
        handle = self._handles.pop(link.number, None)
        if handle is not None:
            handle.cancel()

    def close(self) -> None:
        """Forget every link, and arm no more."""
        self._is_closed = True
        for handle in self._handles.values():
            handle.cancel()
        self._handles.clear()

    def _fire(self, link: Link, wanted: float) -> None:
        del self._handles[link.number]
        # The loop may call a little early, by the resolution of its clock.
        now, due = max(self._loop.time(), wanted), link.next_timer()
        if due is None or due > now:
            self.arm(link, now)
        else:
            link.handle_timer(now)
