"""Rehearsals: real nodes in virtual time deliver everything, and the same seed is the same run."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING, Any

import pytest

from maculaos.cli.loadview import progress
from maculaos.errors import UsageError
from maculaos.loadtest.faults import read_fault
from maculaos.loadtest.rehearsal import Rehearsal
from maculaos.loadtest.scenario import Scenario
from maculaos.wire.messages import RpcResult

if TYPE_CHECKING:
    from maculaos.wire.messages import Message

LATENCY_S = 0.002


def rehearsed(
    *faults: str, seed: int = 1, is_watched: bool = False, **changes: Any
) -> dict[str, Any]:
    given = {"nodes": 5, "subscribers": 3, "rate": 50.0, "duration_s": 4.0, **changes}
    scenario = Scenario(faults=tuple(map(read_fault, faults)), **given)
    rehearsal = Rehearsal(scenario, LATENCY_S, random.Random(seed))
    for _ in range(10_000):
        if rehearsal.step(0.1):
            return rehearsal.outcome().to_dict()
        if is_watched:
            progress(rehearsal)
    raise AssertionError("it does not end")


@pytest.mark.parametrize("acknowledge", [False, True])
def test_a_mesh_at_peace_delivers_everything_once_and_in_order(acknowledge: bool) -> None:
    found = rehearsed(acknowledge=acknowledge, publishers=2)
    assert (found["published"], found["delivered"]) == (200, 600)
    assert (found["lost"], found["duplicates"], found["disordered"], found["refused"]) == (0,) * 4


def test_events_close_to_each_other_do_not_overtake() -> None:
    found = rehearsed(rate=5000.0, duration_s=0.5)
    assert (found["delivered"], found["disordered"]) == (7500, 0)


def test_latency_is_that_of_the_path() -> None:
    took = rehearsed()["latency"]
    assert 1000 * LATENCY_S <= took["p50_ms"] < 1500 * LATENCY_S
    assert took["max_ms"] < 6000 * LATENCY_S


def test_the_same_seed_is_the_same_run() -> None:
    faults = ("kill:n5@1+1", "loss:n4:20%@1+2")
    first, again, other = (rehearsed(*faults, seed=seed) for seed in (7, 7, 8))
    assert first == again
    assert first["latency"] != other["latency"]


def test_to_be_looked_at_changes_nothing() -> None:
    faults = ("kill:n5@1+1",)
    assert rehearsed(*faults, is_watched=True) == rehearsed(*faults)


def test_what_a_killed_node_missed_is_all_that_is_lost() -> None:
    found = rehearsed("kill:n5@1+1")
    assert found["lost"] >= found["away"] > 0
    assert found["losses"] == {"kill:n5@1+1": found["lost"], "no fault": 0}
    assert found["connections_lost"] == 1


def test_a_paused_node_gets_everything_late() -> None:
    found = rehearsed("pause:n5@1+1")
    assert found["lost"] == 0
    assert 900 < found["latency"]["max_ms"] <= 1010


def test_lost_datagrams_cost_time_and_no_events() -> None:
    found = rehearsed("loss:n5:30%@1+2")
    assert found["lost"] == 0
    assert found["latency"]["max_ms"] > 1000 * (LATENCY_S + 0.025)


@pytest.mark.parametrize(("share", "length_s"), [(100, 0.3), (100, 1), (90, 1), (70, 2)])
def test_a_loss_that_is_over_delays_nothing_any_more(share: float, length_s: float) -> None:
    found = rehearsed(f"loss:n5:{share}%@1+{length_s}", duration_s=10.0)
    assert found["lost"] == 0
    # The waits double: the last of them is as long as all before, and one more round trip.
    assert found["latency"]["max_ms"] < 1000 * (2 * length_s + 0.1)


def test_each_of_two_pauses_is_short_enough_to_miss_nothing() -> None:
    # The second is on when the first would have been too long.
    found = rehearsed("pause:n5@1+2", "pause:n5@10.5+2", duration_s=14.0)
    assert found["lost"] == 0


def test_a_request_that_is_never_answered_does_not_keep_a_rehearsal_from_its_end(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    hear = Rehearsal.hear

    def hear_no_answer(self: Rehearsal, client: int, message: Message) -> None:
        if not isinstance(message, RpcResult):
            hear(self, client, message)

    monkeypatch.setattr(Rehearsal, "hear", hear_no_answer)
    found = rehearsed(acknowledge=True, duration_s=1.0)
    assert found["refused"] == found["published"] == 50


def test_a_publisher_at_a_dead_node_is_refused() -> None:
    found = rehearsed("kill:n1@1+1")
    assert found["errors"] == {"NODE_GONE": found["refused"]}
    assert 40 <= found["refused"] <= 80


def test_virtual_nodes_keep_a_pace() -> None:
    with pytest.raises(UsageError, match="--rate"):
        Rehearsal(Scenario(rate=0), LATENCY_S, random.Random(1))
