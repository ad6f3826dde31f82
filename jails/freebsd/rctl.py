"""rctl(8): limits of a jail and what it uses. Rules outlive the jail: who sets them removes them.

``memoryuse`` is what is resident; ``pcpu`` is per cent of one core, so 200 is two cores.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from jails.freebsd.unreadable import UnreadableAnswer

_RULE = re.compile(r"([a-z]+):([^:]+):([a-z]+):([a-z0-9]+)=(\d+)(?:/([a-z]+))?")
_USAGE = re.compile(r"([a-z]+)=(\d+)")


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """What happens when jail ``jail`` wants more than ``amount`` of ``resource``."""

    jail: str
    resource: str
    amount: int
    action: str = "deny"

    def text(self) -> str:
        """As rctl(8) reads and prints it, the amount without a unit."""
        return f"jail:{self.jail}:{self.resource}:{self.action}={self.amount}"


def list_argv() -> tuple[str, ...]:
    """Every rule of the machine."""
    return ("rctl",)


def add_argv(rule: Rule) -> tuple[str, ...]:
    """Add one rule; the same rule twice is one rule."""
    return ("rctl", "-a", rule.text())


def remove_argv(jail: str) -> tuple[str, ...]:
    """Remove every rule of a jail."""
    return ("rctl", "-r", f"jail:{jail}")


def usage_argv(jail: str) -> tuple[str, ...]:
    """What a jail uses now."""
    return ("rctl", "-u", f"jail:{jail}")


def parse_rules(text: str) -> tuple[Rule, ...]:
    """The rules of jails in an answer of ``list_argv``; raises ``UnreadableAnswer``."""
    rules = []
    for line in filter(None, text.splitlines()):
        match = _RULE.fullmatch(line)
        if match is None:
            raise UnreadableAnswer("rctl", line)
        subject, jail, resource, action, amount, per = match.groups()
        if subject == "jail" and per in (None, "jail"):
            rules.append(Rule(jail=jail, resource=resource, action=action, amount=int(amount)))
    return tuple(rules)


def parse_usage(text: str) -> dict[str, int]:
    """Answer of ``usage_argv``: bytes, counts, seconds or per cent, as the resource is measured."""
    usage = {}
    for line in filter(None, text.splitlines()):
        match = _USAGE.fullmatch(line)
        if match is None:
            raise UnreadableAnswer("rctl", line)
        usage[match[1]] = int(match[2])
    return usage
