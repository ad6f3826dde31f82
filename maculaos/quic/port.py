"""One UDP socket: datagrams in by callback, datagrams out at once, and nothing queued between.

A datagram that the kernel does not take now is lost, as on any network; QUIC sends its content
again. So no error of sending ever reaches a caller: errors are counted by name. Datagrams are never
cut into fragments on their way (RFC 9000, 14): whoever sends too large a one is told so where the
system knows, and sees it lost otherwise. It knows nothing of QUIC.
"""

from __future__ import annotations

import asyncio
import errno
import socket
import sys
from collections import Counter
from contextlib import suppress
from itertools import zip_longest
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from maculaos.addresses import Address, InvalidAddress
from maculaos.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Callable

SocketAddress: TypeAlias = tuple[Any, ...]
Receiver: TypeAlias = "Callable[[bytes, SocketAddress], None]"

#: Of one name.
MAX_RESOLVED: Final = 8
_LARGEST_DATAGRAM: Final = 65_535
# Datagrams taken per turn of the loop: more is faster, and makes everything else wait longer.
_BATCH: Final = 64
# Asked for, not needed: bursts are lost beyond it. Linux gives what it allows, FreeBSD refuses
# more than that (ENOBUFS), and is asked for less.
_SOCKET_BUFFERS_BYTES: Final = (4 * 1024 * 1024, 1024 * 1024, 256 * 1024)

# Python has no names for these: (level, option, value), from the systems' own header files. A
# socket for both families takes both. On Linux it is IP_PMTUDISC_PROBE: what the system learnt of
# a path is ignored, because we look for ourselves.
_UNFRAGMENTED: Final[dict[str, tuple[tuple[int, int, int], ...]]] = {
    "linux": ((socket.IPPROTO_IP, 10, 3), (socket.IPPROTO_IPV6, 23, 3)),
    "freebsd": ((socket.IPPROTO_IP, 67, 1), (socket.IPPROTO_IPV6, 62, 1)),
}

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


def _nothing() -> None:
    """Nobody waits for the end of what had arrived."""


class Port:
    """A bound UDP socket on the running loop."""

    def __init__(
        self, sock: socket.socket, receive: Receiver, drained: Callable[[], None] = _nothing
    ) -> None:
        self._socket = sock
        self._receive = receive
        self._drained = drained
        self._loop = asyncio.get_running_loop()
        self._loop.add_reader(sock.fileno(), self._read)
        self.family = socket.AddressFamily(sock.family)
        self.bound: SocketAddress = sock.getsockname()
        self.errors: Counter[str] = Counter()

    @classmethod
    async def open(
        cls, host: str, port: int, receive: Receiver, drained: Callable[[], None] = _nothing
    ) -> Port:
        """Listen on ``host`` (an address or a name) and ``port`` (0: any free one).

        ``receive`` is called with every datagram and its sender, and then ``drained`` once for all
        that had arrived. Raises ``UsageError`` when the address cannot be had.
        """
        family, address = await _first_address(host, port)
        sock = socket.socket(family, socket.SOCK_DGRAM)
        try:
            sock.setblocking(False)
            for option in (socket.SO_RCVBUF, socket.SO_SNDBUF):
                _widen(sock, option)
            if family == socket.AF_INET6:
                # One socket for both families when it listens on [::].
                sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
            _forbid_fragments(sock)
            sock.bind(address)
            return cls(sock, receive, drained)
        except OSError as error:
            sock.close()
            raise _bind_error(error, host, port) from error

    def send(self, datagram: bytes, address: SocketAddress) -> bool:
        """Hand one datagram to the kernel; if it does not take it, that is a lost datagram.

        False means that it was larger than the way out carries, and would be again.
        """
        try:
            self._socket.sendto(datagram, address)
        except OSError as error:
            self.errors[_name_of(error)] += 1
            return error.errno != errno.EMSGSIZE
        return True

    def close(self) -> None:
        """Free the port; may be called twice."""
        if self._socket.fileno() >= 0:
            self._loop.remove_reader(self._socket.fileno())
            self._socket.close()

    def _read(self) -> None:
        try:
            self._read_some()
        finally:
            self._drained()

    def _read_some(self) -> None:
        take, receive = self._socket.recvfrom, self._receive
        for _ in range(_BATCH):
            try:
                datagram, address = take(_LARGEST_DATAGRAM)
            except BlockingIOError:
                return
            except OSError as error:
                # Linux reports here that an earlier datagram found nobody.
                self.errors[_name_of(error)] += 1
                return
            receive(datagram, address)
            if self._socket.fileno() < 0:
                return


async def resolve(host: str, port: int, family: socket.AddressFamily) -> list[SocketAddress]:
    """The socket addresses of ``host`` that a socket of that family reaches, the best first.

    At most ``MAX_RESOLVED``. On an IPv6 socket, an IPv4 address is written as a mapped one
    (RFC 4291, 2.5.5.2), and the families alternate (RFC 8305, 4). Raises ``OSError`` if there is
    none.
    """
    flags = socket.AI_V4MAPPED | socket.AI_ALL if family == socket.AF_INET6 else 0
    with suppress(OSError):
        # Numbers are read at once: the threads of the loop may all wait for a slow name service.
        known = flags | socket.AI_NUMERICHOST
        return [socket.getaddrinfo(host, port, family, socket.SOCK_DGRAM, flags=known)[0][4]]
    loop = asyncio.get_running_loop()
    found = await loop.getaddrinfo(host, port, family=family, type=socket.SOCK_DGRAM, flags=flags)
    return _alternating(list(dict.fromkeys(each[4] for each in found)))[:MAX_RESOLVED]


def written_address(address: SocketAddress) -> str:
    """A socket address as ``host:port``; an IPv4 address mapped into IPv6 is shown as itself."""
    host = str(address[0]).removeprefix("::ffff:")
    try:
        return str(Address(host, int(address[1])))
    except InvalidAddress:
        return f"[{host}]:{address[1]}"


def _alternating(addresses: list[SocketAddress]) -> list[SocketAddress]:
    """The same, with those of both families in turn, in the order they came."""
    mapped = [each for each in addresses if str(each[0]).startswith("::ffff:")]
    others = [each for each in addresses if each not in mapped]
    first, second = (mapped, others) if addresses[0] in mapped else (others, mapped)
    pairs = zip_longest(first, second)
    return [each for pair in pairs for each in pair if each is not None]


async def _first_address(host: str, port: int) -> tuple[socket.AddressFamily, SocketAddress]:
    loop = asyncio.get_running_loop()
    try:
        found = await loop.getaddrinfo(host, port, type=socket.SOCK_DGRAM)
    except OSError as error:
        raise UsageError(
            f"{host} has no address: {error.strerror}", "correct listen.address"
        ) from error
    return found[0][0], found[0][4]


def _widen(sock: socket.socket, option: int) -> None:
    """Ask for as large a buffer as this system gives."""
    for size in _SOCKET_BUFFERS_BYTES:
        with suppress(OSError):
            sock.setsockopt(socket.SOL_SOCKET, option, size)
            return


def _forbid_fragments(sock: socket.socket) -> None:
    """Set the DF bit; a system that we have no word for may fragment, which costs speed only."""
    for system, options in _UNFRAGMENTED.items():
        if sys.platform.startswith(system):
            for option in options:
                # Those of the other family are refused.
                with suppress(OSError):
                    sock.setsockopt(*option)


def _bind_error(error: OSError, host: str, port: int) -> UsageError:
    fallback = (f"cannot listen on port {port} of {host}: {error.strerror}", "correct listen")
    what, hint = _BIND_ERRORS.get(error.errno or 0, fallback)
    return UsageError(what.format(host=host, port=port), hint)


def _name_of(error: OSError) -> str:
    return errno.errorcode.get(error.errno or 0, type(error).__name__)
