"""What every runtime must do, whatever jails are made of there."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

import jailyard
from jails.memory import MemoryRuntime
from jails.runtime import JailError
from jails.spec import JailFile, JailSpec, JailState, Restart, RestartPolicy

if TYPE_CHECKING:
    from collections.abc import Iterator

    from jails.runtime import Runtime

CONFIG = JailFile(path="etc/node.yaml", content=b"version: 1\n")
PEERS = JailFile(path="peers", content=b"n2\n", mode=0o640, restarts=False)
SPEC = jailyard.idle(files=(CONFIG, PEERS), stop_deadline_s=5.0)


@pytest.fixture(params=["memory", "process"])
def runtime(request: pytest.FixtureRequest) -> Iterator[Runtime]:
    if request.param == "memory":
        yield MemoryRuntime()
    else:
        with jailyard.yard() as root:
            yield jailyard.runtime_at(root)


def check_runs(runtime: Runtime, spec: JailSpec) -> int:
    facts = runtime.look()[spec.name]
    assert facts.state is JailState.RUNNING
    assert facts.program_digest == spec.program_digest()
    assert facts.files_digest == spec.files_digest()
    assert facts.started_at is not None
    assert facts.pid is not None
    return facts.pid


def test_nothing_is_seen_where_nothing_was_made(runtime: Runtime) -> None:
    assert dict(runtime.look()) == {}


def test_ensure_runs_the_program_with_its_files(runtime: Runtime) -> None:
    runtime.ensure(SPEC)
    check_runs(runtime, SPEC)


def test_ensure_leaves_an_equal_jail_alone(runtime: Runtime) -> None:
    runtime.ensure(SPEC)
    before = runtime.look()
    runtime.ensure(SPEC)
    assert runtime.look() == before


def test_ensure_replaces_a_program_that_differs(runtime: Runtime) -> None:
    runtime.ensure(SPEC)
    before = check_runs(runtime, SPEC)
    changed = replace(SPEC, environment={"COLOUR": "blue"}, files=(CONFIG,))
    runtime.ensure(changed)
    assert check_runs(runtime, changed) != before


def test_ensure_mends_reloadable_files_without_a_restart(runtime: Runtime) -> None:
    runtime.ensure(SPEC)
    before = check_runs(runtime, SPEC)
    changed = replace(SPEC, files=(CONFIG, replace(PEERS, content=b"n3\n")))
    assert runtime.look()["n1"].files_digest != changed.files_digest()
    runtime.ensure(changed)
    assert check_runs(runtime, changed) == before


def test_update_files_leaves_the_program_alone(runtime: Runtime) -> None:
    runtime.ensure(SPEC)
    before = check_runs(runtime, SPEC)
    changed = replace(SPEC, files=(CONFIG, replace(PEERS, path="friends")))
    runtime.update_files(changed)
    assert check_runs(runtime, changed) == before


def test_update_files_of_no_jail_is_refused(runtime: Runtime) -> None:
    with pytest.raises(JailError, match="n1: there is no such jail; start it first"):
        runtime.update_files(SPEC)
    assert dict(runtime.look()) == {}


def test_stop_keeps_the_files_and_ensure_brings_it_back(runtime: Runtime) -> None:
    runtime.ensure(SPEC)
    runtime.stop("n1")
    facts = runtime.look()["n1"]
    assert facts.state is JailState.STOPPED
    assert facts.pid is facts.started_at is None
    assert facts.last_exit == "killed by SIGTERM"
    assert facts.files_digest == SPEC.files_digest()
    runtime.ensure(SPEC)
    check_runs(runtime, SPEC)


def test_stop_and_remove_can_be_repeated(runtime: Runtime) -> None:
    runtime.ensure(SPEC)
    for _ in range(2):
        runtime.stop("n1")
    assert runtime.look()["n1"].state is JailState.STOPPED
    for _ in range(2):
        runtime.remove("n1")
    assert dict(runtime.look()) == {}


def test_unknown_names_are_stopped_and_removed_already(runtime: Runtime) -> None:
    for name in ("n9", "../n9", ""):
        runtime.stop(name)
        runtime.remove(name)
        assert runtime.logs(name, 5) == []


def test_names_do_not_interfere(runtime: Runtime) -> None:
    runtime.ensure(SPEC)
    other = replace(SPEC, name="n2", files=())
    runtime.ensure(other)
    kept = check_runs(runtime, SPEC)
    runtime.remove("n2")
    assert list(runtime.look()) == ["n1"]
    assert check_runs(runtime, SPEC) == kept


def test_data_path_ends_in_the_name_and_is_absolute(runtime: Runtime) -> None:
    assert runtime.data_path("n1").is_absolute()
    assert runtime.data_path("n1").parent.name == "n1"
    with pytest.raises(JailError):
        runtime.data_path("../n1")


@pytest.mark.parametrize(
    "bad",
    [
        jailyard.idle("UPPER"),
        jailyard.idle("../up"),
        jailyard.idle("a" * 33),
        JailSpec(name="n1", command=()),
        JailSpec(name="n1", command=("",)),
        JailSpec(name="n1", command=("a\0b",)),
        jailyard.idle(environment={"A=B": "c"}),
        jailyard.idle(files=(JailFile(path="../up", content=b""),)),
        jailyard.idle(files=(JailFile(path="/etc/passwd", content=b""),)),
        jailyard.idle(files=(JailFile(path="a//b", content=b""),)),
        jailyard.idle(files=(JailFile(path="", content=b""),)),
        jailyard.idle(files=(JailFile(path="a", content=b"", mode=0o4755),)),
        jailyard.idle(files=(CONFIG, CONFIG)),
        jailyard.idle(files=(CONFIG, JailFile(path="etc", content=b""))),
    ],
    ids=repr,
)
def test_what_no_runtime_could_run_is_refused_before_anything_is_made(
    runtime: Runtime, bad: JailSpec
) -> None:
    with pytest.raises(JailError):
        runtime.ensure(bad)
    assert dict(runtime.look()) == {}


def test_policy_is_part_of_what_runs(runtime: Runtime) -> None:
    runtime.ensure(SPEC)
    before = check_runs(runtime, SPEC)
    changed = replace(SPEC, restart=Restart(policy=RestartPolicy.NEVER))
    runtime.ensure(changed)
    assert check_runs(runtime, changed) != before
