"""HTTP as downloads need it: one GET from an offset, with bounds, and errors in words.

Nothing is kept and nothing is retried here. A redirect may lead to https, or stay with the same
server; it never leads from https back to http, whatever a mirror says.
"""

from __future__ import annotations

import http.client
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import IO, TYPE_CHECKING, Final, Protocol

from maculaos.errors import MaculaError

if TYPE_CHECKING:
    from contextlib import AbstractContextManager

SILENCE_MAX_S: Final = 30.0
REDIRECTS_MAX: Final = 5
_CHUNK_BYTES: Final = 256 * 1024


class TransportError(MaculaError):
    """The server could not be reached, broke off, or would not give what was asked for."""

    def __init__(
        self, what: str, *, is_final: bool = False, is_range_refused: bool = False
    ) -> None:
        super().__init__(what)
        # Asking again would give the same answer.
        self.is_final = is_final
        # The server would not start where it was asked to; from the beginning it may.
        self.is_range_refused = is_range_refused


@dataclass(frozen=True, slots=True)
class Answer:
    """The start of an answer: where its bytes begin, and the bytes."""

    offset: int
    # Bytes of the whole file, if the server says.
    total: int | None
    chunks: Iterator[bytes]


class Transport(Protocol):
    """How a download reaches a server."""

    def get(self, url: str, offset: int) -> AbstractContextManager[Answer]:
        """The content from ``offset``, or from 0 if the server cannot; raises TransportError."""
        ...


class HttpTransport:
    """Speaks http and https, by the standard library."""

    def __init__(self, silence_max_s: float = SILENCE_MAX_S) -> None:
        self._silence_max_s = silence_max_s
        self._opener = urllib.request.build_opener(_CarefulRedirects)

    @contextmanager
    def get(self, url: str, offset: int) -> Iterator[Answer]:
        """See ``Transport.get``."""
        if urllib.parse.urlsplit(url).scheme not in ("http", "https"):
            raise TransportError(f"{url}: only http and https are spoken", is_final=True)
        # Compressed answers would make offsets meaningless.
        headers = {"Accept-Encoding": "identity", "User-Agent": "imagebuilder"}
        if offset:
            headers["Range"] = f"bytes={offset}-"
        # The scheme was checked above.
        request = urllib.request.Request(url, headers=headers)  # noqa: S310
        try:
            with self._opener.open(request, timeout=self._silence_max_s) as response:
                yield _answer(response, response.status, response.headers, offset)
        except urllib.error.HTTPError as error:
            error.close()
            refused = error.code == http.HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE
            final = error.code < 500 and error.code not in (408, 429) and not refused
            raise TransportError(
                f"{url}: {error.code} {error.reason}", is_final=final, is_range_refused=refused
            ) from error
        except urllib.error.URLError as error:
            raise TransportError(f"{url}: {error.reason}") from error
        except (OSError, http.client.HTTPException) as error:
            raise TransportError(f"{url}: {str(error) or type(error).__name__}") from error


def _answer(
    response: IO[bytes], status: int, headers: http.client.HTTPMessage, offset: int
) -> Answer:
    length = headers.get("Content-Length", "")
    body = int(length) if length.isascii() and length.isdigit() else None
    start = 0
    if status == http.HTTPStatus.PARTIAL_CONTENT:
        # "bytes 100-199/200": a server that starts elsewhere is not believed.
        said = headers.get("Content-Range", "").removeprefix("bytes ").partition("-")[0]
        if said != str(offset):
            raise TransportError(
                f"the server sent another range than from byte {offset}", is_range_refused=True
            )
        start = offset
    return Answer(start, None if body is None else start + body, _chunks(response))


def _chunks(response: IO[bytes]) -> Iterator[bytes]:
    while chunk := response.read(_CHUNK_BYTES):
        yield chunk


class _CarefulRedirects(urllib.request.HTTPRedirectHandler):
    max_redirections = REDIRECTS_MAX

    def redirect_request(  # The signature is the standard library's.
        self,
        req: urllib.request.Request,
        fp: IO[bytes],
        code: int,
        msg: str,
        headers: http.client.HTTPMessage,
        newurl: str,
    ) -> urllib.request.Request | None:
        old, new = urllib.parse.urlsplit(req.full_url), urllib.parse.urlsplit(newurl)
        if new.scheme != "https" and (old.scheme, old.netloc) != (new.scheme, new.netloc):
            raise TransportError(f"{req.full_url}: sent on to {newurl}, not https", is_final=True)
        return super().redirect_request(req, fp, code, msg, headers, newurl)
