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
from maculaos.discovery.settings import DiscoverySettings
from maculaos.identity import check_name, check_realm
from maculaos.kademlia.settings import KademliaSettings
from maculaos.topology.settings import TopologySettings

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
    # The CA's list of certificates that it took back; watched while the node runs.
    revocations: Path | None = None


# What a profile sets; the values of memberlist for each kind of network, tuned to find the dead
# of a realm of 20 nodes within 10 s in a LAN.
_SWIM_PROFILES: Final[dict[str, dict[str, float | int]]] = {
    "lan": {
        "probe_interval_s": 1.0,
        "probe_timeout_s": 0.5,
        "indirect_probes": 3,
        "suspicion_multiplier": 3,
        "suspicion_max_multiplier": 3,
        "gossip_interval_s": 0.2,
        "gossip_fanout": 3,
        "push_pull_interval_s": 15.0,
        "retransmit_multiplier": 4,
    },
    "wan": {
        "probe_interval_s": 5.0,
        "probe_timeout_s": 3.0,
        "indirect_probes": 3,
        "suspicion_multiplier": 6,
        "suspicion_max_multiplier": 6,
        "gossip_interval_s": 0.5,
        "gossip_fanout": 4,
        "push_pull_interval_s": 60.0,
        "retransmit_multiplier": 4,
    },
    "local": {
        "probe_interval_s": 1.0,
        "probe_timeout_s": 0.2,
        "indirect_probes": 1,
        "suspicion_multiplier": 3,
        "suspicion_max_multiplier": 2,
        "gossip_interval_s": 0.1,
        "gossip_fanout": 3,
        "push_pull_interval_s": 15.0,
        "retransmit_multiplier": 2,
    },
}
# A default that the profile fills in; no value that a file can hold.
_OF_PROFILE: Final[Any] = None
# Above so many members views are compared less often (memberlist, pushPullScale).
_PUSH_PULL_SCALED_ABOVE: Final = 32


@dataclass(frozen=True, slots=True, kw_only=True)
class SwimSettings:
    """Failure detection; see docs/protocol.md for the formulas and their sources.

    The profile gives every value that is not set by itself.
    """

    __pydantic_config__: ClassVar[dict[str, Any]] = STRICT

    # What lies between the nodes: one site, the Internet, or one machine.
    profile: Literal["lan", "wan", "local"] = "lan"
    # One member is probed per interval: shorter finds the dead sooner and costs a packet each.
    probe_interval_s: Seconds = _OF_PROFILE
    # Wait this long for the answer: longer tolerates slow links and slows detection.
    probe_timeout_s: Seconds = _OF_PROFILE
    # So many others are asked to ask a member that did not answer: more finds more ways round.
    indirect_probes: Annotated[int, Ge(0), Le(16)] = _OF_PROFILE
    # Suspicion lasts multiplier * max(1, log10 n) * interval: more forgives more pauses.
    suspicion_multiplier: Annotated[int, Ge(1), Le(20)] = _OF_PROFILE
    # So many times as long while nobody seconds it: more forgives more sick accusers.
    suspicion_max_multiplier: Annotated[int, Ge(1), Le(20)] = _OF_PROFILE
    # While there is news, so many linked members are told per interval.
    gossip_interval_s: Seconds = _OF_PROFILE
    gossip_fanout: Annotated[int, Ge(1), Le(20)] = _OF_PROFILE
    # A comparison of views with one peer: repairs what gossip missed.
    push_pull_interval_s: Seconds = _OF_PROFILE
    # A rumour is told to multiplier * ceil(log10(n + 1)) linked members at most.
    retransmit_multiplier: Annotated[int, Ge(1), Le(20)] = _OF_PROFILE
    # How far a node doubts its own health, and slows down: 0 switches it off.
    awareness_max: Annotated[int, Ge(0), Le(100)] = 8
    # At once; who accuses more is more likely sick itself, and is not believed.
    suspicions_per_accuser: Annotated[int, Ge(1), Le(10_000)] = 16
    # A dead member is shown and remembered this long, then forgotten with its addresses, but for
    # those that an operator named and those that once led to it. Longer than a partition may last.
    tombstone_s: Seconds = 7200.0

    def __post_init__(self) -> None:
        for name, value in _SWIM_PROFILES[self.profile].items():
            if getattr(self, name) is None:
                object.__setattr__(self, name, value)
        if self.probe_timeout_s >= self.probe_interval_s:
            raise ValueError("probe_timeout_s must be below probe_interval_s")

    def suspicion_timeout_s(self, members: int) -> float:
        """How long a suspect may refute whom enough others accuse (SWIM, section 4.2)."""
        scale = max(1.0, math.log10(max(members, 1)))
        return self.suspicion_multiplier * scale * self.probe_interval_s

    def longest_suspicion_s(self, members: int) -> float:
        """How long a suspect may refute whom one member alone accuses (Lifeguard, section 4.2)."""
        return self.suspicion_max_multiplier * self.suspicion_timeout_s(members)

    def retransmits(self, members: int) -> int:
        """To how many linked members one rumour is told (SWIM, section 4.1)."""
        return self.retransmit_multiplier * math.ceil(math.log10(members + 1))

    def push_pull_s(self, members: int) -> float:
        """The time between comparisons, longer in large realms (memberlist, pushPullScale)."""
        if members <= _PUSH_PULL_SCALED_ABOVE:
            return self.push_pull_interval_s
        doublings = math.ceil(math.log2(members) - math.log2(_PUSH_PULL_SCALED_ABOVE))
        return self.push_pull_interval_s * (doublings + 1)


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
class EventSettings:
    """What events are to prove; links prove only who handed them on."""

    __pydantic_config__: ClassVar[dict[str, Any]] = STRICT

    # Sign what the clients of this node publish: some 50 us each, and some 100 us for each reader.
    sign: bool = False
    # Take up and pass on signed events only.
    require_signature: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class LimitSettings:
    """Bounds: what lies beyond is refused, never queued."""

    __pydantic_config__: ClassVar[dict[str, Any]] = STRICT

    links: Annotated[int, Ge(1), Le(10_000)] = 256
    pending_handshakes: Annotated[int, Ge(1), Le(10_000)] = 64
    # Of one source (an IPv4 address, or an IPv6 /64): raise it where many nodes share an address.
    links_per_source: Annotated[int, Ge(1), Le(10_000)] = 128
    pending_per_source: Annotated[int, Ge(1), Le(10_000)] = 32
    # Above it strangers must prove their address first; each handshake costs some 5 ms of a core.
    handshakes_per_s: Annotated[int, Ge(1), Le(10_000)] = 64
    # What a peer may send before it has greeted; certificates and a greeting are some 6 KiB.
    greeting_bytes: Annotated[int, Ge(16_384), Le(1 << 20)] = 65_536
    # Session tickets given, and as many held: with one, a peer links again without certificates.
    # None at all: every handshake is a full one.
    tickets: Annotated[int, Ge(0), Le(100_000)] = 1024
    # Bytes waiting on one link; beyond it, events for that peer are dropped and counted.
    link_queue_bytes: Annotated[int, Ge(65_536), Le(1 << 30)] = 32 * 1024 * 1024
    clients: Annotated[int, Ge(1), Le(10_000)] = 64
    client_queue_bytes: Annotated[int, Ge(65_536), Le(1 << 30)] = 32 * 1024 * 1024
    # Calls that wait; and as many acknowledged runs of events that are not confirmed.
    pending_calls: Annotated[int, Ge(1), Le(1_000_000)] = 10_000
    # Of the clients of this node; all other nodes together may want twice as many patterns.
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
    topology: TopologySettings = field(default_factory=TopologySettings)
    kademlia: KademliaSettings = field(default_factory=KademliaSettings)
    events: EventSettings = field(default_factory=EventSettings)
    discovery: DiscoverySettings = field(default_factory=DiscoverySettings)
    limits: LimitSettings = field(default_factory=LimitSettings)
