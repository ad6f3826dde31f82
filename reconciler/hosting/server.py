"""The HTTP side of a Git host: who may, and then Git's own ``http-backend``, streamed both ways.

A token comes first: without one nobody learns which repositories there are. Whatever fails ends
its own request; a client that went away takes its Git program with it.
"""

from __future__ import annotations

import asyncio
import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from maculaos.errors import MaculaError, UsageError
from maculaos.host.logbook import Level
from maculaos.host.pipes import PipedProgram, piped
from reconciler.hosting.backend import (
    HEAD_BYTES,
    HEAD_END,
    HostingLimits,
    cgi_environment,
    git_environment,
    parse_cgi,
)
from reconciler.hosting.requests import GitRequest, NotServed, Service, parse_http
from reconciler.hosting.tokens import TokenRecord, bearer, token_in
from reconciler.sources.unreachable import one_line
from reconciler.web.exchange import ClientGone

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from reconciler.hosting.repositories import Repositories
    from reconciler.journal import Journal
    from reconciler.web.exchange import Exchange

_CHALLENGE: Final = (("WWW-Authenticate", 'Basic realm="git"'),)
_LATER: Final = (("Retry-After", "5"),)


class _TooLarge(Exception):
    """The client sends more than is taken."""


@dataclass(frozen=True, slots=True)
class _Served:
    """A request that may be served."""

    asked: GitRequest
    record: TokenRecord


class GitHost:
    """Serves the repositories of one folder."""

    def __init__(
        self,
        repositories: Repositories,
        limits: HostingLimits,
        journal: Journal,
        pushed: Callable[[], Awaitable[None]],
    ) -> None:
        """``pushed`` is called after each push; the client does not wait for it."""
        self._repositories = repositories
        self._limits = limits
        self._journal = journal
        self._pushed = pushed
        self._exchanges = 0

    async def handle(self, exchange: Exchange) -> None:
        """Answer one request."""
        try:
            served = await asyncio.to_thread(self._admitted, exchange)
        except NotServed as error:
            headers = _CHALLENGE if error.status == 401 else ()
            await exchange.answer(error.status, headers=headers)
            return
        except (UsageError, OSError) as error:
            self._journal.cannot("serve", error)
            await exchange.answer(500)
            return
        if self._exchanges >= self._limits.exchanges:
            await exchange.answer(503, headers=_LATER)
            return
        self._exchanges += 1
        try:
            await self._serve(exchange, served)
        finally:
            self._exchanges -= 1

    def _admitted(self, exchange: Exchange) -> _Served:
        """Whose request that is, and for what; raises ``NotServed``."""
        request = exchange.request
        record = bearer(self._repositories.tokens(), token_in(request.headers))
        if record is None:
            raise NotServed(401, "no token, or an unknown one")
        asked = parse_http(request.method, request.path, request.query)
        if not record.allows(asked):
            raise NotServed(403, "this token does not reach that far")
        try:
            self._repositories.find(asked.repository)
        except UsageError as error:
            raise NotServed(404, "no such repository") from error
        if request.announced_bytes > self._limits.body_bytes(asked.service):
            raise NotServed(413, "too large")
        return _Served(asked, record)

    async def _serve(self, exchange: Exchange, served: _Served) -> None:
        asked = served.asked
        is_push = asked.service is Service.WRITE and not asked.is_advertisement
        try:
            async with asyncio.timeout(self._limits.timeout_s):
                await self._run(exchange, served)
        except (MaculaError, ValueError, TimeoutError, _TooLarge) as error:
            self._note(served, Level.WARNING, reason=one_line(str(error) or type(error).__name__))
            if not exchange.is_untouched:
                raise ClientGone("the answer broke off") from error
            await exchange.answer(413 if isinstance(error, _TooLarge) else 502)
        else:
            if is_push:
                self._note(served, Level.INFO)
                await self._pushed()

    async def _run(self, exchange: Exchange, served: _Served) -> None:
        may_write = served.record.access == "write"
        root, home = self._repositories.root, self._repositories.home
        path = os.environ.get("PATH", os.defpath)
        environment = git_environment(path, home, self._limits, may_write=may_write)
        # Git names the committer of its logs after the user; a reader is nobody to it.
        user = served.record.name if may_write else ""
        environment |= cgi_environment(root, exchange.request, served.asked, user)
        limit = self._limits.body_bytes(served.asked.service)
        words = ("git", "http-backend")
        async with piped(*words, environment=environment, directory=home) as program:
            await _converse(exchange, program, limit)

    def _note(self, served: _Served, level: Level, /, **facts: object) -> None:
        asked = served.asked
        event = "pushed" if not facts else "cannot_serve"
        known = {"repository": asked.repository, "token": served.record.name}
        said = f"{served.record.name} pushed to {asked.repository}" if not facts else ""
        self._journal.note(event, said, level, **known, service=asked.service, **facts)


async def _converse(exchange: Exchange, program: PipedProgram, limit: int) -> None:
    """Both ways at once: a program may answer before it has read everything."""
    feeding = asyncio.create_task(_feed(exchange, program, limit))
    try:
        await _answer(exchange, program)
    except ValueError:
        if feeding.done():
            feeding.result()  # why the program was ended says more than what it did not say
        raise
    finally:
        feeding.cancel()
        await asyncio.gather(feeding, return_exceptions=True)


async def _feed(exchange: Exchange, program: PipedProgram, limit: int) -> None:
    taken = 0
    try:
        while piece := await exchange.read():
            taken += len(piece)
            if taken > limit:
                raise _TooLarge(f"more than {limit} bytes")
            if not await program.write(piece):
                return
    except (ClientGone, _TooLarge):
        # Half a request must not look like a whole one.
        program.kill()
        raise
    program.close_input()


async def _answer(exchange: Exchange, program: PipedProgram) -> None:
    try:
        status, headers, rest = parse_cgi(await program.read_until(HEAD_END, HEAD_BYTES))
    except ValueError as error:
        raise ValueError(f"git http-backend: {program.said or error}") from error
    await exchange.start(status, headers)
    piece = rest or await program.read()
    while piece:
        await exchange.write(piece)
        piece = await program.read()
    if await program.ended() < 0:
        raise ValueError("git http-backend was killed")
    await exchange.finish()
