"""What may befall a front and its reconciler: kills, strangers, restarts; and how it is told."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest

from frontyard import SAYS_DATAGRAMS, ask, asking, front_pid, kill_front, served, traffic, until
from reconciling import DEADLINE_S
from rolloutyard import a_rollout_bench, applied, ended, free_port, logged, programs

if TYPE_CHECKING:
    from collections.abc import Iterator

    from reconciler.activity import Snapshot
    from reconciling import Bench

APP = "apps/shop.yaml"
WITHIN_S = 2.5 * DEADLINE_S
BLUE_GREEN = {"kind": "blue-green"}


@pytest.fixture
def bench() -> Iterator[Bench]:
    with a_rollout_bench() as bench:
        yield bench
        for process in bench.processes:
            process.kill()
            process.wait()
        # Shown by pytest with a test that failed.
        sys.stdout.write(bench.log.getvalue())
        if (bench.root / "log").exists():
            sys.stdout.write((bench.root / "log").read_text())
        ended(bench)
        assert front_pid(bench) is None
        assert not (bench.root / "state/front").exists()
        assert not (bench.root / "run/front.control").exists()


def started(bench: Bench, *words: str) -> subprocess.Popen[bytes]:
    argv = [sys.executable, "-m", "reconciler.cli", "run", "--config", str(bench.config), *words]
    with (bench.root / "log").open("ab") as log:
        bench.processes.append(subprocess.Popen(argv, stdout=log, stderr=log))
    return bench.processes[-1]


def reconciler(bench: Bench, *words: str) -> subprocess.CompletedProcess[str]:
    argv = [sys.executable, "-m", "reconciler.cli", *words, "--config", str(bench.config)]
    return subprocess.run(argv, capture_output=True, text=True, timeout=60, check=False)


def active(bench: Bench) -> list[str]:
    return [each["instance"] for each in traffic(bench).get("active", ())]


def front_is(word: str) -> Any:
    def holds(snapshot: Snapshot) -> bool:
        front = snapshot.status.front
        return front is not None and str(front.state) == word

    return holds


def is_answered(port: int) -> bool:
    try:
        return bool(ask(port, 1.0))
    except OSError:
        return False


def test_front_that_is_killed_is_back_within_seconds(bench: Bench) -> None:
    port = free_port()

    async def main() -> None:
        bench.upstream.commit({APP: served("v1", port)})
        async with bench.running(within_s=WITHIN_S) as running:
            await running.until(front_is("Ready"))
            await running.until(lambda _: active(bench) == ["blue-1"])
            before = await asyncio.to_thread(kill_front, bench)
            await asyncio.to_thread(until, lambda: is_answered(port), 5.0)
            assert front_pid(bench) not in (None, before)

    asyncio.run(main())


def test_front_whose_keeper_is_killed_too_is_back_as_well(bench: Bench) -> None:
    port = free_port()

    async def main() -> None:
        bench.upstream.commit({APP: served("v1", port)})
        async with bench.running(within_s=WITHIN_S) as running:
            await running.until(front_is("Ready"))
            await running.until(lambda _: active(bench) == ["blue-1"])
            report = json.loads((bench.root / "state/front/front/keeper.json").read_text())
            os.kill(report["keeper"]["pid"], signal.SIGKILL)
            await asyncio.to_thread(kill_front, bench)
            await asyncio.to_thread(until, lambda: is_answered(port), 15.0)

    asyncio.run(main())


def test_front_that_hangs_is_started_anew(bench: Bench) -> None:
    port = free_port()

    async def main() -> None:
        bench.upstream.commit({APP: served("v1", port)})
        async with bench.running(within_s=WITHIN_S) as running:
            await running.until(front_is("Ready"))
            await running.until(lambda _: active(bench) == ["blue-1"])
            hanging = front_pid(bench)
            assert hanging is not None
            os.kill(hanging, signal.SIGSTOP)
            said = await running.until(front_is("Reconciling"))
            assert said.status.front is not None
            assert said.status.front.reason == "it does not answer yet"
            await running.until(lambda _: front_pid(bench) not in (None, hanging))
            await running.until(front_is("Ready"))
            assert await asyncio.to_thread(is_answered, port)

    asyncio.run(main())


def test_requests_go_on_while_the_reconciler_is_killed_in_the_switch(bench: Bench) -> None:
    said: dict[str, Any] = {"instances": 2, "strategy": {**BLUE_GREEN, "drain_s": 1.0}}
    port = free_port()
    bench.upstream.commit({APP: served("v1", port, **said)})
    one = started(bench)
    until(lambda: active(bench) == ["blue-1", "blue-2"], WITHIN_S)
    until(lambda: is_answered(port))
    front = front_pid(bench)
    with asking(port) as client:
        # Two rollouts: one that is killed right after the traffic was switched, one before.
        for version, there, killed_at in (
            ("v2", {"shop v2": 2}, lambda: active(bench) == ["green-1", "green-2"]),
            ("v3", {"shop v3": 2}, lambda: programs(bench)["shop v3"] == 2),
        ):
            bench.upstream.commit({APP: served(version, port, **said)})
            until(killed_at, WITHIN_S)
            one.kill()
            one.wait()
            count = len(client.answers)
            until(lambda count=count: len(client.answers) > count + 30)  # type: ignore[misc]  # at once
            one = started(bench)
            until(lambda there=there: programs(bench) == there, WITHIN_S)  # type: ignore[misc]  # at once
            until(lambda version=version: client.answers[-1].startswith(version))  # type: ignore[misc]  # at once
    assert client.failures == []
    assert client.versions() == ["v1", "v2", "v3"]
    assert front_pid(bench) == front
    one.terminate()
    assert one.wait(30) == 0
    # It outlives the reconciler.
    assert ask(port).startswith("v3")


def test_open_connection_lasts_while_its_instance_drains(bench: Bench) -> None:
    said: dict[str, Any] = {"strategy": {**BLUE_GREEN, "drain_s": 3.0}}
    port = free_port()

    async def main() -> None:
        bench.upstream.commit({APP: served("v1", port, **said)})
        async with bench.running(within_s=WITHIN_S) as running:
            await logged(running, bench, "is stable")
            await running.until(lambda _: active(bench) == ["blue-1"])
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(b"?")
            assert await reader.readline() == b"v1 blue-1\n"
            bench.upstream.commit({APP: served("v2", port, **said)})
            await running.until(lambda _: active(bench) == ["green-1"])
            resting = [each["instance"] for each in traffic(bench)["resting"]]
            assert resting == ["blue-1"]
            assert (await asyncio.to_thread(ask, port)) == "v2 green-1"
            writer.write(b"?")
            assert await reader.readline() == b"v1 blue-1\n"
            await running.until(lambda _: programs(bench) == {"shop v2": 1})
            assert await _ends(reader)
            writer.transport.abort()

    asyncio.run(main())


async def _ends(reader: asyncio.StreamReader) -> bool:
    try:
        return await reader.readline() == b""
    except ConnectionResetError:
        return True


def test_port_of_a_stranger_stalls_the_status_until_it_is_free(bench: Bench) -> None:
    async def main() -> None:
        with socket.create_server(("127.0.0.1", 0)) as stranger:
            port = stranger.getsockname()[1]
            revision = bench.upstream.commit({APP: served("v1", port)})
            async with bench.running(within_s=WITHIN_S) as running:
                stalled = await running.until(front_is("Stalled"))
                await applied(running, revision)
                front = stalled.status.front
                assert front is not None
                told = f"app shop: port web: 127.0.0.1:{port}/tcp: taken by another program"
                assert front.reason == told
                assert told in running.snapshot().status.problems
                text = running.snapshot().status.as_text()
                assert f"front       Stalled: {told}" in text
                await logged(running, bench, told)
                stranger.close()
                ready = await running.until(front_is("Ready"))
                assert told not in ready.status.problems
                assert await asyncio.to_thread(is_answered, port)

    asyncio.run(main())


def test_every_instance_has_a_port_of_its_own_that_it_keeps(bench: Bench) -> None:
    port = free_port()
    bench.configure(front={"ports": "21000-21099"})

    async def main() -> dict[str, Any]:
        async with bench.running(within_s=WITHIN_S) as running:
            await running.until(lambda _: len(active(bench)) == 3)
            said = traffic(bench)["active"]
            assert await asyncio.to_thread(is_answered, port)
            return {each["jail"]: each["ports"]["web"]["port"] for each in said}

    bench.upstream.commit({APP: served("v1", port, instances=3)})
    first = asyncio.run(main())
    assert len(set(first.values())) == 3
    assert all(21_000 <= each <= 21_099 for each in first.values())
    before = programs(bench)
    assert asyncio.run(main()) == first
    assert programs(bench) == before


def test_app_of_datagrams_is_reached_and_counted(bench: Bench) -> None:
    port = free_port()

    async def main() -> None:
        said = served("v1", port, SAYS_DATAGRAMS, with_port={"protocol": "udp"})
        bench.upstream.commit({APP: said})
        async with bench.running(within_s=WITHIN_S) as running:
            await running.until(front_is("Ready"))
            await running.until(lambda _: active(bench) == ["blue-1"])
            assert await asyncio.to_thread(_datagram, port) == b"v1"
            counted = await running.until(_counts)
            (count,) = counted.status.front.connections if counted.status.front else ()
            assert (count.app, count.instance, count.total) == ("shop", "blue-1", 1)
            metrics = bench.root / "state/metrics.prom"
            line = 'front_connections_total{app="shop",instance="blue-1"} 1.0\n'
            await running.until(lambda _: line in metrics.read_text())

    asyncio.run(main())


def _counts(snapshot: Snapshot) -> bool:
    front = snapshot.status.front
    return front is not None and any(each.total for each in front.connections)


def _datagram(port: int) -> bytes:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as made:
        made.settimeout(0.5)
        made.connect(("127.0.0.1", port))
        for _ in range(20):
            made.send(b"?")
            try:
                return made.recv(99)
            except OSError:
                continue
    return b""


def test_front_goes_with_the_last_app_that_has_ports(bench: Bench) -> None:
    port = free_port()

    async def main() -> None:
        bench.upstream.commit({APP: served("v1", port)})
        async with bench.running(within_s=WITHIN_S) as running:
            await running.until(front_is("Ready"))
            bench.upstream.commit({APP: None})
            await running.until(lambda s: s.status.front is None)
            assert front_pid(bench) is None
            assert not (bench.root / "state/front").exists()

    asyncio.run(main())


def test_front_stops_with_what_it_leads_to_if_that_is_wanted(bench: Bench) -> None:
    port = free_port()
    bench.upstream.commit({APP: served("v1", port)})
    one = started(bench, "--stop-jails-on-exit")
    until(lambda: is_answered(port), WITHIN_S)
    one.terminate()
    assert one.wait(30) == 0
    assert front_pid(bench) is None


def test_command_line_tells_how_the_front_stands(bench: Bench) -> None:
    port = free_port()
    bench.upstream.commit({APP: served("v1", port)})
    one = started(bench)
    until(lambda: is_answered(port), WITHIN_S)
    until(lambda: f"front       Ready: shop 127.0.0.1:{port}/tcp" in _status(bench), 30.0)
    one.terminate()
    assert one.wait(30) == 0


def _status(bench: Bench) -> str:
    return reconciler(bench, "status").stdout
