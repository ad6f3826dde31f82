"""A jail of namespaces gets another name: its data go with it, its surroundings do not."""

from __future__ import annotations

import os
import signal
from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

import jailyard
import namespaceyard
from jails.runtime import JailError
from jails.spec import Isolation
from namespaceyard import GATEWAY

if TYPE_CHECKING:
    from pathlib import Path


def test_after_a_crash_the_surroundings_go_and_the_new_jail_takes_over_data_and_address() -> None:
    namespaceyard.need_network()
    spec = namespaceyard.jail(
        "n1",
        "import signal\nopen('starts', 'a').write('+')\nprint('up', flush=True)\nsignal.pause()",
        Isolation(network=namespaceyard.vnet(31, GATEWAY)),
        stop_deadline_s=5.0,
    )
    with namespaceyard.yard() as root:
        runtime = namespaceyard.runtime_at(root)
        runtime.ensure(spec)
        namespaceyard.said(root, "n1")
        with pytest.raises(JailError, match="n1: it runs; stop it first"):
            runtime.rename("n1", "n2")
        jailyard.eventually("as after a reboot, nothing of it runs", lambda: is_killed(root))
        assert namespaceyard.left_on_host(root) != []
        runtime.rename("n1", "n2")
        assert namespaceyard.left_on_host(root) == []
        assert list(runtime.look()) == ["n2"]
        moved = replace(spec, name="n2")
        runtime.ensure(moved)
        namespaceyard.said(root, "n2")
        assert (runtime.data_path("n2") / "starts").read_text() == "++"
        assert runtime.look()["n2"].program_digest == moved.program_digest()
        runtime.remove("n2")
        namespaceyard.check_nothing_left(root)


def is_killed(root: Path) -> bool:
    for pid in jailyard.processes_of(root):
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    return jailyard.processes_of(root) == []
