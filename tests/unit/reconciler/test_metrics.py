"""Metrics are a text that Prometheus reads; a parser that is not ours says so."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client.parser import text_string_to_metric_families

from reconciler.conditions import advance
from reconciler.front.standing import FrontCount, FrontPort, FrontState, FrontStatus
from reconciler.generations import Suspension
from reconciler.metrics import MOST_ITEMS, PREFIX, Tally, exposition
from reconciler.status import ItemStatus, RevisionStatus, Status

STATUS = Status(
    at=1_800_000_010.0,
    pid=99,
    started_at=1_800_000_000.0,
    runtime="process",
    url="/srv/mesh.git",
    branch="main",
    revisions=RevisionStatus(tip="a" * 40, attempted="a" * 40, applied="a" * 40),
    converged=True,
    items=(
        ItemStatus(name="n1", kind="node", state="running", ready=True, restarts=3),
        ItemStatus(name="echo", kind="app", state="blocked", ready=False, stalled=True),
    ),
)


def tally() -> Tally:
    one = Tally()
    one.fetched(0.5, 10.0, is_ok=True)
    one.fetched(1.5, 20.0, is_ok=False)
    one.repaired(0.25, 30.0, is_ok=True)
    one.stepped("start", 0.1, 40.0, is_ok=True)
    one.stepped("start", 0.2, 50.0, is_ok=True)
    return one


def values(text: str) -> dict[str, float]:
    lines = (line for line in text.splitlines() if not line.startswith("#"))
    return {name: float(value) for name, value in (line.rsplit(" ", 1) for line in lines)}


def test_what_was_counted_is_told() -> None:
    said = values(exposition(STATUS, tally()))
    assert said[f'{PREFIX}_fetches_total{{outcome="failure"}}'] == 1
    assert said[f'{PREFIX}_fetch_last_time_seconds{{outcome="success"}}'] == 10
    assert said[f'{PREFIX}_steps_total{{verb="start",outcome="success"}}'] == 2
    assert said[f'{PREFIX}_step_seconds_total{{verb="start",outcome="success"}}'] == pytest.approx(
        0.3
    )
    assert said[f'{PREFIX}_item_restarts{{item="node/n1"}}'] == 3
    assert said[f'{PREFIX}_items{{kind="app",condition="Stalled"}}'] == 1
    assert said[f"{PREFIX}_suspended"] == 0


def test_connections_are_told_by_app_and_instance() -> None:
    port = FrontPort(app="shop", name="web", at="127.0.0.1:80/tcp", problem="taken")
    count = FrontCount(app="shop", instance="green-2", open=3, total=50, failed=1)
    front = FrontStatus(state=FrontState.STALLED, ports=(port,), connections=(count,), refused=4)
    said = values(exposition(replace(STATUS, front=front), tally()))
    labels = '{app="shop",instance="green-2"}'
    assert said[f"{PREFIX}_front_connections{labels}"] == 3
    assert said[f"{PREFIX}_front_connections_total{labels}"] == 50
    assert said[f"{PREFIX}_front_failures_total{labels}"] == 1
    assert said[f"{PREFIX}_front_refused_total"] == 4
    assert said[f'{PREFIX}_front_port_up{{app="shop",port="web"}}'] == 0


def test_of_each_condition_exactly_one_status_holds() -> None:
    status = replace(STATUS, suspended=Suspension(since=1.0))
    status = replace(status, conditions=advance((), status.claims(), 1.0))
    said = values(exposition(status, Tally()))
    for word in ("Ready", "Reconciling", "Stalled"):
        ones = [v for k, v in said.items() if k.startswith(f'{PREFIX}_condition{{type="{word}"')]
        assert sorted(ones) == [0, 0, 1]
    assert said[f"{PREFIX}_suspended"] == 1


def test_labels_are_bounded() -> None:
    items = tuple(
        ItemStatus(name=f"a{n}", kind="app", state="running", ready=True)
        for n in range(MOST_ITEMS + 10)
    )
    said = values(exposition(replace(STATUS, items=items), Tally()))
    assert sum(1 for name in said if name.startswith(f"{PREFIX}_item_ready")) == MOST_ITEMS
    assert said[f'{PREFIX}_items{{kind="app",condition="Ready"}}'] == MOST_ITEMS + 10


@given(st.text(max_size=20))
def test_prometheus_reads_it_whatever_the_branch_is_called(branch: str) -> None:
    text = exposition(replace(STATUS, branch=branch), tally())
    families = {one.name: one for one in text_string_to_metric_families(text)}
    (info,) = families[f"{PREFIX}_info"].samples
    assert info.labels["branch"] == branch
    assert families[f"{PREFIX}_fetches"].type == "counter"
