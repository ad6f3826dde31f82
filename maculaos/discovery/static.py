"""The addresses an operator named: in the configuration, or with ``macula join``.

Reading the configuration again replaces the configured ones; joined ones last until restart.
"""

from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING, Final

from maculaos.errors import MaculaError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

MAX_JOINED: Final = 1000
# Of one way of discovery.
MAX_FOUND: Final = 64


class TooManyPeers(MaculaError):
    """More joined addresses than are kept."""


class StaticPeers:
    """Addresses that are wanted whatever is known about who listens there."""

    def __init__(self) -> None:
        self._configured: dict[str, None] = {}
        self._joined: dict[str, None] = {}
        # What else somebody found, by who found it.
        self._found: dict[str, dict[str, None]] = {}

    def __contains__(self, address: object) -> bool:
        named = address in self._configured or address in self._joined
        return named or any(address in found for found in self._found.values())

    def __iter__(self) -> Iterator[str]:
        found = (address for each in self._found.values() for address in each)
        yield from dict.fromkeys((*self._configured, *self._joined, *found))

    def configure(self, addresses: Iterable[str]) -> tuple[tuple[str, ...], tuple[str, ...]]:
        """Replace the configured addresses; return (those now wanted, those no longer)."""
        before, self._configured = self._configured, dict.fromkeys(addresses)
        added = tuple(address for address in self._configured if address not in before)
        removed = tuple(address for address in before if address not in self)
        return added, removed

    def find(
        self, source: str, addresses: Iterable[str]
    ) -> tuple[tuple[str, ...], tuple[str, ...]]:
        """What ``source`` finds now, at most ``MAX_FOUND``; return as ``configure`` does."""
        before = self._found.get(source, {})
        here = dict.fromkeys(islice(addresses, MAX_FOUND))
        added = tuple(address for address in here if address not in self)
        self._found[source] = here
        removed = tuple(address for address in before if address not in self)
        return added, removed

    def join(self, address: str) -> None:
        """Want one more; raises ``TooManyPeers`` beyond ``MAX_JOINED``."""
        if address not in self._joined and len(self._joined) >= MAX_JOINED:
            raise TooManyPeers(f"more than {MAX_JOINED} addresses joined")
        self._joined[address] = None
