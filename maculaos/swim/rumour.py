"""What one node says of another, and which of two sayings is believed.

One total order replaces all the special cases: the higher incarnation wins, and at equal
incarnation the worse news wins (SWIM, section 4.2). So believing commutes, and nodes that heard
the same rumours in any order, any number of times, hold the same view.

Only the node itself raises its incarnation: to refute bad news, and to announce new addresses.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from typing import Final

from maculaos.identity import NodeId

# Nobody gets here in earnest: at a thousand refutations a second it takes 8,900 years.
MAX_INCARNATION: Final = 2**48


class Health(IntEnum):
    """How a member is doing; worse news compares greater."""

    ALIVE = 0
    SUSPECT = 1
    DEAD = 2
    LEFT = 3

    @property
    def is_gone(self) -> bool:
        """Whether the member takes no part any more, until it says otherwise."""
        return self >= Health.DEAD


@dataclass(frozen=True, slots=True, order=True)
class Rumour:
    """A saying about ``node_id``; the order of the fields is the order of precedence.

    Addresses and name only decide between sayings that no honest node makes both.
    """

    incarnation: int
    health: Health
    addresses: tuple[str, ...]
    name: str
    node_id: NodeId


def believe(held: Rumour, heard: Rumour) -> Rumour:
    """The one of two rumours about the same node that holds from now on."""
    return max(held, heard)
