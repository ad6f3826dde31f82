"""The thread that reads a serial console all the time, writes its log, and wakes who waits.

It decides nothing: what the bytes mean is said by ``imagebuilder.vm.console``, and what is done
about it by ``imagebuilder.vm.driver``.
"""

from __future__ import annotations

import socket
import threading
from contextlib import suppress
from typing import TYPE_CHECKING, Final

from imagebuilder.vm.console import Fatal, Line, Matched, Silent
from maculaos.errors import MaculaError

if TYPE_CHECKING:
    from imagebuilder.vm.console import Console, Event, Wish
    from imagebuilder.vm.seriallog import SerialLog
    from maculaos.host.clock import Clock

_READ_BYTES: Final = 65536
# How often silence is looked at.
_TICK_S: Final = 0.1


class MachineFailed(MaculaError):
    """The machine showed a sign of the end, fell silent, or did not say what was waited for."""


class SerialReader:
    """The thread that reads the console, and what it found."""

    def __init__(
        self, connection: socket.socket, console: Console, log: SerialLog, clock: Clock
    ) -> None:
        self._connection = connection
        self._console = console
        self._log = log
        self._clock = clock
        self._changed = threading.Condition()
        self._failure = ""
        self._silence = ""
        self._matched: Matched | None = None
        self._has_ended = False
        connection.settimeout(_TICK_S)
        self._thread = threading.Thread(target=self._read, name="serial console", daemon=True)
        self._thread.start()

    def send(self, data: bytes) -> None:
        """Type; raises ``MachineFailed`` if nobody takes it."""
        try:
            self._connection.sendall(data)
        except OSError as error:
            raise MachineFailed(f"the console takes nothing: {error}") from error

    def wait(self, wish: Wish, timeout_s: float) -> Matched | None:
        """What met the wish; None when time is over or the machine failed."""
        with self._changed:
            self._silence = ""
            self._matched = self._console.expect(wish, self._clock.monotonic())
            self._changed.wait_for(self._is_decided, timeout_s)
            self._console.forget()
            return self._matched

    def failure(self) -> str:
        """The sign of the end that was shown, or nothing."""
        with self._changed:
            return self._failure

    def silence(self) -> str:
        """That nothing was said for too long during the last wait, or nothing."""
        with self._changed:
            return self._silence

    def has_ended(self) -> bool:
        """Whether QEMU closed the console."""
        with self._changed:
            return self._has_ended

    def last_line(self) -> str:
        """What was said last."""
        with self._changed:
            return self._console.last_line

    def start_over(self) -> None:
        """Forget what was said, signs of the end too: the machine starts again."""
        with self._changed:
            self._failure = self._silence = ""
            self._console.start_over()

    def close(self) -> None:
        """Stop reading, and write down the line that was never finished."""
        with suppress(OSError):
            self._connection.shutdown(socket.SHUT_RDWR)
        self._thread.join()
        self._connection.close()

    def _is_decided(self) -> bool:
        return bool(self._matched or self._failure or self._silence or self._has_ended)

    def _read(self) -> None:
        while (data := self._receive()) is None or data:
            now = self._clock.monotonic()
            with self._changed:
                self._silence = "" if data else self._silence
                seen = self._console.feed(data, now) if data else self._console.advance(now)
                for event in seen:
                    self._take(event, now)
        with self._changed:
            # A line that was never finished, and so is in no log yet.
            for event in self._console.feed(b"\n", self._clock.monotonic()):
                self._take(event, self._clock.monotonic())
            self._has_ended = True
            self._changed.notify_all()

    def _receive(self) -> bytes | None:
        """What came; None if nothing did for a while, no bytes at the end."""
        try:
            return self._connection.recv(_READ_BYTES)
        except TimeoutError:
            return None
        except OSError:
            return b""

    def _take(self, event: Event, now: float) -> None:
        match event:
            case Line(text):
                self._log.line(text, now)
            case Matched():
                self._matched = event
            case Fatal(meaning, line):
                self._log.note(meaning, now)
                self._failure = self._failure or f"{meaning}: {line!r}"
            case Silent(seconds):
                self._log.note(f"silent for {seconds:.0f} s", now)
                self._silence = f"it said nothing for {seconds:.0f} s"
        self._changed.notify_all()
