"""The loop of the model: it reads the script that is rendered, and writes what the host reads."""

from __future__ import annotations

import pytest

from jails.freebsd.model.loop import Loop
from jails.freebsd.render import start_script
from jails.freebsd.status import parse_status
from jails.spec import Isolation, JailSpec, JailState, Restart, RestartPolicy


@pytest.mark.parametrize(
    ("policy", "exit_status", "state"),
    [
        (RestartPolicy.ALWAYS, 0, JailState.BACKING_OFF),
        (RestartPolicy.ON_FAILURE, 0, JailState.FAILED),
        (RestartPolicy.ON_FAILURE, 3, JailState.BACKING_OFF),
        (RestartPolicy.NEVER, 3, JailState.FAILED),
    ],
)
def test_policy_decides(policy: RestartPolicy, exit_status: int, state: JailState) -> None:
    said: list[bytes] = []
    spec = JailSpec(
        name="n1",
        command=("/x",),
        restart=Restart(policy=policy, base_s=2.5),
        isolation=Isolation(user="macula"),
    )
    loop = Loop(start_script(spec), said.append)
    assert loop.user == "macula"
    loop.started(780, 100.0)
    loop.ended(exit_status, 101.0)
    assert loop.next_start == (103.5 if state is JailState.BACKING_OFF else 0.0)
    running, ended = map(parse_status, said)
    assert running is not None
    assert (running.state, running.program, running.started_at) == (JailState.RUNNING, 780, 100.0)
    assert ended is not None
    assert (ended.state, ended.program) == (state, None)
    assert ended.last_exit == f"exited with status {exit_status}"
