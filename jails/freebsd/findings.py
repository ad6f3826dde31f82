"""The facts of one jail: what its record and its status say, as far as its processes bear it out.

    daemon(8)   status        the program    state
    runs        running       runs           RUNNING
    runs        failed        -              FAILED
    runs        anything else, or none       BACKING_OFF: it starts, ends, or waits
    is gone     failed        -              FAILED
    is gone     anything else, or none       ORPHANED if anything runs, STOPPED if nothing does

A jail writes its own status, so a lie there is a wrong fact of that jail and of no other: a number
that is no process of the jail counts for nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from jails.freebsd import jail, ps
from jails.keeper.placing import digest_on_disk
from jails.spec import JailFacts, JailState
from maculaos.host.commands import CommandFailed

if TYPE_CHECKING:
    from jails.freebsd.place import Place, Record
    from jails.freebsd.ps import JailProcess
    from jails.freebsd.status import Status
    from maculaos.host.commands import CommandRunner


def facts_of(place: Place, runner: CommandRunner, *, is_living: bool) -> JailFacts:
    """What is so of a jail that the kernel has, or has not; raises ``CommandFailed``."""
    record, status = place.record(), place.status()
    state, pid = _state(place, runner, status) if is_living else (JailState.STOPPED, None)
    if is_living and record is None:
        # It runs, but nobody knows from which spec.
        state = JailState.ORPHANED
    return JailFacts(
        name=place.name,
        state=state,
        program_digest=record.program_digest if record else "",
        files_digest=digest_on_disk(place.directory, record.files if record else ()),
        pid=pid,
        started_at=_started_at(record, status) if pid is not None else None,
        restarts=status.restarts if status else 0,
        last_exit=_last_exit(record, status, is_living=is_living),
    )


def state_of(place: Place, runner: CommandRunner) -> tuple[JailState, int | None]:
    """The state of a living jail, and its program where one runs; raises ``CommandFailed``."""
    # Read before the processes are: whoever it names was on record before it ran.
    return _state(place, runner, place.status())


def _state(
    place: Place, runner: CommandRunner, status: Status | None
) -> tuple[JailState, int | None]:
    try:
        listed = runner.run(*ps.list_argv(place.kernel_name))
    except CommandFailed as failed:
        if jail.is_unknown_jail(failed.stderr, place.kernel_name):
            return JailState.STOPPED, None
        raise
    return _borne_out(status, ps.parse_processes(listed))


def _borne_out(
    status: Status | None, processes: tuple[JailProcess, ...]
) -> tuple[JailState, int | None]:
    pids = {each.pid for each in processes}
    eldest = [each for each in processes if each.parent not in pids]
    keepers = {each.pid for each in eldest if each.command.startswith("daemon: ")}
    program = status.program if status else None
    if status and status.state is JailState.FAILED:
        return JailState.FAILED, None
    if program in pids - keepers:
        return (JailState.RUNNING if keepers else JailState.ORPHANED), program
    if keepers:
        return JailState.BACKING_OFF, None
    return (JailState.ORPHANED, min(pids)) if pids else (JailState.STOPPED, None)


def _started_at(record: Record | None, status: Status | None) -> float | None:
    if status is not None:
        return status.started_at
    return record.started_at if record else None


def _last_exit(record: Record | None, status: Status | None, *, is_living: bool) -> str:
    """Who stopped a jail wrote down what he saw, unless its loop lived to tell how it ended."""
    if status is not None and (is_living or status.state is not JailState.RUNNING):
        return status.last_exit
    return record.last_exit if record else ""
