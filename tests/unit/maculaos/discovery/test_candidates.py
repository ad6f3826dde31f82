"""Candidates: what sources name, merged and bounded, over any history."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from maculaos.discovery.candidates import LIFETIME_MAX_S, Candidates, Change, Hint, dialable

if TYPE_CHECKING:
    from collections.abc import Iterator

PER_SOURCE = 3
ADDRESSES = [f"10.0.0.{n}:47" for n in range(1, 7)]
hints = st.lists(
    st.builds(
        Hint,
        st.sampled_from([*ADDRESSES, "0.0.0.0:1", "224.0.0.251:5353", "nonsense", "a:99999"]),
        st.sampled_from([-1.0, 0.0, 1.0, 5.0, math.inf, math.nan]),
    ),
    max_size=12,
)
steps = st.lists(
    st.one_of(
        st.tuples(st.just("name"), st.sampled_from("abc"), hints),
        st.tuples(st.just("pass"), st.floats(0, 10), st.none()),
    ),
    max_size=30,
)


def named(*addresses: str, lifetime_s: float = 60.0) -> list[Hint]:
    return [Hint(address, lifetime_s) for address in addresses]


@given(steps)
def test_whoever_carries_out_the_changes_knows_what_is_named(history: list[tuple]) -> None:  # type: ignore[type-arg]
    candidates, now = Candidates(PER_SOURCE), 0.0
    told: dict[str, tuple[str, ...]] = {}
    for verb, what, said in history:
        if verb == "name":
            changes = candidates.name(what, said, now)
            assert all(change.source == what for change in changes)
        else:
            now += what
            changes = candidates.advance(now)
            assert candidates.next_deadline() > now
        for change in changes:
            assert told.get(change.source, ()) != change.addresses, "a change changes something"
            told[change.source] = change.addresses
        assert all(told.get(source, ()) == candidates.of(source) for source in "abc")
        assert set(candidates.all()) == {each for one in told.values() for each in one}
        assert len(candidates.all()) == len(set(candidates.all()))
        assert all(len(addresses) <= PER_SOURCE for addresses in told.values())
        assert set(candidates.all()) <= set(ADDRESSES)


@given(hints, hints)
def test_no_source_touches_another(of_a: list[Hint], of_b: list[Hint]) -> None:
    candidates = Candidates(PER_SOURCE)
    candidates.name("a", of_a, 0.0)
    before = candidates.of("a")
    candidates.name("b", of_b, 0.0)
    assert candidates.of("a") == before


@given(hints)
def test_saying_the_same_again_is_no_change(said: list[Hint]) -> None:
    candidates = Candidates(PER_SOURCE)
    candidates.name("a", said, 0.0)
    assert candidates.name("a", said, 0.5) == ()


def test_a_noisy_source_keeps_its_first_addresses_and_is_not_read_to_its_end() -> None:
    read = []

    def noise() -> Iterator[Hint]:
        for number in range(1_000_000):
            read.append(number)
            yield Hint(f"10.0.0.1:{number % 60_000 + 1}", 60.0)

    candidates = Candidates(PER_SOURCE)
    (change,) = candidates.name("noisy", noise(), 0.0)
    assert change.addresses == ("10.0.0.1:1", "10.0.0.1:2", "10.0.0.1:3")
    assert len(read) < 10
    assert candidates.refused > 0
    (other,) = candidates.name("quiet", named("10.0.0.9:9"), 0.0)
    assert other.addresses == ("10.0.0.9:9",)


def test_what_is_not_said_again_is_gone_when_its_time_is_over() -> None:
    candidates = Candidates(PER_SOURCE)
    candidates.name("a", [Hint("10.0.0.1:1", 5.0), Hint("10.0.0.2:1", 9.0)], 100.0)
    assert candidates.next_deadline() == 105.0
    assert candidates.advance(104.9) == ()
    assert candidates.advance(105.0) == (Change("a", ("10.0.0.2:1",)),)
    candidates.name("a", named("10.0.0.2:1", lifetime_s=20.0), 108.0)
    assert candidates.advance(109.0) == ()


def test_nothing_is_believed_for_ever() -> None:
    candidates = Candidates(PER_SOURCE)
    candidates.name("a", named("10.0.0.1:1", lifetime_s=math.inf), 0.0)
    assert candidates.next_deadline() == LIFETIME_MAX_S


@pytest.mark.parametrize(
    "text",
    [
        "",
        "10.0.0.1",
        "10.0.0.1:0",
        "10.0.0.1:65536",
        "0.0.0.0:4701",
        "[::]:4701",
        "224.0.0.251:5353",
        "[ff02::fb]:5353",
        "255.255.255.255:1",
        "[::ffff:224.0.0.1]:4701",
        "10.0.0.999:1",
        "a b:1",
    ],
)
def test_nobody_listens_there(text: str) -> None:
    assert dialable(text) is None


@pytest.mark.parametrize(
    ("text", "written"),
    [
        ("10.0.0.1:4701", "10.0.0.1:4701"),
        ("[0:0:0:0:0:0:0:1]:4701", "[::1]:4701"),
        ("edge.example:4701", "edge.example:4701"),
        ("[fe80::1%2]:4701", "[fe80::1%2]:4701"),
    ],
)
def test_an_address_has_one_way_to_be_written(text: str, written: str) -> None:
    assert dialable(text) == written
