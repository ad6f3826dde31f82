"""The metrics listener: HTTP in, what ``reconciler.monitoring.answers`` says out."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Final

from reconciler.monitoring.answers import reply
from reconciler.web.server import WebLimits, prepared, serving_web
from reconciler.webhook.rates import TokenBucket

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from maculaos.host.clock import Clock
    from reconciler.metrics import Tally
    from reconciler.monitoring.settings import MetricsSettings
    from reconciler.status import Status
    from reconciler.web.exchange import Exchange

CONNECTIONS: Final = 16
HEAD_BYTES: Final = 8 * 1024


class Monitor:
    """Answers for one reconciler."""

    def __init__(
        self,
        status: Callable[[], Status],
        tally: Tally,
        shown_at: Callable[[], float | None],
        clock: Clock,
    ) -> None:
        self._status = status
        self._tally = tally
        self._shown_at = shown_at
        self._clock = clock
        self._bucket = TokenBucket.per_minute(1, clock.monotonic())

    @asynccontextmanager
    async def listening(self, settings: MetricsSettings) -> AsyncIterator[str]:
        """Listen while the context lasts; yields the address. Raises ``UsageError``."""
        endpoint, tls = prepared(settings)
        limits = WebLimits(
            connections=CONNECTIONS,
            head_bytes=HEAD_BYTES,
            head_timeout_s=settings.timeout_s,
            idle_timeout_s=settings.timeout_s,
            exchange_timeout_s=settings.timeout_s,
        )
        per_minute, now = settings.requests_per_minute, self._clock.monotonic()
        self._bucket = TokenBucket.per_minute(per_minute, now)
        async with serving_web(endpoint, self.handle, limits, tls) as bound:
            yield str(bound)

    async def handle(self, exchange: Exchange) -> None:
        """Answer one request; its body, if it has one, nobody reads."""
        if not self._bucket.take(self._clock.monotonic()):
            await exchange.answer(429)
            return
        request = exchange.request
        said = reply(request.method, request.path, self._status(), self._tally, self._shown_at())
        body = said.text.encode()
        headers = [
            ("Content-Type", said.kind),
            ("Content-Length", str(len(body))),
            ("Cache-Control", "no-store"),
        ]
        await exchange.start(said.status, headers)
        if request.method != "HEAD":
            await exchange.write(body)
        await exchange.finish()
