"""Paths: a number of its own for every member that is called without a link."""

from __future__ import annotations

import random

from hypothesis import given
from hypothesis import strategies as st

from bare_node import call, identity
from maculaos.effects import Send
from maculaos.node.counters import Counters
from maculaos.node.letters import Letters
from maculaos.node.paths import Paths
from maculaos.node.relay import Relay
from maculaos.node.routing import Routing
from maculaos.topology.rings import Rings
from maculaos.wire.table import Routed
from node_parts import links_of, members_of, names, node_id
from simulation.hosts import LetterSealOf
from simulation.world import REALM


def paths_of(*linked: str) -> Paths:
    """The paths of ``me`` in a realm of five others."""
    members, rings = members_of(*names(5)), Rings(REALM, 6, map(node_id, ("me", *names(5))))
    routing, counters = Routing(node_id("me"), links_of("me", *linked), rings, members), Counters()
    relay = Relay(node_id("me"), members, routing, counters)
    rng = random.Random(1)  # a seed replays the run
    letters = Letters(node_id("me"), relay, counters, 100, rng, 0.0)
    letters.seal = LetterSealOf(identity("me"))
    return Paths(letters)


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
        assert paths.member_at(number) == node_id(name)
        assert held.setdefault(name, number) == number
        assert ever.setdefault(number, name) == name


def test_what_is_for_a_path_goes_in_an_envelope_over_a_link() -> None:
    paths = paths_of("m0")
    effects = paths.send(paths.number_of(node_id("m4")), call(), 0.0, 5.0)
    assert effects is not None
    (sent,) = effects
    assert isinstance(sent, Send)
    assert isinstance(sent.message, Routed)
    assert (sent.link, sent.message.target) == (1, node_id("m4"))


def test_what_is_for_a_member_that_is_gone_is_not_sent_and_no_longer_sent_again() -> None:
    paths = paths_of("m0")
    number = paths.number_of(node_id("m4"))
    paths.send(number, call(), 0.0, 5.0)
    assert len(paths.letters) == 1
    paths.drop(node_id("m4"))
    assert len(paths.letters) == 0
    assert paths.send(number, call(), 0.0, 5.0) is None
