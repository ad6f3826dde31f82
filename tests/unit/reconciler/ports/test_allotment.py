"""Ports of instances: never two alike, kept once given, and the same for the same past."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from reconciler.ports.allotment import Berth, allot, berths_of

BERTHS = st.tuples(
    st.sampled_from([f"a{n}-shop" for n in range(2, 20)]), st.sampled_from(["web", "dns"])
)
SPAN = range(20_000, 20_024)


@given(st.sets(BERTHS), st.sets(BERTHS), st.sets(st.integers(20_000, 20_023)))
def test_no_port_is_given_twice_and_none_that_is_taken(
    first: set[Berth], second: set[Berth], taken: set[int]
) -> None:
    known = allot({}, first, SPAN)
    every = allot(known, second, SPAN, taken)
    assert len(set(every.values())) == len(every)
    assert set(every.values()) <= set(SPAN)
    assert known.items() <= every.items()
    assert not {port for berth, port in every.items() if berth not in known} & taken


@given(st.sets(BERTHS), st.data())
def test_order_in_which_berths_are_named_does_not_matter(
    berths: set[Berth], data: st.DataObject
) -> None:
    shuffled = data.draw(st.permutations(sorted(berths)))
    assert allot({}, shuffled, SPAN) == allot({}, sorted(berths), SPAN)


@given(st.sets(BERTHS), st.sets(BERTHS))
def test_once_more_changes_nothing(known: set[Berth], wanted: set[Berth]) -> None:
    made = allot(allot({}, known, SPAN), wanted, SPAN)
    assert allot(made, wanted, SPAN) == made


@given(st.sets(BERTHS))
def test_nobody_goes_without_while_anything_is_free(wanted: set[Berth]) -> None:
    made = allot({}, wanted, SPAN)
    assert len(made) == min(len(wanted), len(SPAN))


def test_what_something_else_listens_at_is_passed_over() -> None:
    berth = ("app-shop", "web")
    first = allot({}, [berth], SPAN)[berth]
    other = allot({}, [berth], SPAN, is_free=lambda _, port: port != first)[berth]
    assert other == first + 1 if first + 1 in SPAN else other == SPAN[0]


def test_app_may_need_both_colours_and_its_canaries() -> None:
    jails = {jail for jail, _ in berths_of("shop", ["web"], 2, 1, ["a9-shop"])}
    assert jails == {"app-shop", "a2-shop", "g1-shop", "g2-shop", "c1-shop", "a9-shop"}
    assert berths_of("shop", [], 2, 1) == frozenset()
