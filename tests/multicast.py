"""Whether this machine can carry multicast DNS over its loopback interface; for tests."""

from __future__ import annotations

import socket
import struct

import pytest

_GROUP = "224.0.0.251"


def need_multicast() -> None:
    """Skip the test, with a reason, where no packet to a group comes back."""
    reason = _obstacle()
    if reason:
        pytest.skip(f"no multicast over the loopback interface: {reason}")


def _obstacle() -> str:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as listener:
        listener.settimeout(2)
        try:
            listener.bind(("", 0))
            group = struct.pack("4s4s", socket.inet_aton(_GROUP), socket.inet_aton("127.0.0.1"))
            listener.setsockopt(socket.IPPROTO_IP, socket.IP_ADD_MEMBERSHIP, group)
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
                own = socket.inet_aton("127.0.0.1")
                sender.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_IF, own)
                sender.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_LOOP, 1)
                sender.sendto(b"heard?", (_GROUP, listener.getsockname()[1]))
            listener.recv(16)
        except OSError as error:
            return str(error)
    return ""
