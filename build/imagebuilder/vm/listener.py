"""A Unix socket on which QEMU is awaited: one connection, then the socket file is gone."""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING, Final, Self

if TYPE_CHECKING:
    from pathlib import Path
    from types import TracebackType

    from imagebuilder.vm.process import Process
    from maculaos.host.clock import Clock

_TICK_S: Final = 0.05


class Listener:
    """Listens from the start; use it as a context manager, or close it."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            self._socket.bind(str(path))
            self._socket.listen(1)
            self._socket.settimeout(_TICK_S)
        except OSError:
            self.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def accept(self, process: Process, clock: Clock, timeout_s: float) -> socket.socket:
        """The connection of ``process``; raises ``OSError`` if it ends or takes too long."""
        deadline = clock.monotonic() + timeout_s
        while clock.monotonic() < deadline:
            try:
                connection, _ = self._socket.accept()
            except TimeoutError:
                if process.has_ended():
                    raise ConnectionError("it ended") from None
            else:
                return connection
        raise TimeoutError(f"it did not connect within {timeout_s:g} s")

    def close(self) -> None:
        """Stop listening, and delete the socket file."""
        self._socket.close()
        self._path.unlink(missing_ok=True)
