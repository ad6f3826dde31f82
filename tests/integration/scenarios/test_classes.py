"""What may befall a reconciler, class by class, and the tests that prove what comes of it.

Files lie in ``tests/integration/``, or beside it; each name stands for the tests that begin with
it. The last column says what is looked at: M the machine (processes, files, ports), R the
reconciler's own words, P plain values.

| class | file | test | by |
|---|---|---|---|
| history rewritten or forced | test_reconciler_trust.py | test_rewritten_history | R |
| clone corrupted | test_reconciler.py | test_clone_damaged_at_rest | R |
| clone, and a git that hangs | scenarios/test_hung_git.py | test_reconciler_that_is | M |
| disk full at every write | test_reconciler_crashes.py | test_whatever_fails | M |
| disk full in a rollout | rollouts/test_fates.py | test_rollout_that_is_broken_off | M |
| disk full under a release | releases/test_release_store.py | test_whatever_write_fails | M |
| Git server down | test_reconciler.py | test_unreachable_repository | R |
| Git server slow, refusing, astray | scenarios/test_git_from_afar.py | test_server_that | M |
| changed host key | scenarios/test_git_from_afar.py | test_changed_host_key | M |
| partial, empty, duplicate YAML | scenarios/test_classes.py | test_hostile_commit | M |
| YAML bombs, nesting | scenarios/test_classes.py | test_hostile_commit | M |
| cycles | scenarios/test_classes.py | test_hostile_commit | M |
| missing secrets | provision/test_secrets_of_apps.py | test_a_secret_that_cannot | M |
| wrong digests, lengths, pages | scenarios/test_lying_servers.py | test_whatever | M |
| redirects to elsewhere | scenarios/test_lying_servers.py | test_whatever | M |
| releases cut or stalled | scenarios/test_lying_servers.py | test_whatever | M |
| health that flaps | rollouts/test_proofs.py | test_version_whose_health_flaps | M |
| health that hangs | rollouts/test_proofs.py | test_version_whose_command | M |
| health of the mesh | rollouts/test_proofs.py | test_version_that_the_mesh | M |
| health that lies, then death | rollouts/test_proofs.py | test_version_that_dies | M |
| a program that will not end | rollouts/test_proofs.py | test_program_that_will_not_end | M |
| a revert is remembered | rollouts/test_rollouts.py | test_app_that_ends_again | M |
| kill -9 after every step | test_reconciler_crashes.py | test_whatever_fails | M |
| kill -9 anywhere in a rollout | rollouts/test_fates.py | test_rollout_that_is_broken_off | M |
| kill -9 while a release comes | provision/test_releases_of_apps.py | test_killed | M |
| power cut | ../unit/maculaos/host/test_files.py | test_a_failure_leaves_the_old | P |
| clock jumps | ../unit/reconciler/rollouts/test_laws.py | test_a_clock_that_jumps | P |
| clock set back | test_reconciler_hindrances.py | test_status_stays_alive | R |
| webhook bursts | webhook/test_webhook.py | test_a_burst | R |
| webhook forgeries | webhook/test_webhook.py | test_forgeries | R |
| a push during an apply | test_reconciler_ownership.py | test_a_newer_commit_overtakes | R |
| a push during a rollout | rollouts/test_rollouts.py | test_newer_commit_takes_over | M |
| huge repositories | ../unit/reconciler/sources/test_git.py | test_beyond_a_limit | P |
| path attacks, symbolic links | test_reconciler.py | test_symbolic_link_among | R |
| shell attacks | scenarios/test_classes.py | test_words_of_a_commit | M |
| archive attacks | releases/test_unpacking.py | test_a_hostile_archive | M |
| unsigned commits | test_reconciler_trust.py | test_unsigned_commit | R |
| wrongly signed | ../unit/reconciler/sources/test_signatures.py | test_unknown_key | P |
| pruning accidents | test_reconciler_ownership.py | test_many_removals_wait | R |
| what nobody owns | test_reconciler_ownership.py | test_what_this_reconciler | R |
| suspend and resume | test_reconciler_orders.py | test_suspended_applies_nothing | R |
| drift | test_reconciler_backends.py | test_whatever_happens_to_a_jail | M |

No power is cut here: that a file is whole after one rests on fsync and rename, which are read.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import yaml

from operated import app, operated
from rolloutyard import CALM_POLL, a_rollout_bench, cleared, programs

if TYPE_CHECKING:
    from collections.abc import Iterator

    from reconciling import Bench

pytestmark = pytest.mark.timeout(180)
TESTS = Path(__file__).parents[1]
BOMB = "\n".join(
    ["a0: &a0 x", *(f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]" for n in range(1, 9))]
)
HOSTILE: dict[str, str | bytes] = {
    "apps/alias.yaml": BOMB,
    "apps/deep.yaml": "[" * 100_000,
    "apps/empty.yaml": "",
    "apps/half.yaml": "version: 1\nname: ha",
    "apps/tag.yaml": "!!python/object/apply:os.system ['touch owned']\n",
    "apps/twice.yaml": app("twice", "v1") + "name: thrice\n",
    "apps/bytes.yaml": bytes(range(256)),
    "apps/..yaml": "version: 1\n",
    "apps/chicken.yaml": app("chicken", "v1", depends_on=["egg"]),
    "apps/egg.yaml": app("egg", "v1", depends_on=["chicken"]),
}


@pytest.fixture
def bench() -> Iterator[Bench]:
    with a_rollout_bench(poll=CALM_POLL) as bench:
        yield bench
        cleared(bench)


def rows() -> list[tuple[str, str]]:
    """File and test of each row of the table above."""
    assert __doc__ is not None
    cells = [[each.strip() for each in line.split("|")] for line in __doc__.splitlines()]
    return [(row[2], row[3]) for row in cells if len(row) == 6 and row[3].startswith("test_")]


@pytest.mark.parametrize(("file", "test"), rows())
def test_table_names_tests_that_are_there(file: str, test: str) -> None:
    assert f"def {test}" in (TESTS / file).read_text()


def test_hostile_commit_breaks_its_own_items_and_nothing_that_runs(bench: Bench) -> None:
    with operated(bench) as running:
        running.applied(bench.upstream.commit({"apps/shop.yaml": app("shop", "v1")}))
        running.until("1 runs", lambda: programs(bench) == {"shop v1": 1})
        revision = bench.upstream.commit({**HOSTILE, "apps/more.yaml": app("more", "v1")})
        running.applied(revision)
        running.until("more runs", lambda: programs(bench) == {"shop v1": 1, "more v1": 1})
        said = "\n".join(running.status()["problems"])
        for word in ("apps/alias.yaml:", "apps/tag.yaml:", "apps/twice.yaml:", "chicken"):
            assert word in said, said
        assert not list(bench.root.rglob("owned"))
        # The same file, mended, is an item like any other.
        gone: dict[str, str | None] = dict.fromkeys(HOSTILE)
        bench.upstream.commit({**gone, "apps/twice.yaml": app("twice", "v1")})
        wanted = {"shop v1": 1, "more v1": 1, "twice v1": 1}
        running.until("twice runs", lambda: programs(bench) == wanted)


def test_words_of_a_commit_reach_no_shell(bench: Bench) -> None:
    evil = f"$(touch {bench.root}/owned); `touch {bench.root}/owned` | '\"\n& \\"
    code = (
        "import os, sys, signal\n"
        "open(sys.argv[3], 'w').write(sys.argv[4] + '|' + os.environ['EVIL'])\n"
        "signal.pause()\n"
    )
    seen = bench.root / "seen"
    spec = yaml.safe_load(app("shop", "v1", code, str(seen), evil))
    spec["environment"] = {"EVIL": evil}
    assert spec["command"][0] == sys.executable
    with operated(bench) as running:
        bench.upstream.commit({"apps/shop.yaml": yaml.safe_dump(spec)}, subject=evil)
        running.until("it runs", lambda: programs(bench) == {"shop v1": 1})
        running.until("it wrote", lambda: seen.exists() and seen.read_text() == f"{evil}|{evil}")
        running.until("it is told", lambda: running.status().get("revisions", {}).get("applied"))
    assert not (bench.root / "owned").exists()
