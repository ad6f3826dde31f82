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
