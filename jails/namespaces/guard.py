"""The guard: what a machine that is no router forwards for jails, and nothing beyond. Pure.

The kernel decides by the interface that a packet came in by whether it may be forwarded at all.
For jails that have a way out, that is switched on where their packets, and answers, come in; the
guard refuses everything else that came in there. It stands before a switch is touched, until
after it was put back. Where somebody else switched forwarding on, the machine is a router by
choice, and nothing is refused. The switches themselves are ``jails.namespaces.switches``.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from jails.namespaces import nft

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

TABLE: Final = "macula-forwarding"
# Stands for all interfaces, where the kernel has but one switch for them.
ALL: Final = "all"
_OPENED = "opened"
_WITHIN = "within"
# Where firewalls look at what is forwarded (NF_IP_PRI_FILTER); all of them must let it through.
_FILTER = 0


@dataclass(frozen=True, slots=True)
class Guard:
    """What the table of one family holds."""

    # Interfaces, or ``ALL``, for which we switched forwarding on.
    opened: frozenset[str] = frozenset()
    # Bridge and address of each jail that has a way out.
    jails: frozenset[tuple[str, str]] = frozenset()


NOTHING: Final = Guard()


@dataclass(frozen=True, slots=True)
class Wishes:
    """What the tables of jails ask for, in one family."""

    jails: frozenset[tuple[str, str]]
    through: frozenset[str]


def read_guard(family: str, sets: Iterable[nft.Elements]) -> Guard:
    """The guard as it stands; ``NOTHING`` if there is none."""
    ours = [each for each in sets if (each.family, each.table) == (family, TABLE)]
    opened = frozenset(word for each in ours if each.name == _OPENED for (word,) in each.words)
    return Guard(opened, _jails(ours))


def read_wishes(family: str, sets: Iterable[nft.Elements]) -> Wishes:
    """Of the tables of all jails, under whatever root."""
    theirs = [
        each
        for each in sets
        if each.family == family and each.table.startswith("macula-") and each.table != TABLE
    ]
    through = frozenset(w[0] for each in theirs if each.name == nft.THROUGH for w in each.words)
    return Wishes(_jails(theirs), through)


def wanted_guard(wishes: Wishes, opened: frozenset[str]) -> Guard:
    """The guard as it should stand; ``opened`` is what jails need and nobody else opened."""
    return Guard(opened, wishes.jails) if opened and wishes.jails else NOTHING


def commands(family: str, guard: Guard) -> bytes:
    """Commands that make the table what ``guard`` says, whatever it was."""
    return nft.replacement(family, TABLE, _contents(family, guard))


def _contents(family: str, guard: Guard) -> Iterator[dict[str, Any]]:
    table = (family, TABLE)
    within = {(bridge, bridge) for bridge, _ in guard.jails}
    yield nft.named_set(table, _OPENED, ("ifname",), [(each,) for each in guard.opened])
    yield nft.named_set(table, _WITHIN, ("ifname", "ifname"), within)
    yield nft.address_set(table, guard.jails)
    yield nft.chain(table, "passing", "filter", "forward", _FILTER)
    for expressions in _let_through(family, guard):
        yield nft.rule(table, "passing", *expressions, {"accept": None})
    yield nft.rule(table, "passing", {"drop": None})


def _let_through(family: str, guard: Guard) -> Iterator[list[dict[str, Any]]]:
    incoming, outgoing = {"meta": {"key": "iifname"}}, {"meta": {"key": "oifname"}}
    source, target = nft.payload(family, "saddr"), nft.payload(family, "daddr")
    to_jail = nft.match("==", {"concat": [outgoing, target]}, f"@{nft.JAILS}")
    if ALL not in guard.opened:
        yield [nft.match("!=", incoming, f"@{_OPENED}")]
    # What stays on a bridge comes by here only if the host filters bridges too.
    yield [nft.match("==", {"concat": [incoming, outgoing]}, f"@{_WITHIN}")]
    yield [nft.match("==", {"concat": [incoming, source]}, f"@{nft.JAILS}")]
    yield [nft.match("in", {"ct": {"key": "state"}}, ["established", "related"]), to_jail]
    yield [nft.match("in", {"ct": {"key": "status"}}, "dnat"), to_jail]


def _jails(sets: Iterable[nft.Elements]) -> frozenset[tuple[str, str]]:
    words = (each for one in sets if one.name == nft.JAILS for each in one.words)
    return frozenset((bridge, address) for bridge, address in words)
