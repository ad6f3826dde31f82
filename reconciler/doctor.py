"""What is wrong with this machine, for a reconciler: verdicts from facts, each with a next move.

Pure. The facts are gathered in ``reconciler.examination``, which knows the machine. Limits are
those beyond which people are woken too late: see the constants.
"""

from __future__ import annotations

import re
from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Final

from reconciler.status import Status, moment

if TYPE_CHECKING:
    from collections.abc import Iterable

MIB: Final = 1 << 20
FEWEST_FREE_BYTES: Final = 64 * MIB
FEW_FREE_BYTES: Final = 512 * MIB
FEWEST_FREE_INODES: Final = 1000
FEW_FREE_INODES: Final = 10_000
# Clocks that differ less do not matter here; certificates are made valid some minutes back.
CLOCK_SLACK_S: Final = 120.0
# No file of this program is older.
EARLIEST_S: Final = 1_735_689_600.0  # 2025-01-01
# A status is written every ten seconds, even if it says the same.
HEARTBEAT_LATE_S: Final = 60.0
RENEW_BEFORE_S: Final = 14 * 86_400.0
OLDEST_GIT: Final = (2, 34)  # the first that checks SSH signatures

_GIT_VERSION: Final = re.compile(r"git version (\d+)\.(\d+)")


class Verdict(StrEnum):
    """What came of a check."""

    OK = "ok"
    WARN = "warn"  # it works, and will not for long, or not as it could
    FAIL = "fail"


@dataclass(frozen=True, slots=True)
class Finding:
    """One check: what was found, and what to do about it."""

    check: str
    verdict: Verdict
    said: str
    fix: str = ""

    def as_json(self) -> dict[str, Any]:
        """For programs."""
        return {**asdict(self), "verdict": str(self.verdict)}


@dataclass(frozen=True, slots=True)
class Space:
    """What is free on a file system; ``inodes`` None where they are made as needed."""

    free_bytes: int
    inodes: int | None


@dataclass(frozen=True, slots=True)
class Presence:
    """Whether a reconciler is there: who holds the lock, and whether it answers."""

    # The process that the lock names; None if nobody holds it.
    holder: str | None
    # None if nobody answers on the control socket.
    answered: Status | None
    reason: str = ""


def is_well(findings: Iterable[Finding]) -> bool:
    """Whether no check failed."""
    return all(one.verdict is not Verdict.FAIL for one in findings)


def judge_space(path: str, space: Space) -> Finding:
    """Room for a clone, for releases, and for what is written down."""
    mib = space.free_bytes // MIB
    inodes = "" if space.inodes is None else f", {space.inodes} inodes"
    scarce = space.inodes if space.inodes is not None else FEW_FREE_INODES
    said, fix = f"{mib} MiB{inodes} free in {path}", f"make room in {path}"
    if space.free_bytes < FEWEST_FREE_BYTES or scarce < FEWEST_FREE_INODES:
        return Finding("space", Verdict.FAIL, said, fix)
    if space.free_bytes < FEW_FREE_BYTES or scarce < FEW_FREE_INODES:
        return Finding("space", Verdict.WARN, said, fix)
    return Finding("space", Verdict.OK, said)


def judge_clock(now: float, newest: float) -> Finding:
    """The clock against ``newest``, the latest time that was ever written down here."""
    fix = "set the clock, and start ntpd"
    if now < EARLIEST_S:
        return Finding("clock", Verdict.FAIL, f"it is {moment(now)} here, years back", fix)
    if now < newest - CLOCK_SLACK_S:
        said = f"it is {moment(now)} here, and something was written at {moment(newest)}"
        return Finding("clock", Verdict.FAIL, said, fix)
    return Finding("clock", Verdict.OK, moment(now))


def judge_folder(setting: str, path: str, mode: int | None, *, is_ours: bool) -> Finding:
    """A folder that nobody else may write to; ``mode`` is None for one that is not there."""
    check = f"folder {setting}"
    if mode is None:
        said, fix = f"{path} is not there yet", "it is made at the first start; or make it"
        return Finding(check, Verdict.WARN, said, fix)
    if mode & 0o022:
        return Finding(check, Verdict.FAIL, f"others may write to {path}", f"chmod go-w {path}")
    if not is_ours:
        hint = f"let {setting} name a folder that this user may write to"
        return Finding(check, Verdict.FAIL, f"we may not write to {path}", hint)
    return Finding(check, Verdict.OK, path)


def judge_git(said: str) -> Finding:
    """The version that ``git --version`` says; empty for no git."""
    found = _GIT_VERSION.match(said)
    if found is None:
        return Finding("git", Verdict.FAIL, "there is no git program", "install git")
    if (int(found[1]), int(found[2])) < OLDEST_GIT:
        return Finding("git", Verdict.WARN, said, "2.34 or newer checks SSH signatures: upgrade")
    return Finding("git", Verdict.OK, said)


def judge_presence(presence: Presence) -> Finding:
    """Whether a reconciler runs, and whether the one that runs answers."""
    check = "reconciler"
    if presence.answered is not None:
        return Finding(check, Verdict.OK, f"process {presence.answered.pid} answers")
    if presence.holder is None:
        return Finding(check, Verdict.WARN, "none runs here", "start it: reconciler run")
    said = f"process {presence.holder} holds the lock and does not answer: {presence.reason}"
    return Finding(check, Verdict.FAIL, said, "read its log; if it hangs, kill it and start anew")


def judge_heartbeat(shown: Status | None, now: float, drift_interval_s: float) -> Finding:
    """Whether a reconciler that runs also works: its status, and its last repair."""
    check, fix = "progress", "read its log; reconciler status says what is under way"
    if shown is None:
        return Finding(check, Verdict.WARN, "nothing was ever shown", "start it: reconciler run")
    if now - shown.at > HEARTBEAT_LATE_S:
        said = f"its last status is of {moment(shown.at)}"
        return Finding(check, Verdict.FAIL, f"looks alive, does nothing: {said}", fix)
    last = shown.reconciled_at
    is_due = shown.suspended is None and not shown.look_error and last is not None
    if is_due and last is not None and now - last > 10 * drift_interval_s + HEARTBEAT_LATE_S:
        said = f"the machine was last repaired at {moment(last)}"
        return Finding(check, Verdict.WARN, said, fix)
    if shown.suspended is not None:
        said = dict(shown.withheld())["suspended"]
        return Finding(check, Verdict.WARN, f"suspended {said}", "reconciler resume")
    return Finding(check, Verdict.OK, f"its last status is of {moment(shown.at)}")


def judge_certificate(node: str, not_after: float, now: float, renewal: str) -> Finding:
    """How long the certificate of ``node`` is good; ``renewal`` is the command for a new one."""
    check, until = f"credentials {node}", moment(not_after)
    fix = f"where the realm's authority is: {renewal}"
    if not_after <= now:
        return Finding(check, Verdict.FAIL, f"its certificate ended at {until}", fix)
    if not_after - now < RENEW_BEFORE_S:
        return Finding(check, Verdict.WARN, f"its certificate ends at {until}", fix)
    return Finding(check, Verdict.OK, f"good until {until}")


def judge_program(name: str, version: str, *, is_needed: bool, what_for: str) -> Finding:
    """A program that decrypts; ``version`` is what it says of itself, empty if it is not there."""
    if version:
        return Finding(name, Verdict.OK, version)
    said, fix = f"there is no {name} program, for {what_for}", f"install {name}"
    return Finding(name, Verdict.FAIL if is_needed else Verdict.WARN, said, fix)


def judge_key(key_file: str, uses: int) -> Finding:
    """Whether this machine can have the secrets that its apps name; "" for no file of keys."""
    if key_file:
        return Finding("secrets", Verdict.OK, f"{uses} are named, the keys are in {key_file}")
    said = f"apps name {uses} secrets, and this machine has no key"
    return Finding("secrets", Verdict.FAIL, said, "name its file: secrets.key_file")


def judge_listener(
    check: str, at: str, *, answers: bool, is_free: bool, is_running: bool
) -> Finding:
    """Whether a listener listens, or could: ``is_free`` says that nobody else listens there."""
    if is_running and answers:
        return Finding(check, Verdict.OK, f"listens at {at}")
    if is_running:
        fix = "read the log of the reconciler; start it anew"
        return Finding(check, Verdict.FAIL, f"nobody listens at {at}", fix)
    if not is_free:
        fix = f"choose another port: {check.split()[-1]}.listen"
        return Finding(check, Verdict.FAIL, f"another program has {at}", fix)
    return Finding(check, Verdict.OK, f"{at} is free, none runs here")


def judge_tls(check: str, chain: str, not_after: float, now: float) -> Finding | None:
    """How long the certificate of a listener is good; None for long enough."""
    until, fix = moment(not_after), f"put a new one to {chain}; it is taken up at once"
    if not_after <= now:
        return Finding(check, Verdict.FAIL, f"its certificate ended at {until}", fix)
    if not_after - now < RENEW_BEFORE_S:
        return Finding(check, Verdict.WARN, f"its certificate ends at {until}", fix)
    return None
