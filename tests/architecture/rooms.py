"""Rooms of many modules, and what each of them may import: parts of the table of layers."""

from __future__ import annotations

from typing import Final

# What is drawn, counted and judged in a load test. The rest of that room runs nodes and programs.
LOADTEST_CORES: Final = tuple(
    f"maculaos.loadtest.{core}"
    for core in (
        "agenda",
        "charts",
        "checker",
        "faults",
        "latencies",
        "load",
        "outcome",
        "phase",
        "plot",
        "report",
        "scale",
        "scenario",
        "schedule",
        "site",
        "stamps",
        "timeline",
    )
)
# Whole nodes, without the machine.
LOADTEST_VIRTUAL: Final = tuple(
    f"maculaos.loadtest.{core}" for core in ("machine", "rehearsal", "virtual")
)
LOADTEST: Final[dict[str, tuple[str, ...]]] = {
    **dict.fromkeys(LOADTEST_CORES, ("maculaos.errors", *LOADTEST_CORES)),
    **dict.fromkeys(
        LOADTEST_VIRTUAL,
        (
            *LOADTEST_CORES,
            *LOADTEST_VIRTUAL,
            "maculaos.effects",
            "maculaos.errors",
            "maculaos.identity",
            "maculaos.kademlia.signing",
            "maculaos.node",
            "maculaos.settings",
            "maculaos.wire",
        ),
    ),
    "maculaos.loadtest": (
        "maculaos.client",
        "maculaos.daemon",
        "maculaos.errors",
        "maculaos.host",
        "maculaos.security.authority",
    ),
}
# Parts of the daemon: each does one thing with the node and its endpoint.
DAEMON: Final[dict[str, tuple[str, ...]]] = {
    "maculaos.dialling": ("maculaos.effects", "maculaos.node", "maculaos.quic"),
    "maculaos.outgoing": (
        "maculaos.control.pace",
        "maculaos.effects",
        "maculaos.quic",
        "maculaos.wire",
    ),
    "maculaos.shell_counters": (
        "maculaos.control",
        "maculaos.effects",
        "maculaos.outgoing",
        "maculaos.quic",
        "maculaos.wire",
    ),
    "maculaos.whereabouts": (
        "maculaos.discovery",
        "maculaos.effects",
        "maculaos.errors",
        "maculaos.host",
        "maculaos.node",
        "maculaos.quic",
        "maculaos.settings",
    ),
}
