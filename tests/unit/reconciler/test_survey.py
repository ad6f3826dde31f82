"""A node that is gone, silent or talks nonsense is a fact, never an error."""

from __future__ import annotations

import asyncio
import shutil
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from jails.memory import MemoryRuntime
from jails.spec import JailSpec
from reconciler.survey import ask_nodes, last_words

if TYPE_CHECKING:
    from reconciler.observed import NodeHealth


def test_last_words_are_those_of_ended_nodes_alone() -> None:
    runtime = MemoryRuntime()
    for jail in ("node-n1", "node-n2", "app-echo"):
        runtime.ensure(JailSpec(name=jail, command=("run",)))
        runtime.write(jail, "first")
        runtime.write(jail, f"\x1b[2Jlast of {jail}")
    for jail in ("node-n1", "app-echo"):
        runtime.crash(jail)
    words = asyncio.run(last_words(runtime, runtime.look()))
    assert words == {"node-n1": "[2Jlast of node-n1"}


def test_gone_and_silent_and_odd_nodes_are_told_apart_in_time() -> None:
    folder = Path(tempfile.mkdtemp(prefix="svy-", dir="/tmp"))

    async def stay_silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()
        writer.close()

    async def talk_nonsense(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        writer.close()

    async def main() -> dict[str, NodeHealth]:
        silent = await asyncio.start_unix_server(stay_silent, folder / "silent")
        odd = await asyncio.start_unix_server(talk_nonsense, folder / "odd")
        async with asyncio.timeout(20), silent, odd:
            names = ("gone", "odd", *(f"silent{n}" for n in range(20)))
            sockets = {name: folder / name.rstrip("0123456789") for name in names}
            return await ask_nodes(sockets, 0.2)

    try:
        health = asyncio.run(main())
    finally:
        shutil.rmtree(folder)
    assert not any(one.answers for one in health.values())
    assert all(one.reason for one in health.values())
    assert health["silent0"].reason == "does not answer within 0.2 s"
    assert list(health)[:2] == ["gone", "odd"]
