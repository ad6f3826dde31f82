"""Health: what lasts is a verdict, what misses the deadline is one too, with the reason."""

from __future__ import annotations

import json
import socket
import threading
from typing import Any

import pytest

from appliance.health import HOLD_S, Check, MachineHealth, Report, Watch, read_status
from maculaos.host.commands import CommandFailed, ScriptedRunner

WELL = Report((Check("mesh", True),))
ILL = Report((Check("mesh", False, "alone"),))
STATUS = ("reconciler", "status", "--json")
ENABLED = ("service", "reconciler", "enabled")
GETTY = ("pgrep", "-x", "getty")


def test_health_counts_when_it_lasts() -> None:
    watch = Watch(0.0, deadline_s=100)
    assert watch.see(WELL, 0.0) is None
    assert watch.see(ILL, HOLD_S - 1) is None
    assert watch.see(WELL, HOLD_S) is None
    assert watch.see(WELL, 2 * HOLD_S - 1) is None
    verdict = watch.see(WELL, 2 * HOLD_S)
    assert verdict is not None
    assert verdict.is_well


def test_deadline_ends_a_trial_with_the_reason() -> None:
    watch = Watch(0.0, deadline_s=100)
    assert watch.see(ILL, 99.0) is None
    verdict = watch.see(ILL, 100.0)
    assert verdict is not None
    assert (verdict.is_well, verdict.reason) == (False, "not healthy within 100 s: mesh: alone")


def test_flapping_past_the_deadline_is_ill() -> None:
    watch = Watch(0.0, deadline_s=100)
    assert watch.see(WELL, 95.0) is None
    assert watch.see(WELL, 101.0) is None
    verdict = watch.see(ILL, 102.0)
    assert verdict is not None
    assert not verdict.is_well


def status(**changes: Any) -> str:
    node = {"name": "n1", "kind": "node", "members": {"alive": 3, "known": 3}}
    return json.dumps({"converged": True, "problems": [], "items": [node], **changes})


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (status(), "healthy"),
        (status(items=[]), "healthy"),
        (status(items=[{"name": "e", "kind": "app", "members": None}]), "healthy"),
        (
            status(items=[{"name": "n1", "kind": "node", "members": {"alive": 1, "known": 1}}]),
            "healthy",
        ),
        (status(converged=False), "reconciler: it has not converged"),
        (status(converged=False, problems=["no\ndisk"]), "reconciler: no disk"),
        (
            status(items=[{"name": "n1", "kind": "node", "members": {"alive": 1, "known": 3}}]),
            "mesh: node n1 sees nobody else",
        ),
        (
            status(items=[{"name": "n1", "kind": "node", "members": None}]),
            "mesh: node n1 does not answer",
        ),
        ("", "reconciler: its status cannot be read"),
        ("[]", "reconciler: its status cannot be read"),
        ('{"converged": true}', "reconciler: its status cannot be read"),
        ('{"converged": true, "items": [3]}', "reconciler: its status cannot be read"),
    ],
)
def test_status_of_the_reconciler_is_read(text: str, said: str) -> None:
    assert Report(read_status(text)).describe() == said


def no_ssh() -> tuple[str, int]:
    """An address at which nobody listens."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        return ("127.0.0.1", server.getsockname()[1])


def test_machine_that_follows_no_repository_needs_a_way_in_alone() -> None:
    off = CommandFailed(ENABLED, 1, "")
    health = MachineHealth(ScriptedRunner({GETTY: "71\n", ENABLED: off}), no_ssh())
    assert health.look() == Report((Check("way in", True),))
    deaf = ScriptedRunner({GETTY: CommandFailed(GETTY, 1, ""), ENABLED: off})
    assert not MachineHealth(deaf, no_ssh()).look().is_well


def test_sshd_that_greets_is_a_way_in() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:

        def greet() -> None:
            connection, _ = server.accept()
            with connection:
                connection.sendall(b"SSH-2.0-OpenSSH\r\n")

        thread = threading.Thread(target=greet)
        thread.start()
        runner = ScriptedRunner({ENABLED: "", STATUS: status()})
        report = MachineHealth(runner, ("127.0.0.1", server.getsockname()[1])).look()
        thread.join(10)
    assert report.describe() == "healthy"
    assert GETTY not in runner.asked


def test_reconciler_that_does_not_answer_is_ill_health() -> None:
    failed = CommandFailed(STATUS, 2, "reconciler: none runs here")
    runner = ScriptedRunner({GETTY: "1", ENABLED: "", STATUS: failed})
    said = MachineHealth(runner, no_ssh()).look().describe()
    assert said == "reconciler: reconciler: none runs here"
