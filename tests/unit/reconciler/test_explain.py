"""An explanation says why, what would mend it, and where it comes from."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from maculaos.errors import UsageError
from reconciler.conditions import Reason
from reconciler.events import Event
from reconciler.explain import Evidence, Explanation, Origin, explain, find_item
from reconciler.status import ItemStatus, Status

N1 = ItemStatus(name="n1", kind="node", state="running", ready=True)
SAME = ItemStatus(name="same", kind="node", state="running", ready=True)
SAME_APP = ItemStatus(name="same", kind="app", state="running", ready=True)
ECHO = ItemStatus(
    name="echo",
    kind="app",
    state="stopped",
    ready=False,
    failures=3,
    reason="no such program",
    generation="b" * 16,
    applied="a" * 16,
)
STATUS = Status(
    at=1_800_000_010.0, pid=9, started_at=1.0, runtime="process", url="u", branch="main",
    items=(N1, SAME, SAME_APP, ECHO),
)  # fmt: skip
EVIDENCE = Evidence(
    origin=Origin(revision="c" * 40, subject="Add echo", file="apps/echo.yaml"),
    step="start: is not running",
    retry_in_s=12.4,
    events=(Event(name="x", text="cannot start app echo", first_at=1.0, last_at=2.0, count=3),),
    words=("exec: no such file",),
)


def test_a_failing_step_is_told_with_count_retry_source_and_last_words() -> None:
    found = explain(STATUS, ECHO, EVIDENCE)
    text = found.as_text()
    assert found.reason is Reason.STEP_FAILED
    assert found.fix
    for said in (
        "no such program",
        "failed 3 times in a row, tried again in 12 s",
        "start: is not running",
        "apps/echo.yaml in cccccccccc Add echo",
        "cannot start app echo (3 times)",
        "exec: no such file",
        f"version {'a' * 16} is there, {'b' * 16} is wanted",
    ):
        assert said in text


def test_a_good_item_needs_no_fix() -> None:
    found = explain(STATUS, N1, Evidence())
    assert (found.reason, found.fix) == (Reason.HEALTHY, "")


def test_a_broken_file_comes_first() -> None:
    problem = "apps/echo.yaml:3:1: unknown key 'comand'"
    found = explain(STATUS, ECHO, Evidence(problems=(problem,)))
    assert found.because[0] == problem
    assert "file" in found.fix
    told = replace(ECHO, reason=problem)
    assert explain(STATUS, told, Evidence(problems=(problem,))).because.count(problem) == 1


def test_explanation_survives_json() -> None:
    found = explain(STATUS, ECHO, EVIDENCE)
    assert Explanation.from_json(json.loads(json.dumps(found.as_json()))) == found


@pytest.mark.parametrize("named", ["app/echo", "echo", "app echo"])
def test_items_are_found_by_key_and_by_name(named: str) -> None:
    assert find_item(STATUS, named) is ECHO


@pytest.mark.parametrize(
    ("named", "hint"), [("ecko", "app/echo"), ("app/ecko", "app/echo"), ("same", "app/same")]
)
def test_unknown_and_ambiguous_items_are_told_with_names(named: str, hint: str) -> None:
    with pytest.raises(UsageError) as caught:
        find_item(STATUS, named)
    assert hint in caught.value.hint
