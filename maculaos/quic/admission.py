"""Who may begin a handshake: caps, rates, and proof of address for strangers under pressure.

Nothing of a first datagram is proved, not even where it came from. So what an unproved one may
cost is bounded in total and by source, and beyond that it earns a Retry (RFC 9000, 8.1), which
costs no memory. Only proved addresses are counted against a source: a spoofer cannot use up the
room of somebody else. Sources that once had a link get room before strangers. Facts in, decisions
out: no sockets and no clock; what a certificate says is for the handshake to find out.

::

    the datagram is   and                                        verdict
    unproved          links are at their limit, none pending     refuse
    unproved          pending at half the limit, the source at   retry
                      one of its own, or more than the rate
    proved            the source has all its links, or is above  refuse
                      its rate; or strangers are above theirs
    proved            the source has all its pending handshakes  admit, its oldest goes
    proved            pending or links are at the limit          admit, a stranger's goes
    any other                                                    admit

Who may be honest and has only just begun is not made to go for its like: the newcomer is refused
without a word, asks again by itself (RFC 9002, 6.2) and finds room a moment later.
"""

from __future__ import annotations

import ipaddress
from collections import Counter
from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING, Final, TypeVar

if TYPE_CHECKING:
    from collections.abc import Hashable, Iterator

    from maculaos.settings import LimitSettings

# A home or a site has at least that much of an IPv6 address to itself (RFC 6177).
_SITE_PREFIX: Final = 64
# Sources remembered as good, and sources whose rate is watched; the oldest make room.
MAX_KNOWN_SOURCES: Final = 4096
MAX_WATCHED_SOURCES: Final = 4096
# One source may take this share of the rate for all; its burst is the whole.
_SOURCE_SHARE: Final = 0.5
# An honest handshake is over by then, if the path is not a bad one; and one of a node that was
# here before, even if all begin anew at once on a busy machine.
GRACE_S: Final = 0.5
KNOWN_GRACE_S: Final = 2.5
Key = TypeVar("Key", bound="Hashable")


class Verdict(Enum):
    """What to do with a datagram that would open a connection."""

    ADMIT = "admit"
    RETRY = "retry"
    REFUSE = "refuse"


@dataclass(frozen=True, slots=True)
class Decision:
    """A verdict; ``cause`` counts a refusal, ``evicted`` is the handshake that must go first."""

    verdict: Verdict
    cause: str = ""
    evicted: int | None = None


_ADMIT: Final = Decision(Verdict.ADMIT)
_RETRY: Final = Decision(Verdict.RETRY)


def source_of(host: str) -> str:
    """Who answers for an address: the IPv4 address itself, of IPv6 the /64 that it lies in."""
    try:
        address = ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        return host
    if isinstance(address, ipaddress.IPv4Address):
        return str(address)
    if address.ipv4_mapped is not None:
        return str(address.ipv4_mapped)
    site = int(address) >> (128 - _SITE_PREFIX) << (128 - _SITE_PREFIX)
    return f"{ipaddress.IPv6Address(site)}/{_SITE_PREFIX}"


class Bucket:
    """A token bucket: ``rate`` tokens a second, up to ``burst`` of them saved; it begins full."""

    __slots__ = ("_at", "_burst", "_level", "_rate")

    def __init__(self, rate: float, burst: float, now: float) -> None:
        self._rate = rate
        self._burst = burst
        self._level = burst
        self._at = now

    def take(self, now: float) -> bool:
        """Take one token if there is one; ``now`` in monotonic seconds."""
        self._level = min(self._burst, self._level + max(0.0, now - self._at) * self._rate)
        self._at = now
        if self._level < 1.0:
            return False
        self._level -= 1.0
        return True


@dataclass(slots=True)
class _Pending:
    """A handshake that somebody else began and that is not finished."""

    source: str
    is_proved: bool
    since: float


class Admission:
    """The door of one endpoint; links are known to it by number."""

    def __init__(self, limits: LimitSettings, now: float) -> None:
        self._limits = limits
        # Oldest first: the order in which they make room.
        self._pending: dict[int, _Pending] = {}
        self._pending_of: Counter[tuple[str, bool]] = Counter()
        self._linked: dict[int, str] = {}
        self._linked_of: Counter[str] = Counter()
        self._known: dict[str, None] = {}
        rate = float(limits.handshakes_per_s)
        self._unproved = Bucket(rate, rate, now)
        self._strangers = Bucket(rate, rate, now)
        self._rates: dict[str, Bucket] = {}

    @property
    def pending(self) -> int:
        """Handshakes that others began and that are not finished."""
        return len(self._pending)

    def is_known(self, source: str) -> bool:
        """Whether a link with that source was once established."""
        return source in self._known

    def judge(self, source: str, now: float, *, links: int, is_proved: bool) -> Decision:
        """What to do with a datagram that would open a connection.

        ``source`` is what ``source_of`` made of its sender, ``links`` how many there are in all,
        finished or not, ``is_proved`` whether the sender returned a token of ours. ``now`` in
        monotonic seconds.
        """
        if is_proved:
            return self._judge_proved(source, now, links)
        return self._judge_unproved(source, now, links)

    def opened(self, number: int, source: str, now: float, *, is_proved: bool) -> None:
        """A handshake begins, as it was decided."""
        self._pending[number] = _Pending(source, is_proved, now)
        self._pending_of[source, is_proved] += 1

    def established(self, number: int, source: str) -> None:
        """A link with that source is up, whoever dialled; its certificate was good."""
        self._end_pending(number)
        self._linked[number] = source
        self._linked_of[source] += 1
        self._known.pop(source, None)
        self._known[source] = None
        if len(self._known) > MAX_KNOWN_SOURCES:
            del self._known[next(iter(self._known))]

    def ended(self, number: int) -> None:
        """That link, established or not, is gone; may be told more than once."""
        self._end_pending(number)
        source = self._linked.pop(number, None)
        if source is not None:
            _count_down(self._linked_of, source)

    def _judge_unproved(self, source: str, now: float, links: int) -> Decision:
        limits = self._limits
        if links >= limits.links:
            # Whoever is known may take the place of a handshake, once it proved its address.
            return _RETRY if self._pending else Decision(Verdict.REFUSE, "too many links")
        is_crowded = (
            len(self._pending) >= max(1, limits.pending_handshakes // 2)
            or self._pending_of[source, False] >= limits.pending_per_source
            # Refused, once it proved that the address is its own.
            or self._linked_of[source] >= limits.links_per_source
        )
        return _RETRY if is_crowded or not self._unproved.take(now) else _ADMIT

    def _judge_proved(self, source: str, now: float, links: int) -> Decision:
        limits = self._limits
        if self._linked_of[source] >= limits.links_per_source:
            return Decision(Verdict.REFUSE, "too many links of one source")
        if not self._rate_of(source, now).take(now):
            return Decision(Verdict.REFUSE, "too many handshakes of one source")
        if not self.is_known(source) and not self._strangers.take(now):
            return Decision(Verdict.REFUSE, "too many handshakes of strangers")
        if self._pending_of[source, True] >= limits.pending_per_source:
            return self._in_place_of(self._stalled(source, now))
        if len(self._pending) < limits.pending_handshakes and links < limits.links:
            return _ADMIT
        return self._in_place_of(self._dispensable(source, now))

    def _in_place_of(self, candidates: Iterator[int]) -> Decision:
        evicted = next(candidates, None)
        if evicted is None:
            return Decision(Verdict.REFUSE, "no room now")
        return Decision(Verdict.ADMIT, evicted=evicted)

    def _dispensable(self, newcomer: str, now: float) -> Iterator[int]:
        """Handshakes that may make room for ``newcomer``, best first.

        An honest one takes a moment; whoever only holds a place has had it longest. What proved
        nothing goes first, and what is known never goes for a stranger.
        """
        strangers = [
            (number, held)
            for number, held in self._pending.items()
            if not self.is_known(held.source)
        ]
        yield from (number for number, held in strangers if not held.is_proved)
        yield from (number for number, _ in strangers)
        if self.is_known(newcomer):
            yield from (
                number
                for number, held in self._pending.items()
                if now - held.since >= KNOWN_GRACE_S
            )

    def _stalled(self, source: str, now: float) -> Iterator[int]:
        grace_s = KNOWN_GRACE_S if self.is_known(source) else GRACE_S
        return (
            number
            for number, held in self._pending.items()
            if held.is_proved and held.source == source and now - held.since >= grace_s
        )

    def _rate_of(self, source: str, now: float) -> Bucket:
        bucket = self._rates.pop(source, None)
        if bucket is None:
            rate = float(self._limits.handshakes_per_s)
            bucket = Bucket(rate * _SOURCE_SHARE, rate, now)
        self._rates[source] = bucket
        if len(self._rates) > MAX_WATCHED_SOURCES:
            del self._rates[next(iter(self._rates))]
        return bucket

    def _end_pending(self, number: int) -> None:
        held = self._pending.pop(number, None)
        if held is not None:
            _count_down(self._pending_of, (held.source, held.is_proved))


def _count_down(counter: Counter[Key], key: Key) -> None:
    """One fewer; what is at zero takes no memory."""
    counter[key] -= 1
    if not counter[key]:
        del counter[key]
