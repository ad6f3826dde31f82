"""Programs as filters: bytes in, bytes out, with a bound on both time and output.

For what must never touch a disk or an argument: what a program answers stays in memory. It runs in
a session of its own, so it finds no terminal to ask for a passphrase, and ends with all it started.
"""

from __future__ import annotations

import os
import selectors
import signal
import subprocess
import time
from contextlib import suppress
from dataclasses import dataclass
from typing import IO, TYPE_CHECKING, Final, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

NOT_FOUND_STATUS: Final = 127
_CHUNK: Final = 65_536
_MOST_SAID: Final = 16_384


@dataclass(frozen=True, slots=True)
class Filtered:
    """What came of one run; ``status`` is None if it was cut off, and ``said`` tells why."""

    status: int | None
    # Kept out of every representation: it may be a secret.
    output: bytearray
    said: str

    @property
    def is_ok(self) -> bool:
        """Whether it ended with status 0."""
        return self.status == 0

    def __repr__(self) -> str:
        return f"Filtered(status={self.status}, said={self.said!r})"


@dataclass(frozen=True, slots=True)
class Bound:
    """How much a program may answer, in bytes, and for how long it may run, in seconds."""

    output_bytes: int
    timeout_s: float


class Filter(Protocol):
    """How a shell runs a program as a filter."""

    def run(self, argv: tuple[str, ...], stdin: bytes | IO[bytes], bound: Bound) -> Filtered:
        """Run ``argv`` on ``stdin``, bytes or a real file; never raises for what it does."""
        ...


class SystemFilter:
    """Runs programs for real, with nothing but ``environment``."""

    def __init__(self, environment: Mapping[str, str], directory: Path | None = None) -> None:
        """``directory``: where they run; where this process does, if it is left out."""
        self._environment = dict(environment)
        self._directory = directory

    def run(self, argv: tuple[str, ...], stdin: bytes | IO[bytes], bound: Bound) -> Filtered:
        """See ``Filter.run``."""
        try:
            process = subprocess.Popen(
                argv,
                stdin=subprocess.PIPE if isinstance(stdin, bytes) else stdin,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                env=self._environment,
                cwd=self._directory,
                start_new_session=True,
            )
        except OSError as error:
            return Filtered(NOT_FOUND_STATUS, bytearray(), f"{argv[0]}: {error.strerror}")
        return _Run(process, stdin if isinstance(stdin, bytes) else b"", bound).finish()


class _Run:
    """One program on its way, its three streams served in turn."""

    def __init__(self, process: subprocess.Popen[bytes], given: bytes, bound: Bound) -> None:
        self._process = process
        self._given = memoryview(given)
        self._bound = bound
        self._deadline = time.monotonic() + bound.timeout_s
        self._output, self._said = bytearray(), bytearray()

    def finish(self) -> Filtered:
        """Serve the streams until both outputs end, or a bound is reached."""
        with self._process, selectors.DefaultSelector() as selector:
            self._register(selector)
            cause = self._serve(selector)
            if not cause:
                cause = self._await_end()
            if cause:
                self._end_group()
            status = self._process.wait()
        if cause:
            _wipe(self._output)
            return Filtered(None, bytearray(), cause)
        return Filtered(status, self._output, self._said.decode(errors="replace"))

    def _register(self, selector: selectors.BaseSelector) -> None:
        """Each stream with what serves it, which tells whether there may be more."""
        process = self._process
        streams: tuple[tuple[IO[bytes] | None, int, Callable[[int], bool]], ...] = (
            (process.stdin, selectors.EVENT_WRITE, self._feed),
            (process.stdout, selectors.EVENT_READ, self._take_output),
            (process.stderr, selectors.EVENT_READ, self._take_said),
        )
        for stream, event, serve in streams:
            if stream is not None:
                os.set_blocking(stream.fileno(), False)
                selector.register(stream, event, serve)

    def _serve(self, selector: selectors.BaseSelector) -> str:
        """Why the program has to be cut off; empty if it said all it had to say."""
        while any(key.events & selectors.EVENT_READ for key in selector.get_map().values()):
            left_s = self._deadline - time.monotonic()
            if left_s <= 0:
                return f"stopped after {self._bound.timeout_s:g} s"
            for key, _ in selector.select(left_s):
                if not key.data(key.fd):
                    selector.unregister(key.fileobj)
                    self._close_input(key.fileobj)
                if len(self._output) > self._bound.output_bytes:
                    return f"it says more than {self._bound.output_bytes} bytes"
        return ""

    def _take_output(self, handle: int) -> bool:
        chunk = os.read(handle, _CHUNK)
        self._output += chunk
        return bool(chunk)

    def _take_said(self, handle: int) -> bool:
        chunk = os.read(handle, _CHUNK)
        self._said += chunk[: max(0, _MOST_SAID - len(self._said))]
        return bool(chunk)

    def _feed(self, handle: int) -> bool:
        with suppress(BlockingIOError):
            try:
                self._given = self._given[os.write(handle, self._given[:_CHUNK]) :]
            except BrokenPipeError:
                self._given = self._given[:0]
        return len(self._given) > 0

    def _close_input(self, stream: object) -> None:
        if stream is self._process.stdin and self._process.stdin is not None:
            self._process.stdin.close()

    def _await_end(self) -> str:
        try:
            self._process.wait(max(0.0, self._deadline - time.monotonic()))
        except subprocess.TimeoutExpired:
            return f"stopped after {self._bound.timeout_s:g} s"
        return ""

    def _end_group(self) -> None:
        """By force, and before it is waited for, so that its number is nobody else's."""
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(self._process.pid, signal.SIGKILL)


def _wipe(content: bytearray) -> None:
    content[:] = bytes(len(content))
