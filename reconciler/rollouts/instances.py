"""The instances of an app, and the names of the jails that they run in.

The first blue instance has the name that an app's only jail always had, ``app-shop``, so nothing
restarts because it gained siblings. The others carry a letter and their number before the app:
``a2-shop``, green ``g1-shop``, canary ``c1-shop``. The number stands in front, because an app's
name may hold any dashes and digits at its end; and five characters are all that 27 leave of 32.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum
from functools import lru_cache
from types import MappingProxyType
from typing import TYPE_CHECKING, Final

from maculaos.identity import check_name
from reconciler.rollouts.spec import MOST_INSTANCES
from reconciler.values import LONGEST_NAME

if TYPE_CHECKING:
    from collections.abc import Mapping

_FIRST_PREFIX: Final = "app-"
_NUMBERED: Final = re.compile(r"([agc])([1-9][0-9]{0,2})-(.+)")


class Colour(StrEnum):
    """Which set of instances; blue and green take turns, canaries stand beside either."""

    BLUE = "blue"
    GREEN = "green"
    CANARY = "canary"

    @property
    def other(self) -> Colour:
        """The colour that takes turns with this one."""
        return Colour.GREEN if self is Colour.BLUE else Colour.BLUE


_LETTERS: Final[Mapping[Colour, str]] = MappingProxyType(
    {Colour.BLUE: "a", Colour.GREEN: "g", Colour.CANARY: "c"}
)
_COLOURS: Final = MappingProxyType({letter: colour for colour, letter in _LETTERS.items()})


@dataclass(frozen=True, slots=True, order=True)
class Instance:
    """One instance of an app: its colour, and its number from 1."""

    colour: Colour
    index: int

    def __str__(self) -> str:
        return f"{self.colour} {self.index}"


FIRST: Final = Instance(Colour.BLUE, 1)


def instance_jail(app: str, instance: Instance) -> str:
    """The name of the jail that runs that instance; raises ``ValueError`` if there is none."""
    if not 1 <= instance.index <= MOST_INSTANCES:
        raise ValueError(f"there is no instance {instance.index}, only 1 to {MOST_INSTANCES}")
    if len(app) > LONGEST_NAME:
        raise ValueError(f"{app!r} has more than {LONGEST_NAME} characters")
    if instance == FIRST:
        return f"{_FIRST_PREFIX}{app}"
    return f"{_LETTERS[instance.colour]}{instance.index}-{app}"


# Names of a machine's jails are asked for again and again, and never change their meaning.
@lru_cache(maxsize=1 << 13)
def instance_of(jail: str) -> tuple[str, Instance] | None:
    """The app and the instance that a jail runs; None if its name is none of an app's."""
    if jail.startswith(_FIRST_PREFIX):
        return _named(jail.removeprefix(_FIRST_PREFIX), FIRST)
    matched = _NUMBERED.fullmatch(jail)
    if matched is None:
        return None
    instance = Instance(_COLOURS[matched[1]], int(matched[2]))
    if instance == FIRST or instance.index > MOST_INSTANCES:
        return None
    return _named(matched[3], instance)


def _named(app: str, instance: Instance) -> tuple[str, Instance] | None:
    try:
        check_name(app)
    except ValueError:
        return None
    return (app, instance) if len(app) <= LONGEST_NAME else None
