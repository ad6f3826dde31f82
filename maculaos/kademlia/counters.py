"""What Kademlia counts for people who watch; every number only grows but those of ``Gauges``."""

from __future__ import annotations

from dataclasses import dataclass, field

from maculaos.kademlia.store import Verdict


@dataclass(slots=True)
class Counters:
    """Since the start of the node."""

    lookups: int = 0
    lookups_refused: int = 0
    requests: int = 0
    requests_dropped: int = 0
    answers: int = 0
    # Requests of peers that ask too much; they get no answer.
    refused_requests: int = 0
    failures: int = 0
    # Answers that nobody waits for: late ones, and worse.
    strays: int = 0
    # Records in answers that were not believed, or too many.
    refused_findings: int = 0
    verdicts: dict[Verdict, int] = field(default_factory=lambda: dict.fromkeys(Verdict, 0))


@dataclass(frozen=True, slots=True)
class Gauges:
    """At this moment."""

    contacts: int
    lookups: int
    waiting: int
    queued: int
    records: int
    record_bytes: int
    publications: int
