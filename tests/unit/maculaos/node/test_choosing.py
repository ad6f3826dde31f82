"""Who is chosen: near ones first, everybody once, and nobody who said no."""

from __future__ import annotations

from typing import TYPE_CHECKING

from maculaos.kademlia.methods import method_key
from maculaos.rpc.parties import Party, of_client, of_link
from maculaos.rpc.pending import PendingCall
from maculaos.wire.registry import Choice
from node_parts import cores_of, found_by, link_to, members_of, names, node_id

if TYPE_CHECKING:
    from maculaos.node.choosing import Choosing
    from maculaos.node.cores import Cores

ADD = "add"


def house(*found: str) -> Cores:
    """Node ``me`` with links 1 to 3 to m0 to m2, that found these as providers of add."""
    cores = cores_of(names(10)[:3], names(10)[3:])
    if found:
        cores.calls.offers.register(9, ("waiting",), 0)
        call = PendingCall[object](of_client(9), 1, 9.0, None, 0, b"")
        seeking = choosing_of(cores).seeking
        seeking.wait(call, ADD, 0.0)  # type: ignore[arg-type]  # nobody looks into it
        (number,) = seeking._methods
        seeking.found(found_by(number, method_key(ADD), *found), members_of(*names(10)), 0.0)
    return cores


def choosing_of(cores: Cores) -> Choosing:
    """What chooses there."""
    return cores.calls._choosing


def chosen(cores: Cores, count: int, choice: Choice, tried: tuple[Party, ...] = ()) -> set[Party]:
    """Who is chosen in so many calls."""
    choosing = choosing_of(cores)
    parties = (choosing.anybody(ADD, choice, tried) for _ in range(count))
    return {party for party in parties if party is not None}


def path_to(cores: Cores, name: str) -> Party:
    """The party of a member without a link."""
    return of_link(cores.paths.number_of(node_id(name)))


def test_nearest_are_own_clients_then_neighbours_then_who_was_found() -> None:
    cores = house("m7")
    assert chosen(cores, 3, Choice.NEAREST) == {path_to(cores, "m7")}
    cores.calls.offers.peers.add(2, (ADD,))
    assert chosen(cores, 3, Choice.NEAREST) == {of_link(2)}
    cores.calls.offers.register(5, (ADD,), 0)
    assert chosen(cores, 3, Choice.NEAREST) == {of_client(5)}


def test_who_was_tried_makes_room_for_the_next_nearest() -> None:
    cores = house("m7")
    cores.calls.offers.peers.add(2, (ADD,))
    cores.calls.offers.register(5, (ADD,), 0)
    tried: tuple[Party, ...] = ()
    for expected in (of_client(5), of_link(2), path_to(cores, "m7")):
        assert chosen(cores, 3, Choice.NEAREST, tried) == {expected}
        tried = (*tried, expected)
    assert chosen(cores, 3, Choice.NEAREST, tried) == set()


def test_spreading_knows_everybody_once_though_some_are_known_twice() -> None:
    cores = house("m1", "m7", "m8")
    cores.calls.offers.peers.add(2, (ADD,))
    cores.calls.offers.register(5, (ADD,), 0)
    everybody = {of_client(5), of_link(2), path_to(cores, "m7"), path_to(cores, "m8")}
    turns = [choosing_of(cores).anybody(ADD, Choice.ROUND_ROBIN, ()) for _ in range(8)]
    assert set(turns[:4]) == set(turns[4:]) == everybody
    assert chosen(cores, 100, Choice.RANDOM) == everybody
    assert chosen(cores, 4, Choice.LEAST_PENDING) == everybody


def test_member_that_was_found_is_called_over_its_link_once_there_is_one() -> None:
    cores = house("m7")
    cores.links.add(link_to("m7", 4))
    assert chosen(cores, 3, Choice.NEAREST) == {of_link(4)}
    assert chosen(cores, 3, Choice.NEAREST, (of_link(4),)) == set()


def test_who_said_no_is_not_asked_again_over_path_or_link() -> None:
    cores = house("m7", "m8")
    choosing_of(cores).denied(path_to(cores, "m7"), ADD)
    assert chosen(cores, 4, Choice.NEAREST) == {path_to(cores, "m8")}
    cores.links.add(link_to("m8", 4))
    choosing_of(cores).denied(of_link(4), ADD)
    assert chosen(cores, 4, Choice.NEAREST) == set()


def test_busy_clients_are_passed_over_by_every_policy() -> None:
    cores = house()
    cores.calls.offers.register(5, (ADD,), 1)
    cores.calls.offers.register(6, (ADD,), 1)
    desk = cores.calls.offers.desks.of(5, ADD)
    assert desk is not None
    desk.waiting = 1
    for choice in Choice:
        assert chosen(cores, 4, choice) == {of_client(6)}
    other = cores.calls.offers.desks.of(6, ADD)
    assert other is not None
    other.waiting = 1
    for choice in Choice:
        assert chosen(cores, 4, choice) == set()
    assert choosing_of(cores).is_busy(ADD)
