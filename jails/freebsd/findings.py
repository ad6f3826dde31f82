"""The facts of one jail: what its record says, as far as its processes bear it out."""

from __future__ import annotations

from typing import TYPE_CHECKING

from jails.freebsd import jail, ps
from jails.keeper.placing import digest_on_disk
from jails.spec import JailFacts, JailState
from maculaos.host.commands import CommandFailed

if TYPE_CHECKING:
    from jails.freebsd.place import Place
    from maculaos.host.commands import CommandRunner


def facts_of(place: Place, runner: CommandRunner, *, is_living: bool) -> JailFacts:
    """What is so of a jail that the kernel has, or has not; raises ``CommandFailed``."""
    record = place.record()
    state, pid = state_of(place, runner) if is_living else (JailState.STOPPED, None)
    if is_living and record is None:
        # It runs, but nobody knows from which spec.
        state = JailState.ORPHANED
    is_running = pid is not None
    return JailFacts(
        name=place.name,
        state=state,
        program_digest=record.program_digest if record else "",
        files_digest=digest_on_disk(place.directory, record.files if record else ()),
        pid=pid,
        started_at=record.started_at if record and is_running else None,
        last_exit=record.last_exit if record else "",
    )


def state_of(place: Place, runner: CommandRunner) -> tuple[JailState, int | None]:
    """What the processes of a living jail say, and the program, which is daemon(8)'s child."""
    try:
        listed = runner.run(*ps.list_argv(place.kernel_name))
    except CommandFailed as failed:
        if jail.is_unknown_jail(failed.stderr, place.kernel_name):
            return JailState.STOPPED, None
        raise
    processes = ps.parse_processes(listed)
    pids = {each.pid for each in processes}
    eldest = [each for each in processes if each.parent not in pids]
    keepers = {each.pid for each in eldest if each.command.startswith("daemon: ")}
    child = next((each.pid for each in processes if each.parent in keepers), None)
    if child is not None:
        return JailState.RUNNING, child
    if keepers:
        return JailState.BACKING_OFF, None
    return (JailState.ORPHANED, min(pids)) if pids else (JailState.FAILED, None)
