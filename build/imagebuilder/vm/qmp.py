"""QEMU's machine protocol (QMP): greeting, commands, replies, events.

``Session`` is sans-IO: bytes in, messages out, commands as bytes. ``QmpClient`` carries it over a
connected socket, one command at a time. Source: QEMU's docs/interop/qmp-spec.
"""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from maculaos.errors import MaculaError

if TYPE_CHECKING:
    import socket

    from maculaos.host.clock import Clock

LINE_BYTES_MAX: Final = 1 << 20
EVENTS_MAX: Final = 256
_READ_BYTES: Final = 65536


class QmpError(MaculaError):
    """QEMU refused a command, said something else than QMP, or went away."""


@dataclass(frozen=True, slots=True)
class Greeting:
    """The first message: QEMU waits for ``qmp_capabilities``."""

    version: str


@dataclass(frozen=True, slots=True)
class Reply:
    """What came of the command ``number``; ``error`` is empty if it was done."""

    number: int
    value: Any
    error: str = ""


@dataclass(frozen=True, slots=True)
class QmpEvent:
    """Something happened to the machine, such as ``RESET`` or ``SHUTDOWN``."""

    name: str
    data: Mapping[str, Any] = field(default_factory=dict)


Message = Greeting | Reply | QmpEvent


class Session:
    """One conversation; bounded by ``LINE_BYTES_MAX``."""

    def __init__(self) -> None:
        self._buffer = b""
        self._number = 0

    def feed(self, data: bytes) -> tuple[Message, ...]:
        """The messages that these bytes complete; raises ``QmpError``."""
        *lines, self._buffer = (self._buffer + data).split(b"\n")
        if max(map(len, (*lines, self._buffer))) > LINE_BYTES_MAX:
            raise QmpError(f"QEMU sent a line of more than {LINE_BYTES_MAX} bytes")
        return tuple(_message(line) for line in lines if line.strip())

    def command(self, name: str, arguments: Mapping[str, Any]) -> tuple[int, bytes]:
        """The number of a command, and its bytes."""
        self._number += 1
        request: dict[str, Any] = {"execute": name, "id": self._number}
        if arguments:
            request["arguments"] = dict(arguments)
        return self._number, json.dumps(request).encode() + b"\n"


class QmpClient:
    """Commands over a connected socket, which it owns; not for several threads."""

    def __init__(self, connection: socket.socket, clock: Clock, timeout_s: float = 30.0) -> None:
        """Shake hands; raises ``QmpError``. Each command may take ``timeout_s`` seconds."""
        self._connection = connection
        self._clock = clock
        self._timeout_s = timeout_s
        self._session = Session()
        self._waiting: deque[Message] = deque()
        self._events: deque[QmpEvent] = deque(maxlen=EVENTS_MAX)
        try:
            self.version = self._shake_hands()
        except BaseException:
            self.close()
            raise

    def execute(self, name: str, arguments: Mapping[str, Any] | None = None) -> Any:
        """Have a command carried out; its value. Raises ``QmpError``."""
        number, request = self._session.command(name, arguments or {})
        deadline = self._clock.monotonic() + self._timeout_s
        try:
            self._connection.sendall(request)
        except OSError as error:
            raise QmpError(f"QEMU is gone: {error}") from error
        while True:
            message = self._next(deadline)
            if isinstance(message, QmpEvent):
                self._events.append(message)
            elif isinstance(message, Reply) and message.number == number:
                if message.error:
                    raise QmpError(f"{name}: {message.error}")
                return message.value

    def wait_event(self, name: str, timeout_s: float) -> QmpEvent:
        """The next event of that name; earlier ones are dropped. Raises ``QmpError``."""
        deadline = self._clock.monotonic() + timeout_s
        while True:
            while self._events:
                if (event := self._events.popleft()).name == name:
                    return event
            if isinstance(message := self._next(deadline), QmpEvent):
                self._events.append(message)

    def close(self) -> None:
        """Close the socket."""
        self._connection.close()

    def _shake_hands(self) -> str:
        greeting = self._next(self._clock.monotonic() + self._timeout_s)
        if not isinstance(greeting, Greeting):
            raise QmpError(f"instead of a greeting QEMU sent {greeting}")
        self.execute("qmp_capabilities")
        return greeting.version

    def _next(self, deadline: float) -> Message:
        while not self._waiting:
            self._connection.settimeout(max(0.001, deadline - self._clock.monotonic()))
            try:
                data = self._connection.recv(_READ_BYTES)
            except TimeoutError as error:
                raise QmpError("QEMU did not answer in time") from error
            except OSError as error:
                raise QmpError(f"QEMU is gone: {error}") from error
            if not data:
                raise QmpError("QEMU ended")
            self._waiting.extend(self._session.feed(data))
        return self._waiting.popleft()


def _message(line: bytes) -> Message:
    try:
        read = json.loads(line)
        if "QMP" in read:
            number = read["QMP"]["version"]["qemu"]
            return Greeting(f"{number['major']}.{number['minor']}.{number['micro']}")
        if "event" in read:
            return QmpEvent(str(read["event"]), dict(read.get("data", {})))
        if "error" in read:
            return Reply(int(read.get("id", 0)), None, str(read["error"]["desc"]))
        return Reply(int(read["id"]), read["return"])
    except (ValueError, KeyError, TypeError) as error:
        raise QmpError(f"QEMU sent what is not QMP: {line[:200]!r}") from error
