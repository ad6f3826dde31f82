"""Hooks of a program in a jail: run as the program itself, bounded, and gone with the jail."""

from __future__ import annotations

import json
import os
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

import jailyard
import namespaceyard
from jails.runtime import JailError
from jails.spec import (
    HookKind,
    JailSpec,
    ProgramHooks,
    SecretEnvironment,
    encode_secret_environment,
)
from jailyard import IDLE, eventually, is_running, python

if TYPE_CHECKING:
    from collections.abc import Iterator

    from jails.process import ProcessRuntime

# Writes down what it sees of itself.
SEES = (
    "import json, os\n"
    "said = {'folder': os.getcwd(), 'user': os.getuid(), 'environment': dict(os.environ),\n"
    "        'words': open('/proc/self/cmdline').read()}\n"
    "open('seen.new', 'w').write(json.dumps(said))\n"
    "os.rename('seen.new', 'seen-{word}')\n"
)
# A hook that starts another program, says who both are, and never ends.
HANGS = (
    "import os, signal\n"
    "child = os.fork()\n"
    "if child:\n"
    "    open('pids.new', 'w').write(f'{os.getpid()} {child}')\n"
    "    os.rename('pids.new', 'pids')\n"
    "while True: signal.pause()\n"
)
SECRET = b"not for everybody"


@pytest.fixture(params=["process", "namespaces"])
def runtime(request: pytest.FixtureRequest) -> Iterator[ProcessRuntime]:
    if request.param == "namespaces":
        namespaceyard.need_namespaces()
        if not namespaceyard.abilities().is_root:
            pytest.skip("only root can run a command inside a jail")
        with namespaceyard.yard() as root:
            yield namespaceyard.runtime_at(root)
        return
    with jailyard.yard() as root:
        yield jailyard.runtime_at(root)


def seen(runtime: ProcessRuntime, name: str, word: str) -> dict[str, Any]:
    path = runtime.data_path(name) / f"seen-{word}"
    eventually(f"{word} was seen", path.exists)
    return dict(json.loads(path.read_text()))


def sees(word: str, then: str = "") -> tuple[str, ...]:
    return python(SEES.replace("{word}", word) + then)


@pytest.mark.skipif(not Path("/proc/self/cmdline").exists(), reason="reads /proc")
def test_hook_is_run_as_the_program_with_its_secrets_in_no_argument(
    runtime: ProcessRuntime, tmp_path: Path
) -> None:
    path = tmp_path / "secrets"
    path.touch(0o600)
    path.write_bytes(encode_secret_environment({"TOKEN": SECRET}))
    spec = JailSpec(
        name="n1",
        command=sees("program", "import signal\nsignal.pause()"),
        environment={"PLACE": "{data}/x", "WORD": "a b"},
        secrets=SecretEnvironment(path=str(path), digest="1"),
        hooks=ProgramHooks(start=(*sees("hook"), "{data}")),
        stop_deadline_s=5.0,
    )
    runtime.ensure(spec)
    assert runtime.hook("n1", HookKind.START)
    program, hook = seen(runtime, "n1", "program"), seen(runtime, "n1", "hook")
    assert hook["environment"]["TOKEN"].encode() == SECRET
    assert {key: hook["environment"][key] for key in ("PLACE", "WORD", "HOME", "PATH")} == {
        key: program["environment"][key] for key in ("PLACE", "WORD", "HOME", "PATH")
    }
    assert (hook["folder"], hook["user"]) == (program["folder"], program["user"])
    assert hook["words"].rstrip("\0").endswith(hook["folder"])
    assert SECRET.decode() not in hook["words"]


def test_jail_without_that_hook_or_that_does_not_run_has_none_run(runtime: ProcessRuntime) -> None:
    spec = JailSpec(name="n1", command=IDLE, hooks=ProgramHooks(stop=python("raise SystemExit(3)")))
    assert not runtime.hook("n1", HookKind.STOP)
    runtime.ensure(spec)
    assert not runtime.hook("n1", HookKind.DRAIN)
    runtime.stop("n1")
    assert not runtime.hook("n1", HookKind.STOP)


def test_hook_that_fails_says_how_and_what_it_wrote(runtime: ProcessRuntime) -> None:
    words = python("import sys\nsys.exit('no\\nroom')")
    runtime.ensure(JailSpec(name="n1", command=IDLE, hooks=ProgramHooks(stop=words)))
    with pytest.raises(JailError, match="n1: its stop hook: exit status 1: no room"):
        runtime.hook("n1", HookKind.STOP)


def test_hook_that_floods_is_ended(runtime: ProcessRuntime) -> None:
    words = python("while True: print('x' * 65536)")
    hooks = ProgramHooks(stop=words, timeout_s=30.0)
    runtime.ensure(JailSpec(name="n1", command=IDLE, hooks=hooks))
    with pytest.raises(JailError, match="more than"):
        runtime.hook("n1", HookKind.STOP)


@pytest.mark.skipif(not Path("/proc/self/cmdline").exists(), reason="reads /proc")
def test_hook_that_hangs_is_ended_with_all_that_it_started() -> None:
    with jailyard.yard() as root:
        runtime = jailyard.runtime_at(root)
        hooks = ProgramHooks(drain=python(HANGS), timeout_s=1.0)
        runtime.ensure(JailSpec(name="n1", command=IDLE, hooks=hooks))
        with pytest.raises(JailError, match="stopped after 2 s"):
            runtime.hook("n1", HookKind.DRAIN, extra_s=1.0)
        said = [int(pid) for pid in (runtime.data_path("n1") / "pids").read_text().split()]
        eventually("nothing is left", lambda: not any(map(is_running, said)))


@pytest.mark.skipif(not Path("/proc/self/cmdline").exists(), reason="reads /proc")
def test_hook_whose_caller_was_killed_goes_with_its_jail() -> None:
    with jailyard.yard() as root:
        runtime = jailyard.runtime_at(root)
        hooks = ProgramHooks(drain=python(HANGS), timeout_s=60.0)
        runtime.ensure(JailSpec(name="n1", command=IDLE, hooks=hooks, stop_deadline_s=1.0))
        if not (child := os.fork()):
            runtime.hook("n1", HookKind.DRAIN)
            os._exit(0)
        pids = runtime.data_path("n1") / "pids"
        eventually("the hook runs", pids.exists)
        os.kill(child, 9)
        os.waitpid(child, 0)
        said = [int(pid) for pid in pids.read_text().split()]
        assert all(map(is_running, said))
        runtime.stop("n1")
        assert not any(map(is_running, said))


def test_other_hooks_are_another_program(runtime: ProcessRuntime) -> None:
    spec = JailSpec(name="n1", command=IDLE, stop_deadline_s=5.0)
    runtime.ensure(spec)
    before = runtime.look()["n1"]
    runtime.ensure(replace(spec, hooks=ProgramHooks(stop=("/bin/true",))))
    assert runtime.look()["n1"].pid != before.pid
    assert runtime.hook("n1", HookKind.STOP)
