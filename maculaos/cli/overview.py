"""An overview of one node: its counters at two moments, and what happened between them.

It reads what ``macula.stats`` answers, and is lenient: a node of another version counts other
things. Nothing is asked or drawn here.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Iterator

#: Always shown, in this order; others are shown while they grow.
EVENTS: Final = (
    "events_published",
    "events_out",
    "events_in",
    "events_delivered",
    "events_dropped",
)
CALLS: Final = ("calls_out", "calls_in", "calls_answered", "calls_failed")


@dataclass(frozen=True, slots=True)
class Sample:
    """What a node answered, and when: monotonic seconds of whoever asked."""

    at_s: float
    stats: Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class LinkRow:
    """One link; bytes per second."""

    name: str
    remote: str
    is_outbound: bool
    rtt_ms: float
    queued_bytes: int
    datagram_size: int
    out_per_s: float
    in_per_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class QueueRow:
    """What waits for one subscription of a client, in events."""

    client: int
    pattern: str
    group: str
    waiting: int
    dropped: int
    # So many more the client takes at once.
    credit: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Overview:
    """One node, now; ``rates`` are of every counter, per second."""

    uptime_s: float
    members: Mapping[str, int]
    sums: Mapping[str, int]
    rates: Mapping[str, float]
    links: tuple[LinkRow, ...]
    queues: tuple[QueueRow, ...]

    @property
    def others(self) -> dict[str, float]:
        """The rates that grow and are not always shown."""
        known = (*EVENTS, *CALLS)
        return {name: rate for name, rate in self.rates.items() if rate and name not in known}

    def to_dict(self) -> dict[str, Any]:
        """Everything, for machines."""
        return {
            "uptime_s": self.uptime_s,
            "members": dict(self.members),
            **self.sums,
            "rates": {name: round(rate, 3) for name, rate in self.rates.items()},
            "links": [asdict(each) for each in self.links],
            "queues": [asdict(each) for each in self.queues],
        }


def between(before: Sample, after: Sample) -> Overview:
    """What ``after`` says, and how quickly it came to that; a restart in between counts from 0."""
    stats = after.stats
    is_same_life = _number(before.stats, "uptime_s") <= _number(stats, "uptime_s")
    past: Mapping[str, Any] = before.stats if is_same_life else {}
    span_s = after.at_s - before.at_s if is_same_life else _number(stats, "uptime_s")
    names = ("links", "clients", "subscriptions", "methods", "pending_calls")
    return Overview(
        uptime_s=_number(stats, "uptime_s"),
        members={name: int(count) for name, count in _numbers(stats, "members").items()},
        sums={name: int(_number(stats, name)) for name in names},
        rates=dict(_rates(_counted(past), _counted(stats), span_s)),
        links=tuple(sorted(_links(past, stats, span_s), key=_traffic, reverse=True)),
        queues=tuple(sorted(_queues(stats), key=lambda row: row.waiting, reverse=True)),
    )


def _traffic(row: LinkRow) -> tuple[float, str]:
    return row.out_per_s + row.in_per_s, row.name


def _counted(stats: Mapping[str, Any]) -> dict[str, float]:
    """Every number that only grows, whoever counts it."""
    shell = _mapping(stats, "shell")
    plain = {name: _number(shell, name) for name in ("sends_dropped", "client_events_dropped")}
    refused = sum(_numbers(shell, "handshakes_refused").values())
    return {**_numbers(stats, "counters"), **plain, "handshakes_refused": refused}


def _rates(
    past: Mapping[str, float], now: Mapping[str, float], span_s: float
) -> Iterator[tuple[str, float]]:
    for name, value in now.items():
        yield name, _rate(past.get(name, 0), value, span_s)


def _links(past: Mapping[str, Any], stats: Mapping[str, Any], span_s: float) -> Iterator[LinkRow]:
    known = {each.get("number"): each for each in _listed(_mapping(past, "shell"), "links")}
    for each in _listed(_mapping(stats, "shell"), "links"):
        earlier = known.get(each.get("number"), {})
        yield LinkRow(
            name=str(each.get("name")),
            remote=str(each.get("remote")),
            is_outbound=bool(each.get("is_outbound")),
            rtt_ms=_number(each, "rtt_ms"),
            queued_bytes=int(_number(each, "queued_bytes")),
            datagram_size=int(_number(each, "datagram_size")),
            out_per_s=_growth(earlier, each, "bytes_out", span_s),
            in_per_s=_growth(earlier, each, "bytes_in", span_s),
        )


def _queues(stats: Mapping[str, Any]) -> Iterator[QueueRow]:
    for each in _listed(stats, "queues"):
        yield QueueRow(
            client=int(_number(each, "client")),
            pattern=str(each.get("pattern")),
            group=str(each.get("group") or ""),
            waiting=int(_number(each, "waiting")),
            dropped=int(_number(each, "dropped")),
            credit=int(_number(each, "credit")),
        )


def _growth(
    earlier: Mapping[str, Any], later: Mapping[str, Any], name: str, span_s: float
) -> float:
    return _rate(_number(earlier, name), _number(later, name), span_s)


def _rate(past: float, now: float, span_s: float) -> float:
    return max(0.0, now - past) / span_s if span_s > 0 else 0.0


def _listed(stats: Mapping[str, Any], name: str) -> list[Mapping[str, Any]]:
    found = stats.get(name)
    return [each for each in found if isinstance(each, dict)] if isinstance(found, list) else []


def _mapping(facts: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    found = facts.get(name)
    return found if isinstance(found, dict) else {}


def _numbers(facts: Mapping[str, Any], name: str) -> dict[str, float]:
    found = _mapping(facts, name)
    return {key: each for key, each in found.items() if isinstance(each, int | float)}


def _number(facts: Mapping[str, Any], name: str) -> float:
    found = facts.get(name)
    return found if isinstance(found, int | float) else 0
