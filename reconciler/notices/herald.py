"""The herald: tells every target what it was not told yet, each at its own pace.

A task of the daemon for each target, beside the work: nothing here blocks a pass or makes one fail.
What there is to say comes from ``reconciler.notices.notice``, when from the ledger of the target.
Why a target was not told is noted once, and shown in the status until it was.
"""

from __future__ import annotations

import asyncio
import hashlib
from typing import TYPE_CHECKING, Final, Protocol

from maculaos.host.files import write_atomically
from maculaos.host.threads import in_thread
from reconciler.notices.ledger import Ledger, NotTold, decode_told, encode_told
from reconciler.notices.notice import notices, redacted_text

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path
    from random import Random

    from maculaos.host.clock import Clock
    from reconciler.convergence import Backoff
    from reconciler.generations import Generation
    from reconciler.journal import Journal
    from reconciler.metrics import Tally
    from reconciler.notices.ledger import Told
    from reconciler.notices.notice import Notice
    from reconciler.status import Status

FILE: Final = "notices.json"
# How often what there is to say is looked at, whatever else happens, in seconds.
GLANCE_S: Final = 1.0


class Channel(Protocol):
    """A way to one target."""

    @property
    def name(self) -> str:
        """What people call the target."""
        ...

    @property
    def identity(self) -> str:
        """Another target has another, even under the same name."""
        ...

    def speaks_of(self, notice: Notice, /) -> bool:
        """Whether that is for this target."""
        ...

    async def tell(self, notice: Notice) -> None:
        """Tell it; raises ``NotTold``."""
        ...

    def close(self) -> None:
        """Nothing is told any more."""
        ...


class Herald:
    """Tells the targets of one reconciler, until it is cancelled."""

    def __init__(
        self,
        channels: Sequence[Channel],
        record: Path,
        backoff: Backoff,
        random: Random,
        clock: Clock,
    ) -> None:
        self._channels = tuple(channels)
        self._record = record
        self._clock = clock
        told = _read(record)
        self._ledgers = {
            one.name: Ledger(backoff, random, told=told.get(_key(one), {})) for one in channels
        }
        # Ahead of the first look there is nothing to say.
        self._wanted: tuple[Notice, ...] = ()
        self._unwritten = ""

    @property
    def untold(self) -> tuple[str, ...]:
        """Why targets were not told, a line each."""
        return tuple(
            f"{name} is not told of {waiting} of the last commits: {ledger.reason}"
            for name, ledger in self._ledgers.items()
            if ledger.reason and (waiting := self._waiting(name))
        ) + ((f"cannot write {FILE}: {self._unwritten}",) if self._unwritten else ())

    def waiting(self) -> dict[str, int]:
        """By target how many notices are left to tell."""
        return {name: self._waiting(name) for name in self._ledgers}

    async def run(
        self,
        history: Callable[[], tuple[Generation, ...]],
        status: Callable[[], Status],
        journal: Journal,
        tally: Tally,
    ) -> None:
        """Look at what there is to say, and say it."""
        try:
            async with asyncio.TaskGroup() as group:
                for channel in self._channels:
                    group.create_task(self._serve(channel, journal, tally))
                while True:
                    past = await in_thread(history)
                    self._wanted = notices(past, status())
                    await asyncio.sleep(GLANCE_S)
        finally:
            for channel in self._channels:
                channel.close()

    async def _serve(self, channel: Channel, journal: Journal, tally: Tally) -> None:
        ledger = self._ledgers[channel.name]
        while True:
            wanted = self._wanted_by(channel)
            notice = ledger.due(wanted, self._clock.now())
            if notice is None:
                await asyncio.sleep(GLANCE_S / 2)
                continue
            known, began = ledger.reason, self._clock.monotonic()
            try:
                await _tell(channel, notice)
            except NotTold as error:
                ledger.failed(notice, error, self._clock.now())
                if ledger.reason != known:
                    journal.cannot(f"tell {channel.name}", error, revision=notice.revision)
            else:
                ledger.succeeded(notice, wanted, self._clock.now())
                facts = {"to": channel.name, "revision": notice.revision, "state": notice.state}
                journal.note("told", "", **facts)
                await self._keep()
            took_s, now = self._clock.monotonic() - began, self._clock.now()
            tally.told(channel.name, took_s, now, is_ok=not ledger.reason)

    async def _keep(self) -> None:
        told = {_key(one): self._ledgers[one.name].told for one in self._channels}
        try:
            await in_thread(write_atomically, self._record, encode_told(told), 0o600)
        except OSError as error:
            self._unwritten = error.strerror or str(error)
        else:
            self._unwritten = ""

    def _wanted_by(self, channel: Channel) -> tuple[Notice, ...]:
        return tuple(one for one in self._wanted if channel.speaks_of(one))

    def _waiting(self, name: str) -> int:
        channel = next(one for one in self._channels if one.name == name)
        return self._ledgers[name].waiting(self._wanted_by(channel))


async def _tell(channel: Channel, notice: Notice) -> None:
    try:
        await channel.tell(notice)
    except NotTold:
        raise
    except Exception as error:  # a bug in here must not end the work beside it
        raise NotTold(redacted_text(f"a mistake of this program: {error!r}")) from error


def _read(path: Path) -> dict[str, dict[str, Told]]:
    """By key of the channel what it was told; nothing if that cannot be read."""
    try:
        return decode_told(path.read_bytes())
    except OSError:
        return {}


def _key(channel: Channel) -> str:
    return f"{channel.name} {hashlib.sha256(channel.identity.encode()).hexdigest()[:16]}"
