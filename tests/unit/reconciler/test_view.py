"""The live view says with words what it says with colours, and obeys nobody's control codes."""

from __future__ import annotations

import io
from dataclasses import replace

import pytest
from rich.console import Console

from reconciler.activity import Activity, Moment, Snapshot
from reconciler.status import FetchStatus, ItemStatus, MemberCount, RevisionStatus, Status
from reconciler.view import ago, render

NOW = 1_800_000_000.0
REVISION = "0123456789abcdef" * 2 + "01234567"

N1 = ItemStatus(
    name="n1",
    kind="node",
    state="running",
    ready=True,
    pid=4242,
    address="127.0.0.1:4701",
    members=MemberCount(alive=2, known=3),
    since=NOW - 90,
    restarts=2,
)


def status(**changes: object) -> Status:
    values: dict[str, object] = {
        "at": NOW,
        "pid": 1,
        "started_at": NOW - 100,
        "runtime": "process",
        "url": "/srv/mesh.git",
        "branch": "main",
        "realm": "demo",
        "revisions": RevisionStatus(tip=REVISION, attempted=REVISION, applied=REVISION),
        "converged": True,
        "items": (N1,),
        **changes,
    }
    return Status(**values)  # type: ignore[arg-type]


def drawn(snapshot: Snapshot, *hints: str, width: int = 140) -> str:
    console = Console(file=io.StringIO(), width=width, color_system=None, force_terminal=False)
    with console.capture() as captured:
        console.print(render(snapshot, NOW, hints))
    return captured.get()


def test_shows_revision_subject_items_and_hints() -> None:
    activity = Activity(subject="Move n2", author="Ada")
    said = drawn(
        Snapshot(status=status(reconciled_at=NOW - 3, reconcile_s=0.5), activity=activity),
        "push: git push",
        "talk: macula call",
    )
    for word in (
        "/srv/mesh.git",
        REVISION[:10],
        "Move n2",
        "n1",
        "● ready",
        "127.0.0.1:4701",
        "2/3",
        "4242",
        "3 s ago, took 0.50 s",
        "push: git push",
        "talk: macula call",
    ):
        assert word in said


@pytest.mark.parametrize(
    ("changes", "word"),
    [
        ({}, "● ready"),
        ({"converged": False}, "◐ working"),
        (
            {
                "revisions": RevisionStatus(refused=REVISION),
                "problems": ("nodes/n1.yaml:1:2: odd",),
            },
            "✖ stalled",
        ),
    ],
)
def test_every_condition_has_a_word(changes: dict[str, object], word: str) -> None:
    assert word in drawn(Snapshot(status=status(**changes))).splitlines()[0]


@pytest.mark.parametrize("width", [60, 80, 140])
def test_the_title_names_the_runtime_in_short(width: int) -> None:
    shown = status(runtime="namespaces", runtime_why="namespaces is what is strongest here")
    title = drawn(Snapshot(status=shown), width=width).splitlines()[0]
    assert "● ready · namespaces " in title


def test_why_it_is_that_runtime_is_said_where_lines_are_not_counted() -> None:
    snapshot = Snapshot(status=status(runtime_why="process isolates nothing"))
    assert "process isolates nothing" in drawn(snapshot)
    console = Console(width=140, color_system=None, force_terminal=False)
    with console.capture() as captured:
        console.print(render(snapshot, NOW, lines=40))
    assert "process isolates nothing" not in captured.get()


def test_a_narrow_title_keeps_the_condition_rather_than_the_runtime() -> None:
    title = drawn(Snapshot(status=status(runtime="namespaces")), width=42).splitlines()[0]
    assert "● ready" in title
    assert "namespaces" not in title


def test_problems_stand_with_their_place_and_are_bounded() -> None:
    lines = tuple(f"nodes/n1.yaml:{n}:1: odd" for n in range(1, 41))
    said = drawn(Snapshot(status=status(problems=lines)))
    assert "nodes/n1.yaml:1:1: odd" in said
    assert "nodes/n1.yaml:40:1: odd" not in said
    assert "... and 28 more" in said


def test_fetch_error_is_shown() -> None:
    assert "nobody answers" in drawn(
        Snapshot(status=status(fetch=FetchStatus(error="nobody answers")))
    )


def test_only_what_takes_long_is_shown_under_way() -> None:
    quick, slow = Moment(at=NOW - 0.5, text="quick one"), Moment(at=NOW - 5, text="slow one")
    said = drawn(Snapshot(status=status(), activity=Activity(under_way=(quick, slow))))
    assert "slow one" in said
    assert "quick one" not in said


def test_markup_in_names_and_subjects_is_text() -> None:
    assert "[bold]x[/nothing]" in drawn(
        Snapshot(status=status(), activity=Activity(subject="[bold]x[/nothing]"))
    )


@pytest.mark.parametrize("width", [20, 40, 80, 200])
def test_fits_into_any_width(width: int) -> None:
    said = drawn(Snapshot(status=status()), "a hint that is rather long " * 5, width=width)
    assert max(map(len, said.splitlines())) <= width


@pytest.mark.parametrize(
    ("seconds", "said"), [(-1, "0 s"), (0, "0 s"), (90, "90 s"), (600, "10 min"), (7200, "2 h")]
)
def test_durations_are_said_in_one_unit(seconds: float, said: str) -> None:
    assert ago(seconds) == said


def test_snapshot_comes_back_from_json() -> None:
    snapshot = Snapshot(
        status=status(), activity=Activity(subject="x", events=(Moment(at=NOW, text="y"),))
    )
    assert Snapshot.from_json(snapshot.as_json()) == snapshot


def demo_snapshot(items: int = 4) -> Snapshot:
    nodes = tuple(replace(N1, name=f"n{one}", ready=one != 40) for one in range(1, items + 1))
    events = tuple(Moment(at=NOW, text=f"event {one}") for one in range(6))
    activity = Activity(subject="Describe three nodes and an app", events=events)
    return Snapshot(status=status(items=nodes, reconciled_at=NOW - 3), activity=activity)


@pytest.mark.parametrize(("width", "lines"), [(80, 24), (60, 20), (140, 50)])
@pytest.mark.parametrize("items", [4, 100])
def test_hints_are_on_the_screen_and_columns_are_whole(width: int, lines: int, items: int) -> None:
    hints = (
        "push a change:     cd var/demo/config; edit nodes/n2.yaml; git commit -am x; git push",
        "talk to the mesh:  .venv/bin/macula call echo hello --socket var/demo/run/n1/control.sock",
    )
    console = Console(width=width, height=lines, color_system=None, force_terminal=False)
    with console.capture() as captured:
        console.print(render(demo_snapshot(items), NOW, hints, lines))
    said = captured.get()
    assert len(said.splitlines()) <= lines
    assert "talk to the mesh" in said
    assert "127.0.0.1:4701" in said
    assert "● ready" in said
    if items == 100:
        assert "n40 " in said, "what is not ready is shown first"
        assert " more" in said
    else:
        assert "…" not in said
