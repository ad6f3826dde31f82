"""Parts of one node for tests of its modules: members, links and graphs of chosen names."""

from __future__ import annotations

import random
from dataclasses import replace
from typing import TYPE_CHECKING

from bare_node import identity
from maculaos.kademlia.record import Kind, Record
from maculaos.kademlia.requests import ValueFound
from maculaos.node.cores import Cores, make_cores
from maculaos.node.links import Link, Links
from maculaos.swim.members import Members
from maculaos.swim.rumour import Health, Rumour
from simulation.world import REALM, notary_of, settings_for

if TYPE_CHECKING:
    from collections.abc import Iterable

    from maculaos.identity import NodeId
    from maculaos.settings import NodeSettings


def node_id(name: str) -> NodeId:
    """The node id of that name."""
    return identity(name).node_id


def names(count: int) -> tuple[str, ...]:
    """So many names: m0, m1, ..."""
    return tuple(f"m{number}" for number in range(count))


def rumour(
    name: str,
    health: Health = Health.ALIVE,
    *,
    incarnation: int = 0,
    addresses: tuple[str, ...] = ("127.0.0.1:4999",),
) -> Rumour:
    """What is said of a member of that name."""
    return Rumour(incarnation, health, addresses, name, node_id(name))


def members_of(*there: str, limit: int = 1000) -> Members:
    """A table of living members."""
    members = Members(limit, tombstone_s=60.0)
    for name in there:
        members.put(rumour(name), 0.0)
    return members


def link_to(name: str, number: int = 1, *, is_outbound: bool = True) -> Link:
    """A link to that member."""
    return Link(number, identity(name), is_outbound=is_outbound, since=0.0, life=1)


def links_of(me: str, *peers: str) -> Links:
    """Links 1, 2, ... of ``me`` to these."""
    links = Links(node_id(me), simultaneous_s=5.0)
    for number, peer in enumerate(peers, start=1):
        links.add(link_to(peer, number))
    return links


def settings_of(me: str = "me", peers: tuple[str, ...] = ()) -> NodeSettings:
    """The settings of a node with the shipped defaults."""
    return settings_for(me, "127.0.0.1:4700", peers)


def cores_of(
    linked: Iterable[str] = (),
    known: Iterable[str] = (),
    settings: NodeSettings | None = None,
) -> Cores:
    """The cores of node ``me`` at time 0, with members that are linked and others that are not."""
    me, rng = identity("me"), random.Random(5)  # a seed replays the run
    cores = make_cores(me, settings or settings_of(), notary_of(me), rng, 0.0)
    for number, name in enumerate(linked, start=1):
        link = link_to(name, number)
        cores.links.add(link)
        cores.membership.peer_up(rumour(name), 0.0)
        cores.neighbourhood.member_changed(None, rumour(name), 0.0)
        cores.directory.member_changed(None, rumour(name), 0.0)
        cores.neighbourhood.linked(link, None, 0.0)
    for name in known:
        cores.membership.hear((rumour(name),), 0.0)
        cores.neighbourhood.member_changed(None, rumour(name), 0.0)
        cores.directory.member_changed(None, rumour(name), 0.0)
    return cores


def record_by(name: str, key: bytes, kind: Kind = Kind.METHOD, **changes: object) -> Record:
    """What a member of that name says under ``key``, sealed as the notaries of tests seal."""
    draft = Record(key, kind, b"\n", node_id(name), 1, 3600, 3600)
    draft = replace(draft, **changes)  # type: ignore[arg-type]  # the caller's words
    notary = notary_of(identity(name))
    return replace(draft, signature=notary.sign(draft.text(REALM)))


def found_by(number: int, key: bytes, *publishers: str) -> ValueFound:
    """A search that ended with what these say under ``key``."""
    records = tuple(record_by(name, key) for name in publishers)
    return ValueFound(number, key, records, hops=1, asked=len(records), is_complete=True)
