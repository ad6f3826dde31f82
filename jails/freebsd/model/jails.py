"""The jails of the model's kernel, and jls(8)."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any

from jails.freebsd.model.answer import Answer, UntaughtCommand, refused

_PLAIN_HEADER = "   JID  IP Address      Hostname                      Path\n"
_LONG_HEADER = (
    "   JID  Hostname                      Path\n"
    "        Name                          State\n"
    "        CPUSetID\n"
    "        IP Address(es)\n"
)
_PARAMETERS = ("name", "jid", "path", "host.hostname", "vnet", "persist", "dying", "ip4.addr")


@dataclass(slots=True, kw_only=True)
class Jail:
    """One jail of the kernel."""

    jid: int
    name: str
    path: str
    hostname: str = ""
    has_stack: bool = False
    addresses: list[str] = field(default_factory=list)
    cpuset: int = 3
    # While it is dying: how many more looks it will be seen in.
    looks_left: int = 0


@dataclass(slots=True, kw_only=True)
class Jails:
    """Those that live, and those that are dying."""

    next_jid: int = 1
    alive: dict[str, Jail] = field(default_factory=dict)
    dying: list[Jail] = field(default_factory=list)
    # How many looks a jail of that name will linger in when it is removed.
    linger: dict[str, int] = field(default_factory=dict)

    def create(self, name: str, path: str) -> Jail:
        """A new jail, under a number that was never used."""
        jail = Jail(jid=self.next_jid, name=name, path=path)
        self.next_jid += 1
        self.alive[name] = jail
        return jail

    def remove(self, name: str) -> None:
        """The jail is gone, or dying."""
        jail = self.alive.pop(name)
        jail.looks_left = self.linger.pop(name, 0)
        if jail.looks_left:
            self.dying.append(jail)

    def jls(self, argv: tuple[str, ...]) -> Answer:
        """jls(8) in the forms that were recorded; each look with -d ages the dying."""
        words = [word for word in argv[1:] if word != "-d"]
        shown = [(each, False) for each in self.alive.values()]
        if "-d" in argv:
            shown += [(each, True) for each in self.dying]
            self._age()
        match words:
            case []:
                return Answer(_PLAIN_HEADER + "".join(_plain(each) for each, _ in shown))
            case ["-v"]:
                return Answer(_LONG_HEADER + "".join(_long(*each) for each in shown))
            case ["--libxo", "json", *form]:
                return _json(argv, form, shown)
            case ["-n" | "-s", "-j", name] if name not in self.alive:
                return refused(f'jls: jail "{name}" not found')
            case ["-h", *names] if not shown:
                return Answer(" ".join(names) + "\n")
        raise UntaughtCommand(argv)

    def _age(self) -> None:
        for each in self.dying:
            each.looks_left -= 1
        self.dying = [each for each in self.dying if each.looks_left > 0]


def _json(argv: tuple[str, ...], form: list[str], shown: list[tuple[Jail, bool]]) -> Answer:
    match form:
        case ["-v"]:
            rows = [_row(*each) for each in shown]
        case []:
            rows = [_short_row(each) for each, _ in shown]
        case ["-n", *names] if set(names) <= set(_PARAMETERS):
            rows = [{name: _parameters(*each)[name] for name in names} for each in shown]
        case _:
            raise UntaughtCommand(argv)
    return Answer(json.dumps({"__version": "2", "jail-information": {"jail": rows}}) + "\n")


def _row(jail: Jail, is_dying: bool) -> dict[str, Any]:
    return {
        "jid": jail.jid,
        "hostname": jail.hostname,
        "path": jail.path,
        "name": jail.name,
        "state": "DYING" if is_dying else "ACTIVE",
        "cpusetid": jail.cpuset,
        "ipv4_addrs": jail.addresses,
        "ipv6_addrs": [],
    }


def _short_row(jail: Jail) -> dict[str, Any]:
    address = jail.addresses[0] if jail.addresses else ""
    return {"jid": jail.jid, "ipv4": address, "hostname": jail.hostname, "path": jail.path}


def _parameters(jail: Jail, is_dying: bool) -> dict[str, Any]:
    return {
        "name": jail.name,
        "jid": str(jail.jid),
        "path": jail.path,
        "host.hostname": jail.hostname,
        "vnet": "new" if jail.has_stack else "inherit",
        "persist": True,
        "dying": is_dying,
        "ip4.addr": jail.addresses,
    }


def _plain(jail: Jail) -> str:
    address = jail.addresses[0] if jail.addresses else ""
    return f"{jail.jid:6d}  {address:<15} {jail.hostname:<29} {jail.path}\n"


def _long(jail: Jail, is_dying: bool) -> str:
    state = "DYING" if is_dying else "ACTIVE"
    lines = [f"{jail.name:<29} {state}", str(jail.cpuset), *jail.addresses]
    first = f"{jail.jid:6d}  {jail.hostname:<29} {jail.path}\n"
    return first + "".join(f"        {line}\n" for line in lines)
