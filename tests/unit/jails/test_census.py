"""Who runs for which jail, by command line and environment alone."""

from __future__ import annotations

from pathlib import Path

import pytest

from jails.keeper.census import Presence, take_census
from maculaos.host.processes import FakeProcesses

ROOT = Path("/srv/jails")


def keeper(path: str, launch: str = "1", *more: str) -> tuple[str, ...]:
    return ("python", "-I", "-m", "jails.keeper", path, launch, *more)


def test_keepers_and_programs_of_a_root_are_met_by_name() -> None:
    processes = FakeProcesses()
    first = processes.put(10, "a", arguments=keeper("/srv/jails/n1"))
    late = processes.put(11, "b", arguments=keeper("/srv/jails/n1", "2"))
    child = processes.put(12, "c", leader_pid=13, value="/srv/jails/n1")
    program = processes.put(13, "d", arguments=("sleep", "9"), value="/srv/jails/n1")
    other = processes.put(14, "e", value="/srv/jails/n2")
    census = take_census(ROOT, processes)
    assert census == {
        "n1": Presence({first: 1, late: 2}, [program, child]),
        "n2": Presence({}, [other]),
    }
    assert census["n1"].lost_keepers(2) == (first,)
    assert census["n1"].lost_keepers(None) == (first, late)


@pytest.mark.parametrize(
    "arguments",
    [
        (),
        ("sleep", "9"),
        keeper("/srv/jails/n1", "x"),
        keeper("/srv/jails/n1", "1", "more"),
        keeper("/srv/jails/n1/data"),
        keeper("/srv/jails"),
        keeper("/srv/other/n1"),
        keeper("jails/n1"),
        keeper("/srv/jails/.."),
        keeper("/srv/jails/UPPER"),
        keeper(""),
        ("python", "-m", "jails.other", "/srv/jails/n1", "1"),
    ],
    ids=repr,
)
def test_what_only_looks_like_a_keeper_is_left_out(arguments: tuple[str, ...]) -> None:
    processes = FakeProcesses()
    processes.put(10, "a", arguments=arguments)
    assert take_census(ROOT, processes) == {}


@pytest.mark.parametrize("value", ["", "/", "/srv/jails", "/srv/jails/n1/data", "n1", "/x/n1"])
def test_what_carries_another_mark_is_left_out(value: str) -> None:
    processes = FakeProcesses()
    processes.put(10, "a", value=value)
    assert take_census(ROOT, processes) == {}


def test_a_root_is_known_under_its_other_names(tmp_path: Path) -> None:
    (tmp_path / "jails").mkdir()
    (tmp_path / "link").symlink_to("jails")
    processes = FakeProcesses()
    processes.put(10, "a", arguments=keeper(f"{tmp_path}/link/n1"))
    processes.put(11, "b", value=f"{tmp_path}/jails/n2")
    assert set(take_census(tmp_path / "jails", processes)) == {"n1", "n2"}
    assert set(take_census(tmp_path / "link", processes)) == {"n1", "n2"}
