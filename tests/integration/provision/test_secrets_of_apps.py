"""Secrets from a commit to running programs, with the real age, and a search for their text."""

from __future__ import annotations

import asyncio
import hashlib
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import yaml

from supplied import HAS_AGE, PLAIN, AgeKeys, a_supplied_bench

if TYPE_CHECKING:
    from collections.abc import Iterator

    from reconciling import Bench, Running

pytestmark = pytest.mark.skipif(not HAS_AGE, reason="there is no age program")

# Tells the digest of its secret in a file of its own, once for each start.
CODE = (
    "import os, hashlib, signal\n"
    "said = hashlib.sha256(os.environ['URL'].encode()).hexdigest()\n"
    "open(os.environ['OUT'], 'a').write(said + '\\n')\n"
    "signal.pause()\n"
)


def app(bench: Bench, name: str, sealed: str = "secrets/shop.age", **keys: object) -> str:
    return yaml.safe_dump(
        {
            "version": 1,
            "name": name,
            "node": "n1",
            "command": [sys.executable, "-ISc", CODE],
            "environment": {
                "OUT": str(bench.root / f"{name}.out"),
                "PASSWORD": {"secret": sealed},
                "URL": "db://u:${PASSWORD}@h",
            },
            "strategy": {"min_healthy_time_s": 0.2, "healthy_deadline_s": 5},
            **keys,
        }
    )


@pytest.fixture
def keys(bench: Bench) -> AgeKeys:
    return AgeKeys(bench.root / "keys.txt")


@pytest.fixture
def bench() -> Iterator[Bench]:
    with a_supplied_bench(secrets={"key_file": "keys.txt", "allow_disk": True}) as bench:
        bench.upstream.commit(PLAIN)
        yield bench


def starts(bench: Bench, name: str) -> list[str]:
    try:
        return (bench.root / f"{name}.out").read_text().split()
    except FileNotFoundError:
        return []


def seen(plain: str) -> str:
    return hashlib.sha256(f"db://u:{plain}@h".encode()).hexdigest()


async def applied(running: Running, revision: str) -> None:
    """All was done about that commit, and nothing is left to do."""

    def is_done(_: object) -> bool:
        world = running.daemon._worker.standing.world
        is_known = world.desired is not None and running.daemon._worker.convergence.goal == revision
        return is_known and running.daemon._worker.convergence.progress.last_applied == revision

    await running.until(is_done)


def test_a_changed_secret_restarts_its_app_and_no_other(bench: Bench, keys: AgeKeys) -> None:
    files = {"apps/shop.yaml": app(bench, "shop"), "apps/bar.yaml": app(bench, "bar", "b/bar.age")}
    secrets = {"secrets/shop.age": keys.encrypt("one\n"), "b/bar.age": keys.encrypt("bar")}

    async def main() -> None:
        async with bench.running() as running:
            revision = bench.upstream.commit({**files, **secrets})
            await running.until(lambda _: starts(bench, "shop") and starts(bench, "bar"))
            await applied(running, revision)
            # The same secret, encrypted anew, is no change; only the ciphertext is another.
            revision = bench.upstream.commit({"secrets/shop.age": keys.encrypt("one")})
            await applied(running, revision)
            bench.upstream.commit({"secrets/shop.age": keys.encrypt("two")})
            await running.until(lambda _: len(starts(bench, "shop")) == 2)
        assert starts(bench, "shop") == [seen("one"), seen("two")]
        assert starts(bench, "bar") == [seen("bar")]

    asyncio.run(main())


def test_a_secret_that_cannot_be_decrypted_blocks_its_app_only(bench: Bench, keys: AgeKeys) -> None:
    other = AgeKeys(bench.root / "other.txt")
    files = {"apps/shop.yaml": app(bench, "shop"), "apps/bar.yaml": app(bench, "bar", "bar.age")}
    secrets = {"secrets/shop.age": keys.encrypt("one"), "bar.age": keys.encrypt("bar")}

    async def main() -> None:
        async with bench.running() as running:
            bench.upstream.commit({**files, **secrets})
            await running.until(lambda _: starts(bench, "shop") and starts(bench, "bar"))
            changed = {"secrets/shop.age": other.encrypt("two"), "bar.age": keys.encrypt("barbar")}
            bench.upstream.commit(changed)
            await running.until(lambda _: len(starts(bench, "bar")) == 2)
            why = "secrets/shop.age: it is not encrypted to a key of this machine"
            told = await running.until(lambda s: [p for p in s.status.problems if why in p])
            assert "app shop" in next(p for p in told.status.problems if why in p)
            (shop,) = [item for item in told.status.items if item.name == "shop"]
            assert shop.state == "running"
            assert len(starts(bench, "shop")) == 1
            bench.upstream.commit({"secrets/shop.age": keys.encrypt("three")})
            await running.until(lambda _: len(starts(bench, "shop")) == 2)

    asyncio.run(main())


def test_a_kept_version_has_its_secrets_after_a_restart_with_an_empty_memory(
    bench: Bench, keys: AgeKeys
) -> None:
    run_dir = Path(yaml.safe_load(bench.config.read_text())["run_dir"])

    async def main() -> None:
        async with bench.running() as running:
            bench.upstream.commit(
                {"apps/shop.yaml": app(bench, "shop"), "secrets/shop.age": keys.encrypt("one")}
            )
            await running.until(lambda _: starts(bench, "shop"))
            bench.upstream.commit({"apps/shop.yaml": "version: [", "secrets/shop.age": None})
            await running.until(lambda s: any("apps/shop.yaml" in p for p in s.status.problems))
        # As after a restart of the machine: no program, and nothing in memory.
        for jail in bench.runtime.look():
            bench.runtime.stop(jail)
        shutil.rmtree(run_dir / ".secrets")
        async with bench.running() as running:
            await running.until(lambda _: len(starts(bench, "shop")) == 2)
        assert starts(bench, "shop") == [seen("one")] * 2

    asyncio.run(main())


def hits(plain: str, *folders: Path) -> set[str]:
    """Files that hold the plain text, and processes whose arguments do."""
    needle, found = plain.encode(), set()
    for path in (path for folder in folders for path in folder.rglob("*")):
        try:
            if path.is_file() and needle in path.read_bytes():
                found.add(str(path))
        except OSError:
            continue
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            if needle in path.read_bytes():
                found.add(str(path))
        except OSError:
            continue
    return found


def verb(bench: Bench, *words: str) -> str:
    argv = [sys.executable, "-m", "reconciler.cli", *words, "--config", str(bench.config)]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=60, check=False)
    return done.stdout + done.stderr


def test_no_plain_text_shows_in_a_whole_life(bench: Bench, keys: AgeKeys) -> None:
    plain, later = (f"{word}-horse-{os.getpid()}-battery" for word in ("correct", "wrong"))
    run_dir = Path(yaml.safe_load(bench.config.read_text())["run_dir"])
    place = run_dir / ".secrets" / "app-shop"

    async def main() -> None:
        shown: list[str] = []
        async with bench.running(within_s=60) as running:

            async def search() -> None:
                for word in (plain, later):
                    assert hits(word, bench.root, run_dir) <= {str(place)}
                snapshot = running.snapshot()
                shown.extend((repr(snapshot), repr(snapshot.as_json())))
                verbs = ("status", "--json"), ("plan", "--json"), ("history", "--json", "--steps")
                said = (*verbs, ("plan",), ("explain", "shop"), ("events",))
                shown.extend([await asyncio.to_thread(verb, bench, *words) for words in said])

            bench.upstream.commit(
                {"apps/shop.yaml": app(bench, "shop"), "secrets/shop.age": keys.encrypt(plain)}
            )
            await running.until(lambda _: starts(bench, "shop") == [seen(plain)])
            # The search does find what is there.
            assert hits(plain, run_dir) == {str(place)}
            await search()
            bench.upstream.commit({"secrets/shop.age": keys.encrypt(later)})
            await running.until(lambda _: starts(bench, "shop") == [seen(plain), seen(later)])
            await search()
            bench.upstream.commit({"secrets/shop.age": b"age-encryption.org/v1 " + later.encode()})
            await running.until(lambda s: any("secrets/shop.age" in p for p in s.status.problems))
            bench.upstream.commit({"apps/shop.yaml": None})
            await running.until(lambda _: not place.exists())
            assert hits(plain, bench.root, run_dir) == set()
        text = "".join(shown) + bench.log.getvalue()
        assert plain not in text
        assert later not in text

    asyncio.run(main())
