"""The difference of two desired states: what it names, and that it names nothing else."""

from __future__ import annotations

import json

from hypothesis import given
from hypothesis import strategies as st

from maculaos.documents import Problem
from reconciler.specs.desired import Desired
from reconciler.specs.difference import Change, Verb, difference
from reconciler.specs.spec import AppSpec, RealmSpec

REALM = RealmSpec(version=1, name="demo")
NAMES = st.sampled_from("abcd")
WORDS = st.lists(st.sampled_from(["x", "y"]), min_size=1, max_size=2).map(tuple)
STATES = st.dictionaries(NAMES, WORDS)


def state(
    apps: dict[str, tuple[str, ...]], broken: str = "", moved: dict[str, str] | None = None
) -> Desired:
    specs = [AppSpec(version=1, name=name, node="n1", command=apps[name]) for name in apps]
    problem = Problem("f", 1, 1, "broken", "")
    return Desired(
        REALM,
        Desired.of(REALM, (), specs).items,
        broken={f"app/{name}": (problem,) for name in broken},
        moved={f"app/{new}": f"app/{old}" for new, old in (moved or {}).items()},
    )


@given(STATES, STATES)
def test_it_is_empty_if_and_only_if_both_mean_the_same(
    one: dict[str, tuple[str, ...]], other: dict[str, tuple[str, ...]]
) -> None:
    assert (difference(state(one), state(other)) == ()) is (one == other)


@given(STATES, STATES)
def test_back_is_the_reverse(
    one: dict[str, tuple[str, ...]], other: dict[str, tuple[str, ...]]
) -> None:
    there = {change.key: change.verb for change in difference(state(one), state(other))}
    back = {change.key: change.verb for change in difference(state(other), state(one))}
    reverse = {Verb.ADDED: Verb.REMOVED, Verb.REMOVED: Verb.ADDED, Verb.CHANGED: Verb.CHANGED}
    assert back == {key: reverse[verb] for key, verb in there.items()}


def test_a_change_names_the_key_and_both_values() -> None:
    (change,) = difference(state({"a": ("x",)}), state({"a": ("x", "y")}))
    assert (change.key, change.verb) == ("app/a", Verb.CHANGED)
    assert [entry.describe() for entry in change.entries] == ['~ command: ["x"] -> ["x", "y"]']
    json.dumps(change.as_json())


def test_an_item_that_moved_is_told_once_with_its_former_name() -> None:
    (change,) = difference(state({"a": ("x",)}), state({"b": ("x",)}, moved={"b": "a"}))
    assert change == Change("app/b", Verb.MOVED, (), "app/a")


def test_what_breaks_and_what_is_mended_is_told() -> None:
    whole, broken = state({"a": ("x",), "b": ("x",)}), state({"b": ("x",)}, broken="a")
    assert difference(whole, broken) == (Change("app/a", Verb.BROKEN),)
    assert difference(broken, whole) == (Change("app/a", Verb.MENDED),)
    assert difference(broken, broken) == ()
    assert difference(broken, state({"b": ("x",)})) == (Change("app/a", Verb.REMOVED),)
