"""Where tests may try multicast DNS: over the loopback interface, or in a network of their own."""

from __future__ import annotations

import shutil
import socket
import struct
import subprocess

import pytest

_GROUP = "224.0.0.251"
_ALONE = ("unshare", "--user", "--map-root-user", "--net")
_LOOPBACK_UP = 'ip link set lo up && ip link set lo multicast on && exec "$@"'


def alone(*argv: str) -> tuple[str, ...]:
    """``argv`` in a network namespace that has a loopback interface, and nobody else in it.

    Skips the test, with a reason, where there is none to be had.
    """
    tools = shutil.which("unshare") and shutil.which("ip")
    if not tools or subprocess.run((*_ALONE, "true"), check=False).returncode:
        pytest.skip("no network namespaces here, and port 5353 of this machine is not ours")
    return (*_ALONE, "sh", "-c", _LOOPBACK_UP, "sh", *argv)


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
