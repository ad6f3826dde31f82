"""``${VAR}`` in the values of an environment. Pure.

A name stands for another variable of the same environment, or for one that the machine offers.
``$$`` is one dollar sign; any other ``$`` stays as it is. What a value brings in is not expanded
again. A value that brings in a secret becomes one itself.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from graphlib import CycleError, TopologicalSorter
from typing import TYPE_CHECKING, Final, TypeAlias

from reconciler.secrets.reference import SecretReference

if TYPE_CHECKING:
    from collections.abc import Mapping

LONGEST_VALUE: Final = 65_536
# What every machine offers to the environment of an app.
OFFERED: Final = ("MACULA_SOCKET", "MACULA_NODE", "MACULA_REALM")

_MENTION: Final = re.compile(r"\$(?:(\$)|\{([^}]*)\})")
_NAME: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,127}")


class BadExpansion(ValueError):
    """A variable cannot be expanded; the words are for who wrote it."""

    def __init__(self, variable: str, why: str) -> None:
        super().__init__(why)
        # One of those that it is about.
        self.variable = variable


@dataclass(frozen=True, slots=True)
class Template:
    """A value that holds secrets: text and references in turn, put together on the machine."""

    parts: tuple[str | SecretReference, ...]

    def references(self) -> tuple[SecretReference, ...]:
        """The secrets in it."""
        return tuple(part for part in self.parts if isinstance(part, SecretReference))


Expanded: TypeAlias = str | Template


def expand(
    environment: Mapping[str, str | SecretReference], machine: Mapping[str, str]
) -> dict[str, Expanded]:
    """Every variable, expanded; those that need a secret as a ``Template``.

    ``machine`` is what the machine offers; a variable of the environment of that name hides it.
    Raises ``BadExpansion`` for a name that nobody defines, a cycle, or a value of more than
    ``LONGEST_VALUE`` characters.
    """
    plain = {name: value for name, value in environment.items() if _is_plain(value)}
    if len(plain) == len(environment):
        return {name: str(value) for name, value in plain.items()}
    done: dict[str, tuple[str | SecretReference, ...]] = {}
    for name in _in_order(environment):
        value = environment[name]
        parts = (value,) if isinstance(value, SecretReference) else _put(name, value, done, machine)
        if sum(len(part) for part in parts if isinstance(part, str)) > LONGEST_VALUE:
            raise BadExpansion(name, f"{name} expands to more than {LONGEST_VALUE} characters")
        done[name] = parts
    return {name: _joined(done[name]) for name in environment}


def _is_plain(value: str | SecretReference) -> bool:
    return isinstance(value, str) and "$" not in value and len(value) <= LONGEST_VALUE


def _in_order(environment: Mapping[str, str | SecretReference]) -> tuple[str, ...]:
    """So that whatever a variable mentions comes before it."""
    mentions = {
        name: [each for each in _mentioned(name, value) if each in environment]
        for name, value in environment.items()
    }
    try:
        return tuple(TopologicalSorter(mentions).static_order())
    except CycleError as error:
        cycle = " -> ".join(reversed(error.args[1]))
        first: str = error.args[1][0]
        raise BadExpansion(first, f"the variables go round in a circle: {cycle}") from None


def _mentioned(name: str, value: str | SecretReference) -> list[str]:
    if isinstance(value, SecretReference):
        return []
    mentioned = [match[2] for match in _MENTION.finditer(value) if match[1] is None]
    for each in mentioned:
        if _NAME.fullmatch(each) is None:
            what = f"{name} mentions ${{{each}}}: a name has letters, digits and _"
            raise BadExpansion(name, what)
    return mentioned


def _put(
    name: str,
    value: str,
    done: Mapping[str, tuple[str | SecretReference, ...]],
    machine: Mapping[str, str],
) -> tuple[str | SecretReference, ...]:
    parts: list[str | SecretReference] = []
    end = 0
    for match in _MENTION.finditer(value):
        parts.append(value[end : match.start()])
        end = match.end()
        if match[1] is not None:
            parts.append("$")
        elif match[2] in done:
            parts.extend(done[match[2]])
        elif match[2] in machine:
            parts.append(machine[match[2]])
        else:
            raise BadExpansion(name, f"{name} mentions ${{{match[2]}}}, which nobody defines")
    return (*parts, value[end:])


def _joined(parts: tuple[str | SecretReference, ...]) -> Expanded:
    """Neighbouring texts as one."""
    if not any(isinstance(part, SecretReference) for part in parts):
        return "".join(str(part) for part in parts)
    joined: list[str | SecretReference] = []
    for part in parts:
        last = joined[-1] if joined else None
        if isinstance(part, str) and isinstance(last, str):
            joined[-1] = last + part
        elif part != "":
            joined.append(part)
    return Template(tuple(joined))
