"""The status screen: 80 columns, 24 lines, ASCII; whatever there is to show."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from hypothesis import given
from hypothesis import strategies as st

from appliance.panel import Panel
from appliance.places import Places
from appliance.screen import COLUMNS, LINES, Screen, render
from contract.recordings import answers
from maculaos.host.clock import FakeClock
from maculaos.host.commands import DEFAULT_TIMEOUT_S, CommandFailed
from unit.appliance.startyard import SEED, Machine

if TYPE_CHECKING:
    from pathlib import Path

WELL = Screen(
    hostname="edge-7",
    version="1.2 (0123456789) on FreeBSD 15.1",
    slot="A",
    addresses=("vtnet0 192.0.2.10/24",),
    reconciler="converged, follows https://git.example/site.git main",
    revision="0123456789",
    health="healthy",
    update="no update under way",
    ssh_key="SHA256:" + "a" * 43,
    machine_key="SHA256:" + "b" * 43,
)
TEXT = st.text(max_size=400)


@given(
    st.builds(
        Screen,
        hostname=TEXT,
        version=TEXT,
        slot=TEXT,
        addresses=st.lists(TEXT, max_size=40).map(tuple),
        has_seed=st.booleans(),
        reconciler=TEXT,
        revision=TEXT,
        health=TEXT,
        update=TEXT,
        problems=st.lists(TEXT, max_size=40).map(tuple),
    )
)
def test_screen_always_fits_and_never_obeys_what_it_shows(screen: Screen) -> None:
    lines = render(screen).split("\n")
    assert lines.pop() == ""
    assert len(lines) <= LINES
    assert all(len(line) <= COLUMNS for line in lines)
    assert all(" " <= letter <= "~" for line in lines for letter in line)


def test_fullest_screen_fits() -> None:
    long = "word " * 80
    full = Screen(
        hostname="h" * 63,
        version=long,
        slot=long,
        addresses=(long,) * 9,
        reconciler=long,
        revision=long,
        health=long,
        update=long,
        ssh_key=long,
        machine_key=long,
        problems=("x" * 300,) * 9,
    )
    lines = render(full).splitlines()
    assert len(lines) == LINES
    assert max(map(len, lines)) == COLUMNS


def test_what_counts_is_shown() -> None:
    shown = render(WELL)
    for text in (
        "edge-7",
        "1.2 (0123456789)",
        "192.0.2.10/24",
        "converged",
        "healthy",
        WELL.ssh_key,
    ):
        assert text in shown
    assert "seed" not in shown


def test_machine_without_seed_says_how_to_give_one_whatever_else_is_wrong() -> None:
    shown = render(Screen(hostname="m", version="", slot="", has_seed=False, problems=("x",) * 40))
    assert "Copy a file seed.toml to a FAT stick" in shown
    assert "authorized_keys" in shown
    assert "..." not in shown.replace('AAAA... you"]', "")


def test_more_problems_than_fit_are_counted() -> None:
    shown = render(Screen(hostname="m", version="", slot="", problems=tuple("abcdefgh")))
    assert "! and 3 more" in shown


class Answering:
    """The commands that a panel asks, answered as a recorded machine did."""

    def __init__(self, *, is_silent: bool = False) -> None:
        (self.interfaces,) = {each.stdout for each in answers("host", "ifconfig", "-a")}
        self.is_silent = is_silent
        self.converged = True

    def run(self, *argv: str, stdin: bytes = b"", timeout_s: float = DEFAULT_TIMEOUT_S) -> str:
        del stdin, timeout_s
        said = {
            ("hostname",): "edge-7\n",
            ("mount", "-p"): "/dev/gpt/slotB / ufs ro 1 1\n",
            ("kenv",): 'macula.slot="B"\n',
            ("gpart", "show", "-l"): (
                "=>  34  9999  vtbd0  GPT  (1G)\n  100  10  3  slotA  [bootme]  (1M)\n"
                "  200  10  4  slotB  [bootonce]  (1M)\n"
            ),
            ("ifconfig", "-a"): self.interfaces,
            ("pgrep", "-x", "getty"): "700\n",
            ("service", "reconciler", "enabled"): "",
            ("reconciler", "status", "--json"): json.dumps(
                {
                    "converged": self.converged,
                    "items": [],
                    "problems": [],
                    "url": "https://git.example/site.git",
                    "branch": "main",
                    "revisions": {"applied": "0123456789abcdef"},
                }
            ),
        }
        if self.is_silent or argv not in said:
            raise CommandFailed(argv, 1, "nothing to say")
        return said[argv]


def panel(root: Path, runner: Answering) -> Panel:
    machine = Machine(root)
    (root / "cfg/seed.toml").write_bytes(SEED)
    machine.start()
    return Panel(places=Places(root=root), files=machine.files, runner=runner, clock=FakeClock())


def test_panel_shows_what_the_machine_says(tmp_path: Path) -> None:
    screen = panel(tmp_path, Answering()).look()
    assert (screen.hostname, screen.slot) == ("edge-7", "B, on trial")
    assert screen.addresses[0] == "vtnet0 10.0.2.15/24"
    assert screen.reconciler == "converged, follows https://git.example/site.git main"
    assert screen.revision == "0123456789"
    assert screen.ssh_key.startswith("SHA256:")
    assert screen.has_seed


def test_machine_that_says_nothing_still_has_a_screen(tmp_path: Path) -> None:
    screen = panel(tmp_path, Answering(is_silent=True)).look()
    assert render(screen)
    assert screen.reconciler == "does not answer"
    assert screen.slot.startswith("unclear: ")


def test_console_is_written_to_when_something_changed_and_not_before(tmp_path: Path) -> None:
    answering = Answering()
    shown = panel(tmp_path, answering)
    console = tmp_path / "dev/console"
    shown.watch(rounds=8)
    first = console.read_text()
    assert first.count("MaculaOS") == 1
    assert (tmp_path / "etc/issue").read_text() in first
    console.write_text("")
    answering.converged = False
    shown.watch(rounds=1)
    assert "at work" in console.read_text()


def test_screen_beside_a_serial_line_shows_the_same(tmp_path: Path) -> None:
    shown = panel(tmp_path, Answering())
    for name in ("ttyu0", "ttyv0"):
        (tmp_path / "dev" / name).touch()
    shown.watch(rounds=1)
    assert (tmp_path / "dev/ttyv0").read_text() == (tmp_path / "dev/console").read_text() != ""
