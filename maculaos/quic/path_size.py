"""How large the datagrams of one path may be: DPLPMTUD (RFC 8899), without I/O.

::

    state      what happens                    ->  next state  what follows
    IDLE       the connection may probe            SEARCHING   the next rung is wanted
    SEARCHING  a probe is answered                 the same    the size rises, the next rung
    SEARCHING  the last rung is answered           COMPLETE    rest, look again later
    SEARCHING  a probe is lost, once or twice      the same    the same rung again
    SEARCHING  a probe is lost the third time      COMPLETE    rest, look again later
    SEARCHING  the system refuses the size         COMPLETE    rest, look again later
    COMPLETE   the rest is over                    SEARCHING   the next rung, if there is one
    any        full datagrams vanish, all of them  COMPLETE    back to 1200, a rest that grows
                                                               unless the size had held
    any        the path is another one             SEARCHING   back to 1200, at once

Sizes are payloads of UDP in bytes. Only probes are ever lost to a size that was too large: data
follows when its size was answered. What a probe looks like, and what is acknowledged, is the
connection's business (``path``).
"""

from __future__ import annotations

import math
from typing import Final

# RFC 9000, 14: what every path must carry.
BASE_SIZE: Final = 1200
# What paths carry, less 48 bytes of IPv6 and UDP: WireGuard, Ethernet, a page, jumbo frames, the
# loopback of FreeBSD, and of Linux: twice as large again gains nothing more.
RUNGS: Final = (BASE_SIZE, 1372, 1452, 4096, 8952, 16_336, 32_600)
# RFC 8899, 5.1.2: MAX_PROBES, and the PMTU_RAISE_TIMER.
_MAX_PROBES: Final = 3
_RAISE_S: Final = 600.0
# RFC 8899, 4.3: losses in a row after which a path is taken for a black hole. One of them is all
# that was found lost at one moment: a full buffer somewhere drops many at once.
_MAX_LOSSES: Final = 3
# The rest after a black hole; it doubles each time, so that a bad path is not tried in circles,
# until a size has held for PMTU_RAISE_TIMER.
_SHORTEST_REST_S: Final = 1.0


class PathSize:
    """The largest size known to arrive, and the search for a larger one."""

    def __init__(self, rungs: tuple[int, ...] = RUNGS) -> None:
        self._rungs = rungs
        self._held = 0
        self._probes = 0
        # Of the probe under way, the size and when it counts as lost.
        self._probing: int | None = None
        self._deadline = math.inf
        # When the next probe may leave; never before ``begin``.
        self._next_probe = math.inf
        self._losses = 0
        # Some were given up since anything arrived: they are lost if smaller ones arrive.
        self._has_expired = False
        self._rest_s = _SHORTEST_REST_S
        self._held_since = 0.0
        #: How often full datagrams vanished.
        self.black_holes = 0

    @property
    def size(self) -> int:
        """What may be sent now."""
        return self._rungs[self._held]

    def begin(self, now: float) -> None:
        """The connection can probe: search from here on."""
        if self._next_probe == math.inf and self._probing is None:
            self._search(now)

    def moved(self, now: float) -> None:
        """The path is another one: nothing is known of it."""
        has_begun = self._probing is not None or self._next_probe < math.inf
        self._held = self._losses = 0
        self._has_expired = False
        self._rest_s = _SHORTEST_REST_S
        self._search(now if has_begun else math.inf)

    def probe_due(self, now: float) -> int | None:
        """The size of the probe to send now, if one is."""
        if self._probing is not None or now < self._next_probe or not self._has_next:
            return None
        return self._rungs[self._held + 1]

    def probe_sent(self, size: int, now: float, timeout_s: float) -> None:
        """A probe left; without an answer for ``timeout_s`` seconds it is lost."""
        self._probing = size
        self._probes += 1
        self._deadline = now + timeout_s

    def probe_answered(self, size: int, now: float) -> None:
        """A probe of that size arrived; one that is no longer waited for tells nothing."""
        if size != self._probing:
            return
        self._held += 1
        self._losses = 0
        self._has_expired = False
        self._held_since = now
        if self._has_next:
            self._search(now)
        else:
            self._rest(now, _RAISE_S)

    def refused(self, size: int, now: float) -> None:
        """The system itself does not send that size (``EMSGSIZE``)."""
        if size == self._probing:
            self._rest(now, _RAISE_S)
        elif BASE_SIZE < size <= self.size:
            # The path shrank under us, at our own end.
            self._step_back(now)

    def advance(self, now: float) -> None:
        """Let time pass; a size that seems lost is given up here."""
        if self._losses >= _MAX_LOSSES:
            self._step_back(now)
        elif self._probing is not None and now >= self._deadline:
            self._probing, self._deadline = None, math.inf
            if self._probes >= _MAX_PROBES:
                self._rest(now, _RAISE_S)

    def next_deadline(self) -> float:
        """When ``advance`` or ``probe_due`` has something to say; infinity if never."""
        if self._probing is not None:
            return self._deadline
        return self._next_probe if self._has_next else math.inf

    def arrived(self, size: int) -> None:
        """A packet of that size was acknowledged."""
        if self._losses or self._has_expired:
            self._losses = 0 if self._tells(size) else self._losses + self._has_expired
            self._has_expired = False

    def lost(self, size: int) -> None:
        """At one moment, packets were found lost, the largest of that size."""
        if self._tells(size):
            self._losses += 1

    def expired(self, size: int) -> None:
        """A packet of that size was given up because nothing at all was answered.

        The peer may just stand still: it counts when something smaller arrives (RFC 8899, 4.3).
        """
        if self._tells(size):
            self._has_expired = True

    @property
    def _has_next(self) -> bool:
        return self._held + 1 < len(self._rungs)

    def _tells(self, size: int) -> bool:
        """Whether a packet of that size says something of the size that is held."""
        return self._held > 0 and size > self._rungs[self._held - 1]

    def _search(self, now: float) -> None:
        self._probes = 0
        self._probing, self._deadline = None, math.inf
        self._next_probe = now

    def _rest(self, now: float, rest_s: float) -> None:
        self._search(now + rest_s)

    def _step_back(self, now: float) -> None:
        self.black_holes += 1
        self._held = self._losses = 0
        self._has_expired = False
        if now - self._held_since >= _RAISE_S:
            self._rest_s = _SHORTEST_REST_S
        self._rest(now, self._rest_s)
        self._rest_s = min(2 * self._rest_s, _RAISE_S)
