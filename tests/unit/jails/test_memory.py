"""Laws of the runtime in memory, faults and all."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

import jailyard
from jails.memory import MemoryRuntime
from jails.runtime import JailError
from jails.spec import AT_REST, JailFile, JailSpec, JailState, Restart, RestartPolicy

NAMES = st.sampled_from(["n1", "n2", "n3"])
SPECS = st.builds(
    lambda name, colour, content, policy: jailyard.idle(
        name,
        environment={"COLOUR": colour},
        files=(JailFile(path="peers", content=content, restarts=False),),
        restart=Restart(policy=policy),
    ),
    NAMES,
    st.sampled_from(["red", "blue"]),
    st.sampled_from([b"a", b"b"]),
    st.sampled_from(RestartPolicy),
)


class MemoryRuntimeLaws(RuleBasedStateMachine):
    """Any sequence of operations and faults, beside a model that only knows what was wanted."""

    def __init__(self) -> None:
        super().__init__()
        self.runtime = MemoryRuntime()
        self.wanted: dict[str, JailSpec] = {}

    @rule(spec=SPECS)
    def ensure(self, spec: JailSpec) -> None:
        others = {n: f for n, f in self.runtime.look().items() if n != spec.name}
        self.runtime.ensure(spec)
        self.wanted[spec.name] = spec
        facts = self.runtime.look()[spec.name]
        assert facts.state in {JailState.RUNNING, JailState.BACKING_OFF}
        assert facts.program_digest == spec.program_digest()
        assert facts.files_digest == spec.files_digest()
        assert {n: f for n, f in self.runtime.look().items() if n != spec.name} == others

    @rule(spec=SPECS)
    def ensure_twice_is_ensure_once(self, spec: JailSpec) -> None:
        self.ensure(spec)
        before, starts = self.runtime.look(), len(self.runtime.started)
        self.ensure(spec)
        assert self.runtime.look() == before
        assert len(self.runtime.started) == starts

    @rule(spec=SPECS)
    def a_failing_ensure_changes_nothing(self, spec: JailSpec) -> None:
        before = self.runtime.look()
        self.runtime.fail_next_ensure(spec.name)
        with pytest.raises(JailError):
            self.runtime.ensure(spec)
        assert self.runtime.look() == before

    @rule(name=NAMES)
    def stop(self, name: str) -> None:
        self.runtime.stop(name)
        if name in self.wanted:
            assert self.runtime.look()[name].state is JailState.STOPPED

    @rule(name=NAMES)
    def remove(self, name: str) -> None:
        self.runtime.remove(name)
        self.wanted.pop(name, None)

    @rule(former=NAMES, name=NAMES)
    def rename(self, former: str, name: str) -> None:
        before = self.runtime.look()
        is_free = former != name and (former not in before or name not in before)
        is_at_rest = former not in before or before[former].state in AT_REST
        if not is_free or not is_at_rest:
            with pytest.raises(JailError):
                self.runtime.rename(former, name)
            assert self.runtime.look() == before
            return
        self.runtime.rename(former, name)
        if former in self.wanted:
            self.wanted[name] = replace(self.wanted.pop(former), name=name)
            assert self.runtime.look()[name].files_digest == before[former].files_digest

    @rule(name=NAMES, fault=st.sampled_from(["crash", "orphan", "restart"]))
    def fault(self, name: str, fault: str) -> None:
        if name in self.wanted:
            getattr(self.runtime, fault)(name)

    @rule(name=NAMES)
    def tampering_is_seen_as_drift(self, name: str) -> None:
        if name in self.wanted:
            self.runtime.tamper(name, "peers", b"elsewhere")
            files = self.runtime.look()[name].files_digest
            assert files != self.wanted[name].files_digest()
            self.runtime.update_files(self.wanted[name])

    @invariant()
    def exactly_what_was_made_is_seen(self) -> None:
        assert set(self.runtime.look()) == set(self.wanted)

    @invariant()
    def a_process_is_there_exactly_where_something_runs(self) -> None:
        for facts in self.runtime.look().values():
            runs = facts.state in {JailState.RUNNING, JailState.ORPHANED}
            assert (facts.pid is not None) == (facts.started_at is not None) == runs


TestMemoryRuntimeLaws = MemoryRuntimeLaws.TestCase


def test_a_crashed_program_backs_off_and_is_counted() -> None:
    runtime = MemoryRuntime()
    runtime.ensure(jailyard.idle())
    runtime.crash("n1")
    assert runtime.look()["n1"].state is JailState.BACKING_OFF
    runtime.restart("n1")
    facts = runtime.look()["n1"]
    assert (facts.state, facts.restarts) == (JailState.RUNNING, 1)
    assert facts.last_exit == "killed by SIGKILL"
    assert runtime.started == ["n1", "n1"]


def test_a_program_that_must_not_restart_fails_for_good_until_ensured() -> None:
    runtime = MemoryRuntime()
    spec = jailyard.idle(restart=Restart(policy=RestartPolicy.NEVER))
    runtime.ensure(spec)
    runtime.crash("n1")
    runtime.restart("n1")
    assert runtime.look()["n1"].state is JailState.FAILED
    runtime.ensure(spec)
    assert runtime.look()["n1"].state is JailState.RUNNING


def test_an_orphan_is_ended_before_its_successor_starts() -> None:
    runtime = MemoryRuntime()
    runtime.ensure(jailyard.idle())
    runtime.orphan("n1")
    assert runtime.look()["n1"].state is JailState.ORPHANED
    runtime.ensure(jailyard.idle())
    assert (runtime.started, runtime.ended) == (["n1", "n1"], ["n1"])


def test_logs_are_the_last_lines_oldest_first() -> None:
    runtime = MemoryRuntime()
    runtime.ensure(jailyard.idle())
    for line in ("one", "two", "three"):
        runtime.write("n1", line)
    assert runtime.logs("n1", 2) == ["two", "three"]
    assert runtime.logs("n1", 0) == []


def test_specs_that_differ_in_a_reloadable_file_have_one_program_digest() -> None:
    file = JailFile(path="peers", content=b"a", restarts=False)
    first, second = (jailyard.idle(files=(replace(file, content=c),)) for c in (b"a", b"b"))
    assert first.program_digest() == second.program_digest()
    assert first.files_digest() != second.files_digest()
