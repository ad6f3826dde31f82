"""Providers take turns, and registrations are all or nothing."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from maculaos.rpc.methods import InvalidMethod
from maculaos.rpc.providers import Providers, TooManyMethods


@given(st.integers(1, 6), st.integers(1, 4))
def test_providers_take_turns(count: int, rounds: int) -> None:
    providers = Providers(limit=100)
    for source in range(count):
        providers.add(source, ("add",))
    chosen = [providers.choose("add") for _ in range(count * rounds)]
    assert chosen == list(range(count)) * rounds


def test_nobody_is_chosen_when_nobody_answers() -> None:
    providers = Providers(limit=100)
    providers.add(1, ("add",))
    assert providers.remove(1, ("add", "unknown")) == ("add",)
    assert providers.choose("add") is None
    assert len(providers) == 0


def test_only_the_first_and_the_last_provider_change_what_is_offered() -> None:
    providers = Providers(limit=100)
    assert providers.add(1, ("add", "add")) == ("add",)
    assert providers.add(2, ("add", "sub")) == ("sub",)
    assert providers.drop(1) == ()
    assert providers.drop(2) == ("add", "sub")
    assert list(providers.methods) == []


def test_beyond_the_limit_or_with_a_bad_name_nothing_is_taken() -> None:
    providers = Providers(limit=1)
    with pytest.raises(TooManyMethods):
        providers.add(1, ("add", "sub"))
    with pytest.raises(InvalidMethod):
        providers.add(1, ("macula.ping",))
    assert len(providers) == 0


def test_as_many_are_taken_as_there_is_room_for_in_the_table_and_the_share() -> None:
    providers = Providers(limit=4, share=3)
    assert providers.add_some(1, ("a", "a", "b")) == 0
    assert providers.add_some(1, ("b", "c", "d", "e")) == 2
    assert providers.add_some(2, ("a", "f")) == 1
    assert (providers.methods_of(1), providers.methods_of(2)) == (("a", "b", "c"), ("a",))
    assert len(providers) == 4
    with pytest.raises(InvalidMethod):
        providers.add_some(2, ("good", "not good"))
    providers.drop(1)
    assert providers.add_some(1, ("a", "b", "c")) == 0


def test_the_table_is_partial_while_somebody_is_there_whose_methods_found_no_room() -> None:
    providers, seen = Providers(limit=4, share=3), []
    for change in (
        lambda: providers.add_some(1, ("a", "b", "c")),
        lambda: providers.add_some(1, ("d",)),
        lambda: providers.add_some(2, ("a", "b")),
        lambda: providers.drop(1),
        lambda: providers.drop(2),
    ):
        change()
        seen.append(providers.is_partial)
    assert seen == [False, True, True, True, False]


@given(st.sets(st.integers(0, 6), min_size=1), st.sets(st.integers(0, 6)))
def test_who_is_avoided_is_not_chosen_while_there_is_another(
    there: set[int], avoided: set[int]
) -> None:
    providers = Providers(limit=100)
    for source in sorted(there):
        providers.add(source, ("add",))
    chosen = {providers.choose("add", avoided) for _ in range(3 * len(there))}
    left = list[int | None](there - avoided)
    assert chosen == set(left or [None])
    assert set(providers.sources("add")) == there
    assert providers.sources("other") == ()
    assert providers.methods_of(min(there)) == ("add",)
