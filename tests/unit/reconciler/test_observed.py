"""Every jail gets one line that says what is most worth knowing about it."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from jails.spec import JailFacts, JailSpec, JailState
from reconciler.conditions import Reason, Word
from reconciler.observed import NodeHealth, World, items
from reconciler.render import Rendered
from reconciler.specs.compilation import compile_tree

if TYPE_CHECKING:
    from reconciler.status import ItemStatus

NOW = 1000.0
RUNNING = JailFacts(name="node-n1", state=JailState.RUNNING, pid=7, started_at=NOW - 5)
ANSWERS = NodeHealth(answers=True, members_alive=2, members_known=3)
SILENT = NodeHealth(answers=False, reason="does not answer")
DESIRED = compile_tree(
    {
        "realm.yaml": b"version: 1\nname: demo\n",
        "nodes/n1.yaml": b"version: 1\nname: n1\nrealm: demo\n"
        b"listen: {address: 127.0.0.1, port: 4701}\n",
    }
)
RENDERED = Rendered(
    {"node-n1": JailSpec(name="node-n1", command=("macula",))}, {}, {"n1": "127.0.0.1:4701"}
)


def n1(facts: JailFacts | None, health: NodeHealth | None = None, **more: object) -> ItemStatus:
    world = World(
        desired=DESIRED,
        rendered=RENDERED,
        found={} if facts is None else {"node-n1": facts},
        health={} if health is None else {"n1": health},
    )
    (item,) = items(replace(world, **more), NOW, 30.0)  # type: ignore[arg-type]
    return item


def test_node_is_ready_when_it_runs_and_answers() -> None:
    item = n1(RUNNING, ANSWERS)
    assert item.word is Word.READY
    assert item.address == "127.0.0.1:4701"
    assert item.members is not None
    assert (item.members.alive, item.members.known) == (2, 3)


def test_silent_node_works_until_its_deadline_and_then_stalls() -> None:
    assert n1(RUNNING, SILENT).word is Word.RECONCILING
    assert n1(RUNNING, None).word is Word.RECONCILING
    assert n1(replace(RUNNING, started_at=NOW - 31), SILENT).word is Word.STALLED
    assert n1(RUNNING, SILENT).reason == "does not answer"


def test_ended_node_tells_how_it_ended() -> None:
    item = n1(replace(RUNNING, state=JailState.BACKING_OFF, last_exit="exit status 1"), ANSWERS)
    assert (item.word, item.reason, item.members) == (Word.RECONCILING, "exit status 1", None)


def test_ended_node_tells_what_it_wrote_last() -> None:
    ended = replace(RUNNING, state=JailState.BACKING_OFF, last_exit="exited with status 2")
    words = {"node-n1": "macula: the certificate is of realm other, not demo"}
    assert n1(ended, last_words=words).reason == (
        "exited with status 2: macula: the certificate is of realm other, not demo"
    )
    assert n1(RUNNING, ANSWERS, last_words=words).reason == ""


def test_failed_program_is_stalled() -> None:
    assert n1(replace(RUNNING, state=JailState.FAILED)).word is Word.STALLED


def test_missing_jail_is_shown() -> None:
    assert n1(None).state == "absent"


def test_blocked_jail_says_the_next_move_and_stalls() -> None:
    blocked = Rendered({}, {"node-n1": "no credentials; run: macula realm issue"})
    item = n1(None, rendered=blocked)
    assert (item.state, item.word) == ("blocked", Word.STALLED)
    assert "macula realm issue" in item.reason


def test_broken_item_stalls_whether_it_runs_or_not() -> None:
    broken = Rendered({}, {}, broken={"node-n1": "nodes/n1.yaml:3:8: unknown realm"})
    running = n1(RUNNING, ANSWERS, rendered=broken)
    assert (running.state, running.word) == ("running", Word.STALLED)
    assert {claim.reason for claim in running.claims()} == {Reason.BROKEN}
    absent = n1(None, rendered=broken)
    assert (absent.state, absent.word) == ("broken", Word.STALLED)
    assert running.reason == absent.reason == "nodes/n1.yaml:3:8: unknown realm"


def test_failure_of_a_step_is_the_reason() -> None:
    assert n1(None, failures={"node-n1": "port is taken"}).reason == "port is taken"


def test_unwanted_jail_that_still_runs_is_shown_and_apps_come_last() -> None:
    found = {
        "app-a": JailFacts(name="app-a", state=JailState.RUNNING),
        "node-z": JailFacts(name="node-z", state=JailState.STOPPED),
    }
    shown = items(World(found=found), NOW, 30.0)
    assert [(item.kind, item.name, item.ready) for item in shown] == [
        ("node", "z", False),
        ("app", "a", True),
    ]
