"""One UDP socket: datagrams in by callback, datagrams out at once, and nothing queued between.

A datagram that the kernel does not take now is lost, as on any network; QUIC sends its content
again. So no error of sending ever reaches a caller: errors are counted by name. It knows nothing
of QUIC.
"""

from __future__ import annotations

import asyncio
import errno
import socket
from collections import Counter
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from maculaos.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Callable

SocketAddress: TypeAlias = tuple[Any, ...]
Receiver: TypeAlias = "Callable[[bytes, SocketAddress], None]"

_LARGEST_DATAGRAM: Final = 65_535
# Datagrams taken per turn of the loop: more is faster, and makes everything else wait longer.
_BATCH: Final = 64
# Asked for, not needed: the kernel gives what it allows, and bursts are lost beyond it.
_SOCKET_BUFFER_BYTES: Final = 4 * 1024 * 1024

_BIND_ERRORS: Final[dict[int, tuple[str, str]]] = {
    errno.EADDRINUSE: (
        "port {port} on {host} is in use",
        "stop the other program or choose another port",
    ),
    errno.EADDRNOTAVAIL: (
        "this machine does not have the address {host}",
        "correct listen.address",
    ),
    errno.EACCES: (
        "not allowed to listen on port {port} of {host}",
        "choose a port above 1023",
    ),
}


class Port:
    """A bound UDP socket on the running loop."""

    def __init__(self, sock: socket.socket, receive: Receiver) -> None:
        self._socket = sock
        self._receive = receive
        self._loop = asyncio.get_running_loop()
        self._loop.add_reader(sock.fileno(), self._read)
        self.family = socket.AddressFamily(sock.family)
        self.bound: SocketAddress = sock.getsockname()
        self.errors: Counter[str] = Counter()

    @classmethod
    async def open(cls, host: str, port: int, receive: Receiver) -> Port:
        """Listen on ``host`` (an address or a name) and ``port`` (0: any free one).

        ``receive`` is called with every datagram and its sender. Raises ``UsageError`` when the
        address cannot be had.
        """
        family, address = await _first_address(host, port)
        sock = socket.socket(family, socket.SOCK_DGRAM)
        try:
            sock.setblocking(False)
            for option in (socket.SO_RCVBUF, socket.SO_SNDBUF):
                sock.setsockopt(socket.SOL_SOCKET, option, _SOCKET_BUFFER_BYTES)
            if family == socket.AF_INET6:
                # One socket for both families when it listens on [::].
                sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
            sock.bind(address)
            return cls(sock, receive)
        except OSError as error:
            sock.close()
            raise _bind_error(error, host, port) from error

    def send(self, datagram: bytes, address: SocketAddress) -> None:
        """Hand one datagram to the kernel; if it does not take it, that is a lost datagram."""
        try:
            self._socket.sendto(datagram, address)
        except OSError as error:
            self.errors[_name_of(error)] += 1

    def close(self) -> None:
        """Free the port; may be called twice."""
        if self._socket.fileno() >= 0:
            self._loop.remove_reader(self._socket.fileno())
            self._socket.close()

    def _read(self) -> None:
        for _ in range(_BATCH):
            try:
                datagram, address = self._socket.recvfrom(_LARGEST_DATAGRAM)
            except BlockingIOError:
                return
            except OSError as error:
                # Linux reports here that an earlier datagram found nobody.
                self.errors[_name_of(error)] += 1
                return
            self._receive(datagram, address)
            if self._socket.fileno() < 0:
                return


async def resolve(host: str, port: int, family: socket.AddressFamily) -> SocketAddress:
    """The first socket address of ``host`` in that family; raises ``OSError`` if there is none.

    On an IPv6 socket, an IPv4 address is written as a mapped one (RFC 4291, 2.5.5.2).
    """
    flags = socket.AI_V4MAPPED if family == socket.AF_INET6 else 0
    with suppress(OSError):
        # Numbers are read at once: the threads of the loop may all wait for a slow name service.
        known = flags | socket.AI_NUMERICHOST
        return socket.getaddrinfo(host, port, family, socket.SOCK_DGRAM, flags=known)[0][4]
    loop = asyncio.get_running_loop()
    found = await loop.getaddrinfo(host, port, family=family, type=socket.SOCK_DGRAM, flags=flags)
    return found[0][4]


async def _first_address(host: str, port: int) -> tuple[socket.AddressFamily, SocketAddress]:
    loop = asyncio.get_running_loop()
    try:
        found = await loop.getaddrinfo(host, port, type=socket.SOCK_DGRAM)
    except OSError as error:
        raise UsageError(
            f"{host} has no address: {error.strerror}", "correct listen.address"
        ) from error
    return found[0][0], found[0][4]


def _bind_error(error: OSError, host: str, port: int) -> UsageError:
    fallback = (f"cannot listen on port {port} of {host}: {error.strerror}", "correct listen")
    what, hint = _BIND_ERRORS.get(error.errno or 0, fallback)
    return UsageError(what.format(host=host, port=port), hint)


def _name_of(error: OSError) -> str:
    return errno.errorcode.get(error.errno or 0, type(error).__name__)
