"""The process runtime with real processes, killed at every point that hurts."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import jailyard
from jails.keeper.records import MARKER, JailDirectory
from jails.process import ProcessRuntime, ProcessSettings
from jails.runtime import JailError
from jails.spec import JailFile, JailSpec, JailState, Restart, RestartPolicy
from maculaos.host.clock import SystemClock
from maculaos.host.processes import ProcessMark

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

# Says so on standard output if another copy runs, and counts its starts.
LONELY = jailyard.python(
    "import fcntl, os, signal\n"
    "fd = os.open('alone', os.O_CREAT | os.O_RDWR, 0o600)\n"
    "os.write(os.open('starts', os.O_CREAT | os.O_WRONLY | os.O_APPEND, 0o600), b'+')\n"
    "try: fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)\n"
    "except BlockingIOError: print('TWO COPIES', flush=True)\n"
    "signal.pause()\n"
)
LONELY_SPEC = JailSpec(name="n1", command=LONELY, stop_deadline_s=5.0)
# A program with a child in its group that ignores SIGTERM and writes down who it is.
FAMILY = (
    "import os, signal, sys, time\n"
    "if os.fork() == 0:\n"
    "    signal.signal(signal.SIGTERM, signal.SIG_IGN)\n"
    "    with open('child.new', 'w') as f: f.write(str(os.getpid()))\n"
    "    os.rename('child.new', 'child')\n"
    "    while True: signal.pause()\n"
    "signal.pause()\n"
)
# A caller in a process of its own, to be killed or to compete.
CALLER = (
    "import sys; from pathlib import Path; import jailyard; from jails.spec import JailSpec\n"
    "root, *command = sys.argv[1:]\n"
    "print('begin', flush=True)\n"
    "jailyard.runtime_at(Path(root)).ensure("
    "JailSpec(name='n1', command=tuple(command), stop_deadline_s=5.0))\n"
    "print('done', flush=True)\n"
)


@pytest.fixture
def root() -> Iterator[Path]:
    with jailyard.yard() as root:
        yield root


@pytest.fixture
def runtime(root: Path) -> ProcessRuntime:
    return jailyard.runtime_at(root)


def caller(root: Path) -> subprocess.Popen[str]:
    """Another process that ensures ``LONELY_SPEC``."""
    tests = os.path.dirname(jailyard.__file__)
    return subprocess.Popen(
        [sys.executable, "-c", CALLER, str(root), *LONELY],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={"PYTHONPATH": tests, "PATH": os.defpath},
    )


def directory_of(root: Path) -> JailDirectory:
    return JailDirectory(root / "n1")


def keeper_of(root: Path) -> int:
    report = directory_of(root).report()
    assert report is not None
    assert report.keeper is not None
    return report.keeper.pid


def ends(pid: int) -> None:
    jailyard.eventually(f"process {pid} ends", lambda: not is_running(pid))


def is_running(pid: int) -> bool:
    try:
        with open(f"/proc/{pid}/stat") as stat:
            return stat.read().rpartition(")")[2].split()[0] not in "ZX"
    except (FileNotFoundError, ProcessLookupError):
        return False


def starts(root: Path) -> int:
    return len((directory_of(root).data / "starts").read_bytes())


def check_alone(root: Path) -> None:
    assert "TWO COPIES" not in jailyard.runtime_at(root).logs("n1", 1000)


def check_nothing_left(root: Path) -> None:
    assert jailyard.processes_of(root) == []
    assert list(root.iterdir()) == []


def test_a_killed_program_is_started_again_and_counted(root: Path, runtime: ProcessRuntime) -> None:
    runtime.ensure(LONELY_SPEC)
    before = jailyard.pid_of(root)
    os.kill(before, signal.SIGKILL)
    jailyard.eventually("it restarts", lambda: jailyard.facts_of(root).restarts == 1)
    assert jailyard.pid_of(root) != before
    assert jailyard.facts_of(root).last_exit == "killed by SIGKILL"
    check_alone(root)


def test_between_two_starts_it_backs_off_and_can_be_stopped(
    root: Path, runtime: ProcessRuntime
) -> None:
    runtime.ensure(replace(LONELY_SPEC, restart=Restart(base_s=1000.0, max_s=1000.0)))
    os.kill(jailyard.pid_of(root), signal.SIGKILL)
    backing_off = JailState.BACKING_OFF
    jailyard.eventually("it backs off", lambda: jailyard.facts_of(root).state is backing_off)
    runtime.stop("n1")
    assert jailyard.facts_of(root).state is JailState.STOPPED


@pytest.mark.parametrize(
    ("policy", "status"), [(RestartPolicy.NEVER, 7), (RestartPolicy.ON_FAILURE, 0)]
)
def test_a_program_that_may_rest_is_over_and_its_keeper_goes(
    root: Path, runtime: ProcessRuntime, policy: RestartPolicy, status: int
) -> None:
    wait = "import os, time\nwhile not os.path.exists('go'): time.sleep(.005)"
    code = f"{wait}\nraise SystemExit({status})"
    runtime.ensure(
        JailSpec(name="n1", command=jailyard.python(code), restart=Restart(policy=policy))
    )
    keeper = keeper_of(root)
    (runtime.data_path("n1") / "go").touch()
    jailyard.eventually("it is over", lambda: jailyard.facts_of(root).state is JailState.FAILED)
    assert jailyard.facts_of(root).last_exit == f"exited with status {status}"
    ends(keeper)
    runtime.stop("n1")
    assert jailyard.facts_of(root).state is JailState.STOPPED


def test_an_orphan_is_seen_and_replaced_by_one_copy(root: Path, runtime: ProcessRuntime) -> None:
    runtime.ensure(LONELY_SPEC)
    orphan, keeper = jailyard.pid_of(root), keeper_of(root)
    os.kill(keeper, signal.SIGKILL)
    ends(keeper)
    facts = jailyard.facts_of(root)
    assert (facts.state, facts.pid) == (JailState.ORPHANED, orphan)
    runtime.ensure(LONELY_SPEC)
    assert not is_running(orphan)
    assert jailyard.pid_of(root) != orphan
    assert starts(root) == 2
    check_alone(root)


def test_what_an_orphan_left_when_it_died_is_ended_too(root: Path, runtime: ProcessRuntime) -> None:
    runtime.ensure(replace(LONELY_SPEC, command=jailyard.python(FAMILY), stop_deadline_s=0.2))
    child = child_of(root)
    program = jailyard.pid_of(root)
    os.kill(keeper_of(root), signal.SIGKILL)
    os.kill(program, signal.SIGKILL)
    ends(program)
    assert is_running(child)
    runtime.stop("n1")
    assert not is_running(child)


def child_of(root: Path) -> int:
    file = directory_of(root).data / "child"
    jailyard.eventually("the child runs", file.exists)
    return int(file.read_text())


def test_stop_ends_grandchildren_after_the_deadline(root: Path, runtime: ProcessRuntime) -> None:
    spec = replace(LONELY_SPEC, command=jailyard.python(FAMILY), stop_deadline_s=0.3)
    runtime.ensure(spec)
    child, program = child_of(root), jailyard.pid_of(root)
    runtime.stop("n1")
    assert not is_running(child)
    assert not is_running(program)


def test_children_of_a_program_that_crashed_do_not_meet_its_successor(
    root: Path, runtime: ProcessRuntime
) -> None:
    runtime.ensure(replace(LONELY_SPEC, command=jailyard.python(FAMILY)))
    child = child_of(root)
    (directory_of(root).data / "child").unlink()
    os.kill(jailyard.pid_of(root), signal.SIGKILL)
    assert child_of(root) != child
    assert not is_running(child)


def test_a_program_that_ignores_the_request_is_killed_after_its_deadline(
    root: Path, runtime: ProcessRuntime
) -> None:
    deaf = "import signal\nsignal.signal(signal.SIGTERM, signal.SIG_IGN)\nprint('deaf', flush=True)"
    command = jailyard.python(f"{deaf}\nwhile True: signal.pause()")
    runtime.ensure(JailSpec(name="n1", command=command, stop_deadline_s=0.3))
    jailyard.eventually("it is deaf", lambda: runtime.logs("n1", 1) == ["deaf"])
    began = time.monotonic()
    runtime.stop("n1")
    assert time.monotonic() - began >= 0.3
    assert jailyard.facts_of(root).last_exit == "killed by SIGKILL"
    assert jailyard.processes_of(root) == []


def test_a_stuck_keeper_is_killed_with_its_program(root: Path, runtime: ProcessRuntime) -> None:
    runtime.ensure(replace(LONELY_SPEC, stop_deadline_s=0.2))
    os.kill(keeper_of(root), signal.SIGSTOP)
    runtime.stop("n1")
    jailyard.eventually("nothing is left", lambda: jailyard.processes_of(root) == [])
    assert jailyard.facts_of(root).state is JailState.STOPPED


def test_a_program_that_ends_at_once_is_told_with_its_last_words(root: Path) -> None:
    runtime = ProcessRuntime(root, SystemClock(), ProcessSettings(settle_s=5.0))
    bad = JailSpec(name="n1", command=("sh", "-c", "echo no such port; exit 3"))
    with pytest.raises(
        JailError, match=r"n1: ended at once: exited with status 3; it wrote: no such port$"
    ):
        runtime.ensure(bad)
    assert jailyard.facts_of(root).state in {JailState.BACKING_OFF, JailState.RUNNING}


def test_a_program_that_is_not_there_is_told(runtime: ProcessRuntime) -> None:
    with pytest.raises(JailError, match="cannot start nosuch: No such file or directory"):
        runtime.ensure(JailSpec(name="n1", command=("nosuch",)))


def test_a_new_runtime_adopts_what_runs(root: Path, runtime: ProcessRuntime) -> None:
    runtime.ensure(LONELY_SPEC)
    before = jailyard.facts_of(root)
    with caller(root) as other:
        said, complaint = other.communicate(timeout=jailyard.PATIENCE_S)
    assert said.split() == ["begin", "done"], complaint
    assert jailyard.facts_of(root) == before
    assert starts(root) == 1


def test_the_keeper_outlives_the_process_that_asked_for_it(root: Path) -> None:
    with caller(root) as other:
        _, complaint = other.communicate(timeout=jailyard.PATIENCE_S)
    assert other.returncode == 0, complaint
    assert is_running(jailyard.pid_of(root))
    assert os.getsid(keeper_of(root)) == keeper_of(root) != os.getsid(0)


def test_two_that_ensure_at_once_start_one(root: Path) -> None:
    with caller(root) as first, caller(root) as second:
        for each in (first, second):
            said, complaint = each.communicate(timeout=jailyard.PATIENCE_S)
            assert said.split() == ["begin", "done"], complaint
    assert starts(root) == 1
    check_alone(root)


@pytest.mark.parametrize("delay_ms", [0, 1, 2, 4, 8, 12, 16, 20, 25, 30, 40, 60])
def test_a_caller_killed_on_its_way_leaves_what_the_next_ensure_repairs(
    root: Path, runtime: ProcessRuntime, delay_ms: int
) -> None:
    with caller(root) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == "begin\n"
        with suppress(subprocess.TimeoutExpired):
            # Not a wait for anything: the point at which the caller dies.
            other.wait(timeout=delay_ms / 1000)
        other.kill()
    runtime.ensure(LONELY_SPEC)
    assert jailyard.facts_of(root).program_digest == LONELY_SPEC.program_digest()
    check_alone(root)
    runtime.remove("n1")
    jailyard.eventually("late keepers give up", lambda: jailyard.processes_of(root) == [])
    check_nothing_left(root)


@pytest.mark.parametrize("left", ["directory", "marker", "data", "assignment", "temporary"])
def test_what_a_crash_left_of_a_first_ensure_is_completed(
    root: Path, runtime: ProcessRuntime, left: str
) -> None:
    runtime.ensure(LONELY_SPEC)
    runtime.stop("n1")
    directory = directory_of(root)
    stages = ["directory", "marker", "data", "assignment", "temporary"]
    gone = stages[stages.index(left) + 1 :]
    for entry in directory.path.iterdir():
        is_kept = entry.name in {MARKER, "data"} or "assignment" not in gone
        if not (is_kept and entry.name in {MARKER, "data", "spec.json"}):
            entry.unlink()
    if left == "temporary":
        (directory.path / ".spec.json.12345.0123abcd").touch()
    if "data" in gone:
        for entry in directory.data.iterdir():
            entry.unlink()
        directory.data.rmdir()
    if "marker" in gone:
        directory.disclaim()
    runtime.ensure(LONELY_SPEC)
    assert jailyard.facts_of(root).state is JailState.RUNNING
    assert not list(directory.path.glob(".spec.json.*"))


def test_a_keeper_that_comes_too_late_gives_up(root: Path, runtime: ProcessRuntime) -> None:
    runtime.ensure(LONELY_SPEC)
    assignment = directory_of(root).assignment()
    assert assignment is not None
    runtime.stop("n1")
    late = subprocess.run(
        [sys.executable, "-m", "jails.keeper", str(root / "n1"), str(assignment.launch)],
        capture_output=True,
        text=True,
        timeout=jailyard.PATIENCE_S,
        check=False,
    )
    assert (late.returncode, late.stderr) == (4, "the launch was called off\n")
    jailyard.eventually("it is gone", lambda: jailyard.processes_of(root) == [])
    assert starts(root) == 1


def test_a_second_keeper_is_refused_while_an_orphan_lives(
    root: Path, runtime: ProcessRuntime
) -> None:
    runtime.ensure(LONELY_SPEC)
    os.kill(keeper_of(root), signal.SIGKILL)
    second = subprocess.run(
        [sys.executable, "-m", "jails.keeper", str(root / "n1"), "1"],
        capture_output=True,
        text=True,
        timeout=jailyard.PATIENCE_S,
        check=False,
    )
    assert second.returncode == 4
    assert "is locked" in second.stderr
    assert starts(root) == 1


@pytest.mark.parametrize("born", ["", "00000000:1", "1234.50"])
def test_a_stale_report_never_harms_a_stranger(
    root: Path, runtime: ProcessRuntime, born: str
) -> None:
    runtime.ensure(LONELY_SPEC)
    runtime.stop("n1")
    report = directory_of(root).report()
    assert report is not None
    with subprocess.Popen(jailyard.IDLE, start_new_session=True) as stranger:
        mark = ProcessMark(stranger.pid, born)
        stale = replace(report, keeper=mark, program=mark, state=JailState.RUNNING)
        directory_of(root).write_report(stale)
        assert jailyard.facts_of(root).state is JailState.STOPPED
        runtime.stop("n1")
        runtime.ensure(LONELY_SPEC)
        runtime.remove("n1")
        assert stranger.poll() is None
        stranger.kill()
    check_nothing_left(root)


def test_a_stranger_in_a_group_with_our_number_is_spared(
    root: Path, runtime: ProcessRuntime
) -> None:
    """The first of the group is gone; who is left did not start from this jail."""
    family = "import os, signal\nif os.fork(): os._exit(0)\nprint(os.getpid(), flush=True)\n"
    command = jailyard.python(f"{family}signal.pause()")
    runtime.ensure(LONELY_SPEC)
    runtime.stop("n1")
    report = directory_of(root).report()
    assert report is not None
    with subprocess.Popen(
        command, start_new_session=True, stdout=subprocess.PIPE, text=True
    ) as stranger:
        assert stranger.stdout is not None
        left = int(stranger.stdout.readline())
        stranger.wait()
        gone = ProcessMark(stranger.pid, report.program_digest)
        directory_of(root).write_report(replace(report, program=gone, state=JailState.RUNNING))
        runtime.remove("n1")
        assert is_running(left)
        os.kill(left, signal.SIGKILL)


def test_the_environment_is_clean(
    root: Path, runtime: ProcessRuntime, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SECRET_OF_THE_PARENT", "x")
    code = (
        "import json, os, signal\n"
        "fds = sorted(map(int, os.listdir('/proc/self/fd')))[:-1]\n"
        "ignored = [n for n in signal.valid_signals()"
        " if n not in (signal.SIGPIPE, signal.SIGXFSZ)"
        " and signal.getsignal(n) == signal.SIG_IGN]\n"
        "print(json.dumps([dict(os.environ), os.getcwd(), len(fds), ignored,"
        " os.readlink('/proc/self/fd/0'), os.getsid(0) == os.getpid()]), flush=True)\n"
        "signal.pause()\n"
    )
    spec = JailSpec(name="n1", command=jailyard.python(code), environment={"STATE": "{data}/state"})
    runtime.ensure(spec)
    jailyard.eventually("it says", lambda: bool(runtime.logs("n1", 1)))
    environment, folder, handles, ignored, stdin, leads = json.loads(runtime.logs("n1", 1)[0])
    data = str(runtime.data_path("n1"))
    path = environment.pop("PATH")
    assert path.split(":")[0] == os.path.dirname(sys.executable)
    assert environment == {"HOME": data, "LANG": "C.UTF-8", "STATE": f"{data}/state"}
    # Standard input, output, error, and the lock.
    assert (folder, handles, ignored, stdin, leads) == (data, 4, [], "/dev/null", True)


def test_the_log_is_bounded(root: Path) -> None:
    runtime = ProcessRuntime(root, SystemClock(), ProcessSettings(log_bytes=10_000))
    code = "for n in range(20000): print('line', n)\nprint('end', flush=True)\nimport signal"
    runtime.ensure(JailSpec(name="n1", command=jailyard.python(f"{code}\nsignal.pause()")))
    jailyard.eventually("it wrote all", lambda: runtime.logs("n1", 1) == ["end"])
    sizes = {file.name: file.stat().st_size for file in (root / "n1").glob("log*")}
    assert set(sizes) == {"log", "log.1"}
    assert max(sizes.values()) <= 10_000
    assert runtime.logs("n1", 3) == ["line 19998", "line 19999", "end"]


def test_foreign_directories_are_neither_seen_nor_touched(
    root: Path, runtime: ProcessRuntime
) -> None:
    (root / "n1").mkdir(parents=True)
    (root / "n1" / "mine").touch()
    (root / "notes.txt").touch()
    assert dict(runtime.look()) == {}
    runtime.stop("n1")
    runtime.remove("n1")
    with pytest.raises(JailError, match=r"in the way, and not ours; move it elsewhere"):
        runtime.ensure(LONELY_SPEC)
    assert [file.name for file in (root / "n1").iterdir()] == ["mine"]


def test_a_link_out_of_the_jail_is_not_followed(root: Path, runtime: ProcessRuntime) -> None:
    runtime.ensure(LONELY_SPEC)
    outside = root.parent / "outside"
    outside.mkdir()
    data = runtime.data_path("n1")
    (data / "etc").symlink_to(outside)
    (data / "key").symlink_to(outside / "key")
    inside = replace(LONELY_SPEC, files=(JailFile(path="key", content=b"secret"),))
    runtime.update_files(inside)
    assert (data / "key").read_bytes() == b"secret"
    assert not (data / "key").is_symlink()
    with pytest.raises(JailError, match="leads out of"):
        runtime.update_files(replace(LONELY_SPEC, files=(JailFile(path="etc/x", content=b""),)))
    assert list(outside.iterdir()) == []


def test_files_have_their_modes_and_go_when_the_spec_drops_them(
    root: Path, runtime: ProcessRuntime
) -> None:
    files = (
        JailFile(path="deep/er/key", content=b"k"),
        JailFile(path="run", content=b"r", mode=0o755),
    )
    runtime.ensure(replace(LONELY_SPEC, files=files))
    data = runtime.data_path("n1")
    modes = {file.path: (data / file.path).stat().st_mode & 0o777 for file in files}
    assert modes == {"deep/er/key": 0o600, "run": 0o755}
    assert root.stat().st_mode & 0o777 == 0o700
    assert (data / "deep").stat().st_mode & 0o777 == 0o700
    (data / "own").touch()
    runtime.update_files(replace(LONELY_SPEC, files=files[1:]))
    assert not (data / "deep").exists()
    assert (data / "own").exists()


def test_a_file_that_changed_on_disk_is_drift_and_is_mended(
    root: Path, runtime: ProcessRuntime
) -> None:
    spec = replace(LONELY_SPEC, files=(JailFile(path="a", content=b"a"),))
    runtime.ensure(spec)
    before = jailyard.facts_of(root)
    file = runtime.data_path("n1") / "a"

    def block() -> None:
        file.unlink()
        os.mkfifo(file)

    def link_to_its_like() -> None:
        like = file.rename(root.parent / "like")
        file.symlink_to(like)

    def change() -> None:
        file.write_bytes(b"b")

    def open_up() -> None:
        file.chmod(0o644)

    for spoil in (change, open_up, file.unlink, block, link_to_its_like):
        spoil()
        assert jailyard.facts_of(root).files_digest != spec.files_digest()
        runtime.ensure(spec)
        assert jailyard.facts_of(root) == before


def test_remove_leaves_nothing_and_what_it_left_half_done_is_completed(
    root: Path, runtime: ProcessRuntime
) -> None:
    runtime.ensure(LONELY_SPEC)
    runtime.remove("n1")
    check_nothing_left(root)
    runtime.ensure(LONELY_SPEC)
    runtime.stop("n1")
    for entry in directory_of(root).contents():
        if entry.is_file():
            entry.unlink()
    assert list(runtime.look()) == ["n1"]
    runtime.remove("n1")
    check_nothing_left(root)


def test_a_port_is_free_again_after_stop(runtime: ProcessRuntime) -> None:
    code = (
        "import signal, socket\n"
        "s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); s.bind(('127.0.0.1', 0))\n"
        "print(s.getsockname()[1], flush=True); signal.pause()\n"
    )
    runtime.ensure(JailSpec(name="n1", command=jailyard.python(code)))
    jailyard.eventually("it says its port", lambda: bool(runtime.logs("n1", 1)))
    runtime.stop("n1")
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as mine:
        mine.bind(("127.0.0.1", int(runtime.logs("n1", 1)[0])))


def test_a_thousand_jails_are_seen_within_a_second(root: Path, runtime: ProcessRuntime) -> None:
    spec = replace(
        LONELY_SPEC, files=tuple(JailFile(path=f"f{n}", content=b"x" * 1000) for n in range(3))
    )
    runtime.ensure(spec)
    first = directory_of(root)
    assignment, report = first.assignment(), first.report()
    assert assignment is not None
    assert report is not None
    for number in range(999):
        other = root / f"copy-{number}"
        other.mkdir()
        copy = JailDirectory(other)
        copy.claim()
        for name in ("spec.json", "keeper.json"):
            (other / name).write_bytes((first.path / name).read_bytes())
        for file in spec.files:
            (copy.data / file.path).write_bytes(file.content)
            (copy.data / file.path).chmod(file.mode)
    began = time.process_time()
    seen = runtime.look()
    assert time.process_time() - began < 1.0
    assert len(seen) == 1000
    assert {facts.files_digest for facts in seen.values()} == {spec.files_digest()}


OPERATIONS = st.lists(
    st.tuples(
        st.sampled_from(["ensure", "stop", "remove", "kill program", "kill keeper", "both"]),
        st.sampled_from(["n1", "n2"]),
        st.sampled_from(["red", "blue"]),
    ),
    max_size=6,
)


@pytest.mark.timeout(240)
@settings(max_examples=12, suppress_health_check=[HealthCheck.too_slow])
@given(OPERATIONS)
def test_after_any_history_ensure_brings_what_is_wanted(
    history: list[tuple[str, str, str]],
) -> None:
    with jailyard.yard() as root:
        runtime = jailyard.runtime_at(root)
        for verb, name, colour in history:
            spec = replace(LONELY_SPEC, name=name, environment={"COLOUR": colour})
            act(root, runtime, verb, spec)
        for name in ("n1", "n2"):
            wanted = replace(LONELY_SPEC, name=name)
            runtime.ensure(wanted)
            facts = jailyard.facts_of(root, name)
            assert facts.state in {JailState.RUNNING, JailState.BACKING_OFF}
            assert facts.program_digest == wanted.program_digest()
            assert "TWO COPIES" not in runtime.logs(name, 1000)
            runtime.remove(name)
        check_nothing_left(root)


def act(root: Path, runtime: ProcessRuntime, verb: str, spec: JailSpec) -> None:
    if verb == "ensure":
        runtime.ensure(spec)
    elif verb == "stop":
        runtime.stop(spec.name)
    elif verb == "remove":
        runtime.remove(spec.name)
    else:
        report = JailDirectory(root / spec.name).report()
        kill_of(report.program if report and "keeper" not in verb else None)
        kill_of(report.keeper if report and "program" not in verb else None)


def kill_of(mark: ProcessMark | None) -> None:
    if mark is not None and is_running(mark.pid):
        os.kill(mark.pid, signal.SIGKILL)
        ends(mark.pid)
