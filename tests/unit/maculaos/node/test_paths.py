"""Paths: a number of its own for every member that is called without a link."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from bare_node import call
from maculaos.effects import Effect, Send, SendToClient
from maculaos.node.counters import Counters
from maculaos.node.paths import Paths
from maculaos.node.relay import Relay
from maculaos.node.routing import Routing
from maculaos.topology.rings import Rings
from maculaos.wire.registry import StreamClass
from maculaos.wire.table import Routed
from node_parts import links_of, members_of, names, node_id
from simulation.world import REALM


def paths_of(*linked: str) -> Paths:
    """The paths of ``me`` in a realm of five others."""
    members, rings = members_of(*names(5)), Rings(REALM, 6, map(node_id, ("me", *names(5))))
    routing = Routing(node_id("me"), links_of("me", *linked), rings, members)
    return Paths(Relay(node_id("me"), members, routing, Counters()))


@given(st.lists(st.tuples(st.booleans(), st.sampled_from(names(6)))))
def test_number_is_negative_and_means_one_member_for_ever(
    steps: list[tuple[bool, str]],
) -> None:
    paths, held, ever = paths_of(), dict[str, int](), dict[int, str]()
    for is_gone, name in steps:
        if is_gone:
            assert paths.drop(node_id(name)) == held.pop(name, None)
            continue
        number = paths.number_of(node_id(name))
        assert number < 0
        assert held.setdefault(name, number) == number
        assert ever.setdefault(number, name) == name


def test_what_is_for_links_and_clients_stays_as_it_is() -> None:
    effects: list[Effect] = [Send(3, call(), StreamClass.MESSAGES), SendToClient(1, call())]
    assert paths_of("m0").bring(effects) is effects


def test_what_is_for_a_path_goes_over_a_link_in_its_place() -> None:
    paths = paths_of("m0")
    path, near = paths.number_of(node_id("m4")), paths.number_of(node_id("m0"))
    first, last = SendToClient(1, call()), Send(1, call(), StreamClass.MESSAGES)
    far, beside = (Send(each, call(), StreamClass.MESSAGES) for each in (path, near))
    brought = paths.bring([first, far, beside, last])
    assert (brought[0], brought[3]) == (first, last)
    assert [each.link for each in brought[1:3] if isinstance(each, Send)] == [1, 1]
    kinds = [type(each.message) for each in brought[1:3] if isinstance(each, Send)]
    assert kinds == [Routed, type(call())]


def test_what_is_for_a_member_that_is_gone_or_out_of_reach_is_lost() -> None:
    paths = paths_of("m0")
    number = paths.number_of(node_id("m4"))
    paths.drop(node_id("m4"))
    assert paths.bring([Send(number, call(), StreamClass.MESSAGES)]) == []
    alone = paths_of()
    number = alone.number_of(node_id("m4"))
    assert alone.bring([Send(number, call(), StreamClass.MESSAGES)]) == []
