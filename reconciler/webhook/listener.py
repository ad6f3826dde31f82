"""The webhook listener: HTTP in, and at most one wish for a sync out. It decides nothing.

Verdicts come from ``reconciler.webhook.receiver``. An answer is one word: who forges learns
nothing from it.
"""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Final

from maculaos.errors import UsageError
from maculaos.host.logbook import Level
from maculaos.host.threads import in_thread
from reconciler.sources.unreachable import one_line
from reconciler.web.server import WebLimits, prepared, serving_web
from reconciler.webhook.rates import Coalescer
from reconciler.webhook.receiver import Head, Outcome, Receiver, Verdict
from reconciler.webhook.secretfile import SecretFile

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Sequence

    from maculaos.host.clock import Clock
    from reconciler.journal import Journal
    from reconciler.web.exchange import Exchange
    from reconciler.webhook.settings import WebhookSettings

CONNECTIONS: Final = 64
# Of requests that are no deliveries, one line in this time goes to the log; all are counted.
QUIET_S: Final = 10.0


class Listener:
    """Takes deliveries for one reconciler and calls ``sync`` when one counts."""

    def __init__(
        self,
        settings: WebhookSettings,
        receiver: Receiver,
        sync: Callable[[], None],
        clock: Clock,
        journal: Journal,
    ) -> None:
        self._settings = settings
        self._receiver = receiver
        self._sync = sync
        self._clock = clock
        self._journal = journal
        self._coalescer = Coalescer(settings.coalesce_s)
        self._files = {one.hook: SecretFile(one.secret_file) for one in settings.senders}
        self._unreadable: dict[str, str] = {}
        self._quiet_until = float("-inf")
        self._timer: asyncio.TimerHandle | None = None

    def close(self) -> None:
        """Forget a sync that waits for the end of a burst."""
        if self._timer is not None:
            self._timer.cancel()

    async def handle(self, exchange: Exchange) -> None:
        """Answer one request."""
        request = exchange.request
        head = Head(
            method=request.method,
            path=request.path,
            headers=request.headers,
            announced_bytes=request.announced_bytes,
            at=self._clock.now(),
        )
        admitted = self._receiver.admit(head, self._clock.monotonic())
        if isinstance(admitted, Verdict):
            await self._answer(exchange, admitted)
            return
        body = await exchange.read_at_most(self._settings.body_bytes)
        secrets = await in_thread(self._secrets, admitted)
        verdict = self._receiver.judge(head, body, secrets, self._clock.monotonic())
        if verdict.outcome is Outcome.ACCEPTED:
            self._wish()
        await self._answer(exchange, verdict)

    async def _answer(self, exchange: Exchange, verdict: Verdict) -> None:
        self._note(verdict, exchange.request.peer)
        is_known = verdict.outcome in {Outcome.ACCEPTED, Outcome.IGNORED, Outcome.REPLAYED}
        word = "accepted" if verdict.outcome is Outcome.ACCEPTED else "ignored"
        await exchange.answer(verdict.status, word if is_known else "")

    def _wish(self) -> None:
        delay_s = self._coalescer.wished(self._clock.monotonic())
        if delay_s is not None:
            self._timer = asyncio.get_running_loop().call_later(delay_s, self._act)

    def _act(self) -> None:
        self._coalescer.acted(self._clock.monotonic())
        self._sync()

    def _secrets(self, sender: str) -> Sequence[bytes]:
        """None at all if the file is not fit: every delivery is forged then."""
        try:
            found = self._files[sender].secrets()
        except UsageError as error:
            if self._unreadable.get(sender) != str(error):
                self._journal.cannot(f"read the secret of {sender}", error, sender=sender)
            self._unreadable[sender] = str(error)
            return ()
        self._unreadable.pop(sender, None)
        return found

    def _note(self, verdict: Verdict, peer: str) -> None:
        facts = {"sender": verdict.sender, "delivery": one_line(verdict.delivery, 80)}
        if verdict.outcome is Outcome.ACCEPTED and verdict.push is not None:
            said = f"{verdict.sender} tells of a push"
            revision = one_line(verdict.push.revision, 64)
            self._journal.note("delivery", said, **facts, revision=revision, peer=peer)
            return
        now = self._clock.monotonic()
        if now >= self._quiet_until:
            self._quiet_until = now + QUIET_S
            level = Level.WARNING if verdict.status >= 400 else Level.INFO
            facts |= {"outcome": verdict.outcome, "why": verdict.why, "peer": peer}
            self._journal.note("delivery", "", level, **facts)


@asynccontextmanager
async def listening(settings: WebhookSettings, listener: Listener) -> AsyncIterator[str]:
    """Listen while the context lasts; yields the address. Raises ``UsageError``."""
    endpoint, tls = prepared(settings)
    limits = WebLimits(
        connections=CONNECTIONS,
        head_timeout_s=settings.timeout_s,
        idle_timeout_s=settings.timeout_s,
        exchange_timeout_s=settings.timeout_s,
    )
    try:
        async with serving_web(endpoint, listener.handle, limits, tls) as bound:
            yield str(bound)
    finally:
        listener.close()
