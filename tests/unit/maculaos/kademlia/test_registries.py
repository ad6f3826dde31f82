"""Topics and methods are found by others, and taken back, over a network of real cores."""

from __future__ import annotations

from typing import TYPE_CHECKING

from maculaos.kademlia.methods import MethodRegistry
from maculaos.kademlia.settings import KademliaSettings
from maculaos.kademlia.topics import TopicRegistry
from simulation.lookups import Network, join, join_all

if TYPE_CHECKING:
    from maculaos.kademlia.kademlia import Kademlia
    from maculaos.kademlia.requests import ValueFound


def mesh(size: int = 12, **settings: int) -> tuple[Network, list[Kademlia]]:
    network = Network(3, KademliaSettings(k=4, candidates=40, **settings))  # type: ignore[arg-type]  # numbers only
    join_all(network, size)
    return network, list(network.nodes.values())


def run(network: Network, node: Kademlia, seconds: float = 5.0) -> None:
    network.settle(node)
    network.run_until(network.now + seconds)


def the_last_found(network: Network, node: Kademlia) -> ValueFound:
    run(network, node)
    return network.found[-1]


def test_all_who_want_a_topic_are_found_and_none_that_left() -> None:
    network, nodes = mesh()
    for node in nodes[:5]:
        TopicRegistry(node).join("home.light", network.now)
        run(network, node)
    assert TopicRegistry(nodes[0]).leave("home.light", network.now)
    run(network, nodes[0])
    seeker = TopicRegistry(nodes[-1])
    seeker.find("home.light", network.now)
    wanting = TopicRegistry.read(the_last_found(network, nodes[-1]))
    assert {contact.node_id for contact in wanting} == {node.me.node_id for node in nodes[1:5]}
    assert all(contact.addresses == ("10.0.0.1:4701",) for contact in wanting)
    seeker.find("home.heat", network.now)
    assert TopicRegistry.read(the_last_found(network, nodes[-1])) == ()


def test_providers_of_a_method_are_found_by_a_newcomer_after_many_deaths() -> None:
    network, nodes = mesh(30)
    provider = nodes[0]
    MethodRegistry(provider).offer("light.on", network.now)
    run(network, provider)
    holders = [n for n in nodes if len(n.custody.store) and n is not provider]
    assert len(holders) >= 3
    # All but one copy are lost; the last holder gives it to the closest that are left.
    for holder in holders[1:]:
        network.kill(holder.me.position)
    if len(provider.custody.store):
        network.kill(provider.me.position)
    network.run_until(network.now + 950.0)
    copies = [node for node in network.nodes.values() if len(node.custody.store)]
    assert len(copies) >= 4
    newcomer = network.add()
    join(network, newcomer)
    run(network, newcomer, 20.0)
    MethodRegistry(newcomer).find("light.on", network.now, enough=1)
    providers = MethodRegistry.read(the_last_found(network, newcomer))
    assert [contact.node_id for contact in providers] == [provider.me.node_id]


def test_a_newcomer_closer_than_the_holders_is_given_the_record() -> None:
    network, nodes = mesh(6)
    key = TopicRegistry(nodes[0]).join("t", network.now).key
    run(network, nodes[0])
    for _ in range(12):
        join(network, network.add())
        network.run_until(network.now + 10.0)
    closest = sorted(network.nodes, key=int.from_bytes(key).__xor__)[:3]
    assert all(network.nodes[position].custody.store.records(key) for position in closest)
