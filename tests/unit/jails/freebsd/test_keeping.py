"""How a program is kept on the model machine: restarts, waits, and ends for good."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

import freebsdyard
from jails.spec import JailSpec, JailState, Restart, RestartPolicy

if TYPE_CHECKING:
    from collections.abc import Iterator

    from freebsdyard import Yard
    from jails.spec import JailFacts

SPEC = JailSpec(name="n1", command=("/usr/local/bin/node",))
NEVER = replace(SPEC, restart=Restart(policy=RestartPolicy.NEVER))


@pytest.fixture
def yard() -> Iterator[Yard]:
    with freebsdyard.yard() as yard:
        yield yard


def facts(yard: Yard) -> JailFacts:
    return yard.runtime().look()["n1"]


def pids(yard: Yard) -> list[int]:
    return [each.pid for each in yard.host.processes.of("macula-n1")]


def end_program(yard: Yard, exit_status: int) -> None:
    pid = facts(yard).pid
    assert pid is not None
    yard.host.processes.end(pid, exit_status=exit_status)


def test_a_killed_program_comes_back_and_is_counted(yard: Yard) -> None:
    yard.runtime().ensure(SPEC)
    yard.host.run("kill", "-9", str(facts(yard).pid))
    assert facts(yard).state is JailState.BACKING_OFF
    assert facts(yard).pid is facts(yard).started_at is None
    yard.clock.sleep(0.25)
    assert facts(yard).state is JailState.RUNNING
    assert (facts(yard).restarts, facts(yard).last_exit) == (1, "killed by SIGKILL")
    assert facts(yard).started_at == pytest.approx(yard.clock.now(), abs=1.0)


def test_waits_double_and_a_steady_run_forgets_them(yard: Yard) -> None:
    restart = Restart(base_s=1.0, max_s=3.0, steady_s=60.0)
    yard.runtime().ensure(replace(SPEC, restart=restart))
    for wait_s in (1.0, 2.0, 3.0, 3.0):
        end_program(yard, 1)
        yard.clock.sleep(wait_s - 0.01)
        assert facts(yard).state is JailState.BACKING_OFF
        yard.clock.sleep(0.01)
        assert facts(yard).state is JailState.RUNNING
    yard.clock.sleep(60.0)
    end_program(yard, 1)
    yard.clock.sleep(1.0)
    assert facts(yard).state is JailState.RUNNING


@pytest.mark.parametrize("exit_status", [0, 3])
def test_a_program_that_is_never_restarted_ends_for_good(yard: Yard, exit_status: int) -> None:
    yard.runtime().ensure(NEVER)
    end_program(yard, exit_status)
    assert facts(yard).state is JailState.FAILED
    assert facts(yard).last_exit == f"exited with status {exit_status}"
    yard.clock.sleep(3600.0)
    assert pids(yard) == []
    yard.runtime().ensure(NEVER)
    assert (facts(yard).state, facts(yard).last_exit) == (JailState.RUNNING, "")


def test_a_killed_loop_is_followed_by_one_that_keeps_the_same_program(yard: Yard) -> None:
    yard.runtime().ensure(SPEC)
    _, loop, program = pids(yard)
    yard.host.run("kill", "-9", str(loop))
    assert (facts(yard).state, facts(yard).pid) == (JailState.RUNNING, program)
    yard.clock.sleep(1.0)
    assert loop not in pids(yard)
    assert len(pids(yard)) == 3
    yard.host.run("kill", "-9", str(program))
    assert facts(yard).last_exit == "ended unseen, while its supervisor was away"
    yard.clock.sleep(0.25)
    assert (facts(yard).state, facts(yard).restarts) == (JailState.RUNNING, 1)


def test_a_loop_and_a_program_that_are_killed_together_come_back_together(yard: Yard) -> None:
    yard.runtime().ensure(SPEC)
    _, loop, program = pids(yard)
    for pid in (loop, program):
        yard.host.run("kill", "-9", str(pid))
    assert facts(yard).state is JailState.BACKING_OFF
    yard.clock.sleep(1.25)
    assert (facts(yard).state, facts(yard).restarts) == (JailState.RUNNING, 1)


def test_a_killed_supervisor_leaves_an_orphan_that_ensure_replaces(yard: Yard) -> None:
    yard.runtime().ensure(SPEC)
    supervisor, _, program = pids(yard)
    yard.host.run("kill", "-9", str(supervisor))
    assert (facts(yard).state, facts(yard).pid) == (JailState.ORPHANED, program)
    yard.runtime().ensure(SPEC)
    assert facts(yard).state is JailState.RUNNING
    assert len(pids(yard)) == 3
    assert program not in pids(yard)


def test_a_jail_without_any_process_is_stopped_not_failed(yard: Yard) -> None:
    yard.runtime().ensure(SPEC)
    for pid in pids(yard):
        yard.host.run("kill", "-9", str(pid))
    assert facts(yard).state is JailState.STOPPED
    yard.runtime().ensure(SPEC)
    assert facts(yard).state is JailState.RUNNING


def test_a_supervisor_that_is_asked_to_end_takes_the_program_with_it(yard: Yard) -> None:
    yard.runtime().ensure(SPEC)
    yard.host.run("kill", "-TERM", str(pids(yard)[0]))
    assert pids(yard) == []
    assert (facts(yard).state, facts(yard).last_exit) == (JailState.STOPPED, "killed by SIGTERM")


def test_a_lie_is_a_wrong_fact_of_that_jail_and_of_no_other(yard: Yard) -> None:
    other = replace(SPEC, name="n2")
    for spec in (SPEC, other):
        yard.runtime().ensure(spec)
    victim = yard.runtime().look()["n2"]
    status = yard.root / "n1/keep/status"
    status.write_text(status.read_text().replace(f"program={facts(yard).pid}", "program=1"))
    assert (facts(yard).state, facts(yard).pid) == (JailState.BACKING_OFF, None)
    status.write_text("state=" + "x" * 10_000_000)
    assert facts(yard).state is JailState.BACKING_OFF
    assert yard.runtime().look()["n2"] == victim
    yard.runtime().remove("n1")
    assert list(yard.runtime().look()) == ["n2"]


def test_whatever_a_jail_made_of_its_log_it_starts_again(yard: Yard) -> None:
    yard.runtime().ensure(SPEC)
    for name in ("program.log", "program.log.1", "program.log.before"):
        (yard.root / "n1/logs" / name).mkdir()
        (yard.root / "n1/logs" / name / "more").touch()
    (yard.root / "n1/keep/folder").mkdir()
    yard.runtime().ensure(replace(SPEC, generation="2"))
    assert facts(yard).state is JailState.RUNNING
    assert yard.runtime().logs("n1", 5) == []


def test_what_an_earlier_start_remembered_is_not_of_this_one(yard: Yard) -> None:
    yard.runtime().ensure(SPEC)
    yard.host.run("kill", "-9", str(facts(yard).pid))
    yard.clock.sleep(1.0)
    assert facts(yard).restarts == 1
    yard.runtime().ensure(replace(SPEC, generation="2"))
    assert (facts(yard).restarts, facts(yard).last_exit) == (0, "")
