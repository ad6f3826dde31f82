"""The bootstrap list of a realm: under which key its nodes keep it, and how an entry is written.

One entry holds the addresses of one node; the record around it is signed, and expires. Nothing is
looked up or published here.
"""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING, Final

from maculaos.discovery.candidates import dialable

if TYPE_CHECKING:
    from collections.abc import Iterable

# A node advertises no more.
MAX_ADDRESSES: Final = 8
# What a record may hold.
MAX_SIZE: Final = 4096
_DOMAIN: Final = b"macula/bootstrap/1\0"


def key_of(realm: str) -> bytes:
    """The key of the list of that realm: 32 bytes."""
    return hashlib.sha256(_DOMAIN + realm.encode()).digest()


def encode(addresses: Iterable[str]) -> bytes:
    """The entry of a node that listens at ``addresses``."""
    return json.dumps(list(addresses)[:MAX_ADDRESSES], separators=(",", ":")).encode()


def decode(value: bytes) -> tuple[str, ...]:
    """The addresses of an entry; none if it is not one."""
    if len(value) > MAX_SIZE:
        return ()
    try:
        said = json.loads(value)
    except (ValueError, RecursionError):
        return ()
    if not isinstance(said, list):
        return ()
    written = (each for each in said[:MAX_ADDRESSES] if isinstance(each, str))
    return tuple(dict.fromkeys(filter(None, map(dialable, written))))
