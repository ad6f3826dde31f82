"""HTTP as downloads need it: one GET from an offset, with bounds, and errors in words.

By the standard library, in the caller's thread: what is hard here (where a redirect may lead, what
a range is worth, how slow is too slow) no client decides for us. Nothing is kept or tried again,
and no proxy is asked.
"""

from __future__ import annotations

import http.client
import os
import socket
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Protocol
from urllib.parse import SplitResult, urljoin, urlsplit

from maculaos.errors import UsageError
from reconciler.releases.spec import check_release_url
from reconciler.sources.unreachable import one_line

if TYPE_CHECKING:
    from contextlib import AbstractContextManager
    from pathlib import Path

REDIRECTS_MAX: Final = 5
CHUNK_BYTES: Final = 256 * 1024
_REDIRECTS: Final = (301, 302, 303, 307, 308)
# Worth asking again: the server is busy, or broken for a while.
_PASSING: Final = (408, 425, 429)
_LONGEST_VALIDATOR: Final = 300


class ReleaseUnavailable(UsageError):
    """An archive or its signature could not be had."""

    def __init__(self, what: str, hint: str = "", *, is_final: bool = False) -> None:
        super().__init__(what, hint)
        # Asking again would give the same answer, until the spec or the settings change.
        self.is_final = is_final


class RangeRefused(ReleaseUnavailable):
    """The server would not go on where it was asked to; from the start it may."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """The start of an answer: where its bytes begin, and the bytes as they come."""

    chunks: Iterator[bytes]
    offset: int = 0
    # Bytes of the whole file, if the server says.
    total: int | None = None
    # What tells this version of the file from others (a strong ETag); empty if nothing does.
    validator: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """From where on a file is wanted, and of which version."""

    offset: int = 0
    validator: str = ""


class Transport(Protocol):
    """How a download reaches a server."""

    def get(self, url: str, place: Place, within_s: float) -> AbstractContextManager[Answer]:
        """The file from there on, or from its start; raises ``ReleaseUnavailable``.

        All of it, reading included, is cut off after ``within_s`` seconds.
        """
        ...


class HttpTransport:
    """Speaks https; plain http only to hosts that are named.

    ``silence_s`` bounds each wait for the server, ``authorities`` is a file of certificates to
    believe instead of the system's. Raises ``UsageError`` if it cannot be read.
    """

    def __init__(
        self, plain_hosts: frozenset[str], silence_s: float, authorities: Path | None = None
    ) -> None:
        self._plain_hosts = plain_hosts
        self._silence_s = silence_s
        try:
            self._tls = ssl.create_default_context(cafile=authorities)
        except (OSError, ssl.SSLError) as error:
            what = f"releases.authorities {authorities} cannot be read: {error}"
            raise UsageError(what, "name a file of PEM certificates") from error
        self._tls.minimum_version = ssl.TLSVersion.TLSv1_2

    @contextmanager
    def get(self, url: str, place: Place, within_s: float) -> Iterator[Answer]:
        """See ``Transport.get``."""
        wanted = url
        for _ in range(REDIRECTS_MAX + 1):
            with _Exchange(self._allowed(wanted), self._silence_s, within_s) as exchange:
                response = exchange.ask(self._tls, _headers(place))
                if response.status not in _REDIRECTS:
                    yield _answer(wanted, response, place, exchange.chunks(response))
                    return
                wanted = _led_on(wanted, response.headers.get("Location", ""))
        raise ReleaseUnavailable(f"{url}: redirected more than {REDIRECTS_MAX} times")

    def _allowed(self, url: str) -> SplitResult:
        try:
            parts = urlsplit(check_release_url(url))
        except ValueError as error:
            raise ReleaseUnavailable(str(error), is_final=True) from None
        is_plain = parts.scheme == "http" and parts.hostname in self._plain_hosts
        if parts.scheme != "https" and not is_plain:
            raise ReleaseUnavailable(
                f"{url}: not fetched without encryption",
                "use https://, or name the host in releases.plain_http_hosts of the settings",
                is_final=True,
            )
        return parts


class _Exchange:
    """One question to one server, cut off after a while: one byte now and then cannot hold us."""

    def __init__(self, parts: SplitResult, silence_s: float, within_s: float) -> None:
        self._parts = parts
        self._silence_s = silence_s
        self._within_s = within_s
        self._host = parts.hostname or ""
        self._port = parts.port or (443 if parts.scheme == "https" else 80)
        self._connection = http.client.HTTPConnection(self._host, self._port)
        # The same socket by another number: the connection wraps its own, and lets go of it early.
        self._raw: socket.socket | None = None
        self._response: http.client.HTTPResponse | None = None
        self._timer = threading.Timer(max(0.0, within_s), self._cut)
        self._timer.daemon = True
        self._is_cut = False

    def __enter__(self) -> _Exchange:
        self._timer.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._timer.cancel()
        self._timer.join()
        if self._response is not None:
            self._response.close()
        self._connection.close()
        if self._raw is not None:
            self._raw.close()

    def ask(self, tls: ssl.SSLContext, headers: dict[str, str]) -> http.client.HTTPResponse:
        """The start of the answer; raises ``ReleaseUnavailable``."""
        target = f"{self._parts.path or '/'}{'?' if self._parts.query else ''}{self._parts.query}"
        with self._in_words():
            self._connection.sock = self._connected(tls)
            self._connection.request("GET", target, headers=headers)
            self._response = self._connection.getresponse()
            return self._response

    def chunks(self, response: http.client.HTTPResponse) -> Iterator[bytes]:
        """The bytes of the answer; raises ``ReleaseUnavailable``."""
        while chunk := self._read(response):
            yield chunk

    def _read(self, response: http.client.HTTPResponse) -> bytes:
        with self._in_words():
            chunk = response.read1(CHUNK_BYTES)
            if not chunk and self._is_cut:
                raise TimeoutError
            return chunk

    def _connected(self, tls: ssl.SSLContext) -> socket.socket:
        plain = socket.create_connection((self._host, self._port), self._silence_s)
        try:
            self._raw = socket.socket(fileno=os.dup(plain.fileno()))
            if self._is_cut:
                raise TimeoutError
            if self._parts.scheme == "https":
                return tls.wrap_socket(plain, server_hostname=self._host)
        except BaseException:
            plain.close()
            raise
        return plain

    def _cut(self) -> None:
        self._is_cut = True
        if self._raw is not None:
            with suppress(OSError):
                self._raw.shutdown(socket.SHUT_RDWR)

    @contextmanager
    def _in_words(self) -> Iterator[None]:
        shown = self._parts.geturl()
        try:
            yield
        except ssl.SSLCertVerificationError as error:
            raise ReleaseUnavailable(
                f"{shown}: its certificate is not trusted: {one_line(error.verify_message)}",
                "check releases.authorities in the settings, and the clock",
            ) from error
        except (OSError, http.client.HTTPException, ValueError) as error:
            cause = f"cut off after {self._within_s:g} s" if self._is_cut else _cause(error)
            raise ReleaseUnavailable(f"{shown}: {cause}") from error


def _headers(place: Place) -> dict[str, str]:
    # Compressed answers would make offsets meaningless.
    headers = {"Accept-Encoding": "identity", "User-Agent": "macula-reconciler"}
    if place.offset:
        headers["Range"] = f"bytes={place.offset}-"
        if place.validator:
            headers["If-Range"] = place.validator
    return headers


def _led_on(url: str, location: str) -> str:
    """Where a redirect leads; raises ``ReleaseUnavailable`` if it gives up encryption."""
    if not location:
        raise ReleaseUnavailable(f"{url}: redirected to nowhere")
    try:
        wanted = urljoin(url, location)
    except ValueError:
        raise ReleaseUnavailable(f"{url}: redirected to what is no URL") from None
    if url.startswith("https:") and not wanted.startswith("https:"):
        raise ReleaseUnavailable(f"{url}: redirected to {one_line(wanted)}, which is not https")
    return wanted


def _answer(
    url: str, response: http.client.HTTPResponse, place: Place, chunks: Iterator[bytes]
) -> Answer:
    status, headers = response.status, response.headers
    if place.offset and status == http.HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE:
        raise RangeRefused(f"{url}: the server has no more than {place.offset} bytes")
    if status not in (http.HTTPStatus.OK, http.HTTPStatus.PARTIAL_CONTENT):
        is_final = 400 <= status < 500 and status not in _PASSING
        what = f"{url}: the server answers {status} {one_line(response.reason)}".rstrip()
        raise ReleaseUnavailable(what, "check the URL" if is_final else "", is_final=is_final)
    if headers.get("Content-Encoding", "identity") != "identity":
        raise ReleaseUnavailable(f"{url}: the server sends it packed, unasked")
    start, total = 0, response.length
    if status == http.HTTPStatus.PARTIAL_CONTENT:
        start, total = place.offset, _total(url, headers.get("Content-Range", ""), place.offset)
    return Answer(
        chunks=chunks,
        offset=start,
        total=total,
        validator=_validator(headers.get("ETag", "")),
    )


def _total(url: str, said: str, offset: int) -> int | None:
    """The size in ``bytes 100-199/200``; a server that starts elsewhere is not believed."""
    span, _, total = said.removeprefix("bytes ").partition("/")
    if span.partition("-")[0] != str(offset) or not offset:
        raise RangeRefused(f"{url}: the server sent another range than from byte {offset}")
    return int(total) if total.isascii() and total.isdigit() and len(total) < 20 else None


def _validator(etag: str) -> str:
    """A strong one only: a weak one does not promise the same bytes (RFC 9110, 13.1.5)."""
    is_strong = etag.startswith('"') and etag.endswith('"') and etag.isascii()
    return etag if is_strong and etag.isprintable() and len(etag) <= _LONGEST_VALIDATOR else ""


def _cause(error: Exception) -> str:
    if isinstance(error, TimeoutError):
        return "the server does not answer"
    return one_line(str(error)) or type(error).__name__
