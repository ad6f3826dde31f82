"""The choice of a runtime: the strongest that works, never another than the one jails are of."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from maculaos.errors import UsageError
from reconciler.choice import AUTO, STRONGEST_FIRST, Candidate, Kept, choose

NAMES = st.sampled_from(STRONGEST_FIRST)
WORKING = st.fixed_dictionaries(dict.fromkeys(STRONGEST_FIRST, st.booleans()))


def candidates(working: dict[str, bool]) -> list[Candidate]:
    return [Candidate(name, works, f"<{name} says>") for name, works in working.items()]


def at(name: str) -> Kept:
    return Kept(name, "/state/jails")


@given(WORKING, st.randoms(use_true_random=False))
def test_auto_takes_the_first_that_works_in_whatever_order_they_come(
    working: dict[str, bool], random: object
) -> None:
    offered = candidates({**working, "process": True})
    random.shuffle(offered)  # type: ignore[attr-defined]  # a random.Random of hypothesis
    chosen = choose(AUTO, offered)
    assert chosen.name == next(n for n in STRONGEST_FIRST if working[n] or n == "process")


@given(WORKING)
def test_auto_says_why_not_the_stronger_ones_and_nothing_of_the_weaker(
    working: dict[str, bool],
) -> None:
    why = choose(AUTO, candidates({**working, "process": True}))
    rank = STRONGEST_FIRST.index(why.name)
    assert why.why.startswith(f"{why.name} is the strongest runtime that works here; ")
    said = [f"<{name} says>" in why.why for name in STRONGEST_FIRST]
    assert said == [place <= rank for place in range(len(STRONGEST_FIRST))]
    assert "\n" not in why.why


@given(WORKING, NAMES)
def test_a_name_is_that_runtime_or_an_error_that_says_why_not(
    working: dict[str, bool], wanted: str
) -> None:
    offered = [one for one in candidates(working) if one.name == wanted]
    if working[wanted]:
        chosen = choose(wanted, offered)
        assert chosen.name == wanted
        assert chosen.why == f"{wanted} is the runtime that the settings name; <{wanted} says>"
        return
    with pytest.raises(UsageError) as caught:
        choose(wanted, offered)
    assert str(caught.value) == f"<{wanted} says>; mend that, or set runtime to auto"


@given(WORKING, st.sampled_from((AUTO, *STRONGEST_FIRST)), NAMES)
def test_no_jail_ever_changes_its_runtime(working: dict[str, bool], wanted: str, kept: str) -> None:
    try:
        chosen = choose(wanted, candidates(working), at(kept))
    except UsageError:
        assert not working[kept] or wanted not in {AUTO, kept}
    else:
        assert chosen.name == kept
        assert working[kept]


@given(NAMES, NAMES)
def test_another_runtime_than_that_of_the_jails_is_refused_with_the_way_to_change(
    wanted: str, kept: str
) -> None:
    if wanted == kept:
        return
    with pytest.raises(UsageError) as caught:
        choose(wanted, candidates(dict.fromkeys(STRONGEST_FIRST, True)), at(kept))
    assert str(caught.value) == (
        f"jails of the runtime {kept} are in /state/jails; run reconciler down, then start again"
    )


def test_a_weaker_runtime_that_is_kept_says_which_is_stronger_and_how_to_change() -> None:
    working = {"jail": False, "namespaces": True, "process": True}
    assert choose(AUTO, candidates(working), at("process")).why == (
        "process is kept while jails of it are there, though namespaces is stronger: "
        "to change, run reconciler down, then start again; <process says>"
    )


def test_the_strongest_is_not_called_kept() -> None:
    working = {"jail": False, "namespaces": True, "process": True}
    assert choose(AUTO, candidates(working), at("namespaces")) == choose(AUTO, candidates(working))


def test_jails_of_a_runtime_that_broke_are_named_with_what_broke_it() -> None:
    working = {"jail": False, "namespaces": False, "process": True}
    with pytest.raises(UsageError) as caught:
        choose(AUTO, candidates(working), at("namespaces"))
    said = "jails of the runtime namespaces are in /state/jails, but <namespaces says>; mend that"
    assert str(caught.value).startswith(said)


def test_where_nothing_works_each_says_why() -> None:
    with pytest.raises(UsageError) as caught:
        choose(AUTO, candidates(dict.fromkeys(STRONGEST_FIRST, False)))
    assert caught.value.what == "<jail says>; <namespaces says>; <process says>"
