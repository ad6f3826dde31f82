"""The resource limits of the model, and rctl(8). Rules stay when their jail goes."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from jails.freebsd.model.answer import Answer, UntaughtCommand
from jails.freebsd.rctl import Rule

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

RESOURCES = (
    *("cputime", "datasize", "stacksize", "coredumpsize", "memoryuse", "memorylocked", "maxproc"),
    *("openfiles", "vmemoryuse", "pseudoterminals", "swapuse", "nthr", "msgqqueued", "msgqsize"),
    *("nmsgq", "nsem", "nsemop", "nshm", "shmsize", "wallclock", "pcpu"),
    *("readbps", "writebps", "readiops", "writeiops"),
)
_RULE = re.compile(r"jail:([^:]+):([a-z]+):([a-z]+)=(\d+)([kmg]?)")
_UNITS = {"": 1, "k": 1 << 10, "m": 1 << 20, "g": 1 << 30}
_SUBJECT = re.compile(r"jail:([^:]+)")


class Limits:
    """Rules in the order that rctl(8) prints: the newest first."""

    def __init__(self, usage_of: Callable[[str], Mapping[str, int]]) -> None:
        self.rules: list[Rule] = []
        self._usage_of = usage_of

    def rctl(self, argv: tuple[str, ...]) -> Answer:
        """rctl(8)."""
        if argv == ("rctl",):
            return Answer("".join(f"{rule.text()}\n" for rule in self.rules))
        option, what = argv[1:] if len(argv) == 3 else ("", "")
        subject = _SUBJECT.fullmatch(what)
        rule = _RULE.fullmatch(what)
        if option == "-a" and rule is not None:
            self._add(rule)
            return Answer()
        if option == "-r" and subject is not None:
            self.rules = [each for each in self.rules if each.jail != subject[1]]
            return Answer()
        if option in ("-u", "-hu") and subject is not None:
            usage = self._usage_of(subject[1])
            return Answer("".join(f"{name}={usage.get(name, 0)}\n" for name in RESOURCES))
        raise UntaughtCommand(argv)

    def _add(self, match: re.Match[str]) -> None:
        jail, resource, action, amount, unit = match.groups()
        rule = Rule(jail=jail, resource=resource, action=action, amount=int(amount) * _UNITS[unit])
        if rule not in self.rules:
            self.rules.insert(0, rule)
