"""Limits: files of control group v2, and what can stand in for them where there is none. Pure.

A control group counts all of a jail together. Where the host gives none, only what each process
has for itself can be bounded (setrlimit(2)): its address space and its open files. That is weaker,
and there is nothing like it for the number of processes (which would count all jails of one user,
and not count root at all) or for processor time.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from jails.spec import Limits

# Controllers that ``group_files`` writes to.
MEMORY, PROCESSES, CPU = "memory", "pids", "cpu"
# The time over which a share of the processor is counted, in microseconds.
_PERIOD_US = 100_000


def parse_controllers(text: str) -> frozenset[str]:
    """What ``cgroup.controllers`` or ``cgroup.subtree_control`` holds."""
    return frozenset(text.split())


def used_controllers(limits: Limits, controllers: frozenset[str]) -> frozenset[str]:
    """Those of ``controllers`` that ``limits`` needs; empty: no group is needed."""
    amounts = {
        MEMORY: limits.memory_bytes,
        PROCESSES: limits.processes,
        CPU: limits.cpu_percent,
    }
    wanted = frozenset(name for name, amount in amounts.items() if amount is not None)
    return wanted & controllers


def group_files(limits: Limits, controllers: frozenset[str]) -> Mapping[str, str]:
    """Names and contents of the files in a group (cgroups(7)), as far as there are controllers."""
    files: dict[str, str] = {}
    if limits.memory_bytes is not None and MEMORY in controllers:
        files |= {"memory.max": str(limits.memory_bytes), "memory.swap.max": "0"}
    if limits.processes is not None and PROCESSES in controllers:
        files["pids.max"] = str(limits.processes)
    if limits.cpu_percent is not None and CPU in controllers:
        files["cpu.max"] = f"{limits.cpu_percent * _PERIOD_US // 100} {_PERIOD_US}"
    return files


def prlimit_argv(prlimit: str, limits: Limits, controllers: frozenset[str]) -> tuple[str, ...]:
    """Words before a command that bound each process; none where nothing is to be bounded."""
    files = limits.open_files
    memory = limits.memory_bytes if MEMORY not in controllers else None
    return bounded_argv(prlimit, None if files is None else (files, files), memory)


def bounded_argv(
    prlimit: str, files: tuple[int, int] | None, memory_bytes: int | None
) -> tuple[str, ...]:
    """The same from bare amounts: open files, soft and hard, and bytes of address space."""
    words = [f"--nofile={files[0]}:{files[1]}"] if files is not None else []
    words += [f"--as={memory_bytes}:{memory_bytes}"] if memory_bytes is not None else []
    return (prlimit, *words, "--") if words else ()


def out_of_reach(limits: Limits, controllers: frozenset[str]) -> Iterable[str]:
    """What of ``limits`` cannot be had at all, in words."""
    if limits.processes is not None and PROCESSES not in controllers:
        yield "the number of processes cannot be limited: no control group v2 for pids"
    if limits.cpu_percent is not None and CPU not in controllers:
        yield "the processor share cannot be limited: no control group v2 for cpu"
