"""The settings of one node, typed once and checked once; formulas are their methods.

``maculaos.documents`` reads them from a YAML file (``macula start --config FILE``) and reports
every problem with its line and column. Paths in the file are relative to the file.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, ClassVar, Final, Literal

from annotated_types import Ge, Gt, Le, Len
from pydantic import AfterValidator

from maculaos.addresses import Address, parse_address
from maculaos.identity import check_name, check_realm

# Read by pydantic when a document is checked: an unknown key is an error, nothing is converted.
STRICT: Final[dict[str, Any]] = {"extra": "forbid", "strict": True}

Seconds = Annotated[float, Gt(0), Le(86_400)]
Port = Annotated[int, Ge(1), Le(65_535)]
Name = Annotated[str, AfterValidator(check_name)]
Realm = Annotated[str, AfterValidator(check_realm)]
WrittenAddress = Annotated[str, AfterValidator(lambda text: str(parse_address(text)))]


@dataclass(frozen=True, slots=True, kw_only=True)
class ListenSettings:
    """The one UDP port of the node."""

    __pydantic_config__: ClassVar[dict[str, Any]] = STRICT

    address: str = "127.0.0.1"
    port: Port
    # What other nodes are told to dial; empty means the listening address itself.
    advertise: Annotated[tuple[WrittenAddress, ...], Len(0, 8)] = ()

    @property
    def bound(self) -> Address:
        """Where the node listens."""
        return Address(self.address, self.port)

    @property
    def advertised(self) -> tuple[str, ...]:
        """What other nodes are told to dial."""
        return self.advertise or (str(self.bound),)


@dataclass(frozen=True, slots=True, kw_only=True)
class CredentialSettings:
    """PEM files: the node's certificate and key, and the realm's CA certificate."""

    __pydantic_config__: ClassVar[dict[str, Any]] = STRICT

    certificate: Path
    key: Path
    realm_ca: Path


@dataclass(frozen=True, slots=True, kw_only=True)
class SwimSettings:
    """Failure detection; see docs/protocol.md for the formulas and their sources."""

    __pydantic_config__: ClassVar[dict[str, Any]] = STRICT

    # One member is probed per interval: shorter finds the dead sooner and costs a packet each.
    probe_interval_s: Seconds = 1.0
    # Wait this long for the answer: longer tolerates slow links and slows detection.
    probe_timeout_s: Seconds = 0.5
    # Suspicion lasts multiplier * max(1, log10 n) * interval: more forgives more pauses.
    suspicion_multiplier: Annotated[int, Ge(1), Le(20)] = 3
    # A full exchange of membership with one peer: repairs what gossip missed.
    push_pull_interval_s: Seconds = 15.0
    # A rumour rides on multiplier * ceil(log10(n + 1)) packets.
    retransmit_multiplier: Annotated[int, Ge(1), Le(20)] = 4
    # A dead member is shown and remembered this long, then forgotten with its addresses, but for
    # those that an operator named and those that once led to it.
    tombstone_s: Seconds = 3600.0

    def __post_init__(self) -> None:
        if self.probe_timeout_s >= self.probe_interval_s:
            raise ValueError("probe_timeout_s must be below probe_interval_s")

    def suspicion_timeout_s(self, members: int) -> float:
        """How long a suspect may refute, in a realm of that many members (SWIM, section 4.2)."""
        scale = max(1.0, math.log10(max(members, 1)))
        return self.suspicion_multiplier * scale * self.probe_interval_s

    def retransmits(self, members: int) -> int:
        """On how many packets one rumour rides (SWIM, section 4.1)."""
        return self.retransmit_multiplier * math.ceil(math.log10(members + 1))


@dataclass(frozen=True, slots=True, kw_only=True)
class LinkSettings:
    """QUIC links to other nodes."""

    __pydantic_config__: ClassVar[dict[str, Any]] = STRICT

    # A silent link is given up after this: longer survives longer outages, frees memory later.
    idle_timeout_s: Seconds = 10.0
    # From the first packet to HANDSHAKE_ACK.
    handshake_timeout_s: Seconds = 5.0
    # Full jitter between 0 and a ceiling that doubles from base to max.
    reconnect_base_s: Seconds = 0.25
    reconnect_max_s: Seconds = 30.0

    def reconnect_ceiling_s(self, failures: int) -> float:
        """The longest wait before the next dial, after that many failures in a row."""
        return float(min(self.reconnect_max_s, self.reconnect_base_s * 2 ** min(failures, 20)))


@dataclass(frozen=True, slots=True, kw_only=True)
class LimitSettings:
    """Bounds: what lies beyond is refused, never queued."""

    __pydantic_config__: ClassVar[dict[str, Any]] = STRICT

    links: Annotated[int, Ge(1), Le(10_000)] = 256
    pending_handshakes: Annotated[int, Ge(1), Le(10_000)] = 64
    # Bytes waiting on one link; beyond it, events for that peer are dropped and counted.
    link_queue_bytes: Annotated[int, Ge(65_536), Le(1 << 30)] = 32 * 1024 * 1024
    clients: Annotated[int, Ge(1), Le(10_000)] = 64
    client_queue_bytes: Annotated[int, Ge(65_536), Le(1 << 30)] = 32 * 1024 * 1024
    pending_calls: Annotated[int, Ge(1), Le(1_000_000)] = 10_000
    subscriptions: Annotated[int, Ge(1), Le(1_000_000)] = 100_000
    members: Annotated[int, Ge(1), Le(1_000_000)] = 10_000


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeSettings:
    """Everything one node needs to know."""

    __pydantic_config__: ClassVar[dict[str, Any]] = STRICT

    version: Literal[1]
    name: Name
    realm: Realm
    listen: ListenSettings
    credentials: CredentialSettings
    # The Unix socket for the macula command and for applications; mode 0600.
    control_socket: Path
    # Where to look for the mesh first; read again on reload.
    peers: Annotated[tuple[WrittenAddress, ...], Len(0, 1000)] = ()
    swim: SwimSettings = field(default_factory=SwimSettings)
    link: LinkSettings = field(default_factory=LinkSettings)
    limits: LimitSettings = field(default_factory=LimitSettings)
