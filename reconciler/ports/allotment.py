"""Which port each instance has for itself, where all share the machine's network. Pure.

An instance keeps what it once got. What is new gets the port that its name hashes to, or the
next free one: so a book that was lost is written again with nearly the same numbers.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Collection, Iterable, Mapping
from typing import Final, TypeAlias

from reconciler.rollouts.instances import Colour, Instance, instance_jail

# The jail of an instance, and the name of a port.
Berth: TypeAlias = tuple[str, str]
Allotment: TypeAlias = Mapping[Berth, int]

_COLOURS: Final = (Colour.BLUE, Colour.GREEN)


def berths_of(
    app: str, names: Iterable[str], instances: int, canaries: int, others: Iterable[str] = ()
) -> frozenset[Berth]:
    """What an app may need: its instances in both colours, its canaries, and jails as ``others``.

    A rollout needs no port that was not set aside before it began.
    """
    named = tuple(names)
    if not named:
        return frozenset()
    every = [Instance(colour, n) for colour in _COLOURS for n in range(1, instances + 1)]
    every += [Instance(Colour.CANARY, n) for n in range(1, canaries + 1)]
    jails = {*(instance_jail(app, each) for each in every), *others}
    return frozenset((jail, name) for jail in jails for name in named)


def allot(
    known: Allotment,
    wanted: Iterable[Berth],
    span: range,
    taken: Collection[int] = (),
    is_free: Callable[[Berth, int], bool] = lambda _berth, _port: True,
) -> dict[Berth, int]:
    """``known`` and a port of ``span`` for each of ``wanted`` that has none, no two alike.

    Not one of ``taken``, nor one that ``is_free`` denies. A berth for which nothing is left is
    left out. The order of ``wanted`` is of no matter.
    """
    allotted = dict(known)
    used = {*known.values(), *taken}
    for berth in sorted(set(wanted) - allotted.keys()):
        port = _first_free(berth, span, used, is_free)
        if port is not None:
            allotted[berth] = port
            used.add(port)
    return allotted


def _first_free(
    berth: Berth, span: range, used: Collection[int], is_free: Callable[[Berth, int], bool]
) -> int | None:
    size = len(span)
    if not size:
        return None
    begin = int.from_bytes(hashlib.sha256("/".join(berth).encode()).digest()[:8], "big") % size
    turns = (span[(begin + step) % size] for step in range(size))
    return next((port for port in turns if port not in used and is_free(berth, port)), None)
