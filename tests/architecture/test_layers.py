"""The layers: what each room may import, as a table; imports point down, siblings stay apart.

Imports that only serve types count too: a name that a core must not use, it must not name.
"""

from __future__ import annotations

import ast
from typing import TYPE_CHECKING, Final

import pytest

from architecture import rooms, tree

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

OURS: Final = ("maculaos", "reconciler", "jails", "imagebuilder", "appliance")

_WORDS: Final = (
    "maculaos.errors",
    "maculaos.identity",
    "maculaos.addresses",
    "maculaos.settings",
)
# The rest of that room carries out what these decide.
_DISCOVERY_CORES: Final = tuple(
    f"maculaos.discovery.{core}"
    for core in (
        "bootstrap",
        "candidates",
        "dials",
        "memory",
        "races",
        "service",
        "settings",
        "srv",
        "static",
    )
)
_CORES: Final = (
    "maculaos.swim",
    "maculaos.kademlia",
    "maculaos.topology",
    "maculaos.pubsub",
    "maculaos.rpc",
    *_DISCOVERY_CORES,
)
# Builders and parsers of one tool each, and what is worked out without asking the machine.
_FREEBSD_CORES: Final = (
    "admission",
    "gpart",
    "ifconfig",
    "jail",
    "jls",
    "kenv",
    "mount",
    "netstat",
    "pfctl",
    "ps",
    "rctl",
    "render",
    "status",
    "sysctl",
    "tuning",
    "unreadable",
    "zfs",
)
_NAMESPACES_CORES: Final = ("admission", "bwrap", "guard", "ip", "limits", "nft")
_PACKAGES_CORES: Final = (
    "accounts",
    "basesystem",
    "catalogue",
    "installation",
    "lockfile",
    "manifest",
    "meta",
    "python",
    "sbom",
    "selection",
    "solve",
    "ucl",
    "version",
)
_FILESYSTEM_CORES: Final = (
    "accounts",
    "allocation",
    "bootable",
    "geometry",
    "inodes",
    "mountable",
    "mtree",
    "problems",
    "prune",
    "superblock",
    "tree",
)
_APPLIANCE_CORES: Final = (
    "bundle",
    "configuration",
    "decisions",
    "firstboot",
    "forms",
    "growth",
    "identity",
    "installer",
    "keys",
    "screen",
    "seed",
    "slots",
    "steps",
    "tuning",
    "wishes",
)
_JAILS_WORDS: Final = ("jails.naming", "jails.spec")
_RECONCILER_WORDS: Final = (
    "reconciler.names",
    "reconciler.values",
    "reconciler.conditions",
    "reconciler.front.settings",
    "reconciler.hooks.spec",
    "reconciler.front.standing",
    "reconciler.monitoring.settings",
    "reconciler.notices.settings",
    "reconciler.placement",
    "reconciler.ports.spec",
    "reconciler.specs.layout",
    "reconciler.specs.overrides",
    "reconciler.specs.spec",
    "reconciler.specs.targets",
    "reconciler.settings",
    "reconciler.steps",
    "reconciler.sources.unreachable",
    "reconciler.probes.spec",
    "reconciler.releases.spec",
    "reconciler.rollouts.instances",
    "reconciler.rollouts.spec",
    "reconciler.secrets.reference",
    "reconciler.web.listening",
    "reconciler.webhook.settings",
)
_RECONCILER_CORES: Final = (
    "reconciler.choice",
    "reconciler.doctor",
    "reconciler.events",
    "reconciler.explain",
    "reconciler.front.balance",
    "reconciler.front.bounds",
    "reconciler.front.flows",
    "reconciler.front.routes",
    "reconciler.metrics",
    "reconciler.monitoring.answers",
    "reconciler.notices.forms",
    "reconciler.notices.ledger",
    "reconciler.notices.notice",
    "reconciler.render",
    "reconciler.plan",
    "reconciler.convergence",
    "reconciler.generations",
    "reconciler.status",
    "reconciler.activity",
    "reconciler.observed",
    "reconciler.standing",
    "reconciler.sources.tree",
    "reconciler.specs.between",
    "reconciler.specs.compilation",
    "reconciler.specs.dependencies",
    "reconciler.specs.desired",
    "reconciler.specs.difference",
    "reconciler.specs.draft",
    "reconciler.specs.items",
    "reconciler.specs.layers",
    "reconciler.specs.reach",
    "reconciler.specs.schema",
    "reconciler.specs.templates",
    "reconciler.bundles.manifest",
    "reconciler.hosting.requests",
    "reconciler.hosting.tokens",
    "reconciler.fleet",
    "reconciler.inventory",
    "reconciler.passage",
    "reconciler.ports.allotment",
    "reconciler.probes.judge",
    "reconciler.releases.members",
    "reconciler.releases.shelf",
    "reconciler.rollouts",
    "reconciler.secrets.expansion",
    "reconciler.secrets.unsealed",
    "reconciler.sources.remotes",
    "reconciler.sources.trust",
    "reconciler.webhook.providers",
    "reconciler.webhook.rates",
    "reconciler.webhook.receiver",
)
_RECONCILER_OUTSIDE: Final = (
    "maculaos.errors",
    "maculaos.identity",
    "maculaos.addresses",
    "maculaos.documents",
)

# Room -> what it may import of ours, besides itself. The longest matching room counts.
ALLOWED: Final[dict[str, tuple[str, ...]]] = {
    # Words.
    "maculaos": (),
    "maculaos.errors": (),
    "maculaos.identity": ("maculaos.errors",),
    "maculaos.addresses": ("maculaos.errors",),
    "maculaos.settings": (
        *_WORDS,
        "maculaos.discovery.settings",
        "maculaos.kademlia.settings",
        "maculaos.topology.settings",
    ),
    "maculaos.effects": ("maculaos.wire",),
    "maculaos.wire": ("maculaos.errors",),
    "maculaos.wire.signatures": ("maculaos.errors", "maculaos.identity", "maculaos.wire"),
    "jails.spec": (),
    "jails.naming": (),
    "jails.runtime": ("jails.spec",),
    "jails.keeper.supervision": ("jails.spec",),
    # Cores: they know the words, and nothing of each other.
    **dict.fromkeys(_CORES, _WORDS),
    **dict.fromkeys(_DISCOVERY_CORES, (*_WORDS, *_DISCOVERY_CORES)),
    "maculaos.topology": (*_WORDS, "maculaos.kademlia.distance"),
    # Words of the core, so that the settings of a node may hold them.
    "maculaos.discovery.settings": (),
    "maculaos.topology.settings": (),
    "maculaos.documents": ("maculaos.errors",),
    "maculaos.session": (*_WORDS, "maculaos.wire", "maculaos.effects"),
    "maculaos.security.certificates": (*_WORDS, "maculaos.security.revocations"),
    "maculaos.security.revocations": _WORDS,
    "maculaos.quic.admission": _WORDS,
    # Deciders.
    "maculaos.node": (*_WORDS, *_CORES, "maculaos.wire", "maculaos.effects"),
    **dict.fromkeys(_RECONCILER_WORDS, (*_RECONCILER_WORDS, *_RECONCILER_OUTSIDE, *_JAILS_WORDS)),
    **dict.fromkeys(
        _RECONCILER_CORES,
        (*_RECONCILER_WORDS, *_RECONCILER_CORES, *_RECONCILER_OUTSIDE, *_JAILS_WORDS),
    ),
    # Shells.
    "maculaos.host": ("maculaos.errors",),
    "maculaos.security": (*_WORDS, "maculaos.host"),
    "maculaos.security.events": (
        *_WORDS,
        "maculaos.security.credentials",
        "maculaos.wire.events",
        "maculaos.wire.signatures",
    ),
    "maculaos.quic": (
        *_WORDS,
        "maculaos.wire",
        "maculaos.effects",
        "maculaos.session",
        "maculaos.security",
        "maculaos.host",
    ),
    "maculaos.discovery": (*_WORDS, "maculaos.host"),
    "maculaos.control": (*_WORDS, "maculaos.wire", "maculaos.effects", "maculaos.host"),
    "maculaos.client": (
        "maculaos.errors",
        "maculaos.wire",
        "maculaos.host",
        # What may be written as a topic or a method, so that a slip is told before it is sent.
        "maculaos.pubsub.patterns",
        "maculaos.pubsub.topics",
        "maculaos.rpc.methods",
        # A node in the program's own process; loaded by whoever wants one.
        "maculaos.embedded",
    ),
    "maculaos.embedded": (
        *_WORDS,
        "maculaos.wire",
        "maculaos.control",
        "maculaos.daemon",
        "maculaos.host",
    ),
    "maculaos.configuration": (*_WORDS, "maculaos.documents"),
    **rooms.LOADTEST,
    **rooms.DAEMON,
    "maculaos.daemon": (
        *_WORDS,
        "maculaos.whereabouts",
        "maculaos.dialling",
        "maculaos.outgoing",
        "maculaos.shell_counters",
        "maculaos.wire",
        "maculaos.effects",
        "maculaos.configuration",
        "maculaos.documents",
        "maculaos.kademlia.record",
        "maculaos.kademlia.signing",
        "maculaos.node",
        "maculaos.discovery",
        "maculaos.host",
        "maculaos.security",
        "maculaos.quic",
        "maculaos.control",
    ),
    "jails": ("jails", "maculaos.host", "maculaos.errors"),
    "reconciler": (
        "reconciler",
        "jails",
        "maculaos.host",
        "maculaos.client",
        *_RECONCILER_OUTSIDE,
    ),
    "imagebuilder": ("imagebuilder", "maculaos.host", "maculaos.errors"),
    # On the appliance, beside the installed packages.
    "appliance": (
        "appliance",
        "maculaos.host",
        "maculaos.errors",
        *(
            f"jails.freebsd.{core}"
            for core in ("gpart", "ifconfig", "kenv", "mount", "sysctl", "unreadable")
        ),
    ),
    # Entries.
    "maculaos.cli": ("maculaos",),
}

# What is pure touches neither the machine nor the event loop nor a log.
PURE: Final = (
    *_WORDS,
    *_CORES,
    *rooms.LOADTEST_CORES,
    *rooms.LOADTEST_VIRTUAL,
    "maculaos.cli.overview",
    "maculaos.cli.route",
    *_RECONCILER_WORDS,
    *_RECONCILER_CORES,
    "maculaos.effects",
    "maculaos.wire",
    "maculaos.documents",
    "maculaos.session",
    "maculaos.security.certificates",
    "maculaos.security.revocations",
    "maculaos.node",
    "maculaos.quic.admission",
    "jails.naming",
    "jails.spec",
    "jails.runtime",
    *(f"jails.freebsd.{room}" for room in _FREEBSD_CORES),
    *(f"jails.namespaces.{room}" for room in _NAMESPACES_CORES),
    "jails.keeper.supervision",
    "imagebuilder.elf",
    "imagebuilder.release.manifest",
    *(f"imagebuilder.filesystem.{room}" for room in _FILESYSTEM_CORES),
    *(f"imagebuilder.disk.{room}" for room in ("gpt", "layout", "manifest", "partitions")),
    *(f"imagebuilder.packages.{room}" for room in _PACKAGES_CORES),
    *(f"imagebuilder.vm.{room}" for room in ("console", "machine", "screen")),
    *(f"imagebuilder.{room}" for room in ("memory", "plan", "recipe", "sysctls")),
    *(f"appliance.{room}" for room in _APPLIANCE_CORES),
)
IMPURE: Final = (
    "aioquic",
    "asyncio",
    "git",
    "logging",
    "maculaos.host",
    "multiprocessing",
    "psutil",
    "rich",
    "secrets",
    "socket",
    "subprocess",
    "threading",
    "time",
    "typer",
)

# A library that stays behind one door can be replaced there.
DOORS: Final[dict[str, tuple[str, ...]]] = {
    "aioquic": ("maculaos.quic",),
    "dns": ("maculaos.discovery.methods.dns",),
    "git": ("reconciler.sources.command",),
    "gitdb": ("reconciler.sources.command",),
    "h11": ("reconciler.web",),
    "jinja2": ("jails.freebsd.render", "reconciler.specs.sandbox"),
    "psutil": ("jails", "maculaos.host"),
    "zeroconf": ("maculaos.discovery.methods.mdns",),
}

# What applications import, and what runs beside them: they load none of these.
LIGHT: Final = ("maculaos.client", "jails.keeper", "reconciler.front.__main__")
HEAVY: Final = ("aioquic", "cryptography", "pydantic", "rich", "typer", "yaml")


def _is_in(module: str, rooms: tuple[str, ...]) -> bool:
    return any(module == room or module.startswith(f"{room}.") for room in rooms)


def _room_of(module: str) -> str:
    """The longest room of the table that holds ``module``."""
    return max((room for room in ALLOWED if _is_in(module, (room,))), key=len, default="")


def _imports(source: str, module: str, *, is_package: bool) -> Iterator[tuple[int, str]]:
    """Line and full name of everything that ``source`` imports; relative ones made absolute.

    ``from a import b`` counts as ``a.b`` when ``b`` is a module of ours, else as ``a``.
    """
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = _absolute(node, module, is_package=is_package)
            for alias in node.names:
                inner = f"{base}.{alias.name}"
                yield node.lineno, inner if inner in _MODULES else base


def _absolute(node: ast.ImportFrom, module: str, *, is_package: bool) -> str:
    if not node.level:
        return node.module or ""
    drop = node.level - 1 if is_package else node.level
    parents = module.split(".")[: len(module.split(".")) - drop]
    return ".".join([*parents, node.module] if node.module else parents)


_FILES: Final[dict[str, Path]] = {
    tree.module_of(file): file
    for file in tree.python_files(*tree.PACKAGES, tree.IMAGEBUILDER, tree.APPLIANCE)
}
_MODULES: Final = frozenset(_FILES)


def _all_imports() -> Iterator[tuple[str, str, str]]:
    """Importing module, ``file:line`` and imported name, for every import of ours."""
    for module, file in _FILES.items():
        is_package = file.name == "__init__.py"
        for line, target in _imports(tree.text_of(file), module, is_package=is_package):
            yield module, f"{tree.name_of(file)}:{line}", target


def _may_import(module: str, target: str) -> bool:
    room = _room_of(module)
    # A bare "maculaos" as a target is the package itself (its version), not all that is in it.
    own = "" if room in OURS else room
    return target == module.split(".")[0] or _is_in(target, (*ALLOWED[room], *filter(None, [own])))


def test_imports_point_down() -> None:
    broken = {
        f"{place}: {module} must not import {target}"
        for module, place, target in _all_imports()
        if _is_in(target, OURS) and not _may_import(module, target)
    }
    assert not broken, "against the layers (ARCHITECTURE.md, Layers):\n" + "\n".join(sorted(broken))


def test_pure_modules_touch_no_machine() -> None:
    broken = [
        f"{place}: {module} is pure and must not import {target}"
        for module, place, target in _all_imports()
        if _is_in(module, PURE) and _is_in(target, IMPURE)
    ]
    assert not broken, "take it as an argument, or return an effect:\n" + "\n".join(broken)


def test_libraries_stay_behind_their_doors() -> None:
    broken = [
        f"{place}: only {', '.join(DOORS[library])} may import {library}"
        for module, place, target in _all_imports()
        for library in DOORS
        if _is_in(target, (library,)) and not _is_in(module, DOORS[library])
    ]
    assert not broken, "\n".join(broken)


@pytest.mark.parametrize("package", LIGHT)
def test_what_must_stay_light_loads_no_heavy_library(package: str) -> None:
    modules = [module for module in _MODULES if _is_in(module, (package,))]
    source = f"import sys, {', '.join(sorted(modules))}; print(*sys.modules)"
    loaded = tree.python("-c", source)
    assert loaded.returncode == 0, loaded.stderr
    heavy = sorted(set(HEAVY) & set(loaded.stdout.split()))
    assert not heavy, f"importing {package} also loads {', '.join(heavy)}"


def test_every_module_has_a_room_of_its_own_in_the_table() -> None:
    strays = [
        module for module in _MODULES if _room_of(module) == "maculaos" and module != "maculaos"
    ]
    assert not strays, f"place these in ALLOWED, at their layer: {', '.join(sorted(strays))}"


def test_the_table_names_no_room_that_is_gone() -> None:
    gone = sorted(room for room in (*ALLOWED, *PURE) if room not in _MODULES)
    assert not gone, f"no such module any more: {', '.join(gone)}"


def test_a_core_that_imports_another_is_caught() -> None:
    source = "from maculaos.kademlia import distance\n"
    ((_, target),) = _imports(source, "maculaos.swim.members", is_package=False)
    assert not _may_import("maculaos.swim.members", target)
    assert _may_import("maculaos.topology.graph", "maculaos.kademlia.distance")
