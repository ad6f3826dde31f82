"""pfctl(8): the redirects of one jail, in an anchor of its own.

The machine's main rules must name all of them once: ``rdr-anchor "macula/*"``. An anchor is loaded
as a whole from standard input; a mistake in it leaves the old rules standing.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from ipaddress import IPv4Address
from typing import TYPE_CHECKING

from jails.freebsd.unreadable import UnreadableAnswer

if TYPE_CHECKING:
    from collections.abc import Iterable

ANCHORS = "macula"
_REDIRECT = re.compile(
    r"rdr pass on (\S+) inet proto (udp|tcp) from any to \(\1:0\) port = (\d+)"
    r" -> ([0-9.]+)(?: port (\d+))?"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Redirect:
    """What arrives at ``port`` of the first address of ``interface`` goes to a jail."""

    interface: str
    protocol: str
    port: int
    address: IPv4Address
    # None: the same port as outside.
    inner_port: int | None = None

    def text(self) -> str:
        """As pf.conf(5) wants it."""
        inner = "" if self.inner_port is None else f" port {self.inner_port}"
        return (
            f"rdr pass on {self.interface} inet proto {self.protocol}"
            f" to ({self.interface}:0) port {self.port} -> {self.address}{inner}\n"
        )


def anchor_of(jail: str) -> str:
    """The anchor that holds the rules of ``jail``."""
    return f"{ANCHORS}/{jail}"


def load_argv(jail: str) -> tuple[str, ...]:
    """Replace the rules of a jail by those on standard input (``rules_text``)."""
    return ("pfctl", "-a", anchor_of(jail), "-f", "-")


def list_argv(jail: str) -> tuple[str, ...]:
    """The redirects of a jail."""
    return ("pfctl", "-a", anchor_of(jail), "-s", "nat")


def anchors_argv() -> tuple[str, ...]:
    """Every anchor below ours that holds rules."""
    return ("pfctl", "-a", f"{ANCHORS}/*", "-s", "Anchors")


def rules_text(redirects: Iterable[Redirect]) -> bytes:
    """What ``load_argv`` reads; without redirects it empties the anchor."""
    return "".join(redirect.text() for redirect in redirects).encode()


def parse_redirects(text: str) -> tuple[Redirect, ...]:
    """Answer of ``list_argv``; raises ``UnreadableAnswer``."""
    return tuple(_redirect(line) for line in text.splitlines() if line)


def parse_anchors(text: str) -> tuple[str, ...]:
    """The jails that have an anchor, from an answer of ``anchors_argv``."""
    names = []
    for line in filter(None, text.splitlines()):
        anchor, slash, jail = line.strip().partition("/")
        if anchor != ANCHORS or not slash or not jail:
            raise UnreadableAnswer("pfctl", line)
        names.append(jail)
    return tuple(names)


def _redirect(line: str) -> Redirect:
    match = _REDIRECT.fullmatch(line.strip())
    if match is None:
        raise UnreadableAnswer("pfctl", line)
    try:
        address = IPv4Address(match[4])
    except ValueError as error:
        raise UnreadableAnswer("pfctl", line) from error
    return Redirect(
        interface=match[1],
        protocol=match[2],
        port=int(match[3]),
        address=address,
        inner_port=int(match[5]) if match[5] else None,
    )
