"""Downloads of files whose SHA-256 is known: resumed, bounded, checked while they stream.

A file appears under its name only when its hash is right; what came so far lies beside it as
``.part`` and is resumed. Which files, from where, and what their hashes are, is asked elsewhere.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Final

from imagebuilder.release.transport import HttpTransport, Transport, TransportError
from maculaos.errors import UsageError
from maculaos.host.clock import Clock, SystemClock

if TYPE_CHECKING:
    from imagebuilder.release.transport import Answer

FILE_BYTES_MAX: Final = 2 << 30
ATTEMPTS: Final = 5
PAUSE_S: Final = 1.0
# Of one file, all attempts together: a server that only trickles is given up.
DEADLINE_S: Final = 3600.0
_CHUNK_BYTES: Final = 1 << 20


class DownloadFailed(UsageError):
    """A file could not be had, for the reason given."""


def _say_nothing(name: str, done: int, total: int | None) -> None:
    del name, done, total


@dataclass(frozen=True, slots=True)
class Downloader:
    """Fetches files over HTTP; ``report`` hears name, bytes so far, and bytes of the whole."""

    transport: Transport = field(default_factory=HttpTransport)
    clock: Clock = field(default_factory=SystemClock)
    report: Callable[[str, int, int | None], None] = _say_nothing
    attempts: int = ATTEMPTS
    deadline_s: float = DEADLINE_S

    def fetch(self, url: str, target: Path, sha256: str, bytes_max: int = FILE_BYTES_MAX) -> Path:
        """Bring ``url`` to ``target``; raises ``DownloadFailed`` after the last attempt.

        A part of an earlier run is taken up where it ended, if the server can.
        """
        part = target.with_name(f"{target.name}.{sha256[:16]}.part")
        target.parent.mkdir(parents=True, exist_ok=True)
        run = _Run(self, url, part, sha256, bytes_max, self.clock.monotonic() + self.deadline_s)
        self._try(run.attempt)
        return part.replace(target)

    def fetch_small(self, url: str, bytes_max: int) -> bytes:
        """The content of a small file whose hash is not known yet; raises ``DownloadFailed``."""
        content = bytearray()

        def attempt() -> None:
            content.clear()
            with self.transport.get(url, 0) as answer:
                for chunk in answer.chunks:
                    content.extend(chunk)
                    if len(content) > bytes_max:
                        raise TransportError(f"{url}: larger than {bytes_max} bytes", is_final=True)
            if answer.total is not None and len(content) < answer.total:
                raise TransportError(f"{url}: cut short after {len(content)} bytes")

        self._try(attempt)
        return bytes(content)

    def _try(self, attempt: Callable[[], None]) -> None:
        pause_s = PAUSE_S
        for left in reversed(range(self.attempts)):
            try:
                return attempt()
            except TransportError as error:
                if error.is_final or not left:
                    raise DownloadFailed(str(error)) from error
            self.clock.sleep(pause_s)
            pause_s *= 2
        raise DownloadFailed("no attempt is allowed")


@dataclass(slots=True)
class _Run:
    """One file on its way, over several attempts."""

    downloader: Downloader
    url: str
    part: Path
    sha256: str
    bytes_max: int
    deadline: float

    def attempt(self) -> None:
        """Go on from what is there; raises ``TransportError``, final if it is of no use."""
        digest, have = self._so_far()
        if have and digest.hexdigest() == self.sha256:
            return
        try:
            with self.downloader.transport.get(self.url, have) as answer:
                if answer.offset != have:
                    digest = hashlib.sha256()
                size = self._stream(answer, digest)
        except TransportError as error:
            if error.is_range_refused:
                self.part.unlink(missing_ok=True)
            raise
        if answer.total is not None and size < answer.total:
            raise TransportError(f"{self.url}: cut short after {size} of {answer.total} bytes")
        if digest.hexdigest() != self.sha256:
            self.part.unlink()
            # What was resumed may have been another file's beginning: once more, from the start.
            raise TransportError(
                f"{self.url}: SHA-256 {digest.hexdigest()}, wanted {self.sha256}",
                is_final=answer.offset == 0,
            )

    def _so_far(self) -> tuple[hashlib._Hash, int]:
        digest, have = hashlib.sha256(), 0
        with suppress(FileNotFoundError), self.part.open("rb") as file:
            while chunk := file.read(_CHUNK_BYTES):
                digest.update(chunk)
                have += len(chunk)
        return digest, have

    def _stream(self, answer: Answer, digest: hashlib._Hash) -> int:
        """Append what comes; the size after it."""
        size = answer.offset
        try:
            file = self.part.open("ab" if size else "wb")
        except OSError as error:
            raise DownloadFailed(f"cannot write {self.part}: {error}") from error
        with file:
            for chunk in answer.chunks:
                size += len(chunk)
                self._check_bounds(size)
                digest.update(chunk)
                self._write(file.write, chunk)
                self.downloader.report(self.url.rpartition("/")[2], size, answer.total)
        return size

    def _write(self, write: Callable[[bytes], int], chunk: bytes) -> None:
        try:
            write(chunk)
        except OSError as error:
            raise DownloadFailed(f"cannot write {self.part}: {error}", "make room") from error

    def _check_bounds(self, size: int) -> None:
        if size > self.bytes_max:
            raise TransportError(f"{self.url}: larger than {self.bytes_max} bytes", is_final=True)
        if self.downloader.clock.monotonic() > self.deadline:
            raise TransportError(
                f"{self.url}: not here after {self.downloader.deadline_s:g} s", is_final=True
            )
