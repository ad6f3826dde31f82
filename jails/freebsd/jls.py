"""jls(8): which jails the kernel has, asked for as JSON so that no host name can break a column."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from jails.freebsd.unreadable import UnreadableAnswer

_STATES = {"ACTIVE": False, "DYING": True}

Parameter = str | bool | tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class JailRow:
    """One jail of the kernel; ``path`` and ``hostname`` are as the host sees them."""

    jid: int
    name: str
    hostname: str
    path: str
    # Removed, but not gone: sockets or credentials of it are still in use.
    is_dying: bool
    # Of a shared network stack only; a jail with its own stack has none here.
    addresses: tuple[str, ...] = ()


def jls_argv() -> tuple[str, ...]:
    """Every jail, dying ones too."""
    return ("jls", "-d", "--libxo", "json", "-v")


def jls_parameters_argv(*parameters: str) -> tuple[str, ...]:
    """The named parameters of every living jail."""
    return ("jls", "--libxo", "json", "-n", *parameters)


def parse_jls(text: str) -> tuple[JailRow, ...]:
    """Answer of ``jls_argv``; raises ``UnreadableAnswer``."""
    return tuple(_row(entry) for entry in _entries(text))


def parse_jls_parameters(text: str) -> tuple[dict[str, Parameter], ...]:
    """Answer of ``jls_parameters_argv``: flags are booleans, lists are tuples, the rest text."""
    return tuple(
        {key: _parameter(value, entry) for key, value in entry.items()} for entry in _entries(text)
    )


def _entries(text: str) -> list[dict[str, Any]]:
    try:
        entries = json.loads(text)["jail-information"]["jail"]
    except (ValueError, KeyError, TypeError) as error:
        raise UnreadableAnswer("jls", text) from error
    if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
        raise UnreadableAnswer("jls", text)
    return entries


def _row(entry: dict[str, Any]) -> JailRow:
    try:
        words = {key: entry[key] for key in ("name", "hostname", "path")}
        addresses = (*entry.get("ipv4_addrs", ()), *entry.get("ipv6_addrs", ()))
        if not all(isinstance(word, str) for word in (*words.values(), *addresses)):
            raise TypeError
        is_dying = _STATES[entry["state"]]
        return JailRow(jid=int(entry["jid"]), is_dying=is_dying, addresses=addresses, **words)
    except (KeyError, TypeError, ValueError) as error:
        raise UnreadableAnswer("jls", json.dumps(entry)) from error


def _parameter(value: object, entry: dict[str, Any]) -> Parameter:
    if isinstance(value, str | bool):
        return value
    if isinstance(value, list) and all(isinstance(word, str) for word in value):
        return tuple(value)
    raise UnreadableAnswer("jls", json.dumps(entry))
