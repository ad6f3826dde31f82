"""Limits: each is in a control group, in its stand-in, or out of reach; never silently nowhere."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from jails.namespaces import limits
from jails.spec import Limits

ALL = frozenset({limits.MEMORY, limits.PROCESSES, limits.CPU})
AMOUNTS = st.none() | st.integers(min_value=1, max_value=1 << 40)
WANTED = st.builds(
    Limits, memory_bytes=AMOUNTS, processes=AMOUNTS, open_files=AMOUNTS, cpu_percent=AMOUNTS
)


def test_files_of_a_group_say_what_is_wanted() -> None:
    wanted = Limits(memory_bytes=1 << 20, processes=7, cpu_percent=150)
    assert limits.group_files(wanted, ALL) == {
        "memory.max": "1048576",
        "memory.swap.max": "0",
        "pids.max": "7",
        "cpu.max": "150000 100000",
    }


def test_open_files_are_bounded_for_each_process_and_memory_where_no_group_does_it() -> None:
    wanted = Limits(memory_bytes=5, open_files=9)
    assert limits.prlimit_argv("prlimit", wanted, ALL) == ("prlimit", "--nofile=9:9", "--")
    without = limits.prlimit_argv("prlimit", wanted, frozenset())
    assert without == ("prlimit", "--nofile=9:9", "--as=5:5", "--")


@given(WANTED, st.frozensets(st.sampled_from(sorted(ALL))))
def test_every_wanted_limit_is_enforced_or_refused(
    wanted: Limits, controllers: frozenset[str]
) -> None:
    asked = [wanted.memory_bytes, wanted.processes, wanted.open_files, wanted.cpu_percent]
    files = set(limits.group_files(wanted, controllers)) - {"memory.swap.max"}
    words = limits.prlimit_argv("prlimit", wanted, controllers)[1:-1]
    refused = list(limits.out_of_reach(wanted, controllers))
    assert len(files) + len(words) + len(refused) == sum(each is not None for each in asked)


@given(WANTED, st.frozensets(st.sampled_from(sorted(ALL))))
def test_a_group_is_made_exactly_for_what_it_counts(
    wanted: Limits, controllers: frozenset[str]
) -> None:
    used = limits.used_controllers(wanted, controllers)
    assert bool(used) == bool(limits.group_files(wanted, controllers))
    assert used <= controllers


def test_controllers_are_read() -> None:
    assert limits.parse_controllers("cpuset cpu io memory pids\n") >= ALL
    assert limits.parse_controllers("\n") == frozenset()
