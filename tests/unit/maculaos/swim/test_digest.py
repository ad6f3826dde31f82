"""Digests: equal for equal views, whatever the order; they name the buckets that differ."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hypothesis import given
from hypothesis import strategies as st

from maculaos.swim.digest import ALL_BUCKETS, DIGEST_SIZE, Digest
from maculaos.swim.members import Members
from maculaos.swim.rumour import Health, Rumour
from unit.maculaos.swim.swarm import rumour_of

if TYPE_CHECKING:
    import random

sayings = st.builds(
    lambda number, incarnation, health: rumour_of(number, incarnation)._replace(health=health),
    st.integers(0, 9),
    st.integers(0, 2),
    st.sampled_from(Health),
)


def told(rumours: list[Rumour]) -> Members:
    members = Members(limit=100, tombstone_s=60.0)
    for rumour in rumours:
        if members.is_news(rumour):
            members.put(rumour, 0.0)
    return members


@given(st.lists(sayings, max_size=30))
def test_the_digest_is_that_of_the_members_that_are_present(rumours: list[Rumour]) -> None:
    members = told(rumours)
    afresh = Digest()
    for member in members:
        afresh.toggle(member)
    assert members.digest.packed() == afresh.packed()
    assert members.digest.total == afresh.total


@given(st.lists(sayings, max_size=30), st.randoms(use_true_random=False))
def test_the_order_of_news_does_not_show(rumours: list[Rumour], rng: random.Random) -> None:
    # Everybody is known already: bad news of strangers would be dropped.
    known = [rumour_of(number) for number in range(10)]
    shuffled = rng.sample(rumours, len(rumours))
    assert told(known + rumours).digest.total == told(known + shuffled).digest.total


@given(st.sets(st.integers(0, 200)), st.sets(st.integers(0, 200)))
def test_the_buckets_that_differ_are_those_of_the_difference(
    ours: set[int], theirs: set[int]
) -> None:
    one = told([rumour_of(number) for number in sorted(ours)])
    other = told([rumour_of(number) for number in sorted(theirs)])
    differing = one.digest.differing(other.digest.packed())
    expected = {rumour_of(number).node_id[0] for number in ours ^ theirs}
    assert set(differing) == expected


def test_sizes_are_those_of_the_protocol() -> None:
    assert (DIGEST_SIZE, len(ALL_BUCKETS)) == (2048, 256)
    assert len(Digest().packed()) == DIGEST_SIZE
