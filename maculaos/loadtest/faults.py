"""Faults: what is done to nodes of a load test, at which second of it, and for how long."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Final

from maculaos.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable

_FORM: Final = re.compile(
    r"(?P<kind>kill|pause|loss):(?P<node>[a-z0-9-]+)(:(?P<percent>\d+(\.\d+)?)%)?"
    r"@(?P<at>\d+(\.\d+)?)(\+(?P<for>\d+(\.\d+)?))?"
)
_HINT: Final = "write kill:n2@5, kill:n2@5+3, pause:n2@5+2 or loss:n2:10%@5+3 (seconds)"


class Kind(StrEnum):
    """What is done to a node."""

    # SIGKILL; with a length, the node is started again afterwards.
    KILL = "kill"
    # SIGSTOP, then SIGCONT.
    PAUSE = "pause"
    # Datagrams to and from the node are thrown away, at random.
    LOSS = "loss"


@dataclass(frozen=True, slots=True)
class Fault:
    """One fault; times in seconds since the start of the run."""

    kind: Kind
    node: str
    at_s: float
    # How long it lasts; infinite for a node that stays away.
    for_s: float = math.inf
    # Of the datagrams, 0 to 1; for ``loss`` alone.
    share: float = 0.0

    @property
    def until_s(self) -> float:
        """When it is over."""
        return self.at_s + self.for_s

    def __str__(self) -> str:
        share = f":{100 * self.share:g}%" if self.kind is Kind.LOSS else ""
        length = "" if math.isinf(self.for_s) else f"+{self.for_s:g}"
        return f"{self.kind.value}:{self.node}{share}@{self.at_s:g}{length}"


def read_fault(text: str) -> Fault:
    """The fault that ``text`` says, such as ``kill:n2@5+3``; raises ``UsageError``."""
    found = _FORM.fullmatch(text)
    if found is None:
        raise UsageError(f"{text!r} is no fault", _HINT)
    kind = Kind(found["kind"])
    share = float(found["percent"] or 0) / 100
    if (kind is Kind.LOSS) != bool(found["percent"]) or not 0 <= share <= 1:
        raise UsageError(f"{text!r}: loss, and only loss, has a share of 0% to 100%", _HINT)
    if found["for"] is None and kind is not Kind.KILL:
        raise UsageError(f"{text!r} does not say how long it lasts", _HINT)
    for_s = math.inf if found["for"] is None else float(found["for"])
    return Fault(kind, found["node"], float(found["at"]), for_s, share)


def blamed(
    faults: Iterable[Fault], at_s: float, grace_s: float, nodes: Collection[str] = ()
) -> Fault | None:
    """The fault that what happened at ``at_s`` is put down to; None if there is none.

    Those count that had begun and were not over for longer than ``grace_s``, and those that began
    at most as long afterwards: an event may have been on its way still. A fault of one of ``nodes``
    comes before others, then one that had begun, then the one that began last.
    """
    near = [one for one in faults if one.at_s - grace_s <= at_s <= one.until_s + grace_s]
    rank = {one: (one.node in nodes, one.at_s <= at_s, one.at_s) for one in near}
    return max(near, key=rank.__getitem__, default=None)
