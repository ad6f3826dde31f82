"""The status screen: how this machine stands, in 80 columns and 24 lines of plain ASCII. Pure.

A serial line may be slow and its other end may be anything, so there are no colours, no cursor and
nothing that changes by itself: it is printed again only when something else is true. What it shows
is gathered by ``appliance.panel``.
"""

from __future__ import annotations

import textwrap
from dataclasses import dataclass
from typing import Final

COLUMNS: Final = 80
LINES: Final = 24
_LABEL: Final = 12
_ADDRESSES_MAX: Final = 4
_PROBLEMS_MAX: Final = 5
_WRAPPED_MAX: Final = 2
_RULE: Final = "-" * COLUMNS
_NO_SEED: Final = (
    "This machine has no seed. Copy a file seed.toml to a FAT stick, plug it in,",
    "reboot. docs/first-boot.md says what may stand in it. The least that helps:",
    "    version = 1",
    "    [ssh]",
    '    authorized_keys = ["ssh-ed25519 AAAA... you"]',
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Screen:
    """What is to be shown; every text is for people, and empty where nothing is known."""

    hostname: str
    version: str
    # As in "A" or "B, on trial".
    slot: str
    # As in "vtnet0 192.0.2.10/24".
    addresses: tuple[str, ...] = ()
    has_seed: bool = True
    # What the reconciler says of itself, and the commit that runs.
    reconciler: str = ""
    revision: str = ""
    health: str = ""
    update: str = ""
    # Fingerprints: of the ssh host key, and of the machine's own.
    ssh_key: str = ""
    machine_key: str = ""
    problems: tuple[str, ...] = ()


def render(screen: Screen) -> str:
    """The screen as text that ends with a line feed: never wider or longer than it may be."""
    rows = [
        _RULE,
        *_row(screen.hostname, f"MaculaOS {screen.version or 'of unknown version'}"),
        _RULE,
        *_row("slot", screen.slot or "unknown"),
        *_addresses(screen.addresses),
        *_row("ssh key", screen.ssh_key or "none: nobody can log in"),
        *_row("own key", screen.machine_key or "none"),
        *_row("health", screen.health or "unknown"),
        *_row("reconciler", screen.reconciler or "not enabled"),
        *(_row("revision", screen.revision) if screen.revision else ()),
        *_row("update", screen.update or "none yet"),
    ]
    rows += _problems(screen.problems)
    if not screen.has_seed:
        # Room for the way out of it, whatever else there is to say.
        rows = [*rows[: LINES - len(_NO_SEED) - 2], "", *(_cut(line) for line in _NO_SEED)]
    return "\n".join([*rows[: LINES - 1], _RULE]) + "\n"


def _row(label: str, text: str) -> tuple[str, ...]:
    """A label and a text, which may take a second line."""
    plain = _plain(text)
    room = COLUMNS - _LABEL
    if len(_plain(label)) >= _LABEL:
        return (_cut(f"{_plain(label)}  {plain}"),)
    wrapped = textwrap.wrap(plain, room, max_lines=_WRAPPED_MAX, placeholder=" ...") or [""]
    return tuple(
        f"{_plain(label) if number == 0 else '':<{_LABEL}}{line}".rstrip()
        for number, line in enumerate(wrapped)
    )


def _addresses(addresses: tuple[str, ...]) -> tuple[str, ...]:
    if not addresses:
        return _row("addresses", "none: is a cable plugged in?")
    shown = addresses[:_ADDRESSES_MAX]
    more = len(addresses) - len(shown)
    lines = [*shown[:-1], f"{shown[-1]} and {more} more"] if more else list(shown)
    rows = [_row("addresses" if n == 0 else "", line)[0] for n, line in enumerate(lines)]
    return tuple(rows)


def _problems(problems: tuple[str, ...]) -> list[str]:
    if not problems:
        return []
    rows = [_cut(f"! {_plain(problem)}") for problem in problems[:_PROBLEMS_MAX]]
    more = len(problems) - _PROBLEMS_MAX
    return ["", *rows, *([f"! and {more} more: see /var/log/macula.log"] if more > 0 else [])]


def _cut(line: str) -> str:
    return line if len(line) <= COLUMNS else line[: COLUMNS - 4] + " ..."


def _plain(text: str) -> str:
    """Only what a terminal shows and nothing that it obeys."""
    return "".join(each if " " <= each <= "~" else "?" for each in " ".join(text.split()))
