"""All methods at once: merged, kept running, and never a danger to the node."""

from __future__ import annotations

import asyncio
import sys
from typing import TYPE_CHECKING, Any

import pytest

from discovering import Heard, bounded, logbook, running, surroundings
from maculaos.discovery import methods, registry
from maculaos.discovery.discovery import Discovery
from maculaos.discovery.settings import BootstrapSettings, RememberedSettings

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

# No method of the house has anything to do with these.
QUIET: dict[str, Any] = {
    "remembered": RememberedSettings(enabled=False),
    "bootstrap": BootstrapSettings(enabled=False),
}
STEADY = """
import asyncio
from maculaos.discovery.candidates import Hint

class Method:
    def __init__(self, around):
        self.around = around

    async def run(self, sink):
        sink.name([Hint("10.0.0.1:4701", 60.0)])
        await asyncio.Event().wait()
"""
BROKEN = """
from maculaos.discovery.candidates import Hint

tries = []

class Method:
    def __init__(self, around):
        tries.append(around)

    async def run(self, sink):
        sink.part("tries").name([Hint(f"10.0.0.1:{{len(tries)}}", 60.0)])
        raise {error}
"""
RECOVERING = """
import asyncio
from maculaos.discovery.candidates import Hint

tries = []

class Method:
    def __init__(self, around):
        tries.append(around)

    async def run(self, sink):
        if len(tries) < 4:
            raise OSError("no network")
        sink.name([Hint("10.0.0.2:4701", 60.0)])
        sink.failed("not now")
        sink.failed("still not")
        sink.part("x").name([Hint("10.0.0.3:4701", 0.05)])
        await asyncio.Event().wait()
"""
ROAMING = """
import asyncio
from maculaos.discovery.candidates import Hint

class Method:
    def __init__(self, around):
        self.here = around.settings.listen.address

    async def run(self, sink):
        sink.name([Hint(f"{self.here}:1", 60.0)])
        await asyncio.Event().wait()
"""
AT_ONCE: dict[str, Any] = {"retry_base_s": 0.001, "retry_max_s": 0.002}


@pytest.fixture
def add_method(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Callable[[str, str], None]]:
    """Add one file to the folder of methods."""
    monkeypatch.setattr(methods, "__path__", [*methods.__path__, str(tmp_path)])
    added: list[str] = []

    def add(name: str, source: str) -> None:
        (tmp_path / f"{name}.py").write_text(source)
        added.append(f"{methods.__name__}.{name}")

    yield add
    for module in added:
        sys.modules.pop(module, None)


def _row(discovery: Discovery, source: str) -> dict[str, Any]:
    return next((row for row in discovery.describe() if row["source"] == source), {})


def test_the_table_holds_every_method_of_the_house() -> None:
    assert registry.names() == ("bootstrap", "dns", "mdns", "remembered")
    for name in registry.names():
        assert registry.load(name).__module__.endswith(name)
        assert hasattr(surroundings().settings.discovery, name)


def test_a_method_is_one_file(add_method: Callable[[str, str], None]) -> None:
    add_method("pigeon", STEADY)

    async def main() -> None:
        heard, (log, lines) = Heard(), logbook()
        discovery = Discovery(surroundings(**QUIET), heard, log)
        async with running(discovery.run()):
            await heard.until(lambda: bool(heard.named))
        assert heard.named == {"pigeon": ("10.0.0.1:4701",)}
        assert _row(discovery, "pigeon")["state"] == "on"
        assert _row(discovery, "pigeon")["addresses"] == ["10.0.0.1:4701"]
        assert _row(discovery, "dns")["state"] == "off"
        assert _row(discovery, "dns")["error"] == "discovery.dns.domains is empty"
        assert "discovered source=pigeon count=1" in lines.getvalue()

    bounded(main())


@pytest.mark.parametrize(
    ("error", "level"),
    [
        ("OSError('no network')", "warning"),
        ("ImportError('no library')", "warning"),
        ("ZeroDivisionError('a bug')", "error"),
    ],
)
def test_a_method_that_fails_is_tried_again_and_told_once(
    add_method: Callable[[str, str], None], error: str, level: str
) -> None:
    add_method("broken", BROKEN.format(error=error))
    add_method("steady", STEADY)

    async def main() -> None:
        heard, (log, lines) = Heard(), logbook()
        discovery = Discovery(surroundings(**QUIET, **AT_ONCE), heard, log)
        async with running(discovery.run()) as task:
            await heard.until(lambda: heard.named.get("broken tries") == ("10.0.0.1:5",))
            assert heard.named["steady"]
            assert not task.done()
        assert lines.getvalue().count("discovery_failed") == 1
        assert f" {level} discovery_failed source=broken" in lines.getvalue()
        assert _row(discovery, "broken")["state"] == "failing"

    bounded(main())


def test_what_works_again_is_told_once_and_old_words_end(
    add_method: Callable[[str, str], None],
) -> None:
    add_method("moody", RECOVERING)

    async def main() -> None:
        heard, (log, lines) = Heard(), logbook()
        discovery = Discovery(surroundings(**QUIET, **AT_ONCE), heard, log)
        async with running(discovery.run()):
            await heard.until(lambda: heard.named.get("moody x") == ("10.0.0.3:4701",))
            await heard.until(lambda: heard.named["moody x"] == ())
            # Failing ends nothing that was said.
            assert heard.named["moody"] == ("10.0.0.2:4701",)
        assert lines.getvalue().count("discovery_works_again source=moody") == 1
        assert lines.getvalue().count("discovery_failed") == 2

    bounded(main())


def test_a_method_with_nothing_to_look_for_ends_quietly() -> None:
    async def main() -> None:
        heard, (log, lines) = Heard(), logbook()
        around = surroundings(remembered=QUIET["remembered"])
        discovery = Discovery(around, heard, log)
        async with running(discovery.run()), asyncio.timeout(20):
            # Polled: nobody is told of what is not there.
            while _row(discovery, "bootstrap").get("state") != "off":  # noqa: ASYNC110
                await asyncio.sleep(0.01)
        assert _row(discovery, "bootstrap")["error"] == "there is nothing to look for"
        assert lines.getvalue() == ""

    bounded(main())


def test_node_that_moved_looks_anew_from_where_it_is_now(
    add_method: Callable[[str, str], None],
) -> None:
    add_method("roaming", ROAMING)

    async def main() -> None:
        heard, (log, _) = Heard(), logbook()
        discovery = Discovery(surroundings(**QUIET), heard, log)
        async with running(discovery.run()):
            await heard.until(lambda: heard.named.get("roaming") == ("127.0.0.1:1",))
            discovery.move(surroundings(listening="127.0.0.9", **QUIET).settings)
            await heard.until(lambda: heard.named.get("roaming") == ("127.0.0.9:1",))

    bounded(main())
