"""Downloads of files whose SHA-256 is known: resumed, bounded, hashed while they stream.

What came so far stays in a private ``.part`` file, with the version that the server gave it; a
whole file takes its name by a rename. One call is one attempt: when to try again is the caller's.
"""

from __future__ import annotations

import hashlib
import os
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final
from urllib.parse import unquote, urlsplit

from maculaos.host.files import sync_directory, write_atomically
from reconciler.releases.transport import (
    CHUNK_BYTES,
    Answer,
    Place,
    RangeRefused,
    ReleaseUnavailable,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from contextlib import AbstractContextManager
    from pathlib import Path

    from maculaos.host.clock import Clock
    from reconciler.releases.transport import Transport

_NEW: Final = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
_LONGEST_VALIDATOR: Final = 300


@dataclass(frozen=True, slots=True, kw_only=True)
class DownloadBounds:
    """What one attempt may take."""

    # Bytes of the file.
    most_bytes: int
    # The whole attempt.
    timeout_s: float
    # Each ``stall_s`` seconds must bring that many bytes a second on average.
    stall_s: float
    slowest_bytes_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """A file as its spec knows it."""

    url: str
    sha256: str
    size: int | None = None


class Downloader:
    """Fetches files over a transport, or from this machine by ``file://``."""

    def __init__(self, transport: Transport, clock: Clock, bounds: DownloadBounds) -> None:
        self._transport = transport
        self._clock = clock
        self._bounds = bounds

    def fetch(
        self, wanted: Wanted, target: Path, is_given_up: Callable[[], bool] = lambda: False
    ) -> None:
        """Bring the file to ``target``; its folder is private. Raises ``ReleaseUnavailable``.

        What an earlier attempt left is taken up; what cannot be of use is gone when this raises.
        Once ``is_given_up`` it ends at the next bytes, and what came stays.
        """
        part = Part(target, is_given_up)
        try:
            with part:
                self._bring(wanted, part)
        except OSError as error:
            part.discard()
            raise ReleaseUnavailable(
                f"cannot write {target.name}: {error.strerror or error}", "make room in state_dir"
            ) from error

    def fetch_small(self, url: str, most_bytes: int) -> bytes:
        """The content of a small file; raises ``ReleaseUnavailable``."""
        content = bytearray()
        with self._answer(url, Place()) as answer:
            for chunk in answer.chunks:
                content += chunk
                if len(content) > most_bytes:
                    raise _too_large(url, most_bytes)
        if answer.total is not None and len(content) < answer.total:
            raise _cut_short(url, len(content), answer.total)
        return bytes(content)

    def _bring(self, wanted: Wanted, part: Part) -> None:
        place = part.resume(self._most(wanted))
        if part.hexdigest() != wanted.sha256:
            total = self._receive(wanted, part, place)
            if total is not None and part.size < total:
                raise _cut_short(wanted.url, part.size, total)
            self._check(wanted, part, is_resumed=bool(place.offset))
        part.finish()

    def _receive(self, wanted: Wanted, part: Part, place: Place) -> int | None:
        """Let the rest come; bytes of the whole, if the server says."""
        try:
            with self._answer(wanted.url, place) as answer:
                if answer.offset != place.offset:
                    part.restart()
                self._refuse_size(wanted, answer.total)
                part.mark(answer.validator)
                self._stream(wanted, part, answer)
                return answer.total
        except RangeRefused:
            part.discard()
            raise

    def _answer(self, url: str, place: Place) -> AbstractContextManager[Answer]:
        if urlsplit(url).scheme == "file":
            return _LocalFile(unquote(urlsplit(url).path), place.offset)
        return self._transport.get(url, place, self._bounds.timeout_s)

    def _most(self, wanted: Wanted) -> int:
        return self._bounds.most_bytes if wanted.size is None else wanted.size

    def _refuse_size(self, wanted: Wanted, total: int | None) -> None:
        """Before any byte of it is taken, if the server says how many there are."""
        if wanted.size is not None and wanted.size > self._bounds.most_bytes:
            raise _too_large(wanted.url, self._bounds.most_bytes)
        if total is not None and total > self._most(wanted):
            raise _too_large(wanted.url, self._most(wanted))

    def _stream(self, wanted: Wanted, part: Part, answer: Answer) -> None:
        window = _Window(self._bounds, self._clock.monotonic())
        deadline = self._clock.monotonic() + self._bounds.timeout_s
        for chunk in answer.chunks:
            part.add(chunk)
            if part.is_given_up():
                raise ReleaseUnavailable(f"{wanted.url}: given up")
            now = self._clock.monotonic()
            if part.size > self._most(wanted):
                part.discard()
                raise _too_large(wanted.url, self._most(wanted))
            if now > deadline:
                passed = f"{self._bounds.timeout_s:g} s"
                raise ReleaseUnavailable(f"{wanted.url}: not here after {passed}")
            if window.is_too_slow(len(chunk), now):
                slowest = f"{self._bounds.slowest_bytes_s:g} bytes a second"
                raise ReleaseUnavailable(f"{wanted.url}: slower than {slowest}")

    def _check(self, wanted: Wanted, part: Part, *, is_resumed: bool) -> None:
        found = part.hexdigest()
        if found == wanted.sha256 and wanted.size in (None, part.size):
            return
        size = part.size
        part.discard()
        # What was resumed may have been another file's beginning: from the start it may be right.
        raise ReleaseUnavailable(
            f"{wanted.url}: its SHA-256 is {found} ({size} bytes), and {wanted.sha256} is wanted",
            "" if is_resumed else "ask who publishes it which of the two is right",
            is_final=not is_resumed,
        )


class Part:
    """The file that is on its way to ``target``, beside it, and what is known of it."""

    def __init__(self, target: Path, is_given_up: Callable[[], bool] = lambda: False) -> None:
        self._target = target
        # Whether nobody waits for it any more.
        self.is_given_up = is_given_up
        self._path = target.with_name(f".{target.name}.part")
        self._note = target.with_name(f".{target.name}.etag")
        self._digest = hashlib.sha256()
        self._handle = -1
        self.size = 0

    def __enter__(self) -> None:
        self._handle = os.open(self._path, _NEW, 0o600)

    def __exit__(self, *_: object) -> None:
        os.close(self._handle)

    def resume(self, most_bytes: int) -> Place:
        """Where to go on: after what is there, or from the start if that is too much."""
        while chunk := os.read(self._handle, CHUNK_BYTES):
            self._digest.update(chunk)
            self.size += len(chunk)
            if self.size > most_bytes:
                self.restart()
                break
        validator = ""
        with suppress(FileNotFoundError):
            validator = self._note.read_text("ascii", "replace")[:_LONGEST_VALIDATOR]
        return Place(offset=self.size, validator=validator if validator.isprintable() else "")

    def restart(self) -> None:
        """Forget what is there."""
        os.ftruncate(self._handle, 0)
        os.lseek(self._handle, 0, os.SEEK_SET)
        self._digest, self.size = hashlib.sha256(), 0

    def mark(self, validator: str) -> None:
        """Remember of which version it is."""
        if self.size == 0:
            write_atomically(self._note, validator.encode("ascii"), 0o600)

    def add(self, chunk: bytes) -> None:
        """Append; raises ``OSError``."""
        left = memoryview(chunk)
        while left:
            left = left[os.write(self._handle, left) :]
        self._digest.update(chunk)
        self.size += len(chunk)

    def hexdigest(self) -> str:
        """SHA-256 of what is there."""
        return self._digest.hexdigest()

    def finish(self) -> None:
        """It is whole: onto the disk, and by its name."""
        os.fsync(self._handle)
        os.replace(self._path, self._target)
        with suppress(FileNotFoundError):
            os.unlink(self._note)
        sync_directory(self._target.parent)

    def discard(self) -> None:
        """It is of no use."""
        for path in (self._path, self._note):
            with suppress(OSError):
                os.unlink(path)


class _LocalFile:
    """A file of this machine as an answer."""

    def __init__(self, path: str, offset: int) -> None:
        self._path = path
        self._offset = offset

    def __enter__(self) -> Answer:
        try:
            # A pipe of that name must not hold us.
            self._handle = os.open(self._path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
        except OSError as error:
            raise self._unavailable(error) from error
        size = os.fstat(self._handle).st_size
        offset = self._offset if self._offset <= size else 0
        os.lseek(self._handle, offset, os.SEEK_SET)
        return Answer(chunks=self._chunks(), offset=offset, total=size)

    def __exit__(self, *_: object) -> None:
        os.close(self._handle)

    def _chunks(self) -> Iterator[bytes]:
        while chunk := self._read():
            yield chunk

    def _read(self) -> bytes:
        try:
            return os.read(self._handle, CHUNK_BYTES)
        except OSError as error:
            raise self._unavailable(error) from error

    def _unavailable(self, error: OSError) -> ReleaseUnavailable:
        return ReleaseUnavailable(f"{self._path}: {error.strerror}")


class _Window:
    """Whether bytes come fast enough, judged over each ``stall_s`` seconds."""

    def __init__(self, bounds: DownloadBounds, now: float) -> None:
        self._bounds = bounds
        self._since, self._bytes = now, 0

    def is_too_slow(self, size: int, now: float) -> bool:
        self._bytes += size
        passed_s = now - self._since
        if passed_s < self._bounds.stall_s:
            return False
        is_slow = self._bytes < self._bounds.slowest_bytes_s * passed_s
        self._since, self._bytes = now, 0
        return is_slow


def _too_large(url: str, most_bytes: int) -> ReleaseUnavailable:
    what = f"{url}: larger than {most_bytes} bytes"
    return ReleaseUnavailable(what, "see size in the spec, releases.archive_bytes", is_final=True)


def _cut_short(url: str, size: int, total: int) -> ReleaseUnavailable:
    return ReleaseUnavailable(f"{url}: cut short after {size} of {total} bytes")
