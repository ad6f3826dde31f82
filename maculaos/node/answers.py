"""What the node itself answers to its clients: the methods that start with ``macula.``.

These are views: values made from the state of the node, and they change nothing.
"""

from __future__ import annotations

from dataclasses import asdict
from heapq import nlargest
from typing import TYPE_CHECKING, Final

from maculaos.kademlia.contact import Contact
from maculaos.kademlia.distance import distance
from maculaos.kademlia.requests import LookupDone, ValueFound
from maculaos.topology.graph import Topology, Vertex
from maculaos.wire.registry import WIRE_VERSION

if TYPE_CHECKING:
    from collections.abc import Iterable

    from maculaos.node.counters import Counters
    from maculaos.node.deliveries import Deliveries
    from maculaos.node.links import Links
    from maculaos.swim.membership import Membership
    from maculaos.swim.rumour import Rumour
    from maculaos.wire.values import Value

# More of them are no help to whoever looks.
QUEUES_MAX: Final = 100


def version(software: str) -> Value:
    """``macula.version``: the software and the version of its wire format."""
    return {"software": software, "wire_version": WIRE_VERSION}


def ping(me: Rumour) -> Value:
    """``macula.ping``: who answers."""
    return {"name": me.name, "node_id": me.node_id.hex()}


def members(membership: Membership, links: Links) -> Value:
    """``macula.members``: this node first, then the others by name."""
    others = sorted(membership.members, key=lambda member: (member.name, member.node_id))
    own = _describe(membership.me, is_self=True, is_linked=False)
    linked = {link.peer.node_id for link in links}
    return [own, *(_describe(each, is_linked=each.node_id in linked) for each in others)]


def topology(membership: Membership, links: Links, rings: tuple[str, int]) -> Value:
    """``macula.topology``: see ``maculaos.topology``; the nearest by XOR distance come first.

    ``rings`` is what they are made of: the realm and the degree.
    """
    me = membership.me
    nearest = sorted(membership.members, key=lambda each: distance(me.node_id, each.node_id))
    others = tuple(_vertex(each, links.to(each.node_id) is not None) for each in nearest)
    return Topology(_vertex(me, is_linked=False), others, *rings).to_dict()


def found(result: LookupDone | ValueFound, membership: Membership) -> Value:
    """``macula.find``: the nodes that were found, the nearest first, and what it took.

    What a member said outlives it in the table: whoever is known to be gone is left out.
    """
    if isinstance(result, LookupDone):
        contacts = result.contacts
    else:
        contacts = tuple(Contact(each.publisher) for each in result.records)
    return {
        "nodes": [_where(each, membership) for each in contacts if not _is_gone(each, membership)],
        "hops": result.hops,
        "asked": result.asked,
        "complete": result.is_complete,
    }


def members_by_health(membership: Membership) -> Value:
    """How many members there are of each health, this node included."""
    counts = membership.members.count_by_health()
    counts[membership.me.health] += 1
    return {health.name.lower(): count for health, count in counts.items()}


def counted(counters: Counters) -> Value:
    """The counters by name."""
    return asdict(counters)


def queues(clients: Iterable[int], deliveries: Deliveries) -> Value:
    """The subscriptions of clients for which most waits, or was dropped: at most ``QUEUES_MAX``."""
    every = (each for client in clients for each in deliveries.subscriptions_of(client))
    busy = (each for each in every if each.mailbox.waiting or each.mailbox.dropped)
    longest = nlargest(QUEUES_MAX, busy, key=lambda each: each.mailbox.waiting)
    return [
        {
            "client": each.client,
            "pattern": each.pattern,
            "group": each.group,
            "waiting": each.mailbox.waiting,
            "dropped": each.mailbox.dropped,
            "credit": each.mailbox.credit,
        }
        for each in longest
    ]


def _describe(member: Rumour, *, is_linked: bool, is_self: bool = False) -> Value:
    return {
        "name": member.name,
        "node_id": member.node_id.hex(),
        "health": member.health.name.lower(),
        "incarnation": member.incarnation,
        "addresses": list(member.addresses),
        "is_self": is_self,
        "linked": is_linked,
    }


def _is_gone(contact: Contact, membership: Membership) -> bool:
    member = membership.members.get(contact.node_id)
    return member is not None and member.health.is_gone


def _where(contact: Contact, membership: Membership) -> Value:
    member = membership.members.get(contact.node_id)
    if contact.node_id == membership.me.node_id:
        member = membership.me
    return {
        "node_id": contact.node_id.hex(),
        "name": None if member is None else member.name,
        "addresses": list(contact.addresses if member is None else member.addresses),
    }


def _vertex(member: Rumour, is_linked: bool) -> Vertex:
    return Vertex(member.name, member.node_id.hex(), member.health.name.lower(), is_linked)
