"""A reconciler that is killed anywhere is followed by one that ends where it would have ended.

It dies by SIGKILL right before some change that it makes: a file opened for writing, a rename, a
deletion, a program started; or from there on the disk is full. Its interpreter announces each of
them to an audit hook (PEP 578), so none is forgotten here that the code gains later. What came of
it is read from the machine. A few moments are drawn; with CRASHES=1000 in the environment all are.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections import Counter
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING

import pytest
import yaml

from jailyard import eventually
from reconciling import REALM, Bench, a_bench, node

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

SEED = 20
CRASHES = int(os.environ.get("CRASHES", "4"))
# Words: how it fails, before which change (0: never), the root of what counts, then the command's.
DOOMED = """
import os, signal, sys, threading
how, last, root, count, guard = sys.argv[1], int(sys.argv[2]), sys.argv[3], 0, threading.RLock()
changes = {"os.rename", "os.remove", "os.mkdir", "os.rmdir"}
writing = os.O_WRONLY | os.O_RDWR | os.O_CREAT
def heard(event, args):
    global count
    is_change = event in changes or (event == "open" and (args[2] or 0) & writing)
    is_ours = is_change and isinstance(args[0], str | os.PathLike) and root in os.fspath(args[0])
    if event == "subprocess.Popen" or is_ours:
        with guard:
            count += 1
            if count == last and how == "killed":
                os.kill(os.getpid(), signal.SIGKILL)
            if last and count >= last and how == "full" and event in ("open", "os.mkdir"):
                raise OSError(28, "No space left on device", os.fspath(args[0]))
sys.argv[:] = ["reconciler", *sys.argv[4:]]
from reconciler.cli import main
sys.addaudithook(heard)
try:
    main()
finally:
    print(count, "changes", file=sys.stderr)
"""


def app(name: str, version: str) -> str:
    code = "import signal; signal.pause()"
    command = [sys.executable, "-I", "-S", "-c", code, name, version]
    return yaml.safe_dump({"version": 1, "name": name, "node": "n1", "command": command})


BEFORE: dict[str, str | None] = {
    "apps/gone.yaml": app("gone", "1"),
    "apps/moved.yaml": app("moved", "1"),
    "apps/same.yaml": app("same", "1"),
    "apps/new.yaml": None,
}
AFTER: dict[str, str | None] = {
    "apps/gone.yaml": None,
    "apps/moved.yaml": app("moved", "2"),
    "apps/same.yaml": app("same", "1"),
    "apps/new.yaml": app("new", "1"),
}


@pytest.fixture
def bench() -> Iterator[Bench]:
    with a_bench() as bench:
        bench.upstream.commit({"realm.yaml": REALM, "nodes/n1.yaml": node("n1", 4701)})
        yield bench
        assert reconciler(bench, 0, "down").returncode == 0


def reconciler(
    bench: Bench, last: int, verb: str, how: str = "killed"
) -> subprocess.CompletedProcess[str]:
    words = (how, str(last), str(bench.root), verb, "--config", str(bench.config))
    argv = [sys.executable, "-c", DOOMED, *words]
    return subprocess.run(argv, capture_output=True, text=True, timeout=60, check=False)


def push(bench: Bench, files: Mapping[str, str | None]) -> str:
    there = bench.upstream.work
    return bench.upstream.commit(
        {path: text for path, text in files.items() if text or (there / path).exists()}
    )


def programs(bench: Bench) -> Counter[str]:
    """Every program of a jail that runs, by name and version; and how many keepers run."""
    found: Counter[str] = Counter()
    for file in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            words = file.read_bytes().decode(errors="replace").split("\0")[:-1]
            folder = str((file.parent / "cwd").readlink())
        except OSError:
            continue
        if "jails.keeper" in words and str(bench.root) in " ".join(words):
            found["keepers"] += 1
        elif "import signal; signal.pause()" in words and str(bench.root) in folder:
            found[" ".join(words[-2:])] += 1
    return found


def check(bench: Bench, files: Mapping[str, str | None], revision: str) -> None:
    """Exactly what was pushed runs, once, and is reported; nothing half written is left."""
    commands = [yaml.safe_load(text)["command"] for text in files.values() if text]
    wanted = Counter(" ".join(command[-2:]) for command in commands)
    wanted["keepers"] = len(commands)
    eventually(f"{wanted} run, found {programs(bench)}", lambda: programs(bench) == wanted, 10)
    said = json.loads((bench.root / "state/status.json").read_text())
    assert said["revisions"]["applied"] == revision
    running = {one["name"] for one in said["items"] if one["state"] == "running"}
    assert running == {command[-2] for command in commands}
    assert json.loads((bench.root / "state/state.json").read_text())["last_applied"] == revision
    assert not list((bench.root / "state").glob(".*"))


@pytest.mark.skipif(not Path("/proc/self/cmdline").exists(), reason="looks at processes in /proc")
@pytest.mark.parametrize("how", ["killed", "full"])
def test_whatever_fails_ends_where_an_uninterrupted_run_ends(bench: Bench, how: str) -> None:
    revision = push(bench, BEFORE)
    reconciler(bench, 0, "sync")
    check(bench, BEFORE, revision)
    revision = push(bench, AFTER)
    whole = reconciler(bench, 0, "sync")
    check(bench, AFTER, revision)
    borders = changes_of(whole)
    assert borders > 30, "the hook hears of hardly anything"
    drawn = Random(SEED).sample(range(1, borders - 1), min(CRASHES, borders - 2))
    killed = 0
    for files, last in zip((BEFORE, AFTER) * len(drawn), sorted(drawn), strict=False):
        revision = push(bench, files)
        failed = reconciler(bench, last, "sync", how)
        killed += failed.returncode == -9
        # How often a run looks again depends on the time: it may be through before that change.
        assert how == "full" or failed.returncode == -9 or changes_of(failed) < last, last
        check_whole(bench, last)
        again = reconciler(bench, 0, "sync")
        assert "Traceback" not in failed.stderr + again.stderr, last
        check(bench, files, revision)
    assert how == "full" or killed > len(drawn) / 2, f"{killed} of {len(drawn)} runs were killed"


def changes_of(run: subprocess.CompletedProcess[str]) -> int:
    """How many changes a run made that came to its end."""
    return int(run.stderr.split(" changes")[0].split()[-1])


def check_whole(bench: Bench, last: int) -> None:
    """No program runs twice, in one version or in two; the one that stays was never touched."""
    found = programs(bench)
    names = Counter(name.split()[0] for name in found if name != "keepers")
    assert not [name for name, count in names.items() if count > 1], f"change {last}: {found}"
    assert all(count == 1 for name, count in found.items() if name != "keepers"), f"{last}: {found}"
    assert found["same 1"] == 1, f"change {last}: {found}"
