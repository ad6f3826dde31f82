"""The inventory: laws of what runs, what goes, and what is never touched."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from maculaos.errors import UsageError
from reconciler.inventory import (
    Claims,
    Guard,
    Inventory,
    Settlement,
    decode_inventory,
    encode_inventory,
    settle,
)

KEYS = st.sampled_from([f"app/{name}" for name in "abcdefgh"])
DIGESTS = st.sampled_from(["d1", "d2", "d3"])
OWNED = st.dictionaries(KEYS, DIGESTS)
LOOSE = Guard(items=1000)
STRICT_GUARD = Guard(items=0, share=0.0)


@st.composite
def claims(draw: st.DrawFn) -> Claims:
    readable = draw(st.dictionaries(KEYS, DIGESTS))
    broken = draw(st.frozensets(KEYS)) - readable.keys()
    moved = draw(st.dictionaries(KEYS, KEYS))
    return Claims(readable=readable, broken=broken, moved=moved)


def inventory(**owned: str) -> Inventory:
    return Inventory(owned={f"app/{name}": digest for name, digest in owned.items()})


@given(OWNED, claims(), st.booleans())
def test_only_what_is_owned_ever_goes_and_everything_readable_runs(
    owned: dict[str, str],
    said: Claims,
    has_consent: bool,
) -> None:
    made = settle(Inventory(owned=owned), said, Guard(), has_consent=has_consent)
    assert made.removals | made.held <= owned.keys()
    assert not (made.removals | made.held) & (made.wanted.keys() | said.broken)
    assert {**made.wanted, **said.readable} == made.wanted
    assert made.wanted.keys() <= said.readable.keys() | said.broken
    assert not (made.removals and made.held)


@given(OWNED, claims())
def test_nothing_owned_is_lost_sight_of(owned: dict[str, str], said: Claims) -> None:
    made = settle(Inventory(owned=owned), said, Guard())
    past = frozenset(made.moves.values())
    assert owned.keys() <= made.wanted.keys() | made.removals | made.held | past


@given(OWNED, claims())
def test_settling_again_once_all_is_done_asks_for_nothing(
    owned: dict[str, str], said: Claims
) -> None:
    before = Inventory(owned=owned)
    made = settle(before, said, LOOSE)
    done = before.claiming(made).releasing(made.removals | frozenset(made.moves.values()))
    again = settle(done, said, STRICT_GUARD)
    assert (again.removals, again.held, again.moves) == (frozenset(), frozenset(), {})
    assert again.wanted == made.wanted


@given(OWNED, claims())
def test_a_crash_after_claiming_changes_nothing_that_is_decided(
    owned: dict[str, str], said: Claims
) -> None:
    before = Inventory(owned=owned)
    made = settle(before, said, LOOSE)
    assert settle(decode_inventory(encode_inventory(before.claiming(made))), said, LOOSE) == made


def test_a_broken_item_keeps_its_good_version() -> None:
    said = Claims(readable={}, broken=frozenset({"app/a", "app/b"}))
    made = settle(inventory(a="d1"), said, Guard())
    assert made.wanted == {"app/a": "d1"}
    assert made.missing == {"app/b"}
    assert made.removals == frozenset()


def test_a_renamed_item_takes_its_past_along_and_is_no_removal() -> None:
    said = Claims(readable={"app/new": "d2"}, moved={"app/new": "app/a"})
    made = settle(inventory(a="d1"), said, STRICT_GUARD)
    assert made.moves == {"app/new": "app/a"}
    assert made.removals | made.held == frozenset()


def test_a_former_name_that_is_taken_again_is_nobodys_past() -> None:
    said = Claims(readable={"app/new": "d2", "app/a": "d3"}, moved={"app/new": "app/a"})
    assert settle(inventory(a="d1"), said, Guard()).moves == {}


@pytest.mark.parametrize(
    ("gone", "left", "is_held"),
    [(2, 0, False), (3, 0, True), (3, 3, False), (4, 3, True), (1, 0, False)],
)
def test_removals_above_both_bounds_wait_for_consent(
    gone: int, left: int, *, is_held: bool
) -> None:
    owned = {f"app/{number}": "d1" for number in range(gone + left)}
    said = Claims(readable=dict.fromkeys(sorted(owned)[gone:], "d1"))
    made: Settlement = settle(Inventory(owned=owned), said, Guard())
    assert bool(made.held) is is_held
    agreed = settle(Inventory(owned=owned), said, Guard(), has_consent=True)
    assert agreed.held == frozenset()
    assert len(agreed.removals) == gone


def test_what_is_made_meanwhile_makes_held_removals_no_smaller_a_share() -> None:
    before = Inventory(owned=dict.fromkeys(("app/a", "app/b", "app/c", "app/d"), "d1"))
    said = Claims(readable=dict.fromkeys(("app/d", "app/e", "app/f", "app/g"), "d1"))
    held = settle(before, said, Guard())
    assert held.held == {"app/a", "app/b", "app/c"}
    assert settle(before.claiming(held), said, Guard()) == held


@given(OWNED)
def test_an_inventory_is_read_as_it_was_written(owned: dict[str, str]) -> None:
    written = encode_inventory(Inventory(owned=owned))
    assert decode_inventory(written).owned == owned


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b'{"version": 2}', b'{"owned": {"a": 1}}'])
def test_an_inventory_that_cannot_be_read_says_so(content: bytes) -> None:
    with pytest.raises(UsageError, match="inventory cannot be read"):
        decode_inventory(content)
