"""The parameters of Kademlia and their bounds: what each costs, and whom others chose."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, Final

from annotated_types import Ge, Gt, Le

_STRICT: Final[dict[str, Any]] = {"extra": "forbid", "strict": True}
Seconds = Annotated[float, Gt(0), Le(86_400)]


@dataclass(frozen=True, slots=True, kw_only=True)
class KademliaSettings:
    """One node's share of the distributed table; times in seconds."""

    __pydantic_config__: ClassVar[dict[str, Any]] = _STRICT

    # Whether somebody who knows every member tells of contacts: then no bucket is refreshed. The
    # node sets it, whatever a file says.
    is_fed: bool = False
    # k: contacts per bucket, and copies of a record. More survives more deaths, and costs a
    # request for each in every lookup and every store. 20 in the paper and in Amino.
    k: Annotated[int, Ge(1), Le(64)] = 20
    # Requests of one lookup at a time: more is quicker and wastes more. 3 in the paper.
    alpha: Annotated[int, Ge(1), Le(16)] = 3
    # Wait this long for an answer: a dead contact costs a lookup that much.
    request_timeout_s: Seconds = 2.0
    # After this a lookup asks somebody else meanwhile: shorter is quicker among the dead, and
    # sends more where answers only take long.
    slow_after_s: Seconds = 0.5
    # A bucket in which nothing was looked up for so long is refreshed. 600 in Amino.
    refresh_interval_s: Seconds = 600.0
    # The least recently seen contact of a full bucket is asked for life at most this often.
    ping_interval_s: Seconds = 60.0
    # A record lives this long unless its publisher says it again.
    ttl_s: Annotated[int, Ge(10), Le(86_400)] = 3_600
    # The publisher says it again this often; below half of ttl_s, so that one may be missed.
    republish_interval_s: Seconds = 1_200.0
    # A holder that heard nothing of a record for so long gives it to the k closest once more.
    replicate_interval_s: Seconds = 600.0
    # Lookups at a time that somebody waits for, and those for upkeep (refresh, placing records).
    lookups: Annotated[int, Ge(1), Le(10_000)] = 256
    upkeep_lookups: Annotated[int, Ge(1), Le(1_000)] = 4
    # Candidates that one lookup keeps unasked, and requests it may send.
    candidates: Annotated[int, Ge(20), Le(1_000)] = 160
    lookup_requests: Annotated[int, Ge(20), Le(1_000)] = 200
    # Stores and pings that wait for an answer; what lies beyond is not sent.
    requests: Annotated[int, Ge(1), Le(100_000)] = 2_048
    # Records held for others: in all, of one publisher, from one peer, under one key.
    records: Annotated[int, Ge(1), Le(1_000_000)] = 16_384
    records_per_publisher: Annotated[int, Ge(1), Le(1_000_000)] = 1_024
    records_per_peer: Annotated[int, Ge(1), Le(1_000_000)] = 4_096
    records_per_key: Annotated[int, Ge(1), Le(10_000)] = 64
    record_bytes: Annotated[int, Ge(8_192), Le(1 << 30)] = 16 * 1024 * 1024
    # Values in one answer; what does not fit is drawn by lot, so that other holders tell the rest.
    answer_bytes: Annotated[int, Ge(8_192), Le(1 << 20)] = 32 * 1024
    # Records this node publishes itself.
    publications: Annotated[int, Ge(1), Le(100_000)] = 1_024
    # Requests a second of one peer that are answered, and how many of them may store.
    peer_requests: Annotated[int, Ge(1), Le(1_000_000)] = 500
    peer_stores: Annotated[int, Ge(1), Le(1_000_000)] = 200

    def __post_init__(self) -> None:
        if self.slow_after_s >= self.request_timeout_s:
            raise ValueError("slow_after_s must be below request_timeout_s")
        if self.republish_interval_s * 2 > self.ttl_s:
            raise ValueError("republish_interval_s must be at most half of ttl_s")
        if self.candidates < 2 * self.k or self.lookup_requests < 2 * self.k:
            raise ValueError("candidates and lookup_requests must be at least twice k")
