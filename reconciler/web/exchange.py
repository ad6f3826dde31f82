"""One HTTP request and its answer, as a handler sees them: both streamed, never whole in memory.

It speaks HTTP/1.1 through h11, which parses and does no I/O. Time limits lie on each read and
write here, and on the whole exchange in ``reconciler.web.server``.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import TYPE_CHECKING, Final

import h11

if TYPE_CHECKING:
    from collections.abc import Iterable

    Headers = Iterable[tuple[str, str]]

_PIECE_BYTES: Final = 64 * 1024


class ClientGone(Exception):
    """The client went away, fell silent or broke the protocol: nobody is left to answer."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """The head of a request; names of headers are in lower case."""

    method: str
    target: str
    headers: Mapping[str, str] = field(default_factory=dict)
    peer: str = ""

    @property
    def path(self) -> str:
        """The target up to its query, as it was sent."""
        return self.target.partition("?")[0]

    @property
    def query(self) -> str:
        """What stands behind the question mark, as it was sent."""
        return self.target.partition("?")[2]

    @property
    def announced_bytes(self) -> int:
        """The length of the body, if the client said so; else 0."""
        # h11 lets only digits through, and no two lengths that differ.
        return int(self.headers.get("content-length", "0"))


class Wire:
    """The bytes of one connection, through one h11 state machine; each wait has a limit."""

    def __init__(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        *,
        head_bytes: int,
        idle_timeout_s: float,
    ) -> None:
        self._reader = reader
        self._writer = writer
        self._idle_timeout_s = idle_timeout_s
        self.machine = h11.Connection(h11.SERVER, max_incomplete_event_size=head_bytes)

    async def next_event(self) -> object:
        """What the client did next; raises ``ClientGone`` and ``h11.RemoteProtocolError``."""
        while (event := self.machine.next_event()) is h11.NEED_DATA:
            if self.machine.they_are_waiting_for_100_continue:
                await self.send(h11.InformationalResponse(status_code=100, headers=[]))
            try:
                async with asyncio.timeout(self._idle_timeout_s):
                    piece = await self._reader.read(_PIECE_BYTES)
            except (OSError, TimeoutError) as error:
                raise ClientGone(str(error) or "silent") from error
            self.machine.receive_data(piece)
        return event

    async def send(self, event: h11.Event) -> None:
        """Send one event; raises ``ClientGone`` if the client does not take it in time."""
        sent = self.machine.send(event)
        if not sent:
            return
        try:
            self._writer.write(sent)
            async with asyncio.timeout(self._idle_timeout_s):
                await self._writer.drain()
        except (OSError, TimeoutError) as error:
            raise ClientGone(str(error) or "takes nothing") from error


class Exchange:
    """A request, and the means to answer it once."""

    def __init__(self, request: Request, wire: Wire) -> None:
        self.request = request
        self._wire = wire
        self._has_ended = False

    @property
    def is_untouched(self) -> bool:
        """Whether nothing was answered yet."""
        return self._wire.machine.our_state is h11.SEND_RESPONSE

    async def read(self) -> bytes:
        """The next piece of the body; empty at its end. Raises ``ClientGone``."""
        while not self._has_ended:
            try:
                event = await self._wire.next_event()
            except h11.RemoteProtocolError as error:
                raise ClientGone(str(error)) from error
            if isinstance(event, h11.Data) and event.data:
                return bytes(event.data)
            if isinstance(event, h11.ConnectionClosed):
                raise ClientGone("closed within a body")
            self._has_ended = isinstance(event, h11.EndOfMessage)
        return b""

    async def read_at_most(self, limit: int) -> bytes | None:
        """The whole body, or None as soon as it is longer than ``limit`` bytes."""
        body = bytearray()
        while piece := await self.read():
            body += piece
            if len(body) > limit:
                return None
        return bytes(body)

    async def start(self, status: int, headers: Headers) -> None:
        """Begin the answer; without a length among ``headers`` it is sent in chunks."""
        sent = [(name.encode("latin-1"), text.encode("latin-1")) for name, text in headers]
        await self._wire.send(h11.Response(status_code=status, headers=sent))

    async def write(self, piece: bytes) -> None:
        """Send a piece of the answer's body."""
        await self._wire.send(h11.Data(data=piece))

    async def finish(self) -> None:
        """End the answer."""
        await self._wire.send(h11.EndOfMessage())

    async def answer(self, status: int, word: str = "", headers: Headers = ()) -> None:
        """A whole answer of one line: ``word``, or what HTTP calls that status."""
        body = f"{word or HTTPStatus(status).phrase.lower()}\n".encode()
        head = (
            ("Content-Type", "text/plain"),
            ("Content-Length", str(len(body))),
            ("Cache-Control", "no-store"),
        )
        await self.start(status, (*head, *headers))
        if self.request.method != "HEAD":
            await self.write(body)
        await self.finish()
