"""Releases from a commit to running programs: a real server, real processes, the whole daemon."""

from __future__ import annotations

import asyncio
import os
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import yaml

import namespaceyard
from jailyard import eventually
from releasehouse import serving, tar_of
from supplied import PLAIN, a_supplied_bench, app, archive, programs, published, sha256

if TYPE_CHECKING:
    from collections.abc import Iterator

    from reconciling import Bench, Running
    from releasehouse import Server


@pytest.fixture
def bench() -> Iterator[Bench]:
    with a_supplied_bench() as bench:
        bench.upstream.commit(PLAIN)
        yield bench


@pytest.fixture
def server() -> Iterator[Server]:
    with serving() as server:
        yield server


def one(app: str, release: dict[str, str]) -> dict[str, int]:
    return {f"{app}/{release['sha256']}": 1}


async def runs(running: Running, bench: Bench, wanted: dict[str, int]) -> None:
    await running.until(lambda _: programs(bench) == wanted)


def test_a_release_is_installed_upgraded_and_taken_back_without_a_download(
    bench: Bench, server: Server
) -> None:
    first, second = published(server, "1"), published(server, "2")

    async def main() -> None:
        async with bench.running() as running:
            bench.upstream.commit({"apps/shop.yaml": app("shop", release=first)})
            await runs(running, bench, one("shop", first))
            await permanent(running, bench, first)
            bench.upstream.commit({"apps/shop.yaml": app("shop", release=second)})
            await runs(running, bench, one("shop", second))
            await permanent(running, bench, second)
            asked = len(server.asked)
            bench.upstream.commit({"apps/shop.yaml": app("shop", release=first)})
            await runs(running, bench, one("shop", first))
            await permanent(running, bench, first)
            assert len(server.asked) == asked == 2
            bench.upstream.commit({"apps/shop.yaml": None})
            await runs(running, bench, {})
            await running.until(lambda _: not (bench.root / "state/releases/shop").exists())

    asyncio.run(main())


async def permanent(running: Running, bench: Bench, release: dict[str, str]) -> None:
    link = bench.root / "state/releases/shop/current"
    states = bench.root / "state/releases/shop/releases.json"

    def is_permanent(_: object) -> bool:
        if not link.is_symlink():
            return False
        said = "".join(states.read_text().split())
        wanted = f'"identity":"{release["sha256"]}","state":"permanent"'
        return link.readlink().name == release["sha256"] and wanted in said

    await running.until(is_permanent)


def test_a_server_that_lies_cuts_or_stalls_leaves_the_old_version_running(
    bench: Bench, server: Server
) -> None:
    first, good = published(server, "1"), archive("2", 100_000)
    wanted = {"url": server.url("/2.tar"), "sha256": sha256(good)}

    async def main() -> None:
        async with bench.running() as running:
            bench.upstream.commit({"apps/shop.yaml": app("shop", release=first)})
            await runs(running, bench, one("shop", first))
            server.stall("/2.tar", good, 50_000)
            bench.upstream.commit({"apps/shop.yaml": app("shop", release=wanted)})
            await failed(running, "says nothing|does not answer|slower|stall|timed out")
            assert programs(bench) == one("shop", first)
            server.files["/2.tar"] = good[:-1] + b"x"
            server.etag = '"two"'
            del server.answers["/2.tar"]
            await failed(running, "its SHA-256 is")
            await running.until(
                lambda s: next(i.stalled for i in s.status.items if i.name == "shop")
            )
            assert programs(bench) == one("shop", first)
            server.files["/2.tar"] = good
            await runs(running, bench, one("shop", wanted))
            await running.until(lambda s: "SHA-256" not in "".join(s.status.problems))

    asyncio.run(main())


async def failed(running: Running, why: str) -> None:
    await running.until(lambda s: any(re.search(why, line) for line in s.status.problems))


def test_a_newer_commit_does_not_wait_for_a_download_that_hangs(
    bench: Bench, server: Server
) -> None:
    bench.configure(**slow_settings(bench))
    first, hung, last = published(server, "1"), archive("2", 9000), published(server, "3")

    async def main() -> None:
        async with bench.running() as running:
            bench.upstream.commit({"apps/shop.yaml": app("shop", release=first)})
            await runs(running, bench, one("shop", first))
            server.trickle("/2.tar", b"HTTP/1.1 200 OK\r\n\r\n")
            wanted = {"url": server.url("/2.tar"), "sha256": sha256(hung)}
            side = app("side", release=first)
            bench.upstream.commit(
                {"apps/shop.yaml": app("shop", release=wanted), "apps/side.yaml": side}
            )
            # What does not wait for it is done meanwhile.
            await runs(running, bench, {**one("shop", first), **one("side", first)})
            await running.until(lambda _: "/2.tar" in [path for path, _, _ in server.asked])
            bench.upstream.commit({"apps/shop.yaml": app("shop", release=last)})
            await runs(running, bench, {**one("shop", last), **one("side", first)})

    asyncio.run(main())


def slow_settings(bench: Bench) -> dict[str, object]:
    """A server may take its time, and is believed in for long."""
    said = yaml.safe_load(bench.config.read_text())
    slow = {"slowest_bytes_s": 0, "stall_s": 10}
    return {"run_dir": said["run_dir"], "releases": {**said["releases"], **slow}}


def test_a_release_that_does_not_run_gives_way_to_the_one_before(
    bench: Bench, server: Server
) -> None:
    first, content = published(server, "1"), tar_of({"bin/run": b"#!/bin/sh\nexit 3\n"})
    server.files["/bad.tar"] = content
    bad = {"url": server.url("/bad.tar"), "sha256": sha256(content)}
    strategy = {"min_healthy_time_s": 0.2, "healthy_deadline_s": 1}

    async def main() -> None:
        async with bench.running() as running:
            spec = app("shop", release=first, strategy=strategy)
            bench.upstream.commit({"apps/shop.yaml": spec})
            await permanent(running, bench, first)
            spec = app("shop", release=bad, strategy=strategy)
            bench.upstream.commit({"apps/shop.yaml": spec})
            await running.until(
                lambda _: (bench.root / "state/releases/shop" / bad["sha256"]).exists()
            )
            await failed(running, "rolled back")
            await runs(running, bench, one("shop", first))
            await permanent(running, bench, first)

    asyncio.run(main())


def test_a_release_that_is_deleted_from_the_disk_comes_again(bench: Bench, server: Server) -> None:
    release = published(server, "1")
    place = bench.root / "state/releases/shop" / release["sha256"]

    async def main() -> None:
        async with bench.running() as running:
            bench.upstream.commit({"apps/shop.yaml": app("shop", release=release)})
            await runs(running, bench, one("shop", release))
            await permanent(running, bench, release)
            shutil.rmtree(place)
            await running.until(lambda _: (place / "bin/run").exists())
            assert programs(bench) == one("shop", release)

    asyncio.run(main())


def test_templates_fill_the_url_of_a_release(bench: Bench, server: Server) -> None:
    release = published(server, "1", "/demo/shop.tar")
    release["url"] = server.url("/{{ realm }}/{{ item.name }}.tar")

    async def main() -> None:
        async with bench.running() as running:
            bench.upstream.commit({"apps/shop.yaml": app("shop", release=release)})
            await runs(running, bench, one("shop", release))

    asyncio.run(main())


# Words: the event to die at, what its first argument ends in, then the command's own.
DOOMED = """
import os, signal, sys
event, end = sys.argv[1:3]
def heard(name, args):
    if name == event and any(str(each).endswith(end) for each in args):
        os.kill(os.getpid(), signal.SIGKILL)
sys.argv[:] = ["reconciler", *sys.argv[3:]]
from reconciler.cli import main
sys.addaudithook(heard)
main()
"""


def synced(bench: Bench, event: str = "", end: str = "") -> int:
    words = ("sync", "--config", str(bench.config))
    argv = [sys.executable, "-c", DOOMED, event, end, *words]
    return subprocess.run(argv, capture_output=True, timeout=60, check=False).returncode


@pytest.mark.skipif(not Path("/proc/self/cmdline").exists(), reason="looks at processes in /proc")
def test_killed_anywhere_on_the_way_of_a_release_the_next_one_ends_it(
    bench: Bench, server: Server
) -> None:
    first, second = published(server, "1"), published(server, "2", padding=600_000)
    bench.upstream.commit({"apps/shop.yaml": app("shop", release=first)})
    assert synced(bench) != -signal.SIGKILL
    bench.upstream.commit({"apps/shop.yaml": app("shop", release=second)})
    identity = second["sha256"]
    deaths = [
        ("open", f".{identity}.archive.part"),
        ("os.rename", f".{identity}.archive"),
        ("os.mkdir", f".{identity}.staging"),
        ("os.rename", identity),
        ("os.symlink", ".current.new"),
        ("os.rename", "current"),
    ]
    for event, end in deaths:
        assert synced(bench, event, end) == -signal.SIGKILL, (event, end)
        assert set(programs(bench)) <= {*one("shop", first), *one("shop", second)}
        assert sum(programs(bench).values()) <= 1
    assert synced(bench) != -signal.SIGKILL
    wanted = one("shop", second)
    eventually(f"{wanted} runs, found {programs(bench)}", lambda: programs(bench) == wanted, 10)
    place = bench.root / "state/releases/shop"
    assert not [each.name for each in place.iterdir() if each.name.startswith(".")]
    assert os.readlink(place / "current") == identity


@pytest.mark.skipif(not Path("/proc/self/cmdline").exists(), reason="looks at processes in /proc")
def test_killed_in_the_middle_of_a_download_the_next_one_resumes_it(
    bench: Bench, server: Server
) -> None:
    release = published(server, "1", padding=600_000)
    bench.upstream.commit({"apps/shop.yaml": app("shop", release=release)})
    server.stall("/1.tar", server.files["/1.tar"], 400_000)
    bench.configure(**slow_settings(bench))
    argv = [sys.executable, "-m", "reconciler.cli", "run", "--config", str(bench.config)]
    process = subprocess.Popen(argv, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    part = bench.root / f"state/releases/shop/..{release['sha256']}.archive.part"
    try:
        eventually("a part came", lambda: part.exists() and part.stat().st_size > 100_000, 20)
    finally:
        process.kill()
        process.wait()
    del server.answers["/1.tar"]
    assert synced(bench) != -signal.SIGKILL
    eventually("it runs", lambda: programs(bench) == one("shop", release), 10)
    assert server.asked[-1][1].startswith("bytes=")


def test_in_a_jail_apart_a_release_is_seen_and_cannot_be_written(
    bench: Bench, server: Server
) -> None:
    if namespaceyard.abilities().obstacle:
        pytest.skip(namespaceyard.abilities().obstacle)
    bench.root.chmod(0o755)
    bench.runtime = namespaceyard.runtime_at(bench.root / "state/jails")
    release = published(server, "1")
    code = (
        "import signal, sys\n"
        "try:\n    open(sys.argv[1], 'w')\n"
        "except OSError as e:\n    print(e.strerror, flush=True)\n"
        "print(open(sys.argv[1]).readline(), flush=True)\nsignal.pause()\n"
    )
    command = [sys.executable, "-ISc", code, "{release}/bin/run"]

    async def main() -> None:
        async with bench.running() as running:
            spec = app("shop", release=release, command=command)
            bench.upstream.commit({"apps/shop.yaml": spec})
            await running.until(lambda _: len(said()) >= 2)
            assert said()[0] == "Read-only file system"
            assert said()[1].startswith("#!")

    def said() -> list[str]:
        return bench.runtime.logs("app-shop", 5) if "app-shop" in bench.runtime.look() else []

    asyncio.run(main())
