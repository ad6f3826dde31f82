"""A rollout that is broken off at any change ends where an uninterrupted one ends.

The reconciler is killed right before a change, or finds the disk full from there on for a while;
the next one, or the same one, goes on. Good versions and bad ones, by every strategy. All the way
no instance runs twice, none is ended while traffic goes to it, as many serve as the strategy
promises, and what the reconciler does not own, or what did not change, is never touched
(``rolloutfates``). A change that failed to come in the second life is a plain rollout.

One change for each strategy is drawn; with CRASHES=1000 in the environment every one of them has
its turn, in each way.
"""

from __future__ import annotations

import os
from pathlib import Path
from random import Random

import pytest

from doomed import Fate, fates
from rolloutfates import PLAYS, a_theatre

CRASHES = int(os.environ.get("CRASHES", "1"))
SEED = 12
# How it is broken off, and whether the new version fails: every way, and the few for every day.
EVERY_WAY = [("killed", False), ("killed", True), ("full", False), ("full", True)]
DAILY = {"restart": "full", "rolling": "killed", "blue-green": "killed", "canary": "killed"}
# What is written again and again, whatever goes on, has one turn each.
OFTEN = ("status.json", "status.json*", "metrics.prom", "metrics.prom*", "events.jsonl*")

pytestmark = [
    pytest.mark.skipif(not Path("/proc/self/cmdline").exists(), reason="reads /proc"),
    # A life takes a second where nothing else runs; of those there are two for each change.
    pytest.mark.timeout(900 + 40 * CRASHES * 4),
]


def drawn(changes: list[str], how: str, random: Random) -> list[Fate]:
    """Some of the changes, from the first one that is about the rollout on; in their order."""
    every = fates(changes, how)
    first = next(n for n, fate in enumerate(every) if "versions.jsonl" in fate.label)
    chosen = [each for each in every[first:] if each.nth == 1 or not each.label.endswith(OFTEN)]
    if how == "full":
        chosen = [each for each in chosen if each.label.startswith(("open ", "os.mkdir "))]
    picked = random.sample(range(len(chosen)), min(CRASHES, len(chosen)))
    return [chosen[number] for number in sorted(picked)]


@pytest.mark.parametrize("kind", PLAYS)
def test_rollout_that_is_broken_off_ends_where_an_uninterrupted_one_ends(kind: str) -> None:
    random = Random(f"{SEED}{kind}")
    with a_theatre(kind) as theatre:
        ways = EVERY_WAY if CRASHES > 1 else [(DAILY[kind], kind == "canary")]
        # The bad one first: it leaves the colours as they are.
        wanted = sorted({fails for _, fails in ways}, reverse=True)
        changes = {fails: theatre.play(Fate(), fails=fails).changes() for fails in wanted}
        assert all(len(seen) > 40 for seen in changes.values()), "hardly anything is heard of"
        for how, fails in ways:
            for fate in drawn(changes[fails], how, random):
                theatre.play(fate, fails=fails)
