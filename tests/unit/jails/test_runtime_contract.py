"""What every runtime must do, whatever jails are made of there."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

import freebsdyard
import jailyard
import namespaceyard
from jails.memory import MemoryRuntime
from jails.runtime import JailError
from jails.spec import (
    Isolation,
    JailFile,
    JailSpec,
    JailState,
    Limits,
    Network,
    NetworkKind,
    Restart,
    RestartPolicy,
    Root,
    RootKind,
)

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from jails.runtime import Runtime

CONFIG = JailFile(path="etc/node.yaml", content=b"version: 1\n")
PEERS = JailFile(path="peers", content=b"n2\n", mode=0o640, restarts=False)
SPEC = jailyard.idle(files=(CONFIG, PEERS), stop_deadline_s=5.0)
ISOLATING = ("jail", "namespaces")


@pytest.fixture(params=["memory", "process", "jail", "namespaces"])
def runtime(request: pytest.FixtureRequest) -> Iterator[Runtime]:
    if request.param == "memory":
        yield MemoryRuntime()
    elif request.param == "jail":
        with freebsdyard.yard() as machine:
            yield machine.runtime()
    elif request.param == "namespaces":
        namespaceyard.need_namespaces()
        with namespaceyard.yard() as root:
            yield namespaceyard.runtime_at(root)
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


def test_a_fresh_start_has_neither_restarts_nor_an_end_to_tell_of(runtime: Runtime) -> None:
    for generation in ("1", "2"):
        spec = replace(SPEC, generation=generation)
        runtime.ensure(spec)
        check_runs(runtime, spec)
        facts = runtime.look()["n1"]
        assert (facts.restarts, facts.last_exit) == (0, "")
    runtime.stop("n1")
    assert runtime.look()["n1"].last_exit == "killed by SIGTERM"
    runtime.ensure(SPEC)
    assert runtime.look()["n1"].last_exit == ""


def test_a_snapshot_brings_the_files_back(runtime: Runtime) -> None:
    runtime.ensure(SPEC)
    runtime.stop("n1")
    runtime.snapshot("n1", "before")
    runtime.update_files(replace(SPEC, files=(CONFIG, replace(PEERS, content=b"n3\n"))))
    assert runtime.look()["n1"].files_digest != SPEC.files_digest()
    for _ in range(2):
        runtime.restore("n1", "before")
        assert runtime.look()["n1"].files_digest == SPEC.files_digest()
    assert runtime.snapshots("n1") == ["before"]
    runtime.ensure(SPEC)
    check_runs(runtime, SPEC)


def test_what_runs_is_neither_copied_nor_replaced(runtime: Runtime, tmp_path: Path) -> None:
    runtime.ensure(SPEC)
    with pytest.raises(JailError, match="n1: it runs; stop it first"):
        runtime.snapshot("n1", "before")
    with pytest.raises(JailError, match="n1: it runs; stop it first"):
        runtime.restore("n1", "before")
    for act in (runtime.export, runtime.import_archive):
        with pytest.raises(JailError, match=r"n1: (it runs|the runtime memory cannot)"):
            act("n1", tmp_path / "n1.tar.gz")
    check_runs(runtime, SPEC)


def test_snapshots_that_are_not_there_and_labels_that_cannot_be_are_refused(
    runtime: Runtime,
) -> None:
    for act in (runtime.snapshot, runtime.restore):
        with pytest.raises(JailError, match="there is no such jail"):
            act("n1", "before")
    assert runtime.snapshots("n1") == []
    runtime.ensure(SPEC)
    runtime.stop("n1")
    with pytest.raises(JailError, match="there is no snapshot 'before'"):
        runtime.restore("n1", "before")
    runtime.snapshot("n1", "before")
    for label in ("before", "../up", ""):
        with pytest.raises(JailError):
            runtime.snapshot("n1", label)
    assert runtime.snapshots("n1") == ["before"]


def test_an_exported_jail_is_imported_whole_or_the_runtime_says_no(
    runtime: Runtime, tmp_path: Path
) -> None:
    archive = tmp_path / "n1.tar.gz"
    other = replace(SPEC, name="n2", files=())
    for spec in (SPEC, other):
        runtime.ensure(spec)
        runtime.stop(spec.name)
    if runtime.name == "memory":
        with pytest.raises(JailError, match="the runtime memory cannot write an archive"):
            runtime.export("n1", archive)
        return
    (runtime.data_path("n1") / "kept").write_bytes(b"what the program wrote")
    (runtime.data_path("n2") / "lost").write_bytes(b"")
    runtime.export("n1", archive)
    assert archive.stat().st_mode & 0o777 == 0o600
    runtime.import_archive("n2", archive)
    assert (runtime.data_path("n2") / "kept").read_bytes() == b"what the program wrote"
    assert (runtime.data_path("n2") / "peers").read_bytes() == PEERS.content
    assert not (runtime.data_path("n2") / "lost").exists()
    archive.write_bytes(b"no archive")
    with pytest.raises(JailError, match="cannot be imported"):
        runtime.import_archive("n2", archive)
    assert (runtime.data_path("n2") / "kept").exists()


def test_exec_and_usage_are_of_running_jails_or_refused_in_one_line(runtime: Runtime) -> None:
    if runtime.name in ISOLATING:
        for act in (lambda: runtime.exec("n1", ("true",)), lambda: runtime.usage("n1")):
            with pytest.raises(JailError, match="n1: it does not run; start it first"):
                act()
        runtime.ensure(SPEC)
        assert runtime.exec("n1", ("true",)) == ""
        assert (runtime.usage("n1").processes or 0) > 0
        with pytest.raises(JailError, match="exit status 1"):
            runtime.exec("n1", ("false",))
        return
    runtime.ensure(SPEC)
    with pytest.raises(JailError, match="cannot run a command inside a jail; take a runtime"):
        runtime.exec("n1", ("true",))
    with pytest.raises(JailError, match="cannot measure a jail; take a runtime"):
        runtime.usage("n1")


@pytest.mark.parametrize(
    "isolation",
    [
        Isolation(root=Root(kind=RootKind.THIN)),
        Isolation(network=Network(kind=NetworkKind.VNET, bridge="bridge0")),
        Isolation(limits=Limits(processes=5)),
        Isolation(user="macula"),
    ],
    ids=repr,
)
def test_nobody_believes_to_be_isolated_who_is_not(runtime: Runtime, isolation: Isolation) -> None:
    if runtime.name in ISOLATING:
        pytest.skip("this one isolates")
    with pytest.raises(JailError, match="cannot give it its own"):
        runtime.ensure(replace(SPEC, isolation=isolation))
    assert dict(runtime.look()) == {}


def write_kept(runtime: Runtime, name: str, text: str = "kept") -> None:
    """What a program would have written; the runtime in memory has only files of the spec."""
    if runtime.name != "memory":
        (runtime.data_path(name) / "written").write_text(text)


def check_kept(runtime: Runtime, name: str, text: str = "kept") -> None:
    if runtime.name != "memory":
        assert (runtime.data_path(name) / "written").read_text() == text


def rest(runtime: Runtime, spec: JailSpec, text: str = "kept") -> None:
    """A jail that ran, wrote something and was stopped."""
    runtime.ensure(spec)
    write_kept(runtime, spec.name, text)
    runtime.stop(spec.name)


def test_rename_gives_data_and_snapshots_to_the_new_name_and_can_be_repeated(
    runtime: Runtime,
) -> None:
    rest(runtime, SPEC, "before")
    runtime.snapshot("n1", "before")
    write_kept(runtime, "n1")
    for _ in range(2):
        runtime.rename("n1", "n2")
        assert list(runtime.look()) == ["n2"]
        assert runtime.look()["n2"].files_digest == SPEC.files_digest()
    assert runtime.snapshots("n1") == []
    assert runtime.snapshots("n2") == ["before"]
    assert runtime.logs("n1", 5) == runtime.logs("n2", 5) == []
    moved = replace(SPEC, name="n2")
    runtime.ensure(moved)
    check_runs(runtime, moved)
    check_kept(runtime, "n2")
    runtime.stop("n2")
    runtime.restore("n2", "before")
    check_kept(runtime, "n2", "before")


def test_what_was_renamed_has_data_and_never_ran(runtime: Runtime) -> None:
    rest(runtime, SPEC)
    runtime.rename("n1", "n2")
    facts = runtime.look()["n2"]
    assert (facts.name, facts.state, facts.program_digest) == ("n2", JailState.STOPPED, "")
    assert (facts.pid, facts.started_at, facts.restarts, facts.last_exit) == (None, None, 0, "")
    runtime.stop("n2")
    assert list(runtime.look()) == ["n2"]
    runtime.remove("n2")
    assert dict(runtime.look()) == {}


def test_files_of_the_former_spec_go_when_the_new_one_does_not_name_them(
    runtime: Runtime,
) -> None:
    rest(runtime, SPEC)
    runtime.rename("n1", "n2")
    moved = replace(SPEC, name="n2", files=(CONFIG,))
    runtime.ensure(moved)
    check_runs(runtime, moved)
    assert not (runtime.data_path("n2") / "peers").exists()
    check_kept(runtime, "n2")


def test_the_former_name_begins_anew_and_both_go_their_ways(runtime: Runtime) -> None:
    rest(runtime, SPEC)
    runtime.rename("n1", "n2")
    runtime.ensure(SPEC)
    check_runs(runtime, SPEC)
    assert not (runtime.data_path("n1") / "written").exists()
    runtime.ensure(replace(SPEC, name="n2"))
    check_kept(runtime, "n2")
    for name in ("n1", "n2"):
        runtime.remove(name)
    assert dict(runtime.look()) == {}


def test_a_jail_is_renamed_there_and_back_and_on(runtime: Runtime) -> None:
    rest(runtime, SPEC)
    for former, name in (("n1", "n2"), ("n2", "n1"), ("n1", "n3"), ("n3", "n2")):
        runtime.rename(former, name)
        assert list(runtime.look()) == [name]
    runtime.ensure(replace(SPEC, name="n2"))
    check_kept(runtime, "n2")


def test_what_runs_is_not_renamed_and_nothing_is_put_upon_what_has_data(runtime: Runtime) -> None:
    runtime.ensure(SPEC)
    with pytest.raises(JailError, match="n1: it runs; stop it first"):
        runtime.rename("n1", "n2")
    assert list(runtime.look()) == ["n1"]
    check_runs(runtime, SPEC)
    runtime.stop("n1")
    other = replace(SPEC, name="n2")
    rest(runtime, other, "other's")
    write_kept(runtime, "n1")
    before = runtime.look()
    for _ in range(2):
        with pytest.raises(JailError, match="n2: has a writable part of its own; remove that"):
            runtime.rename("n1", "n2")
    assert runtime.look() == before
    runtime.ensure(other)
    with pytest.raises(JailError, match=r"n2: (it runs; remove it first|has a writable part)"):
        runtime.rename("n1", "n2")
    check_runs(runtime, other)
    check_kept(runtime, "n2", "other's")
    runtime.remove("n2")
    runtime.rename("n1", "n2")
    runtime.ensure(other)
    check_kept(runtime, "n2")


def test_names_that_no_jail_can_have_are_not_renamed(runtime: Runtime) -> None:
    rest(runtime, SPEC)
    before = runtime.look()
    for former, name in (("n1", "../up"), ("../up", "n2"), ("n1", ""), ("", "n2"), ("n1", "N2")):
        with pytest.raises(JailError, match="is no name for a jail; use at most 32"):
            runtime.rename(former, name)
    with pytest.raises(JailError, match="n1: cannot take over from itself; name the jail"):
        runtime.rename("n1", "n1")
    assert runtime.look() == before


def test_without_a_former_jail_there_is_nothing_to_rename(runtime: Runtime) -> None:
    runtime.rename("n1", "n2")
    assert dict(runtime.look()) == {}
    other = replace(SPEC, name="n2")
    runtime.ensure(other)
    before = check_runs(runtime, other)
    runtime.rename("n1", "n2")
    assert check_runs(runtime, other) == before
