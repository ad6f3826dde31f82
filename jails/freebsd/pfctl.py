"""pfctl(8): what is translated for one jail, in an anchor of its own.

The machine's main rules must name all of them once: ``nat-anchor "macula/*"`` and ``rdr-anchor
"macula/*"``. An anchor is loaded as a whole from standard input; a mistake in it leaves the old
rules standing. How redirects are listed was recorded; how address translation is, was read in
pf.conf(5) and the source of pfctl(8).
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
_INTERFACE = re.compile(r"[A-Za-z][A-Za-z0-9_.]{0,14}")
_PROTOCOLS = ("udp", "tcp")
_MOST_PORT = 65535
_REDIRECT = re.compile(
    r"rdr pass on (\S+) inet proto (udp|tcp) from any to \(\1:0\) port = (\d+)"
    r" -> ([0-9.]+)(?: port (\d+))?"
)
# A name of an interface without a number at its end may mean several: pfctl takes them in turn.
_TRANSLATION = re.compile(
    r"nat on (\S+) inet(?: proto (udp|tcp))? from ([0-9.]+) to any -> \(\1:0\)"
    r"(?: round-robin)?( static-port)?"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Redirect:
    """What arrives at ``port`` of the first address of ``interface`` goes to a jail.

    Raises ``ValueError`` for what a rule could not say, or would say differently.
    """

    interface: str
    protocol: str
    port: int
    address: IPv4Address
    # None: the same port as outside.
    inner_port: int | None = None

    def __post_init__(self) -> None:
        """See the class."""
        _refuse_strange(self.interface, self.protocol)
        ports = (self.port, self.port if self.inner_port is None else self.inner_port)
        if not all(0 < port <= _MOST_PORT for port in ports):
            raise ValueError(f"{self.port} to {self.inner_port} is no redirect of ports")

    def text(self) -> str:
        """As pf.conf(5) wants it."""
        inner = "" if self.inner_port is None else f" port {self.inner_port}"
        return (
            f"rdr pass on {self.interface} inet proto {self.protocol}"
            f" to ({self.interface}:0) port {self.port} -> {self.address}{inner}\n"
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Translation:
    """What ``address`` sends out of ``interface`` gets that interface's first address.

    Raises ``ValueError`` for what a rule could not say, or would say differently.
    """

    interface: str
    address: IPv4Address
    # Empty: whatever no earlier rule has taken.
    protocol: str = ""
    # Whether the port stays what it was, so that peers see one port wherever they are.
    keeps_port: bool = False

    def __post_init__(self) -> None:
        """See the class."""
        _refuse_strange(self.interface, self.protocol or "udp")

    def text(self) -> str:
        """As pf.conf(5) wants it, and as pfctl(8) lists it."""
        protocol = f" proto {self.protocol}" if self.protocol else ""
        port = " static-port" if self.keeps_port else ""
        return (
            f"nat on {self.interface} inet{protocol} from {self.address} to any"
            f" -> ({self.interface}:0){port}\n"
        )


Rule = Redirect | Translation


def way_out(interface: str, address: IPv4Address) -> tuple[Translation, ...]:
    """The translations that let ``address`` out by ``interface``; the first that fits counts.

    UDP keeps its port: a node of the mesh tells one port to all its peers. TCP does not: two
    jails may well draw the same port for the same server.
    """
    kept = Translation(interface=interface, address=address, protocol="udp", keeps_port=True)
    return (kept, Translation(interface=interface, address=address))


def anchor_of(jail: str) -> str:
    """The anchor that holds the rules of ``jail``."""
    return f"{ANCHORS}/{jail}"


def status_argv() -> tuple[str, ...]:
    """Whether the packet filter is enabled; fails if there is none."""
    return ("pfctl", "-s", "info")


def load_argv(jail: str) -> tuple[str, ...]:
    """Replace the rules of a jail by those on standard input (``rules_text``)."""
    return ("pfctl", "-a", anchor_of(jail), "-f", "-")


def list_argv(jail: str) -> tuple[str, ...]:
    """The translations and redirects of a jail."""
    return ("pfctl", "-a", anchor_of(jail), "-s", "nat")


def anchors_argv() -> tuple[str, ...]:
    """Every anchor below ours that holds rules."""
    return ("pfctl", "-a", f"{ANCHORS}/*", "-s", "Anchors")


def rules_text(rules: Iterable[Rule]) -> bytes:
    """What ``load_argv`` reads; without rules it empties the anchor."""
    return "".join(rule.text() for rule in rules).encode()


def is_enabled(text: str) -> bool:
    """Whether an answer of ``status_argv`` says that packets are filtered."""
    return text.startswith("Status: Enabled")


def parse_rules(text: str) -> tuple[Rule, ...]:
    """Answer of ``list_argv``, translations first; raises ``UnreadableAnswer``."""
    return tuple(_rule(line) for line in text.splitlines() if line)


def parse_redirects(text: str) -> tuple[Redirect, ...]:
    """Only the redirects of such an answer."""
    return tuple(rule for rule in parse_rules(text) if isinstance(rule, Redirect))


def parse_anchors(text: str) -> tuple[str, ...]:
    """The jails that have an anchor, from an answer of ``anchors_argv``."""
    names = []
    for line in filter(None, text.splitlines()):
        anchor, slash, jail = line.strip().partition("/")
        if anchor != ANCHORS or not slash or not jail:
            raise UnreadableAnswer("pfctl", line)
        names.append(jail)
    return tuple(names)


def _rule(line: str) -> Rule:
    try:
        if match := _REDIRECT.fullmatch(line.strip()):
            return Redirect(
                interface=match[1],
                protocol=match[2],
                port=int(match[3]),
                address=IPv4Address(match[4]),
                inner_port=int(match[5]) if match[5] else None,
            )
        if match := _TRANSLATION.fullmatch(line.strip()):
            return Translation(
                interface=match[1],
                protocol=match[2] or "",
                address=IPv4Address(match[3]),
                keeps_port=bool(match[4]),
            )
    except ValueError as error:
        raise UnreadableAnswer("pfctl", line) from error
    raise UnreadableAnswer("pfctl", line)


def _refuse_strange(interface: str, protocol: str) -> None:
    if not _INTERFACE.fullmatch(interface) or protocol not in _PROTOCOLS:
        raise ValueError(f"{protocol} on {interface!r} cannot be said in a rule")
