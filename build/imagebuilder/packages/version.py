"""Versions of packages, in the order that pkg gives them (pkg-version(8), Porter's Handbook 5.2).

A version is ``PORTVERSION[_REVISION][,EPOCH]``. The epoch counts first, then the port version,
then the revision. A port version is made of components, each a number, a letter and a patch level:
``1.2b3`` is ``1`` and ``2 b 3``. What is missing counts as zero (``1`` equals ``1.0``), a component
without number sorts below every number, and ``*`` below everything. The stages pl, snap, alpha,
beta, pre and rc start a component of their own and so come before the version without them. ``+``
starts a block of components that counts after all that stand before it.
"""

from __future__ import annotations

import re
from functools import total_ordering
from itertools import zip_longest
from typing import Final, NamedTuple

VERSION_CHARACTERS_MAX: Final = 256

_LETTER_A: Final = 2
# "pl" comes before every other stage; the others sort as their first letters do.
_STAGES: Final = {"pl": 0} | {
    stage: ord(stage[0]) - ord("a") + _LETTER_A for stage in ("snap", "alpha", "beta", "pre", "rc")
}
_SMALLEST: Final = -2
_MISSING: Final = -1
_NUMBER: Final = re.compile(r"[0-9]+")
_LETTERS: Final = re.compile(r"[a-z]+")
_SEPARATORS: Final = re.compile(r"[^a-z0-9*]*")


class Component(NamedTuple):
    """One component of a port version; all zeros stands for a missing one."""

    number: int = 0
    letter: int = 0
    patch: int = 0


Blocks = tuple[tuple[Component, ...], ...]


@total_ordering
class Version:
    """One version, comparable with others; ``1`` and ``1.0`` are equal."""

    __slots__ = ("_blocks", "_epoch", "_revision", "text")

    def __init__(self, text: str) -> None:
        """Any text has a meaning, as in pkg; beyond 256 characters nothing is read."""
        self.text = text[:VERSION_CHARACTERS_MAX]
        port, self._revision, self._epoch = _split(self.text)
        self._blocks = tuple(tuple(_components(block)) for block in port.lower().split("+"))

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Version) and compare(self, other) == 0

    def __lt__(self, other: Version) -> bool:
        return compare(self, other) < 0

    def __hash__(self) -> int:
        # Blocks that differ only in missing components are equal, so they must not count here.
        return hash((self._epoch, self._revision))

    def __repr__(self) -> str:
        return f"Version({self.text!r})"

    def parts(self) -> tuple[int, Blocks, int]:
        """Epoch, blocks of components, and revision: what is compared, in this order."""
        return self._epoch, self._blocks, self._revision


def compare(one: Version, other: Version) -> int:
    """-1, 0 or 1, as ``one`` is older than, the same as or newer than ``other``."""
    epoch, blocks, revision = one.parts()
    other_epoch, other_blocks, other_revision = other.parts()
    return (
        _sign(epoch, other_epoch)
        or _compare_blocks(blocks, other_blocks)
        or _sign(revision, other_revision)
    )


def _compare_blocks(one: Blocks, other: Blocks) -> int:
    for ours, theirs in zip_longest(one, other, fillvalue=()):
        for component, counterpart in zip_longest(ours, theirs, fillvalue=Component()):
            if component != counterpart:
                return -1 if component < counterpart else 1
    return 0


def _sign(one: int, other: int) -> int:
    return (one > other) - (one < other)


def _split(text: str) -> tuple[str, int, int]:
    """Port version, revision and epoch of a version."""
    port, underscore, rest = text.rpartition("_")
    if underscore:
        return port, _leading_number(rest), _epoch(rest)
    return text.rpartition(",")[0] if "," in text else text, 0, _epoch(text)


def _epoch(text: str) -> int:
    return _leading_number(text.rpartition(",")[2]) if "," in text else 0


def _leading_number(text: str) -> int:
    found = _NUMBER.match(text)
    return int(found.group()) if found else 0


def _components(block: str) -> list[Component]:
    """The components of lower-case text without ``+``."""
    components = []
    at = 0
    while at < len(block):
        component, at = _component(block, at)
        components.append(component)
        separators = _SEPARATORS.match(block, at)
        at = separators.end() if separators else at
    return components


def _component(block: str, at: int) -> tuple[Component, int]:
    """The component that starts at ``at``, and where it ends."""
    if block[at] == "*":
        # It stands for all that follows in its block.
        return Component(_SMALLEST), len(block)
    found = _NUMBER.match(block, at)
    number, at = (int(found.group()), found.end()) if found else (_MISSING, at)
    letters = _LETTERS.match(block, at)
    if letters is None:
        return Component(number), at
    word = letters.group()
    if len(word) > 1 and word in _STAGES:
        if number != _MISSING:
            # A stage starts a component of its own: 1rc2 is 1.rc2.
            return Component(number), at
        letter = _STAGES[word]
    else:
        letter = ord(word[0]) - ord("a") + _LETTER_A
    patch = _NUMBER.match(block, letters.end())
    if patch is None:
        return Component(number, letter, _MISSING), letters.end()
    return Component(number, letter, int(patch.group())), patch.end()
