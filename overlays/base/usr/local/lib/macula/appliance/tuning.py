"""Tunables by the size of the machine: what is set while it starts, and why. Pure.

``/etc/sysctl.conf`` has the values of small machines, so those are there even if this never runs.
What only the loader can set, it sets itself: ``boot/loader.conf``, and for large machines
``boot/lua/local.lua``, with the values that stand here too. Sizes between the two are small ones:
a value that a machine cannot pay for hurts more than one that is modest.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Final

GIB: Final = 1 << 30
# hw.physmem of a machine that is sold with 8 GiB lies below that: firmware keeps some.
LARGE_BYTES: Final = 15 * GIB // 2


class Size(StrEnum):
    """The classes of machines."""

    SMALL = "small"
    LARGE = "large"


class When(StrEnum):
    """Who can set a tunable."""

    LOADER = "loader"
    RUNNING = "running"


@dataclass(frozen=True, slots=True)
class Tunable:
    """One tunable with its value for each size; the unit is in ``reason``."""

    name: str
    small: str
    large: str
    when: When
    reason: str

    def value(self, size: Size) -> str:
        """Its value on a machine of that size."""
        return self.large if size is Size.LARGE else self.small


def _running(name: str, small: int, large: int, reason: str) -> Tunable:
    return Tunable(name, str(small), str(large), When.RUNNING, reason)


def _loader(name: str, small: int, large: int, reason: str) -> Tunable:
    return Tunable(name, str(small), str(large), When.LOADER, reason)


TABLE: Final = (
    _running("kern.ipc.maxsockbuf", 4 << 20, 16 << 20, "bytes of one socket; 8/9 can be asked for"),
    _running("net.inet.udp.recvspace", 256 << 10, 1 << 20, "bytes a UDP socket takes in unasked"),
    _running("net.inet.udp.maxdgram", 65_535, 65_535, "bytes of the largest datagram"),
    _running("net.inet.ip.intr_queue_maxlen", 512, 2048, "IPv4 packets that wait between jails"),
    _running("net.inet6.ip6.intr_queue_maxlen", 512, 2048, "IPv6 packets that wait between jails"),
    _running("kern.ipc.soacceptqueue", 256, 1024, "programs that wait at a control socket"),
    _loader("net.isr.maxthreads", 1, -1, "threads for packets; -1 is one for each processor"),
    _loader("net.isr.bindthreads", 0, 1, "1: each of these threads stays on its processor"),
    _loader("net.isr.maxqlimit", 10_240, 10_240, "packets: the most that any queue may be set to"),
    _loader("net.isr.defaultqlimit", 256, 2048, "packets that wait for such a thread"),
    _loader("net.link.ifqmaxlen", 128, 2048, "packets that wait for an interface"),
)
# Large machines only: what small ones have, the kernel works out from their memory.
LARGE_ONLY: Final = (
    _running("kern.maxfiles", 0, 200_000, "open files of all programs"),
    _running("kern.maxfilesperproc", 0, 180_000, "open files of one program"),
    _running("net.inet.icmp.icmplim", 0, 1000, "answers a second to packets that nobody wants"),
)


def size_of(memory_bytes: int) -> Size:
    """The class of a machine, from ``hw.physmem``."""
    return Size.LARGE if memory_bytes >= LARGE_BYTES else Size.SMALL


def tunables(memory_bytes: int) -> tuple[tuple[str, str], ...]:
    """Name and value of what is set while a machine of that memory starts, in this order."""
    size = size_of(memory_bytes)
    more = LARGE_ONLY if size is Size.LARGE else ()
    return tuple(
        (each.name, each.value(size)) for each in (*TABLE, *more) if each.when is When.RUNNING
    )
