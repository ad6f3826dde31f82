"""The real start script under real shells: it keeps its program as the policy says."""

from __future__ import annotations

import os
import shutil
import signal
import time
from itertools import pairwise
from typing import TYPE_CHECKING

import pytest

import startyard
from jails.spec import JailState, Restart, RestartPolicy
from startyard import is_alive

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from startyard import Yard

QUICK = Restart(base_s=0.05, max_s=0.2)
STAYS = "echo $$ >>pids; exec sleep 600"
# FreeBSD's is an Almquist shell, and so are these. Not bash: there a wait(1) that a signal breaks
# off may lose the end of the program, and waits for ever.
SHELLS = {"dash": "dash", "ash": "busybox"}


@pytest.fixture(
    params=[
        pytest.param(name, marks=pytest.mark.skipif(not shutil.which(file), reason=f"needs {file}"))
        for name, file in SHELLS.items()
    ]
)
def yard(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Yard]:
    # Busybox is what it is called.
    shell = tmp_path / request.param
    shell.symlink_to(shutil.which(SHELLS[request.param]) or "")
    with startyard.yard(str(shell)) as yard:
        yield yard


def policy(policy: RestartPolicy) -> Restart:
    return Restart(policy=policy, base_s=0.02, max_s=0.05)


def check_over(yard: Yard, last_exit: str) -> None:
    """The loop is gone, daemon(8) with it, and so it says."""
    assert yard.daemon is not None
    yard.daemon.wait(startyard.PATIENCE_S)
    status = yard.status()
    assert (status.state, status.last_exit) == (JailState.FAILED, last_exit)
    assert status.program is None
    yard.eventually("nothing is left", lambda: yard.processes() == [])


def test_a_program_that_runs_is_on_record(yard: Yard) -> None:
    before = int(time.time())
    yard.start(STAYS, QUICK)
    yard.eventually("it began", yard.runs)
    status = yard.status()
    assert (status.state, status.restarts, status.last_exit) == (JailState.RUNNING, 0, "")
    assert before <= status.started_at <= time.time()


def test_a_killed_program_comes_back_and_is_counted(yard: Yard) -> None:
    yard.start(STAYS, QUICK)
    for restarts in range(3):
        yard.eventually("it runs", yard.runs)
        status = yard.status()
        assert status.restarts == restarts
        assert status.last_exit == ("killed by SIGKILL" if restarts else "")
        os.kill(yard.program(), signal.SIGKILL)
        yard.eventually("its end is seen", lambda: not yard.runs())


def test_waits_double_up_to_the_longest_and_a_steady_run_forgets_them(yard: Yard) -> None:
    program = (
        "date +%s%N >>starts; n=$(wc -l <starts);"
        " [ $n -lt 6 ] || [ $n -gt 6 ] || exec sleep 2; [ $n -lt 9 ] || exec sleep 600"
    )
    yard.start(program, Restart(base_s=0.2, max_s=0.8, steady_s=2.0))
    yard.eventually("it started nine times", lambda: len(yard.said("starts")) == 9)
    starts = [int(line) / 1e9 for line in yard.said("starts")]
    waits = [after - before for before, after in pairwise(starts)]
    least = [0.2, 0.4, 0.8, 0.8, 0.8, 2.2, 0.4, 0.8]
    assert all(wait >= wanted for wait, wanted in zip(waits, least, strict=True))
    # Had it not forgotten, the seventh wait would be twice as long; a busy machine adds its own.
    assert waits[6] < 0.8
    assert yard.status().restarts == 8


@pytest.mark.parametrize(
    ("when", "exit_status", "is_again"),
    [
        (RestartPolicy.ALWAYS, 0, True),
        (RestartPolicy.ON_FAILURE, 0, False),
        (RestartPolicy.ON_FAILURE, 3, True),
        (RestartPolicy.NEVER, 0, False),
        (RestartPolicy.NEVER, 3, False),
    ],
)
def test_policy_decides(yard: Yard, when: RestartPolicy, exit_status: int, is_again: bool) -> None:
    yard.start(f"echo >>starts; exit {exit_status}", policy(when))
    if is_again:
        yard.eventually("it is started again", lambda: len(yard.said("starts")) > 3)
        assert yard.status().last_exit == f"exited with status {exit_status}"
    else:
        check_over(yard, f"exited with status {exit_status}")
        assert len(yard.said("starts")) == 1


def test_a_kill_is_a_failure_but_not_a_reason_for_never(yard: Yard) -> None:
    yard.start(STAYS, policy(RestartPolicy.NEVER))
    os.kill(yard.program(), signal.SIGKILL)
    check_over(yard, "killed by SIGKILL")


def test_what_ended_for_good_stays_ended_when_daemon_runs_the_loop_again(yard: Yard) -> None:
    yard.start("echo >>starts", policy(RestartPolicy.ON_FAILURE))
    check_over(yard, "exited with status 0")
    yard.run()
    check_over(yard, "exited with status 0")
    assert len(yard.said("starts")) == 1


def test_a_killed_loop_is_followed_by_one_that_keeps_the_same_program(yard: Yard) -> None:
    yard.start(STAYS, QUICK)
    yard.eventually("it runs", yard.runs)
    pid, loop = yard.program(), yard.loop()
    os.kill(loop, signal.SIGKILL)
    yard.eventually("there is another loop", lambda: yard.loop() != loop)
    assert is_alive(pid)
    assert yard.status().program == pid
    os.kill(pid, signal.SIGKILL)
    yard.eventually("it came back", lambda: yard.status().restarts == 1)
    assert yard.status().last_exit == "ended unseen, while its supervisor was away"
    pids = yard.said("pids")
    assert sum(is_alive(int(each)) for each in pids) <= 1


def test_loops_killed_at_any_moment_never_make_two_copies(yard: Yard) -> None:
    yard.start(STAYS, Restart(base_s=0.01, max_s=0.01))
    for turn in range(12):
        loop = yard.loop()
        if turn % 3:
            yard.eventually("it runs", yard.runs)
        yard.kill(loop)
        pid = yard.status().program
        if pid is not None and is_alive(pid):
            yard.kill(pid)
        living = [each for each in yard.said("pids") if is_alive(int(each))]
        assert len(living) <= 1
    yard.eventually("it runs", lambda: yard.runs() and is_alive(yard.program()))
    living = [each for each in yard.said("pids") if is_alive(int(each))]
    assert living == [str(yard.program())]
    # daemon(8), the loop and its wait, the writer of the log and its dd, the program.
    yard.eventually("no helpers are left over", lambda: len(yard.processes()) <= 6)


def test_a_wait_goes_on_below_the_next_loop(yard: Yard) -> None:
    yard.start("echo >>starts; exit 3", Restart(base_s=600.0, max_s=600.0))
    yard.eventually("it waits", lambda: yard.status().state is JailState.BACKING_OFF)
    loop = yard.loop()
    os.kill(loop, signal.SIGKILL)
    yard.eventually("there is another loop", lambda: yard.loop() != loop)
    assert yard.status().state is JailState.BACKING_OFF
    assert yard.said("starts") == [""]


def test_a_request_to_end_reaches_the_program_once_and_its_answer_is_kept(yard: Yard) -> None:
    program = (
        "trap 'echo asked >>said; [ $(wc -l <said) -gt 1 ] || sleep 0.3; exit 7' TERM;"
        " echo up >up; while :; do sleep 0.05; done"
    )
    yard.start(program, QUICK)
    yard.eventually("it is up", lambda: yard.said("up") == ["up"])
    assert yard.daemon is not None
    yard.daemon.terminate()
    yard.eventually("it stopped", lambda: yard.status().state is JailState.STOPPED)
    assert yard.status().last_exit == "exited with status 7"
    assert yard.said("said") == ["asked"]
    yard.eventually("nothing is left", lambda: yard.processes() == [])


def test_a_request_to_end_breaks_a_wait_off(yard: Yard) -> None:
    yard.start("exit 3", Restart(base_s=600.0, max_s=600.0))
    yard.eventually("it waits", lambda: yard.status().state is JailState.BACKING_OFF)
    os.kill(yard.loop(), signal.SIGTERM)
    yard.eventually("it is over", lambda: yard.status().state is not JailState.BACKING_OFF)


def test_the_log_is_bounded_and_keeps_the_last_words(yard: Yard) -> None:
    limit = yard.seats.log_bytes
    program = (
        "i=0; while [ $i -lt 20000 ]; do echo line $i; i=$((i + 1)); done;"
        " echo last words >&2; exec sleep 600"
    )
    yard.start(program, QUICK)
    yard.eventually("all is written", lambda: yard.place.last_lines(1) == ["last words"])
    sizes = [path.stat().st_size for path in yard.place.logs.iterdir()]
    assert len(sizes) == 2
    assert max(sizes) <= limit
    assert yard.place.last_lines(3) == ["line 19998", "line 19999", "last words"]
    # The newer file may have just begun: the older one makes up for it.
    assert len(yard.place.last_lines(2000)) == 2000


def test_the_last_words_arrive_when_the_loop_is_killed_with_its_program(yard: Yard) -> None:
    yard.start("echo begun; while :; do [ ! -e die ] || break; done; echo ended; exit 3", QUICK)
    yard.eventually("it begins", lambda: yard.place.last_lines(1) == ["begun"])
    os.kill(yard.loop(), signal.SIGKILL)
    (yard.place.directory.data / "die").touch()
    yard.eventually("it ended", lambda: "ended" in yard.place.last_lines(9))


def test_a_log_that_cannot_be_written_does_not_hold_the_program(yard: Yard) -> None:
    yard.place.log.mkdir()
    program = (
        "i=0; while [ $i -lt 20000 ]; do echo line $i; i=$((i + 1)); done; echo >done; exec sleep 9"
    )
    yard.start(program, QUICK)
    yard.eventually("it wrote all", lambda: bool(yard.said("done")))
    assert yard.status().restarts == 0


def test_a_program_that_cannot_be_started_says_so_and_is_tried_again(yard: Yard) -> None:
    yard.start("exec /nonexistent/program", QUICK)
    yard.eventually("it is tried again", lambda: yard.status().restarts > 1)
    assert yard.status().last_exit == "exited with status 127"
    assert any("/nonexistent/program" in line for line in yard.place.last_lines(9))


def test_the_last_words_arrive_when_everybody_is_asked_to_end(yard: Yard) -> None:
    """As jail(8) does: each process of the jail gets the signal."""
    yard.start("trap 'echo goodbye; exit 0' TERM; echo up; while :; do sleep 0.05; done", QUICK)
    yard.eventually("it is up", lambda: yard.place.last_lines(1) == ["up"])
    assert yard.daemon is not None
    os.killpg(yard.daemon.pid, signal.SIGTERM)
    yard.eventually("it says goodbye", lambda: "goodbye" in yard.place.last_lines(9))
    yard.eventually("it stopped", lambda: yard.status().state is JailState.STOPPED)
    assert yard.status().last_exit == "exited with status 0"
