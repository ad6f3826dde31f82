"""The laws of a plan, tried on a model of a machine."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jails.memory import MemoryRuntime
from jails.spec import JailFacts, JailFile, JailSpec, JailState
from reconciler.plan import plan
from reconciler.steps import RemoveJail, ReplaceJail, StartJail, Step, UpdateFiles

Machine = dict[str, JailFacts]

NAMES = st.sampled_from(["node-a", "node-b", "node-c", "app-a"])
SECRET = "a secret"  # noqa: S105 # what must not be shown


def spec(name: str, program: str = "p", content: str = "x") -> JailSpec:
    file = JailFile(path="f", content=content.encode(), restarts=False)
    return JailSpec(name=name, command=(program,), files=(file,), environment={"KEY": SECRET})


def running(of: JailSpec, state: JailState = JailState.RUNNING, last_exit: str = "") -> JailFacts:
    return JailFacts(
        name=of.name,
        state=state,
        program_digest=of.program_digest(),
        files_digest=of.files_digest(),
        last_exit=last_exit,
    )


@dataclass(frozen=True)
class Taken:
    """A model of a runtime: taking a step changes facts, and nothing else."""

    machine: Machine

    def after(self, step: Step) -> Taken:
        others = {name: facts for name, facts in self.machine.items() if name != step.name}
        if isinstance(step, RemoveJail):
            return Taken(others)
        if isinstance(step, UpdateFiles):
            held = self.machine[step.name]
            return Taken(
                {**others, step.name: replace(held, files_digest=step.spec.files_digest())}
            )
        return Taken({**others, step.name: running(step.spec)})


def after(machine: Machine, steps: tuple[Step, ...]) -> Machine:
    taken = Taken(machine)
    for step in steps:
        taken = taken.after(step)
    return taken.machine


specs = st.builds(spec, NAMES, st.sampled_from(["p", "q"]), st.sampled_from(["x", "y"]))
wanted_jails = st.lists(specs, unique_by=lambda of: of.name).map(
    lambda all_: {of.name: of for of in all_}
)
found_jails = st.lists(
    st.builds(running, specs, st.sampled_from(list(JailState)), st.sampled_from(["", "exit 1"])),
    unique_by=lambda facts: facts.name,
).map(lambda all_: {facts.name: facts for facts in all_})
kept_jails = st.frozensets(NAMES)


@given(wanted_jails)
def test_plan_of_converged_is_empty(wanted: dict[str, JailSpec]) -> None:
    assert plan(wanted, {name: running(of) for name, of in wanted.items()}) == ()


@given(wanted_jails, found_jails, kept_jails)
def test_applied_plan_leaves_no_drift(
    wanted: dict[str, JailSpec], found: Machine, kept: frozenset[str]
) -> None:
    assert plan(wanted, after(found, plan(wanted, found, kept)), kept) == ()


@given(wanted_jails, found_jails)
def test_applied_plan_leaves_what_is_wanted(wanted: dict[str, JailSpec], found: Machine) -> None:
    there = after(found, plan(wanted, found))
    assert there.keys() == wanted.keys()
    for name, of in wanted.items():
        assert there[name].program_digest == of.program_digest()
        assert there[name].files_digest == of.files_digest()
        assert there[name].state not in {JailState.STOPPED, JailState.ORPHANED}


@given(wanted_jails, found_jails, kept_jails, st.data())
def test_any_prefix_of_a_plan_then_a_new_plan_converges(
    wanted: dict[str, JailSpec], found: Machine, kept: frozenset[str], data: st.DataObject
) -> None:
    steps = plan(wanted, found, kept)
    done = data.draw(st.integers(min_value=0, max_value=len(steps)))
    halfway = after(found, steps[:done])
    assert after(halfway, plan(wanted, halfway, kept)) == after(found, steps)


@given(wanted_jails, found_jails, kept_jails, st.data())
def test_order_of_input_never_matters(
    wanted: dict[str, JailSpec], found: Machine, kept: frozenset[str], data: st.DataObject
) -> None:
    other_wanted = dict(data.draw(st.permutations(list(wanted.items()))))
    other_found = dict(data.draw(st.permutations(list(found.items()))))
    assert plan(other_wanted, other_found, kept) == plan(wanted, found, kept)


@given(wanted_jails, found_jails, kept_jails)
def test_kept_jails_are_left_alone(
    wanted: dict[str, JailSpec], found: Machine, kept: frozenset[str]
) -> None:
    assert not {step.name for step in plan(wanted, found, kept)} & kept


@given(wanted_jails, found_jails)
def test_steps_come_by_kind_then_name_and_one_for_a_jail(
    wanted: dict[str, JailSpec], found: Machine
) -> None:
    steps = plan(wanted, found)
    order = [RemoveJail, ReplaceJail, StartJail, UpdateFiles]
    keys = [(order.index(type(step)), step.name) for step in steps]
    assert keys == sorted(keys)
    assert len({step.name for step in steps}) == len(steps)


@given(wanted_jails, wanted_jails, st.lists(st.tuples(NAMES, st.sampled_from("cot"))))
def test_runtime_is_brought_to_what_is_wanted(
    before: dict[str, JailSpec], wanted: dict[str, JailSpec], mishaps: list[tuple[str, str]]
) -> None:
    runtime = MemoryRuntime()
    carry_out(plan(before, runtime.look()), runtime)
    for name, mishap in mishaps:
        if name not in before:
            continue
        if mishap == "c":
            runtime.crash(name)
        elif mishap == "o":
            runtime.orphan(name)
        else:
            runtime.tamper(name, "f", b"tampered")
    carry_out(plan(wanted, runtime.look()), runtime)
    assert plan(wanted, runtime.look()) == ()
    assert runtime.look().keys() == wanted.keys()


def carry_out(steps: tuple[Step, ...], runtime: MemoryRuntime) -> None:
    for step in steps:
        if isinstance(step, RemoveJail):
            runtime.remove(step.name)
        elif isinstance(step, UpdateFiles):
            runtime.update_files(step.spec)
        else:
            runtime.ensure(step.spec)


@pytest.mark.parametrize(
    ("found", "step"),
    [
        (None, "start node a: is not there yet"),
        (running(spec("node-a", "q")), "replace node a: its program or settings changed"),
        (
            running(spec("node-a"), JailState.STOPPED, "killed by SIGKILL"),
            "start node a: is not running (killed by SIGKILL)",
        ),
        (running(spec("node-a"), JailState.ORPHANED), "start node a: its supervisor is gone"),
        (running(spec("node-a", content="y")), "update node a: its files are not as wanted"),
        (
            running(spec("node-a", "q"), JailState.FAILED, "exit 1"),
            "start node a: its program or settings changed, and it is not running (exit 1)",
        ),
    ],
)
def test_step_says_why(found: JailFacts | None, step: str) -> None:
    machine = {} if found is None else {found.name: found}
    (only,) = plan({"node-a": spec("node-a")}, machine)
    assert only.describe() == step


@pytest.mark.parametrize("state", [JailState.BACKING_OFF, JailState.FAILED])
def test_supervised_ends_are_the_supervisors_business(state: JailState) -> None:
    assert plan({"node-a": spec("node-a")}, {"node-a": running(spec("node-a"), state)}) == ()


def test_steps_as_json_hold_no_secrets() -> None:
    steps = plan({"node-a": spec("node-a", content=SECRET)}, {"node-b": running(spec("node-b"))})
    said = json.dumps([step.as_json() for step in steps])
    assert SECRET not in said
    assert json.loads(said) == [
        {"step": "remove", "jail": "node-b", "reason": "is no longer wanted"},
        {"step": "start", "jail": "node-a", "reason": "is not there yet"},
    ]
