"""Acknowledged runs as their publisher sees them: sent again until every target has taken them.

For each target there is a channel, as TCP has one (RFC 9293, 3.8): runs in order, a window of
them under way, one timer that backs off. When the timer is over, or the target refused, sending
goes back to the first run that is not confirmed (go-back-N). Each order to send names the run that
was sent before on that channel, so that the target can keep the order (``arrivals``). A shared
subscription has channels of its own, and so has each priority. Sending is not done here.
"""

from __future__ import annotations

import heapq
import math
from itertools import takewhile
from typing import TYPE_CHECKING, Any, Final, NamedTuple, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from maculaos.identity import NodeId

# The target, the group that the copy is for, and the priority.
Leg: TypeAlias = "tuple[NodeId, str, int]"

# The first wait for an answer, in seconds; it doubles up to the last.
FIRST_RETRY_S: Final = 0.5
# The first wait after a target refused a run for want of room.
FIRST_REFUSED_S: Final = 0.1
LAST_RETRY_S: Final = 2.0
# A target that misses a run is sent it again at most so often, in seconds.
_GO_BACK_S: Final = 0.05
# The wait for a target that has a run, and whose subscribers are not through with it.
UNDER_WAY_S: Final = 8.0
# Runs under way on one channel.
WINDOW: Final = 1024
# Channels that are kept although nothing waits on them: the next run names the last one, so that
# copies for many targets are alike.
_CHANNELS: Final = 10_000


class Confirmation:
    """What one publication waits for: all its runs at all their targets."""

    __slots__ = ("asked", "began_at", "confirmed", "is_answered", "left", "targets")

    def __init__(self, asked: tuple[int, int], began_at: float = 0.0) -> None:
        self.began_at = began_at
        # Who is to hear of it: a client, and the number of its request.
        self.asked = asked
        self.left = 0
        self.targets = 0
        self.confirmed = 0
        self.is_answered = False


class Sending:
    """One run on its way to its targets; ``run`` is whatever is sent."""

    __slots__ = ("confirmation", "expires_at", "legs", "run", "sequence", "size")

    def __init__(
        self, sequence: int, run: Any, size: int, expires_at: float, confirmation: Confirmation
    ) -> None:
        self.sequence = sequence
        self.run = run
        self.size = size
        self.expires_at = expires_at
        self.confirmation = confirmation
        # Where it is not confirmed yet.
        self.legs: dict[Leg, None] = {}


class Order(NamedTuple):
    """Send that run to that target; ``after`` is the run before it on that channel."""

    leg: Leg
    sending: Sending
    after: int
    is_again: bool = False


class _Channel:
    """What one target is to confirm, in order."""

    __slots__ = (
        "entries", "failures", "is_paused", "last", "leg", "retry_at", "timer_at", "unsent",
        "went_back_at", "window",
    )  # fmt: skip

    def __init__(self, leg: Leg) -> None:
        self.leg = leg
        self.entries: dict[int, Sending] = {}
        self.unsent: dict[int, None] = {}
        self.last = 0
        self.failures = 0
        self.window = WINDOW
        # The target has no room: nothing is sent before the timer is over or an answer comes.
        self.is_paused = False
        # When the target last missed a run.
        self.went_back_at = -math.inf
        # The timer; and the one that stands in the heap for it, which may be earlier.
        self.retry_at = math.inf
        self.timer_at = math.inf

    def up_to(self, through: int) -> list[int]:
        """The runs that wait, up to that number."""
        return list(takewhile(lambda sequence: sequence <= through, self.entries))

    def go_back(self) -> None:
        """Begin again with the first run that is not confirmed."""
        self.unsent = dict.fromkeys(self.entries)
        self.last = 0


class Outstanding:
    """At most ``limit`` runs and ``limit_bytes`` of them; times are monotonic seconds."""

    def __init__(self, limit: int, limit_bytes: int) -> None:
        self._limit = limit
        self._limit_bytes = limit_bytes
        self._bytes = 0
        self._sendings: dict[tuple[int, str], Sending] = {}
        self._channels: dict[Leg, _Channel] = {}
        self._timers: list[tuple[float, int, _Channel]] = []
        self._deadlines: list[tuple[float, int, Sending]] = []
        # Heaps need an order among equals.
        self._drawn = 0

    def __len__(self) -> int:
        return len(self._sendings)

    def has_room(self, size: int) -> bool:
        """Whether a run of that size may be added."""
        return len(self._sendings) < self._limit and self._bytes + size <= self._limit_bytes

    def add(self, sending: Sending, legs: Iterable[Leg], now: float) -> list[Order]:
        """Keep a run until these have confirmed it; what is to be sent at once."""
        self._bytes += sending.size
        group = ""
        orders: list[Order] = []
        for leg in legs:
            group = leg[1]
            sending.legs[leg] = None
            channel = self._channels.get(leg) or self._open(leg)
            if not channel.entries:
                self._progress(channel, now)
            channel.entries[sending.sequence] = sending
            channel.unsent[sending.sequence] = None
            orders += self._pump(channel)
        self._sendings[sending.sequence, group] = sending
        confirmation = sending.confirmation
        confirmation.left += len(sending.legs)
        confirmation.targets += len(sending.legs)
        self._drawn += 1
        heapq.heappush(self._deadlines, (sending.expires_at, self._drawn, sending))
        return orders

    def confirmed(
        self,
        leg: Leg,
        sequences: Iterable[int],
        now: float,
        through: int = 0,
        *,
        is_missed: bool = True,
    ) -> tuple[list[Confirmation], list[Order]]:
        """A target has taken these runs, and all up to ``through``.

        What is complete by that, and what is to be sent next. Where nobody misses these runs any
        more, they do not count as confirmed.
        """
        channel = self._channels.get(leg)
        if channel is None:
            return [], []
        settled = [(self._settle(channel, sequence), is_missed) for sequence in sequences]
        settled += [(self._settle(channel, sequence), True) for sequence in channel.up_to(through)]
        complete: list[Confirmation] = []
        for sending, counts in settled:
            if sending is not None:
                sending.confirmation.confirmed += counts
                if not sending.confirmation.left:
                    complete.append(sending.confirmation)
        self._progress(channel, now)
        orders = self._pump(channel) if channel.unsent else []
        return complete, orders

    def missed(self, leg: Leg, now: float) -> list[Order]:
        """A target misses a run before one that it got, or has room again: begin anew."""
        channel = self._channels.get(leg)
        if channel is None or not channel.entries:
            return []
        if channel.is_paused:
            self._progress(channel, now)
        elif now < channel.went_back_at + _GO_BACK_S:
            return []
        channel.go_back()
        channel.went_back_at = now
        return self._pump(channel)

    def refused(self, leg: Leg, sequence: int, now: float) -> None:
        """A target has no room for that run now: it is offered again a little later."""
        channel = self._channels.get(leg)
        if channel is None or sequence not in channel.entries:
            return
        channel.go_back()
        channel.window, channel.is_paused = 1, True
        wait = min(LAST_RETRY_S, FIRST_REFUSED_S * 2 ** min(channel.failures, 10))
        channel.failures += 1
        self._set_timer(channel, now + wait)

    def under_way(self, leg: Leg, sequence: int, now: float) -> list[Order]:
        """A target has that run, and its subscribers are not through with it; what is next."""
        channel = self._channels.get(leg)
        if channel is None or sequence not in channel.entries:
            return []
        self._progress(channel, now)
        self._set_timer(channel, now + UNDER_WAY_S)
        return self._pump(channel)

    def withdraw(self, leg: Leg, sequences: Iterable[int]) -> tuple[list[Sending], list[Order]]:
        """That target is to take these no more; those that waited for it, and what is next.

        What was sent behind them names them, and is sent again.
        """
        channel = self._channels.get(leg)
        if channel is None:
            return [], []
        settled = [self._settle(channel, sequence) for sequence in sequences]
        withdrawn = [sending for sending in settled if sending is not None]
        if not withdrawn:
            return [], []
        channel.go_back()
        return withdrawn, self._pump(channel, is_again=True)

    def get(self, leg: Leg, sequence: int) -> Sending | None:
        """The run of that number, if that target is to take it."""
        channel = self._channels.get(leg)
        return None if channel is None else channel.entries.get(sequence)

    def abandon(self, node: NodeId) -> list[tuple[Leg, Sending]]:
        """That target is gone: what waited for it, and does no more."""
        gone = [channel for leg, channel in self._channels.items() if leg[0] == node]
        abandoned = []
        for channel in gone:
            for sequence, sending in tuple(channel.entries.items()):
                self._settle(channel, sequence)
                abandoned.append((channel.leg, sending))
            del self._channels[channel.leg]
        return abandoned

    def retry(self, node: NodeId, now: float) -> list[Order]:
        """There is a new way to that target, or room: what waits for it is sent again."""
        orders: list[Order] = []
        for leg, channel in self._channels.items():
            # Whoever says often that it is there again is not sent all as often.
            if leg[0] == node and now >= channel.went_back_at + _GO_BACK_S:
                channel.go_back()
                channel.went_back_at = now
                self._progress(channel, now)
                orders += self._pump(channel, is_again=True)
        return orders

    def advance(self, now: float) -> tuple[list[Sending], list[Order]]:
        """What was not confirmed in time and is given up, and what is to be sent again."""
        late = list(self._overdue(now))
        orders: list[Order] = []
        while self._timers and self._timers[0][0] <= now:
            at, _, channel = heapq.heappop(self._timers)
            if channel.timer_at != at:
                continue
            channel.timer_at = math.inf
            if channel.entries and channel.retry_at > now:
                self._set_timer(channel, channel.retry_at)
            elif channel.entries:
                orders += self._time_out(channel, now)
        return late, orders

    def next_deadline(self) -> float:
        """When ``advance`` has something to do; infinity if never."""
        while self._timers and not self._timers[0][2].entries:
            heapq.heappop(self._timers)[2].timer_at = math.inf
        while self._deadlines and not self._deadlines[0][2].legs:
            heapq.heappop(self._deadlines)
        timer = self._timers[0][0] if self._timers else math.inf
        return min(timer, self._deadlines[0][0] if self._deadlines else math.inf)

    def forget(self, node: NodeId) -> None:
        """Nobody remembers that target any more; nothing may wait for it."""
        for leg in [leg for leg in self._channels if leg[0] == node]:
            del self._channels[leg]

    def _open(self, leg: Leg) -> _Channel:
        """A new channel; of many, those go that nothing waits on."""
        if len(self._channels) >= _CHANNELS:
            idle = [leg for leg, channel in self._channels.items() if not channel.entries]
            for each in idle:
                del self._channels[each]
        channel = self._channels[leg] = _Channel(leg)
        return channel

    def _overdue(self, now: float) -> Iterator[Sending]:
        while self._deadlines and self._deadlines[0][0] <= now:
            _, _, sending = heapq.heappop(self._deadlines)
            if sending.legs:
                yield sending

    def _settle(self, channel: _Channel, sequence: int) -> Sending | None:
        """That target waits for that run no more; forget the run if nobody does."""
        sending = channel.entries.pop(sequence, None)
        if sending is None:
            return None
        channel.unsent.pop(sequence, None)
        del sending.legs[channel.leg]
        sending.confirmation.left -= 1
        if not sending.legs:
            self._bytes -= sending.size
            self._sendings.pop((sequence, channel.leg[1]), None)
        return sending

    def _pump(self, channel: _Channel, *, is_again: bool = False) -> list[Order]:
        """Send as much as the window holds."""
        orders: list[Order] = []
        if channel.is_paused:
            return orders
        while channel.unsent and len(channel.entries) - len(channel.unsent) < channel.window:
            sequence = next(iter(channel.unsent))
            del channel.unsent[sequence]
            sending = channel.entries[sequence]
            orders.append(Order(channel.leg, sending, channel.last, is_again))
            channel.last = sequence
        return orders

    def _time_out(self, channel: _Channel, now: float) -> list[Order]:
        """One run asks whether the target is there; more follow when it answers."""
        channel.go_back()
        channel.window, channel.is_paused = 1, False
        channel.failures += 1
        wait = min(LAST_RETRY_S, FIRST_RETRY_S * 2 ** min(channel.failures, 10))
        self._set_timer(channel, now + wait)
        # Another way each time: the one before may lead over a node that is gone.
        return self._pump(channel, is_again=True)

    def _progress(self, channel: _Channel, now: float) -> None:
        """The target answers: the next wait is short again, and more may be under way."""
        channel.failures, channel.is_paused = 0, False
        channel.window = min(WINDOW, channel.window * 2 + 16)
        self._set_timer(channel, now + FIRST_RETRY_S)

    def _set_timer(self, channel: _Channel, at: float) -> None:
        """A later time costs nothing: the timer that is there looks again when it is over."""
        channel.retry_at = at
        if at < channel.timer_at:
            channel.timer_at = at
            self._drawn += 1
            heapq.heappush(self._timers, (at, self._drawn, channel))
