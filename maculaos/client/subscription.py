"""What a program hears: the events of its patterns, in a bounded queue or by a callback.

Runs wait as they came, and become events when the program takes them. An event is taken when the
program comes back for the next one, or when its callback has returned: then whoever published it,
and wanted to know, is told. One reader takes from a subscription at a time.
"""

from __future__ import annotations

import asyncio
import inspect
from collections import deque
from typing import TYPE_CHECKING, Final

import msgspec

from maculaos.client.failures import overloaded
from maculaos.errors import RemoteProtocolError, UsageError
from maculaos.wire.registry import Policy
from maculaos.wire.values import Value, decode_value

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType
    from typing import Self

    from msgspec import Raw

    from maculaos.client.watching import Receipt, Watch, Watching
    from maculaos.errors import MaculaError
    from maculaos.wire.events import Delivery

POLICIES: Final = {
    "block": Policy.BLOCK,
    "drop-oldest": Policy.DROP_OLDEST,
    "drop-newest": Policy.DROP_NEWEST,
    "disconnect": Policy.DISCONNECT,
}
MAX_QUEUE: Final = 1_000_000
# Of events that may be dropped; what has to be taken, the node sends no more of than its credit.
MAX_QUEUE_BYTES: Final = 64 * 1024 * 1024


class Event(msgspec.Struct, frozen=True, gc=False):
    """One published message; ``publisher`` is the node id in hex."""

    topic: str
    publisher: str
    payload: Value
    #: A later event of that publisher has a higher one, as long as its node lives.
    sequence: int = 0
    #: It was published before this subscription was there.
    is_retained: bool = False


class Lot:
    """A run of events that waits for the program."""

    __slots__ = (
        "is_retained", "next", "payloads", "publisher", "receipt", "sequence", "size", "topic",
        "watches",
    )  # fmt: skip

    def __init__(
        self, run: Delivery, publisher: str, watches: tuple[Watch, ...], receipt: Receipt | None
    ) -> None:
        self.topic = run.topic
        self.publisher = publisher
        self.sequence = run.sequence
        self.payloads: tuple[Raw, ...] = run.payloads
        self.is_retained = run.is_retained
        # The next payload to be taken out.
        self.next = 0
        self.size = sum(map(len, run.payloads))
        # Who gets credit back for each event that is taken; nobody, if they have it already.
        self.watches = watches
        # To be signed when all is taken.
        self.receipt = receipt

    @property
    def left(self) -> int:
        """Events that were not taken out."""
        return len(self.payloads) - self.next


class Subscription:
    """An endless, asynchronous sequence of events; ``close`` it, or use ``async with``."""

    def __init__(
        self,
        watching: Watching,
        topics: tuple[str, ...],
        queue_size: int,
        policy: Policy,
        callback: Callable[[Event], object] | None,
    ) -> None:
        #: The topics and patterns that were asked for.
        self.topics = topics
        #: Events that came while the queue was full, and were dropped here.
        self.dropped = 0
        #: What ``Watching`` knows of it, for each of ``topics``.
        self.watches: list[Watch] = []
        #: Events whose payload was neither bytes nor JSON-like.
        self.refused = 0
        self._watching = watching
        self._queue_size = queue_size
        self._policy = policy
        self._callback = callback
        self._lots: deque[Lot] = deque()
        self._waiting = 0
        self._waiting_bytes = 0
        # Where the event came from that the program is busy with.
        self._taken: Lot | None = None
        self._news = asyncio.Event()
        self._known = asyncio.Event()
        self._end: Exception | None = None

    @property
    def waiting(self) -> int:
        """Events that wait for the program."""
        return self._waiting

    async def ready(self) -> Self:
        """Wait until the node knows of this subscription; raises why it does not want it."""
        await self._known.wait()
        if self._end is not None and not isinstance(self._end, StopAsyncIteration):
            raise self._end
        return self

    def close(self) -> None:
        """Want no more events; a reader that waits ends its loop."""
        if self._end is None:
            self._settle()
            self._finish(StopAsyncIteration())
            self._watching.remove(self)
            self._give_back()

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Event:
        if self._taken is not None:
            self._settle()
        while True:
            while self._lots:
                event = self._take_out()
                if event is not None:
                    return event
            if self._end is not None:
                raise self._end
            self._news.clear()
            await self._news.wait()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    # What ``Watching`` tells.

    def known(self) -> None:
        """The node knows of it."""
        self._known.set()

    def fail(self, why: MaculaError) -> None:
        """Let the reader have what is queued, then ``why``."""
        if self._end is None:
            self._finish(why)

    def take(self, run: Delivery, watches: tuple[Watch, ...], receipt: Receipt | None) -> None:
        """Events came for these of its watches."""
        if self._callback is not None:
            self._call(self._callback, run)
            self._watching.give_back(watches, len(run.payloads))
            if receipt is not None:
                self._watching.sign(receipt, watches[0])
            return
        must_be_taken = receipt is not None or self._policy is Policy.BLOCK
        lot = Lot(run, run.publisher.hex(), watches if must_be_taken else (), receipt)
        if must_be_taken:
            self._watching.hold(watches, lot.left)
        else:
            self._watching.give_back(watches, lot.left)
            if not self._make_room(lot):
                return
        self._lots.append(lot)
        self._waiting += lot.left
        self._waiting_bytes += lot.size
        self._news.set()

    def _call(self, callback: Callable[[Event], object], run: Delivery) -> None:
        topic, publisher, is_retained = run.topic, run.publisher.hex(), run.is_retained
        sequence = run.sequence - 1
        payloads = iter(run.payloads)
        while True:
            try:
                for payload in payloads:
                    sequence += 1
                    value = decode_value(payload)
                    callback(Event(topic, publisher, value, sequence, is_retained))
                return
            except Exception as error:  # noqa: BLE001  # the next event is none the worse for it
                self._report(error)

    def _report(self, error: Exception) -> None:
        if isinstance(error, RemoteProtocolError):
            # A publisher somewhere sent what is no value. Its fault is not the node's.
            self.refused += 1
            return
        asyncio.get_running_loop().call_exception_handler(
            {"message": f"the callback of {', '.join(self.topics)} failed", "exception": error}
        )

    def _take_out(self) -> Event | None:
        """The next event; None if it was none."""
        lot = self._lots[0]
        index = lot.next
        lot.next = index + 1
        payload = lot.payloads[index]
        self._waiting -= 1
        if lot.next == len(lot.payloads):
            self._lots.popleft()
            self._waiting_bytes -= lot.size
        if lot.watches or lot.receipt is not None:
            self._taken = lot
        try:
            value = decode_value(payload)
        except RemoteProtocolError:
            self.refused += 1
            self._settle()
            return None
        return Event(lot.topic, lot.publisher, value, lot.sequence + index, lot.is_retained)

    def _settle(self) -> None:
        """The program is through with the event that it took last."""
        lot, self._taken = self._taken, None
        if lot is None:
            return
        self._watching.taken(lot.watches)
        if lot.receipt is not None and not lot.left:
            self._watching.sign(lot.receipt, lot.watches[0])

    def _make_room(self, lot: Lot) -> bool:
        """Let the policy choose what gives way to ``lot``, or of it; whether anything is left."""
        if (
            self._waiting + lot.left <= self._queue_size
            and self._waiting_bytes + lot.size <= MAX_QUEUE_BYTES
        ):
            return True
        if self._policy is Policy.DISCONNECT:
            self._finish(overloaded(f"{self._waiting} events wait in the subscription"))
            self._watching.remove(self)
            return False
        if self._policy is Policy.DROP_OLDEST:
            self._drop_oldest(lot)
        over = max(0, self._waiting + lot.left - self._queue_size)
        if over and self._policy is Policy.DROP_OLDEST:
            lot.next = min(over, len(lot.payloads))
        elif over:
            lot.payloads = lot.payloads[: max(0, lot.left - over)]
        if self._waiting and self._waiting_bytes + lot.size > MAX_QUEUE_BYTES:
            lot.payloads, over = (), over + lot.left
        self.dropped += over
        return lot.left > 0

    def _drop_oldest(self, new: Lot) -> None:
        while self._lots and self._lots[0].receipt is None:
            over = self._waiting + new.left - self._queue_size
            if over <= 0 and self._waiting_bytes + new.size <= MAX_QUEUE_BYTES:
                return
            oldest = self._lots[0]
            gone = min(oldest.left, over) if over > 0 else oldest.left
            oldest.next += gone
            self.dropped += gone
            self._waiting -= gone
            if not oldest.left:
                self._lots.popleft()
                self._waiting_bytes -= oldest.size

    def _finish(self, why: Exception) -> None:
        self._end = why
        self._known.set()
        self._news.set()

    def _give_back(self) -> None:
        """What was not taken and will not be: others may still take their part of a delivery."""
        for lot in self._lots:
            if lot.receipt is not None:
                self._watching.sign(lot.receipt, lot.watches[0])
        self._lots.clear()
        self._waiting = self._waiting_bytes = 0


def check_callback(callback: Callable[[Event], object] | None) -> None:
    """Raise ``UsageError`` for a callback that would have to be awaited."""
    if inspect.iscoroutinefunction(callback):
        what = "a callback is a plain function"
        raise UsageError(what, "use: async for event in mesh.subscribe(...)")
