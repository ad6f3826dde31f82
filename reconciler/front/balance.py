"""Who gets the next connection to one port of an app, and whose connections are over. Pure.

The rule is least connections: of the instances that take traffic, the one with the fewest open
connections; of several, the one that was chosen longest ago. One that could not be reached a
moment ago comes last. Who takes no traffic any more keeps the connections that it has; who is
gone loses them when its time to end is over.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping

# How long one that could not be reached is chosen only where there is nobody else.
SHUNNED_S: Final = 1.0


@dataclass(frozen=True, slots=True, order=True)
class Endpoint:
    """One version of one instance, and where it is reached for one port."""

    instance: str
    jail: str
    version: str
    address: str
    port: int


class Balance:
    """The instances behind one port; ``now`` is any monotonic clock in seconds."""

    def __init__(self) -> None:
        self._active: tuple[Endpoint, ...] = ()
        self._known: frozenset[Endpoint] = frozenset()
        self._open: Counter[Endpoint] = Counter()
        self._total: Counter[str] = Counter()
        self._failed: Counter[str] = Counter()
        self._turn = 0
        self._chosen: dict[Endpoint, int] = {}
        self._shunned_until: dict[Endpoint, float] = {}
        self._over_at: dict[Endpoint, float] = {}

    @property
    def active(self) -> tuple[Endpoint, ...]:
        """Who takes traffic now."""
        return self._active

    def switch(
        self,
        active: Iterable[Endpoint],
        resting: Iterable[Endpoint],
        linger_s: float,
        now: float,
    ) -> None:
        """``active`` take new connections from now on, ``resting`` keep those that they have.

        Who is neither is on its way out, and has ``linger_s`` for what is open.
        """
        self._active = tuple(sorted(set(active)))
        self._known = frozenset(self._active) | frozenset(resting)
        for endpoint in self._open:
            if endpoint in self._known:
                self._over_at.pop(endpoint, None)
            else:
                self._over_at.setdefault(endpoint, now + linger_s)
        kept = self._known | self._open.keys()
        self._chosen = {each: turn for each, turn in self._chosen.items() if each in kept}
        self._over_at = {each: at for each, at in self._over_at.items() if each in self._open}
        shunned = self._shunned_until.items()
        self._shunned_until = {each: at for each, at in shunned if each in kept}

    def choose(self, now: float, tried: Collection[Endpoint] = ()) -> Endpoint | None:
        """Who gets one more connection, which counts from now on; none of ``tried``.

        None if there is nobody. To be ended by ``release``.
        """
        free = [each for each in self._active if each not in tried]
        if not free:
            return None
        chosen = min(free, key=lambda each: self._rank(each, now))
        self._turn += 1
        self._chosen[chosen] = self._turn
        self._open[chosen] += 1
        self._total[chosen.instance] += 1
        return chosen

    def _rank(self, endpoint: Endpoint, now: float) -> tuple[bool, int, int]:
        is_shunned = self._shunned_until.get(endpoint, now) > now
        return is_shunned, self._open[endpoint], self._chosen.get(endpoint, 0)

    def release(self, endpoint: Endpoint) -> None:
        """A connection that was given to ``endpoint`` is over; raises ``ValueError`` for none."""
        if self._open[endpoint] < 1:
            raise ValueError(f"{endpoint.instance} has no connection")
        self._open[endpoint] -= 1
        if not self._open[endpoint]:
            del self._open[endpoint]
            self._over_at.pop(endpoint, None)

    def fail(self, endpoint: Endpoint, now: float) -> None:
        """It could not be reached: the connection goes to somebody else."""
        self.release(endpoint)
        self._total[endpoint.instance] -= 1
        self._failed[endpoint.instance] += 1
        self._shunned_until[endpoint] = now + SHUNNED_S

    def over(self, now: float) -> tuple[Endpoint, ...]:
        """Who is gone and had its time: what is still open there is to be cut."""
        return tuple(each for each, at in sorted(self._over_at.items()) if at <= now)

    def is_gone(self, endpoint: Endpoint) -> bool:
        """Whether it is neither active nor resting."""
        return endpoint not in self._known

    def open(self) -> Mapping[Endpoint, int]:
        """How many connections each has; who has none is left out."""
        return MappingProxyType(dict(self._open))

    def counts(self) -> Mapping[str, tuple[int, int, int]]:
        """By instance: open connections, all that it ever got, and failures to reach it."""
        now_open: Counter[str] = Counter()
        for endpoint, count in self._open.items():
            now_open[endpoint.instance] += count
        names = {*(each.instance for each in self._active), *now_open, *self._total, *self._failed}
        return {
            name: (now_open[name], self._total[name], self._failed[name]) for name in sorted(names)
        }
