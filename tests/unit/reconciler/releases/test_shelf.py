"""Unit: the states of releases."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from maculaos.errors import UsageError
from reconciler.releases.shelf import (
    ReleaseState,
    Shelf,
    WrongState,
    decode_shelf,
    encode_shelf,
)

NAMES = [letter * 64 for letter in "abcdef"]
VERBS = ("unpack", "install", "make_permanent", "forget", "fall_back")


def walked(moves: list[tuple[str, str]]) -> list[Shelf]:
    """Every shelf on the way; a refused move changes nothing."""
    shelves = [Shelf()]
    for verb, name in moves:
        try:
            shelf = shelves[-1]
            shelves.append(shelf.fall_back() if verb == "fall_back" else getattr(shelf, verb)(name))
        except WrongState:
            continue
    return shelves


MOVES = st.lists(st.tuples(st.sampled_from(VERBS), st.sampled_from(NAMES)), max_size=30)


@given(MOVES)
def test_there_is_at_most_one_current_and_one_permanent_release(
    moves: list[tuple[str, str]],
) -> None:
    for shelf in walked(moves):
        states = [each.state for each in shelf.releases]
        assert states.count(ReleaseState.CURRENT) <= 1
        assert states.count(ReleaseState.PERMANENT) <= 1
        assert decode_shelf(encode_shelf(shelf)) == shelf


@given(MOVES)
def test_only_make_permanent_changes_what_a_start_goes_back_to(
    moves: list[tuple[str, str]],
) -> None:
    shelf = walked(moves)[-1]
    for name in NAMES:
        for verb in ("unpack", "install", "forget"):
            assert walked([*moves, (verb, name)])[-1].permanent == shelf.permanent
    assert shelf.fall_back().running == shelf.permanent


@given(MOVES, st.integers(0, 4))
def test_retention_keeps_what_runs_and_the_last_of_the_rest(
    moves: list[tuple[str, str]], keep: int
) -> None:
    shelf = walked(moves)[-1]
    surplus = shelf.surplus(keep)
    assert shelf.current not in surplus
    assert shelf.permanent not in surplus
    for name in surplus:
        shelf = shelf.forget(name)
    idle = [r for r in shelf.releases if r.identity not in (shelf.current, shelf.permanent)]
    assert len(idle) <= keep
    assert shelf.surplus(keep) == ()


def test_a_release_goes_from_unpacked_to_current_to_permanent() -> None:
    a, b = NAMES[:2]
    shelf = Shelf().unpack(a).install(a)
    assert (shelf.running, shelf.permanent) == (a, None)
    shelf = shelf.make_permanent(a).unpack(b)
    assert shelf.state(b) is ReleaseState.UNPACKED
    shelf = shelf.install(b)
    assert (shelf.running, shelf.permanent) == (b, a)
    assert shelf.fall_back().running == a
    shelf = shelf.make_permanent(b)
    assert (shelf.running, shelf.state(a)) == (b, ReleaseState.OLD)


def test_the_permanent_release_installed_again_is_a_fall_back() -> None:
    a, b = NAMES[:2]
    shelf = Shelf().unpack(a).install(a).make_permanent(a).unpack(b).install(b)
    assert shelf.install(a) == shelf.fall_back()


@pytest.mark.parametrize("verb", ["install", "make_permanent"])
def test_what_is_not_here_is_refused(verb: str) -> None:
    with pytest.raises(WrongState):
        getattr(Shelf(), verb)(NAMES[0])


def test_only_a_current_release_becomes_permanent() -> None:
    with pytest.raises(WrongState, match="not current"):
        Shelf().unpack(NAMES[0]).make_permanent(NAMES[0])


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{",
        b'{"version": 2, "releases": []}',
        b'{"version": 1, "releases": [{"identity": "../x", "state": "old"}]}',
        b'{"version": 1, "releases": [{"identity": "%s", "state": "gone"}]}' % (b"a" * 64),
        b'{"version": 1, "releases": [{"identity": "%s", "state": "current"},'
        b' {"identity": "%s", "state": "current"}]}' % (b"a" * 64, b"b" * 64),
    ],
)
def test_states_that_cannot_be_are_refused(content: bytes) -> None:
    with pytest.raises(UsageError, match="cannot be read"):
        decode_shelf(content)
