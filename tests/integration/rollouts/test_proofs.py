"""What counts as proof of a new version: probes of every kind, and versions that only seem well.

Real programs, asked by the daemon: inside of their jails, over the mesh, at their ports. A version
that hangs, flaps, or dies once it is believed gives way to the last stable one.
"""

from __future__ import annotations

import asyncio
import os
import socket
import sys
import time
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

import namespaceyard
from maculaos.host.entropy import SystemEntropy
from maculaos.security.authority import Request, create_realm, issue
from reconciling import Bench, node
from rolloutyard import (
    CALM_POLL,
    HEALTH,
    WELL,
    a_rollout_bench,
    app,
    applied,
    cleared,
    events,
    free_port,
    logged,
    problems,
    runs,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

# Real programs, on a machine that may be busy.
pytestmark = pytest.mark.timeout(240)
WITHIN_S = 180.0
APP = "apps/shop.yaml"
# A good version has time, however slow the machine is; a bad one is given up sooner.
PATIENT = {"healthy_deadline_s": 40.0, "progress_deadline_s": 60.0}
STRICT = {"healthy_deadline_s": 4.0, "progress_deadline_s": 6.0}
CALM = {**HEALTH, "interval_s": 0.5, "timeout_s": 0.5}
# A web server at argv[3] that answers with the words after it, in turn.
TURNS = """
import itertools, socket, sys
with socket.create_server(("127.0.0.1", int(sys.argv[3]))) as server:
    for answer in itertools.cycle(sys.argv[4:]):
        one, _ = server.accept()
        one.settimeout(1)
        try:
            one.recv(4096)
            one.sendall(b"HTTP/1.1 %s Said\\r\\n\\r\\n" % answer.encode())
        except OSError:
            pass
        one.close()
"""
# Its first life lasts until the file argv[3] is there, every other one takes no time.
DIES_LATER = """
import os, sys, time
try:
    os.close(os.open("was-here", os.O_CREAT | os.O_EXCL))
    while not os.path.exists(sys.argv[3]):
        time.sleep(0.02)
except FileExistsError:
    pass
raise SystemExit(3)
"""
STUBBORN = """
import signal
signal.signal(signal.SIGTERM, signal.SIG_IGN)
while True:
    signal.pause()
"""


def free_udp_port() -> int:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture
def bench() -> Iterator[Bench]:
    with a_rollout_bench(poll=CALM_POLL) as bench:
        yield bench
        # Shown by pytest with a test that failed.
        sys.stdout.write(events(bench))
        cleared(bench)


def versions(name: str) -> Counter[str]:
    """The programs of an app by version, in whatever jail they are."""
    found: Counter[str] = Counter()
    for file in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            words = file.read_bytes().decode(errors="replace").split("\0")[:-1]
        except OSError:
            continue
        if words[1:4] == ["-I", "-S", "-c"] and words[5:6] == [name]:
            found[words[6]] += 1
    return found


@pytest.mark.parametrize("bad", [["/bin/false"], ["/bin/sleep", "50"]])
def test_version_whose_command_inside_the_jail_fails_or_hangs_is_reverted(
    bench: Bench, bad: list[str]
) -> None:
    namespaceyard.need_namespaces()
    if not namespaceyard.abilities().is_root:
        pytest.skip("only root can run a command inside a jail")
    bench.root.chmod(0o755)
    bench.runtime = namespaceyard.runtime_at(bench.root / "state/jails")
    name = f"shop{os.getpid()}"

    def spec(version: str, command: list[str], strategy: dict[str, float]) -> str:
        health = {"exec": {"command": command, "interval_s": 1.0, "timeout_s": 1.0}}
        return app(name, version, health=health, strategy=strategy)

    async def main() -> None:
        bench.upstream.commit({f"apps/{name}.yaml": spec("v1", ["/bin/true"], PATIENT)})
        async with bench.running(within_s=WITHIN_S) as running:
            await logged(running, bench, "is stable")
            bench.upstream.commit({f"apps/{name}.yaml": spec("v2", bad, STRICT)})
            await running.until(lambda _: versions(name) == {"v2": 1})
            await running.until(problems(f"app {name}: rolled back:"))
            await running.until(lambda _: versions(name) == {"v1": 1})

    try:
        asyncio.run(main())
    finally:
        for jail in bench.runtime.look():
            bench.runtime.remove(jail)


def test_version_that_the_mesh_does_not_hear_of_is_reverted(bench: Bench) -> None:
    now, entropy = time.time(), SystemEntropy()
    create_realm(bench.root / "realm", "demo", now=now, entropy=entropy)
    request = Request(name="n1")
    issue(bench.root / "realm", bench.root / "credentials", request, now=now, entropy=entropy)

    def spec(version: str, **asked: str) -> str:
        health = {"mesh": {**asked, "interval_s": 1.0, "timeout_s": 1.0}}
        strategy = STRICT if "method" in asked else PATIENT
        return app("shop", version, health=health, strategy=strategy)

    async def main() -> None:
        files = {"nodes/n1.yaml": node("n1", free_udp_port()), APP: spec("v1", member="n1")}
        bench.upstream.commit(files)
        async with bench.running(within_s=WITHIN_S) as running:
            await logged(running, bench, "is stable")
            bench.upstream.commit({APP: spec("v2", method="shop.ping")})
            await running.until(problems("app shop: rolled back:"))
            await runs(running, bench, v1=1)

    asyncio.run(main())


@pytest.mark.parametrize(
    ("answers", "strategy"),
    [
        # Never two failures in a row, and still no more than half of all is good.
        (("200", "500", "500", "200", "500"), {"min_healthy_time_s": 3.5}),
        (("500", "500", "200"), {}),
    ],
)
def test_version_whose_health_flaps_is_never_believed(
    bench: Bench, answers: tuple[str, ...], strategy: dict[str, Any]
) -> None:
    async def main() -> None:
        ports = free_port(), free_port()

        def first() -> str:
            health = {"http": {"port": ports[0], **CALM}}
            return app("shop", "v1", TURNS, str(ports[0]), "200", health=health, strategy=PATIENT)

        def second() -> str:
            health = {"http": {"port": ports[1], **HEALTH, "failures": 3 if strategy else 2}}
            times = {**STRICT, **strategy}
            words = (str(ports[1]), *answers)
            return app("shop", "v2", TURNS, *words, health=health, strategy=times)

        bench.upstream.commit({APP: first()})
        async with bench.running(within_s=WITHIN_S) as running:
            await logged(running, bench, "is stable")
            bench.upstream.commit({APP: second()})
            await runs(running, bench, v2=1)
            await running.until(problems("app shop: rolled back:"))
            await runs(running, bench, v1=1)
            assert events(bench).count("is stable") == 1

    asyncio.run(main())


def test_version_that_dies_after_its_first_proof_is_reverted_while_it_is_rolled_out(
    bench: Bench,
) -> None:
    async def main() -> None:
        several: dict[str, Any] = {"instances": 2, "strategy": PATIENT}
        bench.upstream.commit({APP: app("shop", "v1", **several)})
        async with bench.running(within_s=WITHIN_S) as running:
            await logged(running, bench, "is stable")
            # The first dies when it has proved it, and before the second can have done so, too.
            times = {"min_healthy_time_s": 2.0, "healthy_deadline_s": 6.0}
            several["strategy"] = {**times, "progress_deadline_s": 8.0}
            end = bench.root / "end"
            bench.upstream.commit({APP: app("shop", "v2", DIES_LATER, str(end), **several)})
            first = events(bench).count("is healthy with")
            await running.until(lambda _: events(bench).count("is healthy with") > first)
            end.touch()
            await running.until(problems("app shop: rolled back:"))
            await runs(running, bench, v1=2)
            assert events(bench).count("is stable") == 1

    asyncio.run(main())


def test_version_that_dies_once_it_is_stable_is_told_and_gives_way_to_the_next(
    bench: Bench,
) -> None:
    async def main() -> None:
        bench.upstream.commit({APP: app("shop", "v1", strategy=PATIENT)})
        async with bench.running(within_s=WITHIN_S) as running:
            await logged(running, bench, "is stable")
            end = bench.root / "end"
            second = app("shop", "v2", DIES_LATER, str(end), strategy=PATIENT)
            bench.upstream.commit({APP: second})
            await running.until(lambda _: events(bench).count("is stable") == 2)
            end.touch()
            await logged(running, bench, "restarted jail=app-shop")
            # It was believed, so nothing is taken back; nor is it called well.
            await running.until(
                lambda s: any(each.name == "shop" and not each.ready for each in s.status.items)
            )
            assert "is given up" not in events(bench)
            await applied(
                running, bench.upstream.commit({APP: app("shop", "v3", strategy=PATIENT)})
            )
            await runs(running, bench, v3=1)

    asyncio.run(main())


def test_program_that_will_not_end_is_ended_by_force_and_holds_up_no_rollout(bench: Bench) -> None:
    async def main() -> None:
        several: dict[str, Any] = {"instances": 2, "strategy": PATIENT}
        stubborn = app("shop", "v1", STUBBORN, stop_deadline_s=0.3, **several)
        bench.upstream.commit({APP: stubborn})
        async with bench.running(within_s=WITHIN_S) as running:
            await logged(running, bench, "is stable")
            revision = bench.upstream.commit({APP: app("shop", "v2", WELL, **several)})
            await applied(running, revision)
            await runs(running, bench, v2=2)

    asyncio.run(main())
