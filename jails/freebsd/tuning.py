"""Tunables of a network stack that each vnet jail has anew: what they are set to, and why.

A new stack starts from the kernel's defaults, not from what the host was set to, so every one that
matters is said again inside the jail. Those that all stacks share (socket buffers, sizes of
datagrams) are the machine's, and cannot be set from a jail. Forwarding is left alone: a new stack
forwards nothing. Pure.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator


@dataclass(frozen=True, slots=True)
class Tunable:
    """One tunable of a stack, and why it has that value."""

    name: str
    value: int
    reason: str


# Ports below are for those that listen; the kernel draws the others.
FIRST_DRAWN_PORT = 10_000
TUNABLES = (
    Tunable(
        "net.inet.udp.blackhole",
        0,
        "a closed port answers, so a peer that ended is noticed at once and not by a timeout",
    ),
    Tunable("net.inet.udp.checksum", 1, "a damaged datagram is dropped before it is decrypted"),
    Tunable("net.inet.udp.log_in_vain", 0, "strangers must not be able to fill the log"),
    Tunable("net.inet.icmp.icmplim", 200, "answers to floods are bounded, in packets per second"),
    Tunable(
        "net.inet.ip.portrange.first",
        FIRST_DRAWN_PORT,
        "no program is given the port that a node of the mesh is to listen on",
    ),
    Tunable("net.inet.ip.portrange.last", 65_535, "as many ports as there are above the first"),
)


def start_commands() -> Iterator[str]:
    """One line of ``exec.start`` for each tunable, in order.

    With ``-i`` sysctl(8) passes over a name that a release does not know, with status 0, so a
    tunable that came later or went away fails no start.
    """
    for each in TUNABLES:
        yield f"/sbin/sysctl -i {each.name}={each.value}"
