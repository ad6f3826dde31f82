"""Laws of applying: every step tried, each recorded, none begun once it shall stop."""

from __future__ import annotations

import asyncio
import threading
from typing import TYPE_CHECKING

from jails.hooks import HookFailed
from jails.memory import MemoryRuntime
from jails.spec import HookKind, JailFile, JailSpec, JailState, ProgramHooks
from maculaos.host.clock import SystemClock
from reconciler.apply import Applier, Observer, StepRecord
from reconciler.steps import MoveJail, RemoveJail, ReplaceJail, StartJail, UpdateFiles

if TYPE_CHECKING:
    from jails.runtime import Runtime
    from reconciler.steps import Step


def spec(name: str, content: bytes = b"1") -> JailSpec:
    file = JailFile(path="x", content=content, restarts=False)
    return JailSpec(name=name, command=("run",), files=(file,))


def apply(
    runtime: Runtime,
    *steps: Step,
    reload: str = "",
    stop_after: int = 99,
    step_deadline_s: float = 30.0,
) -> tuple[tuple[StepRecord, ...], list[str]]:
    """The records, and what the observer heard."""
    heard: list[str] = []

    async def main() -> tuple[StepRecord, ...]:
        stopping = asyncio.Event()

        async def tell(_: str) -> str:
            heard.append("reload")
            return reload

        def ended(record: StepRecord) -> None:
            heard.append(f"ended {record.step.name}")
            if sum(word.startswith("ended") for word in heard) >= stop_after:
                stopping.set()

        observer = Observer(began=lambda step: heard.append(f"began {step.name}"), ended=ended)
        applier = Applier(runtime, tell, SystemClock(), step_deadline_s=step_deadline_s)
        async with asyncio.timeout(20):
            return await applier.apply(steps, stopping, observer)

    return asyncio.run(main()), heard


def test_steps_are_taken_in_order_and_recorded() -> None:
    runtime = MemoryRuntime()
    runtime.ensure(spec("old"))
    records, heard = apply(runtime, RemoveJail("old", "r"), StartJail(spec("new"), "r"))
    assert [record.is_ok for record in records] == [True, True]
    assert list(runtime.look()) == ["new"]
    assert heard == ["began old", "ended old", "began new", "ended new"]


def test_failed_step_stops_no_other() -> None:
    runtime = MemoryRuntime()
    runtime.fail_next_ensure("a", "its port is taken")
    records, _ = apply(runtime, StartJail(spec("a"), "r"), StartJail(spec("b"), "r"))
    assert [record.is_ok for record in records] == [False, True]
    assert "its port is taken" in records[0].failure
    assert records[0].describe().startswith("cannot ")


def test_no_step_is_begun_once_stopping() -> None:
    runtime = MemoryRuntime()
    steps = [StartJail(spec(name), "r") for name in ("a", "b", "c")]
    records, _ = apply(runtime, *steps, stop_after=2)
    assert len(records) == 2
    assert list(runtime.look()) == ["a", "b"]


def test_reloaded_program_is_not_restarted() -> None:
    runtime = MemoryRuntime()
    runtime.ensure(spec("a"))
    records, heard = apply(runtime, UpdateFiles(spec("a", b"2"), "r"))
    assert records[0].is_ok
    assert "reload" in heard
    assert runtime.started == ["a"]
    assert runtime.look()["a"].files_digest == spec("a", b"2").files_digest()


def test_program_that_cannot_reload_is_restarted() -> None:
    runtime = MemoryRuntime()
    runtime.ensure(spec("a"))
    records, _ = apply(runtime, UpdateFiles(spec("a", b"2"), "r"), reload="it refused")
    assert records[0].is_ok
    assert runtime.started == ["a", "a"]
    assert runtime.look()["a"].state is JailState.RUNNING


class StuckRuntime(MemoryRuntime):
    """A runtime whose ``ensure`` comes back only when it is let go."""

    def __init__(self) -> None:
        super().__init__()
        self.go = threading.Event()

    def ensure(self, spec: JailSpec) -> None:
        if spec.name == "stuck":
            self.go.wait(10)
        super().ensure(spec)


def test_step_past_its_deadline_is_given_up_and_its_jail_left_alone() -> None:
    runtime = StuckRuntime()
    stuck = JailSpec(name="stuck", command=("run",), stop_deadline_s=0.1)
    threading.Timer(1.5, runtime.go.set).start()
    records, _ = apply(
        runtime,
        StartJail(stuck, "r"),
        ReplaceJail(stuck, "r"),
        StartJail(spec("b"), "r"),
        step_deadline_s=0.1,
    )
    assert [record.is_ok for record in records] == [False, False, True]
    assert "not done within" in records[0].failure
    assert "has not come back" in records[1].failure


def test_failure_that_quotes_a_program_is_one_printable_line() -> None:
    runtime = MemoryRuntime()
    runtime.fail_next_ensure("n1", "it wrote: \x1b[31mred\x1b]0;t\x07 \u202e\nand more")
    (record,), _ = apply(runtime, StartJail(spec("n1"), "r"))
    assert record.failure.isprintable()
    assert record.failure.startswith("it wrote:")


def hooked(name: str) -> JailSpec:
    return JailSpec(name=name, command=("run",), hooks=ProgramHooks(stop=("save",)))


def test_stop_hook_is_run_before_a_program_is_replaced_moved_or_removed() -> None:
    for step in (
        RemoveJail("a", "r"),
        ReplaceJail(spec("a"), "r"),
        MoveJail(spec("b"), "r", former="a"),
    ):
        runtime = MemoryRuntime()
        runtime.ensure(hooked("a"))
        (record,), _ = apply(runtime, step)
        assert record.is_ok
        assert runtime.hooked == [("a", HookKind.STOP)]


def test_program_that_goes_on_has_no_hook_run() -> None:
    runtime = MemoryRuntime()
    runtime.ensure(hooked("a"))
    apply(runtime, StartJail(hooked("a"), "its release is gone from the disk"))
    assert runtime.hooked == []


def test_orphan_has_its_stop_hook_run_before_another_takes_its_place() -> None:
    runtime = MemoryRuntime()
    runtime.ensure(hooked("a"))
    runtime.orphan("a")
    apply(runtime, StartJail(hooked("a"), "its supervisor is gone"))
    assert runtime.hooked == [("a", HookKind.STOP)]


class BadHooks(MemoryRuntime):
    """Every hook fails."""

    def hook(self, name: str, kind: HookKind, extra_s: float = 0.0) -> bool:
        raise HookFailed(name, kind, f"exit status 3 after {extra_s:g}")


def test_stop_hook_that_fails_is_told_and_the_program_ends_all_the_same() -> None:
    runtime, told = BadHooks(), list[tuple[str, HookKind, str]]()
    runtime.ensure(hooked("a"))

    async def main() -> None:
        async def reload(_: str) -> str:
            return ""

        observer = Observer(began=lambda _: None, ended=lambda _: None)
        applier = Applier(runtime, reload, SystemClock(), tell=lambda *said: told.append(said))
        (record,) = await applier.apply([RemoveJail("a", "r")], asyncio.Event(), observer)
        assert record.is_ok

    asyncio.run(main())
    assert told == [("a", HookKind.STOP, "its stop hook: exit status 3 after 0")]
    assert not runtime.look()
