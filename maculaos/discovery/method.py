"""What a method of discovery is: the words between one way of looking and who runs it.

A method is a class ``Method`` in a module of ``maculaos.discovery.methods``; the name of the
module is the name of the method. Nothing else is to be written for a new one, but for its
settings, if it takes any: a field of ``DiscoverySettings`` with the same name.
"""

from __future__ import annotations

import random
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

from maculaos.discovery.linked import Linked
from maculaos.errors import MaculaError
from maculaos.host.clock import Clock
from maculaos.identity import Identity
from maculaos.settings import NodeSettings

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from maculaos.discovery.candidates import Hint


class MethodFailed(MaculaError):
    """A method cannot look now; it is started again later."""


class Sink(Protocol):
    """Where a method says what it found."""

    def name(self, hints: Iterable[Hint]) -> None:
        """These are the addresses now; they replace what this sink was told before."""
        ...

    def failed(self, why: str) -> None:
        """Looking came to nothing, and goes on; what was named stays until its time is over."""
        ...

    def part(self, part: str) -> Sink:
        """A sink of its own for one of several places where the same method looks."""
        ...


class Records(Protocol):
    """Signed records in the DHT of the realm."""

    async def lookup(self, key: bytes) -> Sequence[bytes]:
        """The values that valid records hold under ``key`` now, one for each publisher."""
        ...

    async def publish(self, key: bytes, value: bytes) -> None:
        """Say ``value`` under ``key`` as this node, again and again while the node runs.

        It replaces what this node said there before.
        """
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Surroundings:
    """What a method may use of the node around it."""

    identity: Identity
    settings: NodeSettings
    clock: Clock
    # For jitter and shuffles.
    rng: random.Random
    # None: this node has no part in a DHT.
    records: Records | None = None
    linked: Linked = field(default_factory=Linked)


class DiscoveryMethod(Protocol):
    """One way of looking for nodes."""

    def __init__(self, around: Surroundings) -> None:
        """Take note of the surroundings; open nothing yet."""
        ...

    async def run(self, sink: Sink) -> None:
        """Look until cancelled, and close everything then, within a second or two.

        Returns early if there is nothing to look for. Raises whatever keeps it from looking: it
        is started again after a growing wait.
        """
        ...
