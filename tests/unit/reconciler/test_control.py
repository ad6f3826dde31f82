"""Laws of the control socket: private, bounded, one request and one answer."""

from __future__ import annotations

import asyncio
import json
import shutil
import socket
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from maculaos.errors import UsageError
from reconciler.control import CLIENTS, REQUEST_BYTES, NoReconciler, ask, serving

if TYPE_CHECKING:
    from collections.abc import Coroutine, Iterator


@pytest.fixture
def path() -> Iterator[Path]:
    folder = Path(tempfile.mkdtemp(prefix="ctl-", dir="/tmp"))
    yield folder / "run" / "x.control"
    shutil.rmtree(folder)


def play(main: Coroutine[Any, Any, None]) -> None:
    async def bounded() -> None:
        async with asyncio.timeout(20):
            await main

    asyncio.run(bounded())


def mode_of(path: Path) -> int:
    return path.stat().st_mode & 0o777


async def echo(request: dict[str, Any]) -> dict[str, Any]:
    if request.get("do") == "fail":
        raise UsageError("no", "try again")
    return {"heard": request}


def test_answers_what_was_asked(path: Path) -> None:
    async def main() -> None:
        async with serving(path, echo):
            assert mode_of(path) == 0o600
            assert await ask(path, {"do": "x"}) == {"heard": {"do": "x"}}

    play(main())
    assert not list(path.parent.iterdir())


def test_failed_request_raises_at_the_client(path: Path) -> None:
    async def main() -> None:
        async with serving(path, echo):
            with pytest.raises(UsageError, match="no; try again"):
                await ask(path, {"do": "fail"})

    play(main())


def test_nobody_there_says_how_to_start(path: Path) -> None:
    async def main() -> None:
        with pytest.raises(NoReconciler, match=r"no reconciler runs here .*; start it"):
            await ask(path, {"do": "status"})

    play(main())


def test_socket_of_a_dead_reconciler_is_replaced(path: Path) -> None:
    path.parent.mkdir()
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(path))

    async def main() -> None:
        async with serving(path, echo):
            assert await ask(path, {}) == {"heard": {}}

    play(main())


def test_living_socket_is_left_alone(path: Path) -> None:
    async def main() -> None:
        async with serving(path, echo):
            with pytest.raises(UsageError, match="already answers"):
                async with serving(path, echo):
                    pass
            assert await ask(path, {}) == {"heard": {}}

    play(main())


def test_file_that_is_no_socket_is_left_alone(path: Path) -> None:
    path.parent.mkdir()
    path.write_text("mine")

    async def main() -> None:
        with pytest.raises(UsageError, match="is no socket"):
            async with serving(path, echo):
                pass

    play(main())
    assert path.read_text() == "mine"


@pytest.mark.parametrize("line", [b"not json\n", b"[1]\n", b"\xff\xfe\n", b"\n"])
def test_what_is_no_request_is_answered_with_an_error(path: Path, line: bytes) -> None:
    async def main() -> None:
        async with serving(path, echo):
            reader, writer = await asyncio.open_unix_connection(path)
            writer.write(line)
            assert "error" in json.loads(await reader.readline())
            writer.close()

    play(main())


def test_endless_line_ends_the_connection(path: Path) -> None:
    async def main() -> None:
        async with serving(path, echo):
            reader, writer = await asyncio.open_unix_connection(path)
            writer.write(b"x" * (4 * REQUEST_BYTES))
            assert await reader.read() == b""
            writer.close()
            assert await ask(path, {}) == {"heard": {}}

    play(main())


def test_too_many_clients_are_turned_away(path: Path) -> None:
    async def main() -> None:
        async with serving(path, echo):
            held = [await asyncio.open_unix_connection(path) for _ in range(CLIENTS)]
            reader, writer = await asyncio.open_unix_connection(path)
            assert await reader.read() == b""
            for _, one in [*held, (reader, writer)]:
                one.close()

    play(main())


def test_answer_under_way_still_goes_out_at_the_end(path: Path) -> None:
    async def main() -> None:
        ready, ending, answered = asyncio.Event(), asyncio.Event(), asyncio.Event()

        async def stop(_: dict[str, Any]) -> dict[str, Any]:
            ending.set()
            for _step in range(20):
                await asyncio.sleep(0)
            answered.set()
            return {"stopping": True}

        async def serve() -> None:
            async with serving(path, stop):
                ready.set()
                await ending.wait()
            assert answered.is_set()

        server = asyncio.create_task(serve())
        await ready.wait()
        assert await ask(path, {"do": "stop"}) == {"stopping": True}
        await server

    play(main())


def test_too_long_path_is_told(tmp_path: Path) -> None:
    async def main() -> None:
        with pytest.raises(UsageError, match="shorter path for run_dir"):
            async with serving(tmp_path / ("x" * 200), echo):
                pass

    play(main())
