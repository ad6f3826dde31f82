"""The files of one jail, made from its spec: jail.conf, fstab and two scripts. Pure.

``start`` keeps the program, ``program`` becomes it. Their text, and that of jail.conf, is in
``jails/templates/``; a name that a template misses is an error, and so is a value that jail.conf
would read as more than text.
"""

from __future__ import annotations

import math
import re
import shlex
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from jinja2 import Environment, PackageLoader, StrictUndefined

from jails.freebsd import tuning
from jails.freebsd.mount import Mount
from jails.spec import HookKind, NetworkKind, RootKind

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from jails.freebsd.place import Place
    from jails.naming import Names
    from jails.spec import JailSpec

# Where a jail sees its writable part, its scripts, and what the one of them remembers.
DATA = "/data"
LAUNCH = "/.launch"
KEEP = "/.keep"
# Of a system, what programs need and nobody writes.
SHARED_PARTS = ("bin", "sbin", "lib", "libexec", "usr")
_EXEC_TIMEOUT_S = 60
# Of each of two log files.
_LOG_BYTES = 1024 * 1024
# daemon(8) waits that long before it runs a loop again that somebody killed.
_LOOP_DELAY_S = 1
# A wait beyond this is for ever.
_MOST_S = 10**9
_PLAIN = re.compile(r"[A-Za-z0-9_.@:+=,/ -]*")
_PATH = "/sbin:/bin:/usr/sbin:/usr/bin:/usr/local/sbin:/usr/local/bin"


def _plain(text: str) -> str:
    if not _PLAIN.fullmatch(text):
        raise ValueError(f"{text!r} cannot stand in jail.conf")
    return text


@dataclass(frozen=True, slots=True, kw_only=True)
class Seats:
    """Where the start script finds its things, and the most bytes of each log file."""

    launch: str = LAUNCH
    keep: str = KEEP
    logs: str = "/var/log"
    run: str = "/var/run"
    log_bytes: int = _LOG_BYTES


_IN_JAIL = Seats()
_TEMPLATES = Environment(
    loader=PackageLoader("jails"),
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
    keep_trailing_newline=True,
    # Nothing here is HTML; S701 would have it escaped as such.
    autoescape=False,  # noqa: S701
)
_TEMPLATES.filters |= {"plain": _plain, "shell": shlex.quote}


def jail_conf(spec: JailSpec, place: Place, names: Names) -> str:
    """What jail(8) reads; raises ``ValueError`` for text that it would misread."""
    return _TEMPLATES.get_template("jail.conf.j2").render(
        name=place.kernel_name,
        path=str(place.root),
        hostname=spec.name,
        fstab=str(place.fstab),
        console=str(place.console),
        network=spec.isolation.network,
        inner_interface=names.jail_interface,
        prepare=[" ".join(command) for command in spec.isolation.hooks.prepare],
        start=list(_start(spec, names)),
        release=[" ".join(command) for command in spec.isolation.hooks.release],
        exec_timeout_s=_EXEC_TIMEOUT_S,
        stop_timeout_s=max(1, math.ceil(spec.stop_deadline_s)),
    )


def start_script(spec: JailSpec, seats: Seats = _IN_JAIL) -> str:
    """What daemon(8) runs: the loop that keeps the program, with policy and backoff as numbers."""
    restart = spec.restart
    return _TEMPLATES.get_template("start.j2").render(
        policy=restart.policy.value,
        base_ms=max(1, round(_seconds(restart.base_s) * 1000)),
        max_ms=max(1, round(_seconds(restart.max_s) * 1000)),
        steady_s=math.ceil(_seconds(restart.steady_s)),
        log_bytes=seats.log_bytes,
        user=spec.isolation.user,
        program_script=f"{seats.launch}/program",
        keep=seats.keep,
        log=f"{seats.logs}/program.log",
        supervisor_file=f"{seats.run}/{spec.name}.pid",
        pipe=f"{seats.run}/{spec.name}.pipe",
    )


def hook_file(kind: HookKind) -> str:
    """The name of the script of that hook, beside the others."""
    return f"hook-{kind}"


def hook_scripts(spec: JailSpec) -> dict[str, str]:
    """By file name, what becomes each hook: as the program, with another command.

    What it says is dropped: whoever waits for it has no bound for that.
    """
    return {
        hook_file(kind): f"exec >/dev/null 2>&1\n{program_script(replace(spec, command=command))}"
        for kind in HookKind
        if (command := spec.hooks.command(kind))
    }


def program_script(spec: JailSpec) -> str:
    """What becomes the program: the command with exactly its environment, every word quoted."""
    environment = {"PATH": _PATH, "HOME": DATA, "LANG": "C.UTF-8", **spec.environment}
    return _TEMPLATES.get_template("program.j2").render(
        folder=DATA,
        environment=[(key, _inside(value)) for key, value in sorted(environment.items())],
        command=[_inside(word) for word in spec.command],
    )


def mounts(spec: JailSpec, place: Place, base: Path, parts: Iterable[str]) -> tuple[Mount, ...]:
    """What is mounted, in order; ``parts`` are those of ``SHARED_PARTS`` that ``base`` has."""
    root = str(place.root)
    if spec.isolation.root.kind is RootKind.THICK:
        system = [_null(str(base), root, is_writable=True)]
    else:
        system = [_null(str(base / part), f"{root}/{part}") for part in parts]
    return (
        *system,
        _null(str(place.launch), root + LAUNCH),
        _null(str(place.keep), root + KEEP, is_writable=True),
        _null(str(place.logs), f"{root}/var/log", is_writable=True),
        _null(str(place.directory.data), root + DATA, is_writable=True),
        *(
            _null(each.source, root + each.target, is_writable=each.is_writable)
            for each in spec.isolation.mounts
        ),
    )


def fstab(wanted: Iterable[Mount]) -> str:
    """What ``mount.fstab`` reads."""
    return "".join(f"{each.fstab_line()}\n" for each in wanted)


def _start(spec: JailSpec, names: Names) -> Iterable[str]:
    network = spec.isolation.network
    if network.kind is NetworkKind.VNET:
        yield "/sbin/ifconfig lo0 127.0.0.1/8 up"
        yield f"/sbin/ifconfig {names.jail_interface} inet {network.address} up"
        if network.gateway:
            yield f"/sbin/route add default {network.gateway}"
        yield from tuning.start_commands()
    user = spec.isolation.user
    if user:
        yield " ".join(own_argv(user))
    # As root, whatever the user of the program: what the loop writes is nobody else's to change.
    yield (
        f"/usr/sbin/daemon -f -r -R {_LOOP_DELAY_S} -P /var/run/{spec.name}.pid -t {spec.name}"
        f" /bin/sh {LAUNCH}/start"
    )


def own_argv(user: str) -> tuple[str, ...]:
    """Inside the jail: give the writable part to the account of the program."""
    return ("/usr/sbin/chown", "-R", "-h", user, DATA)


def _seconds(wanted: float) -> float:
    return min(max(0.0, wanted), _MOST_S)


def _inside(text: str) -> str:
    return text.replace("{data}", DATA)


def _null(source: str, path: str, *, is_writable: bool = False) -> Mount:
    return Mount(source=source, path=path, kind="nullfs", options=("rw" if is_writable else "ro",))
