"""Opening a runtime: what is tried, what goes on record, and whose jails are believed to be there.

The machines here are made up: their runtimes keep jails in memory, and note when each is tried.
What the real ones say of this machine is checked at the end.
"""

from __future__ import annotations

import json
import shutil
import stat
import sys
import tempfile
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jails.freebsd.model import ModelHost
from jails.freebsd.model.answer import UntaughtCommand
from jails.keeper.records import JailDirectory
from jails.memory import MemoryRuntime
from jails.spec import JailSpec
from maculaos.errors import UsageError
from maculaos.host.clock import FakeClock
from maculaos.host.commands import CommandFailed
from reconciler.choice import AUTO, STRONGEST_FIRST, Candidate
from reconciler.runtimes import (
    RECORD_BYTES,
    RECORD_NAME,
    Offer,
    expected_runtime,
    open_runtime,
    present_runtime,
    recorded_runtime,
    trials_on,
)
from reconciler.settings import ReconcilerSettings, RepositorySettings

if TYPE_CHECKING:
    from collections.abc import Iterator

    from jails.runtime import Runtime
    from maculaos.host.clock import Clock
    from reconciler.runtimes import Opened, Trials

CLOCK = FakeClock()


class Named(MemoryRuntime):
    """Jails in memory, under a mark on disk as every runtime leaves it."""

    def __init__(self, name: str, root: Path) -> None:
        super().__init__(root)
        self._name, self._folder = name, root

    @property
    def name(self) -> str:
        return self._name

    def ensure(self, spec: JailSpec) -> None:
        super().ensure(spec)
        directory = JailDirectory(self._folder / spec.name)
        directory.path.mkdir(exist_ok=True)
        directory.claim()

    def remove(self, name: str) -> None:
        super().remove(name)
        shutil.rmtree(self._folder / name)

    def rename(self, former: str, name: str) -> None:
        super().rename(former, name)
        if (self._folder / former).exists():
            (self._folder / former).rename(self._folder / name)


@dataclass
class Machine:
    """A machine on which runtimes work or not, as a test says."""

    root: Path
    working: set[str] = field(default_factory=lambda: {"namespaces", "process"})
    tried: list[str] = field(default_factory=list)
    runtimes: dict[str, Named] = field(default_factory=dict)

    @property
    def trials(self) -> Trials:
        return {name: partial(self._try, name) for name in STRONGEST_FIRST}

    @property
    def record(self) -> Path:
        return self.root / RECORD_NAME

    def settings(self, runtime: Any = AUTO) -> ReconcilerSettings:
        return ReconcilerSettings(
            version=1,
            repository=RepositorySettings(url="/srv/site.git"),
            state_dir=self.root,
            credentials_dir=self.root,
            run_dir=self.root,
            runtime=runtime,
        )

    def open(self, runtime: str = AUTO) -> Opened:
        return open_runtime(self.settings(runtime), CLOCK, self.trials)

    def start(self, runtime: str = AUTO) -> Opened:
        """Open it, and start a jail."""
        opened = self.open(runtime)
        opened.runtime.ensure(JailSpec(name="node-n1", command=("true",)))
        return opened

    def down(self, runtime: str = AUTO) -> str:
        """Remove every jail; the name of the runtime that did."""
        found = recorded_runtime(self.settings(runtime), CLOCK, self.trials)
        for jail in list(found.look()):
            found.remove(jail)
        return found.name

    def with_jails(self) -> set[str]:
        return {name for name, runtime in self.runtimes.items() if runtime.look()}

    def _try(self, name: str) -> Offer:
        self.tried.append(name)
        return Offer(
            Candidate(name, name in self.working, f"<{name} says>"), partial(self._at, name)
        )

    def _at(self, name: str, root: Path, clock: Clock) -> Runtime:
        assert root == self.root / "jails"
        assert clock is CLOCK
        assert name in self.working, "what does not work is not opened"
        return self.runtimes.setdefault(name, Named(name, root))


@contextmanager
def a_machine() -> Iterator[Machine]:
    root = Path(tempfile.mkdtemp(prefix="run-", dir="/tmp"))
    try:
        yield Machine(root)
    finally:
        shutil.rmtree(root)


@pytest.fixture
def machine() -> Iterator[Machine]:
    with a_machine() as machine:
        yield machine


def test_first_start_takes_the_strongest_and_puts_it_on_record(machine: Machine) -> None:
    opened = machine.open()
    assert (opened.choice.name, opened.runtime.name) == ("namespaces", "namespaces")
    assert json.loads(machine.record.read_text()) == {"runtime": "namespaces"}
    assert stat.S_IMODE(machine.record.stat().st_mode) == 0o600
    assert stat.S_IMODE((machine.root / "jails").stat().st_mode) == 0o700


def test_a_named_process_tries_nothing_else(machine: Machine) -> None:
    machine.start("process")
    machine.open("process")
    machine.down("process")
    assert set(machine.tried) == {"process"}


def test_no_runtime_is_tried_twice_for_one_choice(machine: Machine) -> None:
    machine.start("process")
    machine.tried.clear()
    machine.open()
    assert sorted(machine.tried) == sorted(STRONGEST_FIRST)


def test_what_is_weaker_than_the_choice_is_not_tried(machine: Machine) -> None:
    machine.start("namespaces")
    machine.tried.clear()
    machine.open()
    assert "process" not in machine.tried


def test_jails_without_a_record_are_plain_processes(machine: Machine) -> None:
    machine.start("process")
    machine.record.unlink()
    opened = machine.open()
    assert opened.choice.name == "process"
    assert "is kept while jails of it are there, though namespaces is stronger" in opened.choice.why
    assert json.loads(machine.record.read_text()) == {"runtime": "process"}


def test_another_runtime_begins_after_down(machine: Machine) -> None:
    machine.start("process")
    with pytest.raises(
        UsageError, match=r"jails of the runtime process are in .*/jails; run recon"
    ):
        machine.open("namespaces")
    assert machine.down("namespaces") == "process"
    assert machine.open("namespaces").choice.name == "namespaces"
    assert json.loads(machine.record.read_text()) == {"runtime": "namespaces"}


def test_down_and_plan_follow_the_record_whatever_the_settings_say(machine: Machine) -> None:
    for wanted in (AUTO, "namespaces", "jail"):
        machine.start("process")
        found = present_runtime(machine.settings(wanted), CLOCK, machine.trials)
        assert found is machine.runtimes["process"]
        assert machine.down(wanted) == "process"
    assert machine.with_jails() == set()


def test_plan_on_an_empty_machine_is_for_the_runtime_that_would_be_taken(machine: Machine) -> None:
    found = present_runtime(machine.settings(), CLOCK, machine.trials)
    assert found.name == "namespaces"
    assert not machine.record.exists()


def test_what_is_only_asked_for_is_not_put_on_record(machine: Machine) -> None:
    opened = expected_runtime(machine.settings(), CLOCK, machine.trials)
    assert opened.choice.name == "namespaces"
    assert not list(machine.root.iterdir())


def test_jails_of_a_runtime_that_broke_are_refused_by_its_name(machine: Machine) -> None:
    machine.start("namespaces")
    machine.working.discard("namespaces")
    said = r"jails of the runtime namespaces are in .*/jails, but <namespaces says>; mend that"
    for attempt in (machine.open, machine.down, partial(machine.open, "namespaces")):
        with pytest.raises(UsageError, match=said):
            attempt()
    with pytest.raises(UsageError, match=said):
        present_runtime(machine.settings("process"), CLOCK, machine.trials)
    assert json.loads(machine.record.read_text()) == {"runtime": "namespaces"}


def test_a_broken_runtime_without_jails_is_in_nobodys_way(machine: Machine) -> None:
    machine.open("namespaces")
    machine.working.discard("namespaces")
    assert machine.down() == "process"
    assert machine.open().choice.name == "process"


def test_a_refused_choice_leaves_the_record_alone(machine: Machine) -> None:
    machine.open("process")
    with pytest.raises(UsageError, match="<jail says>; mend that, or set runtime to auto"):
        machine.open("jail")
    assert json.loads(machine.record.read_text()) == {"runtime": "process"}


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{",
        b"[]",
        b'{"runtime": "podman"}',
        b'{"runtime": 1}',
        b" " * RECORD_BYTES + b'{"runtime": "jail"}',
    ],
)
def test_a_record_that_names_no_runtime_is_told_with_its_mend(
    machine: Machine, content: bytes
) -> None:
    machine.record.write_bytes(content)
    said = r"runtime.json names none of the runtimes jail, namespaces, process; write {\"runtime\""
    for attempt in (machine.open, machine.down):
        with pytest.raises(UsageError, match=said):
            attempt()
    assert machine.record.read_bytes() == content


def test_half_written_records_are_swept(machine: Machine) -> None:
    left = machine.root / f".{RECORD_NAME}.123.0123abcd"
    left.touch()
    machine.open()
    assert not left.exists()


STARTS = st.tuples(st.just("start"), st.sampled_from((AUTO, *STRONGEST_FIRST)))
DOWNS = st.tuples(st.just("down"), st.sampled_from((AUTO, *STRONGEST_FIRST)))
TURNS = st.tuples(st.just("turn"), st.sampled_from(("jail", "namespaces")))


@given(st.lists(st.one_of(STARTS, DOWNS, TURNS), max_size=12))
@settings(deadline=None)
def test_jails_of_two_runtimes_never_meet_whatever_is_asked_for(
    deeds: list[tuple[str, str]],
) -> None:
    with a_machine() as machine:
        for deed, name in deeds:
            held = machine.with_jails()
            if deed == "turn":
                machine.working ^= {name}
                continue
            with suppress(UsageError):
                machine.start(name) if deed == "start" else machine.down(name)
            now = machine.with_jails()
            assert len(now) <= 1
            assert now == held or not (now and held), "jails changed hands"
            assert all(json.loads(machine.record.read_text()) == {"runtime": n} for n in now)


@pytest.mark.parametrize(
    ("system", "strange"),
    [("linux", {"jail"}), ("freebsd14", {"namespaces"}), ("darwin", {"jail", "namespaces"})],
)
def test_runtimes_of_other_systems_are_ruled_out_without_a_trial(
    system: str, strange: set[str]
) -> None:
    for name in strange:
        offer = trials_on(system)[name]()
        assert not offer.candidate.works
        assert offer.candidate.statement.endswith(f"and this system is {system}")
        with pytest.raises(UsageError):
            offer.open(Path("/nonexistent"), CLOCK)


class ModelOfFreeBsd(ModelHost):
    """The model, asked by its root; what it was not taught is not installed."""

    def run(self, *argv: str, stdin: bytes = b"", timeout_s: float = 60.0) -> str:
        said = {("uname", "-s"): "FreeBSD\n", ("id", "-u"): "0\n"}
        if argv in said:
            return said[argv]
        try:
            return super().run(*argv, stdin=stdin, timeout_s=timeout_s)
        except UntaughtCommand as unknown:
            raise CommandFailed(argv, 127, "not found") from unknown


def test_jails_of_freebsd_are_the_first_choice_there(machine: Machine) -> None:
    trials = trials_on("freebsd14", ModelOfFreeBsd())
    opened = open_runtime(machine.settings(), CLOCK, trials)
    assert opened.runtime.name == "jail"
    assert opened.choice.why.startswith(
        "jail is the strongest runtime that works here; jails work here"
    )


def test_processes_work_everywhere_and_say_that_they_isolate_nothing(machine: Machine) -> None:
    offer = trials_on("darwin")["process"]()
    assert offer.candidate.works
    assert "nothing isolates them" in offer.candidate.statement
    assert offer.open(machine.root / "jails", CLOCK).name == "process"


@pytest.mark.skipif(sys.platform != "linux", reason="namespaces are of Linux")
def test_namespaces_say_of_this_machine_what_they_can(machine: Machine) -> None:
    offer = trials_on("linux")["namespaces"]()
    assert offer.candidate.statement.startswith(
        "namespaces work here" if offer.candidate.works else "namespaces do not work here: "
    )
    if offer.candidate.works:
        assert offer.open(machine.root / "jails", CLOCK).name == "namespaces"
