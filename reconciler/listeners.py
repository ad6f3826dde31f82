"""The listeners of a reconciler, webhooks and metrics: opened, and moved as their settings change.

The settings file and the files of certificates are looked at every ``GLANCE_S``. What is changed of
the listeners counts from then on; of anything else it is told that a restart takes it up. A file
that is wrong changes nothing, and is told once.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from contextlib import asynccontextmanager
from dataclasses import fields
from typing import TYPE_CHECKING, Any, Final

from maculaos.documents import InvalidDocument
from maculaos.errors import UsageError
from maculaos.host.logbook import Level
from maculaos.host.threads import in_thread
from reconciler.assembly import load_settings
from reconciler.doors import Door, Plan, Stamp, plan_of, stamp_of
from reconciler.monitoring.listener import Monitor
from reconciler.webhook.listener import Listener, listening
from reconciler.webhook.receiver import Receiver

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from pathlib import Path

    from reconciler.monitoring.settings import MetricsSettings
    from reconciler.settings import ReconcilerSettings
    from reconciler.webhook.settings import WebhookSettings
    from reconciler.worker import Worker

GLANCE_S: Final = 2.0
# A listener that could not be opened is tried again this often, if nothing changes meanwhile.
RETRY_S: Final = 30.0
_FOLLOWED: Final = frozenset({"webhook", "metrics"})


class Listeners:
    """Listens for one worker."""

    def __init__(
        self,
        worker: Worker,
        sync: Callable[[], None],
        shown_at: Callable[[], float | None],
        settings_file: Path | None = None,
        glance_s: float = GLANCE_S,
    ) -> None:
        """``sync`` is called for a push; ``shown_at`` says when the status was written last.

        Without ``settings_file`` only certificates are followed.
        """
        self._worker = worker
        self._sync = sync
        self._file = settings_file
        self._glance_s = glance_s
        self._settings = worker.settings
        # The file is read once more at first: it may have changed since the start.
        self._stamp: Stamp = (0,)
        tools = worker.tools
        monitor = Monitor(
            lambda: worker.snapshot().status, worker.chronicle.tally, shown_at, tools.clock
        )
        self._webhook: Door[WebhookSettings] = Door(self._hearing)
        self._metrics: Door[MetricsSettings] = Door(monitor.listening)
        self._receiver: tuple[WebhookSettings, Receiver] | None = None
        self._past: Counter[str] = Counter()
        # By listener: what could not be opened, why, and when it is tried again.
        self._failed: dict[str, tuple[Plan[Any], str, float]] = {}
        self._complaint = ""

    @asynccontextmanager
    async def open(self) -> AsyncIterator[None]:
        """Listen while the context lasts; raises ``UsageError`` if that cannot be begun."""
        try:
            for name, door, plan in self._doors(self._settings):
                await door.move(plan)
                if door.at:
                    self._tell(name, door)
            yield
        finally:
            await self._webhook.close()
            await self._metrics.close()

    async def follow(self) -> None:
        """Follow the settings until cancelled."""
        while True:
            await asyncio.sleep(self._glance_s)
            settings = await in_thread(self._read_again)
            for name, door, plan in await in_thread(self._doors, settings):
                if not door.is_as(plan) and self._is_due(name, plan):
                    await self._move(name, door, plan)

    def _doors(self, settings: ReconcilerSettings) -> tuple[tuple[str, Door[Any], Plan[Any]], ...]:
        return (
            ("webhook", self._webhook, plan_of(settings.webhook)),
            ("metrics", self._metrics, plan_of(settings.metrics)),
        )

    async def _move(self, name: str, door: Door[Any], plan: Plan[Any]) -> None:
        try:
            await door.move(plan)
        except UsageError as error:
            known = self._failed.get(name)
            retry_at = self._worker.tools.clock.monotonic() + RETRY_S
            self._failed[name] = (plan, str(error), retry_at)
            if known is None or known[:2] != (plan, str(error)):
                self._worker.tools.journal.cannot(f"move the listener of {name}", error)
            return
        self._failed.pop(name, None)
        self._tell(name, door)

    def _is_due(self, name: str, plan: Plan[Any]) -> bool:
        failed = self._failed.get(name)
        if failed is None or failed[0] != plan:
            return True
        return self._worker.tools.clock.monotonic() >= failed[2]

    def _tell(self, name: str, door: Door[Any]) -> None:
        journal = self._worker.tools.journal
        if door.at:
            what = "webhooks are taken" if name == "webhook" else "metrics are shown"
            journal.note(name, f"{what} at {door.at}", at=door.at)
        else:
            journal.note(name, f"the listener of {name} is closed", at="")

    def _hearing(self, settings: WebhookSettings) -> Any:
        listener = Listener(
            settings,
            self._received(settings),
            self._sync,
            self._worker.tools.clock,
            self._worker.tools.journal,
        )
        return listening(settings, listener)

    def _received(self, settings: WebhookSettings) -> Receiver:
        """Who judges deliveries: he who knows the past ones, unless he is to judge otherwise."""
        if self._receiver is not None and self._receiver[0] == settings:
            return self._receiver[1]
        if self._receiver is not None:
            self._past.update(self._receiver[1].counts)
        repository, now = self._worker.settings.repository, self._worker.tools.clock.monotonic()
        urls = (repository.url, *(other.url for other in repository.fallbacks))
        receiver = Receiver(settings, repository.branch, urls, now)
        self._receiver = (settings, receiver)
        self._worker.standing.deliveries = lambda: dict(
            sorted((self._past + Counter(receiver.counts)).items())
        )
        return receiver

    # In a thread.

    def _read_again(self) -> ReconcilerSettings:
        """The settings as they are now; as they were, if they cannot be read."""
        if self._file is None or (stamp := stamp_of(self._file)) in {self._stamp, ()}:
            return self._settings
        self._stamp = stamp
        try:
            settings = load_settings(self._file)
        except (UsageError, InvalidDocument) as error:
            if str(error) != self._complaint:
                self._worker.tools.journal.cannot("take up the settings", error)
            self._complaint = str(error)
            return self._settings
        self._complaint = ""
        self._tell_rest(settings)
        self._settings = settings
        return settings

    def _tell_rest(self, settings: ReconcilerSettings) -> None:
        """Say which changes only a restart takes up."""
        began = self._worker.settings
        names = (one.name for one in fields(settings) if one.name not in _FOLLOWED)
        changed = [name for name in names if getattr(settings, name) != getattr(began, name)]
        if changed:
            listed = ", ".join(changed)
            said = f"settings changed: a restart takes up {listed}"
            self._worker.tools.journal.note(
                "settings_changed", said, Level.WARNING, settings=listed
            )
