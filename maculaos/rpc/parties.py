"""Parties: callers and providers, each one whole number: it is compared and looked up per call.

A client is odd; a link, or a path to a member without one, is even. Links have positive numbers
and paths negative ones, and so have their parties.
"""

from __future__ import annotations

from typing import TypeAlias

Party: TypeAlias = int


def of_client(client: int) -> Party:
    """The party that is that client of this node."""
    return client << 1 | 1


def of_link(link: int) -> Party:
    """The party at the other end of that link or path."""
    return link << 1


def is_client(party: Party) -> bool:
    """Whether that is a client of this node."""
    return bool(party & 1)


def is_path(party: Party) -> bool:
    """Whether that is a member without a link."""
    return party < 0 and not party & 1


def number_of(party: Party) -> int:
    """The number of that client, link or path."""
    return party >> 1
