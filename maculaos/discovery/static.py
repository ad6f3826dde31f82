"""The addresses an operator named: in the configuration, or with ``macula join``.

Reading the configuration again replaces the configured ones; joined ones last until restart.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from maculaos.errors import MaculaError

if TYPE_CHECKING:
    from collections.abc import Iterable

MAX_JOINED: Final = 1000


class TooManyPeers(MaculaError):
    """More joined addresses than are kept."""


class StaticPeers:
    """Addresses that are wanted whatever is known about who listens there."""

    def __init__(self) -> None:
        self._configured: dict[str, None] = {}
        self._joined: dict[str, None] = {}

    def __contains__(self, address: object) -> bool:
        return address in self._configured or address in self._joined

    def configure(self, addresses: Iterable[str]) -> tuple[tuple[str, ...], tuple[str, ...]]:
        """Replace the configured addresses; return (those now wanted, those no longer)."""
        before, self._configured = self._configured, dict.fromkeys(addresses)
        added = tuple(address for address in self._configured if address not in before)
        removed = tuple(address for address in before if address not in self)
        return added, removed

    def join(self, address: str) -> None:
        """Want one more; raises ``TooManyPeers`` beyond ``MAX_JOINED``."""
        if address not in self._joined and len(self._joined) >= MAX_JOINED:
            raise TooManyPeers(f"more than {MAX_JOINED} addresses joined")
        self._joined[address] = None
