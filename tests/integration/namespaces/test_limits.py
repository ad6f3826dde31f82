"""Limits of jails: what is enforced here is, and what cannot be is refused and said."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

import jailyard
import namespaceyard
from jails.namespaces import limits
from jails.runtime import JailError
from jails.spec import Isolation, Limits

WAIT = "import signal; signal.pause()"
MIB = 1 << 20


def said_within(wanted: Limits, code: str) -> list[str]:
    """What a program says that has only so much."""
    namespaceyard.need_namespaces()
    with namespaceyard.yard() as root:
        spec = namespaceyard.jail("n1", f"{code}\n{WAIT}", Isolation(limits=wanted))
        namespaceyard.runtime_at(root).ensure(spec)
        return namespaceyard.said(root, "n1")


def test_a_jail_cannot_open_more_files_than_it_may() -> None:
    code = (
        "import os\n"
        "got = []\n"
        "try:\n"
        "    while True: got.append(os.open('/dev/null', 0))\n"
        "except OSError as e: print(len(got), e.strerror, flush=True)\n"
        "for each in got: os.close(each)"
    )
    (line,) = said_within(Limits(open_files=40), code)
    count, _, why = line.partition(" ")
    assert why == "Too many open files"
    assert int(count) < 40


def test_a_process_cannot_have_more_memory_than_its_jail() -> None:
    if limits.MEMORY in namespaceyard.abilities().controllers:
        pytest.skip("a control group kills here, where the stand-in refuses")
    code = (
        f"kept = bytearray({32 * MIB})\n"
        f"try: bytearray({512 * MIB}); print('had it', flush=True)\n"
        "except MemoryError: print('refused', flush=True)"
    )
    assert said_within(Limits(memory_bytes=256 * MIB), code) == ["refused"]


def test_a_jail_within_a_control_group_cannot_have_more_than_that() -> None:
    abilities = namespaceyard.abilities()
    if lacking := {limits.MEMORY, limits.PROCESSES} - abilities.controllers:
        pytest.skip(f"no control group v2 here for {', '.join(sorted(lacking))}")
    code = (
        "import os, signal, time\n"
        "try:\n"
        "    for _ in range(30):\n"
        "        if os.fork() == 0: signal.pause()\n"
        "    print('had them', flush=True)\n"
        "except OSError: print('refused', flush=True)"
    )
    wanted = Limits(memory_bytes=256 * MIB, processes=10, cpu_percent=50)
    assert said_within(wanted, code) == ["refused"]


@pytest.mark.parametrize(
    ("wanted", "controller", "why"),
    [
        (Limits(processes=5), limits.PROCESSES, "the number of processes cannot be limited"),
        (Limits(cpu_percent=50), limits.CPU, "the processor share cannot be limited"),
    ],
)
def test_a_limit_that_cannot_be_had_is_refused(wanted: Limits, controller: str, why: str) -> None:
    namespaceyard.need_namespaces()
    if controller in namespaceyard.abilities().controllers:
        pytest.skip(f"this host has control group v2 for {controller}")
    assert controller in namespaceyard.abilities().statement()
    with namespaceyard.yard() as root:
        with pytest.raises(JailError, match=why):
            namespaceyard.runtime_at(root).ensure(jailyard.idle(isolation=Isolation(limits=wanted)))
        assert not root.exists() or not os.listdir(root)


def test_a_limit_is_gone_with_its_jail() -> None:
    namespaceyard.need_namespaces()
    groups = namespaceyard.abilities().groups
    with namespaceyard.yard() as root:
        runtime = namespaceyard.runtime_at(root)
        runtime.ensure(jailyard.idle(isolation=Isolation(limits=Limits(open_files=64))))
        runtime.remove("n1")
        namespaceyard.check_nothing_left(root)
        assert groups is None or not list(Path(groups).glob("macula/*n1"))
