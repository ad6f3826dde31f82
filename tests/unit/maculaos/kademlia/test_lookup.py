"""A lookup asks the closest first, stops at the k closest, and cannot be led astray."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

from hypothesis import given
from hypothesis import strategies as st

from kademlia_parts import contact_at, contacts_at
from maculaos.kademlia.lookup import Lookup
from maculaos.kademlia.settings import KademliaSettings

if TYPE_CHECKING:
    from maculaos.kademlia.contact import Contact

ME = 1 << 20
SETTINGS = KademliaSettings(k=4, alpha=3, candidates=20, lookup_requests=40)
WIDE = KademliaSettings(k=4, alpha=3, candidates=1000, lookup_requests=1000)


def run(
    lookup: Lookup, graph: dict[int, list[int]], dead: set[int], rng: random.Random
) -> list[int]:
    """Answer in any order; who was waited for, in order."""
    told: list[int] = []
    waiting: list[Contact] = []
    while not lookup.is_done:
        batch = lookup.next()
        waiting += batch
        assert waiting, "it waits for nothing and is not done"
        contact = waiting.pop(rng.randrange(len(waiting)))
        told.append(contact.position)
        if contact.position in dead:
            lookup.fail(contact.position)
        else:
            lookup.answer(contact.position, contacts_at(graph[contact.position]))
    return told


positions = st.integers(0, 255)


@st.composite
def graphs(draw: st.DrawFn) -> tuple[dict[int, list[int]], set[int]]:
    """Who knows whom, and who is dead."""
    nodes = draw(st.lists(positions, min_size=1, max_size=40, unique=True))
    graph = {
        node: draw(st.lists(st.sampled_from(nodes), max_size=4, unique=True)) for node in nodes
    }
    return graph, set(draw(st.lists(st.sampled_from(nodes), max_size=len(nodes) // 2)))


@given(graphs(), positions, st.integers(0, 2**32))
def test_a_lookup_ends_only_when_the_closest_it_heard_of_answered(
    world: tuple[dict[int, list[int]], set[int]], target: int, seed: int
) -> None:
    graph, dead = world
    start = contacts_at(sorted(graph, key=lambda each: each ^ target)[-3:])
    lookup = Lookup(target, start, ME, WIDE)
    told = run(lookup, graph, dead, random.Random(seed))
    assert len(told) == len(set(told)), "nobody is asked twice"
    # Whoever answered told of others: of all that was told, the k closest that live answered.
    heard = {contact.position for contact in start}
    for node in told:
        heard.update(() if node in dead else graph[node])
    living = sorted(heard - dead, key=lambda each: each ^ target)[:4]
    assert [contact.position for contact in lookup.closest()] == living
    assert lookup.is_complete


@given(graphs(), positions, st.integers(0, 2**32))
def test_what_is_reachable_is_found_where_everybody_tells_the_closest_it_knows(
    world: tuple[dict[int, list[int]], set[int]], target: int, seed: int
) -> None:
    graph, _ = world
    ring = sorted(graph)
    # Everybody knows its successor, so that everybody is reachable from anywhere.
    connected = {node: [*graph[node], ring[(n + 1) % len(ring)]] for n, node in enumerate(ring)}
    settings = KademliaSettings(k=40, candidates=1000, lookup_requests=1000)
    lookup = Lookup(target, contacts_at(ring[:1]), ME, settings)
    run(lookup, connected, set(), random.Random(seed))
    found = [contact.position for contact in lookup.closest()]
    assert found == sorted(graph, key=lambda each: each ^ target)


def test_at_most_alpha_requests_wait_but_for_the_slow() -> None:
    lookup = Lookup(0, contacts_at([1, 2, 3, 4, 5, 6]), ME, SETTINGS)
    assert [each.position for each in lookup.next()] == [1, 2, 3]
    assert lookup.next() == []
    lookup.slow(2)
    assert [each.position for each in lookup.next()] == [4]
    lookup.slow(2)
    assert lookup.next() == []
    lookup.answer(2, [])
    assert lookup.next() == []
    lookup.fail(1)
    assert [each.position for each in lookup.next()] == [5]


def test_the_place_of_a_slow_one_is_filled_before_it_fails() -> None:
    lookup = Lookup(0, contacts_at([1, 2, 3, 4, 5]), ME, SETTINGS)
    lookup.next()
    lookup.slow(1)
    assert [each.position for each in lookup.next()] == [4]
    for position in (2, 3, 4):
        lookup.answer(position, [])
    assert [each.position for each in lookup.next()] == [5]
    lookup.answer(5, [])
    assert not lookup.is_done, "the slow one may still be the closest"
    lookup.fail(1)
    assert lookup.is_complete
    assert [each.position for each in lookup.closest()] == [2, 3, 4, 5]


def test_hops_count_requests_that_followed_from_each_other() -> None:
    lookup = Lookup(0, contacts_at([100]), ME, SETTINGS)
    assert lookup.hops == 0
    for position, told in ((100, [50]), (50, [10]), (10, [])):
        assert [each.position for each in lookup.next()] == [position]
        lookup.answer(position, contacts_at(told))
    assert lookup.hops == 3
    assert lookup.is_done


def test_a_lookup_never_asks_its_own_node() -> None:
    lookup = Lookup(ME, contacts_at([100]), ME, SETTINGS)
    lookup.next()
    lookup.answer(100, contacts_at([ME]))
    assert lookup.is_done


def test_one_answer_brings_at_most_k_candidates() -> None:
    lookup = Lookup(0, contacts_at([1000]), ME, SETTINGS)
    lookup.next()
    lookup.answer(1000, contacts_at(list(range(100, 200))))
    assert len(lookup._order) == 1 + 4


def test_what_is_farther_than_the_k_closest_that_answered_is_no_candidate() -> None:
    lookup = Lookup(0, contacts_at([1, 2, 3, 4, 5]), ME, SETTINGS)
    for position in (1, 2, 3):
        lookup.next()
        lookup.answer(position, [])
    lookup.next()
    lookup.answer(4, contacts_at([3, 90, 91]))
    assert lookup._order == [1, 2, 3, 4, 5]


def test_answers_that_nobody_waits_for_change_nothing() -> None:
    lookup = Lookup(0, contacts_at([8]), ME, SETTINGS)
    lookup.answer(8, contacts_at([1]))
    lookup.answer(9, contacts_at([2]))
    lookup.fail(8)
    lookup.slow(9)
    assert lookup._order == [8]


def test_a_liar_cannot_crowd_out_what_others_say() -> None:
    honest = list(range(64, 68))
    lookup = Lookup(0, contacts_at([1000, *honest]), ME, SETTINGS)
    invented = iter(range(1, 64))
    for _ in range(12):
        for contact in lookup.next():
            # Whoever is invented does not answer, but one keeps on inventing.
            if contact.position in honest or contact.position == 1000:
                lookup.answer(contact.position, contacts_at([next(invented, 63) for _ in range(4)]))
            else:
                lookup.fail(contact.position)
    answered = [contact.position for contact in lookup.closest()]
    assert answered == honest


def test_the_greediest_source_loses_its_farthest_candidate_first() -> None:
    lookup = Lookup(0, contacts_at([1000, 1001, 1002]), ME, SETTINGS)
    lookup.next()
    lookup.answer(1000, contacts_at([500, 501, 502, 503]))
    lookup.answer(1001, contacts_at([400, 401]))
    before = len(lookup._order)
    lookup._drop_one()
    assert len(lookup._order) == before - 1
    assert 503 not in lookup._order
    assert {400, 401, 500, 501, 502} <= set(lookup._order)


def test_candidates_are_bounded_whatever_is_answered() -> None:
    rng = random.Random(3)
    lookup = Lookup(0, contacts_at([1 << 200]), ME, SETTINGS)
    while not lookup.is_done:
        for contact in lookup.next():
            nearer = [max(1, contact.position >> rng.randint(1, 3)) + n for n in range(4)]
            lookup.answer(contact.position, contacts_at(nearer))
        assert len(lookup._order) <= SETTINGS.candidates + lookup.asked
    assert lookup.asked <= SETTINGS.lookup_requests


def test_a_lookup_that_ran_into_its_bound_says_so() -> None:
    settings = KademliaSettings(k=4, alpha=3, candidates=20, lookup_requests=20)
    lookup = Lookup(0, contacts_at([1 << 255]), ME, settings)
    while not lookup.is_done:
        for contact in lookup.next():
            lookup.answer(contact.position, contacts_at([contact.position >> 2]))
    assert lookup.asked == 20
    assert not lookup.is_complete


def test_addresses_of_other_sources_are_tried_as_well() -> None:
    lookup = Lookup(0, contacts_at([100, 101]), ME, SETTINGS)
    lookup.next()
    lookup.answer(100, [contact_at(1, "lie:1")])
    lookup.answer(101, [contact_at(1, "truth:1")])
    assert [each.addresses for each in lookup.next()] == [("lie:1", "truth:1")]
