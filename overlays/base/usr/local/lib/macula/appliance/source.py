"""Where a bundle comes from: a file, or a web server, which may break off and is asked again.

Nothing that comes from here is believed: the bundle is signed, so plain HTTP is as good as HTTPS.
"""

from __future__ import annotations

import http.client
import urllib.error
import urllib.request
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Final, Protocol

from maculaos.errors import MaculaError, UsageError

if TYPE_CHECKING:
    from contextlib import AbstractContextManager

    from maculaos.host.clock import Clock

_SCHEMES: Final = ("http://", "https://")
_TIMEOUT_S: Final = 30.0
_TRIES: Final = 8
_PAUSE_S: Final = 2.0


class SourceFailed(MaculaError):
    """The server cannot be reached, or does not give the bundle."""


class Readable(Protocol):
    """A stream that must be closed."""

    def read(self, size: int, /) -> bytes:
        """At most ``size`` bytes; none means the end."""
        ...

    def close(self) -> object:
        """Let go of it."""
        ...


def open_source(place: str, clock: Clock) -> AbstractContextManager[Readable]:
    """The bundle at a path or an HTTP address; raises ``UsageError`` or ``SourceFailed``."""
    if place.startswith(_SCHEMES):
        return closing(WebStream(place, clock))
    if "://" in place:
        raise UsageError(f"{place} cannot be fetched", "give a file, or an http or https address")
    try:
        return closing(Path(place).open("rb"))
    except OSError as error:
        raise UsageError(
            f"{place} cannot be read: {error.strerror}", "give the path of a bundle"
        ) from error


class WebStream:
    """A resource read once from its beginning to its end, over as many connections as it takes."""

    def __init__(self, address: str, clock: Clock) -> None:
        self._address = address
        self._clock = clock
        self._done = 0
        self._size: int | None = None
        self._failures = 0
        self._answer: http.client.HTTPResponse | None = None
        self._answer = self._ask()

    def read(self, size: int, /) -> bytes:
        """At most ``size`` bytes; raises ``SourceFailed`` when the server breaks off too often."""
        while self._size is None or self._done < self._size:
            try:
                piece = (self._answer or self._ask()).read(size)
            except (OSError, http.client.HTTPException) as error:
                self._again(str(error) or type(error).__name__)
                continue
            if piece:
                self._done += len(piece)
                return piece
            if self._size is None:
                return b""
            self._again("it broke off")
        return b""

    def close(self) -> None:
        """End the connection."""
        if self._answer is not None:
            self._answer.close()
            self._answer = None

    def _again(self, reason: str) -> None:
        self.close()
        self._failures += 1
        if self._failures >= _TRIES:
            raise SourceFailed(f"{self._address}: {reason}; {self._done} bytes came")
        self._clock.sleep(_PAUSE_S)

    def _ask(self) -> http.client.HTTPResponse:
        """A connection at the place that was reached."""
        request = urllib.request.Request(self._address)  # noqa: S310  only http and https get here
        if self._done:
            request.add_header("Range", f"bytes={self._done}-")
        try:
            answer = urllib.request.urlopen(request, timeout=_TIMEOUT_S)  # noqa: S310  as above
        except urllib.error.HTTPError as error:
            with error:
                raise SourceFailed(f"{self._address}: {error.code} {error.reason}") from error
        except urllib.error.URLError as error:
            if not self._done:
                raise SourceFailed(f"{self._address}: {error.reason}") from error
            raise
        if self._done and answer.status != http.client.PARTIAL_CONTENT:
            answer.close()
            raise SourceFailed(f"{self._address}: broke off, and cannot go on in the middle")
        if not self._done:
            length = answer.headers.get("Content-Length")
            self._size = int(length) if length and length.isdigit() else None
        self._answer = answer
        return self._answer
