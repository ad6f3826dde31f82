"""Verdicts follow from the facts, and whatever is not well comes with a next move."""

from __future__ import annotations

import os
import threading
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from maculaos.errors import UsageError
from maculaos.host.files import exclusive_lock
from reconciler.doctor import (
    MIB,
    Finding,
    Presence,
    Space,
    Verdict,
    is_well,
    judge_certificate,
    judge_clock,
    judge_folder,
    judge_git,
    judge_heartbeat,
    judge_key,
    judge_listener,
    judge_presence,
    judge_program,
    judge_space,
    judge_tls,
)
from reconciler.examination import in_time, lock_holder
from reconciler.generations import Suspension
from reconciler.status import Status

if TYPE_CHECKING:
    from pathlib import Path

NOW = 1_800_000_000.0
OK, WARN, FAIL = Verdict.OK, Verdict.WARN, Verdict.FAIL
DAY = 86_400.0
SHOWN = Status(
    at=NOW - 5, pid=7, started_at=NOW - 50, runtime="process", url="u", branch="main",
    reconciled_at=NOW - 5,
)  # fmt: skip
NOTHING = Finding("nothing", OK, "to be said")


def judged_listener(*, is_running: bool, answers: bool = False, is_free: bool = True) -> Finding:
    return judge_listener(
        "listener metrics", "[::1]:9", answers=answers, is_free=is_free, is_running=is_running
    )


@pytest.mark.parametrize(
    ("finding", "verdict"),
    [
        (judge_space("/x", Space(10 * MIB, None)), FAIL),
        (judge_space("/x", Space(100 * MIB, None)), WARN),
        (judge_space("/x", Space(9000 * MIB, 10)), FAIL),
        (judge_space("/x", Space(9000 * MIB, 5000)), WARN),
        (judge_space("/x", Space(9000 * MIB, 10**6)), OK),
        (judge_clock(NOW, NOW + 60), OK),
        (judge_clock(NOW, NOW + 600), FAIL),
        (judge_clock(1_000_000.0, 0.0), FAIL),
        (judge_folder("state_dir", "/x", 0o40700, is_ours=True), OK),
        (judge_folder("state_dir", "/x", 0o40770, is_ours=True), FAIL),
        (judge_folder("state_dir", "/x", 0o40700, is_ours=False), FAIL),
        (judge_folder("state_dir", "/x", None, is_ours=False), WARN),
        (judge_git("git version 2.39.5"), OK),
        (judge_git("git version 2.20.1"), WARN),
        (judge_git(""), FAIL),
        (judge_presence(Presence("7", SHOWN)), OK),
        (judge_presence(Presence(None, None)), WARN),
        (judge_presence(Presence("7", None, "no answer")), FAIL),
        (judge_heartbeat(SHOWN, NOW, 10.0), OK),
        (judge_heartbeat(None, NOW, 10.0), WARN),
        (judge_heartbeat(SHOWN, NOW + 600, 10.0), FAIL),
        (judge_heartbeat(replace(SHOWN, reconciled_at=NOW - 999), NOW, 10.0), WARN),
        (judge_heartbeat(replace(SHOWN, suspended=Suspension(since=1.0)), NOW, 10.0), WARN),
        (judge_certificate("n1", NOW + 100 * DAY, NOW, "renew"), OK),
        (judge_certificate("n1", NOW + 3 * DAY, NOW, "renew"), WARN),
        (judge_certificate("n1", NOW - 1, NOW, "renew"), FAIL),
        (judge_program("age", "v1.1.1", is_needed=True, what_for="secrets"), OK),
        (judge_program("age", "", is_needed=False, what_for="secrets"), WARN),
        (judge_program("sops", "", is_needed=True, what_for="secrets"), FAIL),
        (judge_key("/keys", 2), OK),
        (judge_key("", 2), FAIL),
        (judged_listener(is_running=True, answers=True), OK),
        (judged_listener(is_running=True, answers=False), FAIL),
        (judged_listener(is_running=False, is_free=True), OK),
        (judged_listener(is_running=False, is_free=False), FAIL),
        (judge_tls("listener metrics", "/chain", NOW - 1, NOW) or NOTHING, FAIL),
        (judge_tls("listener metrics", "/chain", NOW + DAY, NOW) or NOTHING, WARN),
        (judge_tls("listener metrics", "/chain", NOW + 99 * DAY, NOW) or NOTHING, OK),
    ],
)
def test_verdict_follows_from_facts(finding: Finding, verdict: Verdict) -> None:
    assert finding.verdict is verdict
    assert bool(finding.fix) is (verdict is not OK)
    assert is_well([finding]) is (verdict is not FAIL)


def test_a_check_that_hangs_is_a_finding() -> None:
    never = threading.Event()

    def hang() -> Finding:
        never.wait()
        return Finding("x", OK, "")

    try:
        assert in_time("disk", hang, 0.05).verdict is FAIL
    finally:
        never.set()


def test_a_check_that_fails_keeps_its_next_move() -> None:
    def fail() -> Finding:
        raise UsageError("no runtime works here", "install bubblewrap")

    found = in_time("runtime", fail)
    assert (found.verdict, found.fix) == (FAIL, "install bubblewrap")


def test_the_holder_of_a_lock_is_found_and_a_dead_one_is_not(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    assert lock_holder(path) is None
    with exclusive_lock(path):
        assert lock_holder(path) == str(os.getpid())
    assert lock_holder(path) is None
    path.write_text("99999999\n")
    assert lock_holder(path) is None
