"""The bootstrap list in the DHT."""

from __future__ import annotations

import asyncio

from discovering import FakeRecords, bounded, identity, seeking, surroundings
from maculaos.discovery.bootstrap import encode, key_of
from maculaos.discovery.methods.bootstrap import Method
from maculaos.discovery.settings import BootstrapSettings

KEY = key_of("home")


def method(name: str, records: FakeRecords, port: int, **settings: float) -> Method:
    bootstrap = BootstrapSettings(**settings)  # type: ignore[arg-type]
    around = surroundings(name, port=port, records=records.of(name), bootstrap=bootstrap)
    return Method(around)


def test_nodes_put_themselves_on_the_list_and_find_the_others() -> None:
    records = FakeRecords()

    async def main() -> None:
        async with seeking(method("n1", records, 4701, interval_s=0.05)) as first:
            await first.until(lambda: first.named == {"": ()})
            async with seeking(method("n2", records, 4702, interval_s=0.05)) as second:
                await second.until(lambda: second.named == {"": ("127.0.0.1:4701",)})
                await first.until(lambda: first.named == {"": ("127.0.0.1:4702",)})

    bounded(main())
    assert set(records.held[KEY]) == {"n1", "n2"}


def test_a_list_that_is_long_enough_gets_no_longer() -> None:
    records = FakeRecords()
    records.held[KEY] = {"a": encode(["10.0.0.1:1"]), "b": encode(["10.0.0.2:1"])}

    async def main() -> None:
        async with seeking(method("n1", records, 4701, size=2)) as heard:
            await heard.until(lambda: bool(heard.named))
            assert heard.named == {"": ("10.0.0.1:1", "10.0.0.2:1")}

    bounded(main())
    assert set(records.held[KEY]) == {"a", "b"}


def test_hostile_entries_neither_count_nor_break_anything() -> None:
    records = FakeRecords()
    records.held[KEY] = {"a": b"\xff" * 5000, "b": b"[" * 4096, "c": b'["0.0.0.0:1"]'}

    async def main() -> None:
        async with seeking(method("n1", records, 4701, size=1)) as heard:
            await heard.until(lambda: "n1" in records.held[KEY])
            assert heard.named == {"": ()}

    bounded(main())


def test_a_first_link_is_reason_to_look_again_at_once() -> None:
    records = FakeRecords()
    around = surroundings("n1", records=records.of("n1"))

    async def main() -> None:
        async with seeking(Method(around)) as heard:
            await heard.until(lambda: heard.named == {"": ()})
            records.held[KEY] = {"n2": encode(["10.0.0.2:1"])}
            around.linked.up(1, identity("n2").node_id, ("10.0.0.2:1",))
            await heard.until(lambda: heard.named == {"": ("10.0.0.2:1",)})

    bounded(main())


def test_without_a_dht_there_is_nothing_to_look_for() -> None:
    async def main() -> None:
        async with asyncio.timeout(5), seeking(Method(surroundings())) as heard:
            assert heard.named == {}

    bounded(main())
