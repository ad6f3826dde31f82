"""Routes: the ways of one traced message, joined where they are the same."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from maculaos.errors import RemoteProtocolError

if TYPE_CHECKING:
    from collections.abc import Iterable


@dataclass(slots=True)
class Step:
    """One node on the way; ``at_us`` in microseconds since the epoch, by that node's clock."""

    node: str
    at_us: int
    # Whether a subscriber is here.
    is_end: bool = False
    onward: list[Step] = field(default_factory=list)

    def take(self, node: str, at_us: int) -> Step:
        """The step from here to ``node``, which may be there already."""
        for each in self.onward:
            if each.node == node:
                return each
        step = Step(node, at_us)
        self.onward.append(step)
        return step


def join(routes: Iterable[dict[str, Any]]) -> list[Step]:
    """Where messages started, with all the steps from there; raises ``RemoteProtocolError``.

    ``routes`` are what ``Mesh.trace`` returns. Routes that begin alike share their first steps.
    """
    origin = Step("", 0)
    for route in routes:
        here = origin
        for hop in _hops(route):
            here = here.take(*hop)
        here.is_end = here is not origin
    return origin.onward


def _hops(route: dict[str, Any]) -> list[tuple[str, int]]:
    hops = route.get("hops")
    return [_hop(each) for each in hops] if isinstance(hops, list) else [_hop(hops)]


def _hop(said: object) -> tuple[str, int]:
    match said:
        case {"node": str(node), "at_us": int(at_us)}:
            return node, at_us
    raise RemoteProtocolError("macula trace: the node answered something else than routes")
