"""The laws of plans: what is due, and when nothing is."""

from __future__ import annotations

import hashlib
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from imagebuilder.plan import (
    STEPS_MAX,
    Receipt,
    Step,
    check_steps,
    is_done,
    key_of,
    next_step,
)
from maculaos.errors import LocalProtocolError

Receipts = dict[str, Receipt]
NAMES = "abcdefgh"


@st.composite
def plans(draw: st.DrawFn) -> tuple[Step, ...]:
    """Steps that need some of those before them."""
    steps: list[Step] = []
    for name in NAMES[: draw(st.integers(1, len(NAMES)))]:
        before = [step.name for step in steps]
        needs = draw(st.lists(st.sampled_from(before), unique=True)) if before else []
        facts = {"word": draw(st.sampled_from(["x", "y"]))}
        steps.append(Step(name=name, title=name, needs=tuple(needs), facts=facts))
    return tuple(steps)


def output_of(step: Step, receipts: Receipts) -> str:
    """What a model step makes: a function of its facts and of what it needs."""
    read = "".join(receipts[need].outputs["file"] for need in sorted(step.needs))
    return hashlib.sha256(f"{step.name}{dict(step.facts)}{read}".encode()).hexdigest()


def carry_out(steps: tuple[Step, ...], receipts: Receipts, at_most: int = 1000) -> list[str]:
    """Do what is due, as the builder does; the names of what was done."""
    done: list[str] = []
    while len(done) < at_most and (step := next_step(steps, receipts)) is not None:
        made = {"file": output_of(step, receipts)}
        receipts[step.name] = Receipt(key=key_of(step, receipts), outputs=made)
        done.append(step.name)
    return done


def depend_on(steps: tuple[Step, ...], name: str) -> set[str]:
    """The step, and all that read it, directly or not."""
    found = {name}
    for step in steps:
        if found & set(step.needs):
            found.add(step.name)
    return found


@settings(max_examples=40, deadline=None)
@given(plans())
def test_every_step_is_done_once_and_then_nothing_is_due(steps: tuple[Step, ...]) -> None:
    receipts: Receipts = {}
    assert carry_out(steps, receipts) == [step.name for step in steps]
    assert next_step(steps, receipts) is None


@settings(max_examples=40, deadline=None)
@given(plans(), st.integers(0, 8))
def test_any_prefix_and_then_the_rest_is_the_whole(steps: tuple[Step, ...], cut: int) -> None:
    receipts: Receipts = {}
    before = carry_out(steps, receipts, at_most=cut)
    after = carry_out(steps, receipts)
    assert before + after == [step.name for step in steps]
    whole: Receipts = {}
    carry_out(steps, whole)
    assert receipts == whole


@settings(max_examples=40, deadline=None)
@given(plans(), st.data())
def test_a_changed_fact_reaches_exactly_what_depends_on_it(
    steps: tuple[Step, ...], data: st.DataObject
) -> None:
    receipts: Receipts = {}
    carry_out(steps, receipts)
    index = data.draw(st.integers(0, len(steps) - 1))
    changed = replace(steps[index], facts={"word": "z"})
    after = (*steps[:index], changed, *steps[index + 1 :])
    assert set(carry_out(after, receipts)) == depend_on(after, changed.name)


def test_a_change_stops_where_the_outputs_stay_the_same() -> None:
    first = Step(name="a", title="", facts={"comment": "old"})
    second = Step(name="b", title="", needs=("a",))
    receipts: Receipts = {}
    for step in (first, second):
        receipts[step.name] = Receipt(key=key_of(step, receipts), outputs={"file": step.name})
    changed = replace(first, facts={"comment": "new"})
    assert next_step((changed, second), receipts) == changed
    receipts["a"] = Receipt(key=key_of(changed, receipts), outputs={"file": "a"})
    assert next_step((changed, second), receipts) is None


def test_spoilt_outputs_are_due_again() -> None:
    step = Step(name="a", title="")
    receipts = {"a": Receipt(key=key_of(step, {}), outputs={})}
    assert next_step([step], receipts) is None
    assert next_step([step], receipts, {"a"}) == step


def test_a_step_whose_need_is_gone_is_not_done() -> None:
    first, second = Step(name="a", title=""), Step(name="b", title="", needs=("a",))
    receipts: Receipts = {}
    carry_out((first, second), receipts)
    del receipts["a"]
    assert not is_done(second, receipts)
    assert next_step((first, second), receipts) == first


@pytest.mark.parametrize(
    "steps",
    [
        [Step(name="a", title=""), Step(name="a", title="")],
        [Step(name="a", title="", needs=("b",)), Step(name="b", title="")],
        [Step(name="a", title="", needs=("a",))],
        [Step(name=str(number), title="") for number in range(STEPS_MAX + 1)],
    ],
)
def test_steps_out_of_order_are_a_bug(steps: list[Step]) -> None:
    with pytest.raises(LocalProtocolError):
        check_steps(steps)


def test_a_step_says_what_it_does_and_from_what() -> None:
    step = Step(name="disk", title="write the disk", needs=("slot", "boot"))
    assert step.describe() == "disk: write the disk (from slot, boot)"
