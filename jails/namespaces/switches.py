"""The kernel's switches of forwarding, and whose each of them is.

IPv4 has one for each interface, and so has IPv6 from Linux 6.17 on (``force_forwarding``). Before
that IPv6 has one switch for all interfaces. A switch is on with any number but 0: ours say 2, so
whose it is shows in the switch itself, whatever happens to every other record; who makes the
machine a router writes 1 to all of them. ``force_forwarding`` takes 0 and 1 only: every one
that jails need counts as ours.
"""

from __future__ import annotations

from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING

from jails.namespaces import nft
from jails.namespaces.guard import ALL

if TYPE_CHECKING:
    from collections.abc import Mapping

_CONF = {nft.IPV4: Path("/proc/sys/net/ipv4/conf"), nft.IPV6: Path("/proc/sys/net/ipv6/conf")}
_OURS = "2"


class Switch(Enum):
    """What a switch says."""

    OFF = "off"
    OURS = "ours"
    OTHERS = "somebody else's"


def has_one_for_all(family: str) -> bool:
    """Whether there is but one switch for all interfaces."""
    return family == nft.IPV6 and not (_CONF[family] / ALL / "force_forwarding").exists()


def is_router(family: str) -> bool:
    """Whether all is forwarded anyway, whatever the switches of interfaces say."""
    is_forced = family == nft.IPV6 and not has_one_for_all(family)
    return is_forced and _read(_CONF[family] / ALL / "forwarding") not in ("0", None)


def read(family: str, name: str) -> Switch | None:
    """The switch of an interface, or of ``ALL``; None if there is no such thing in that family."""
    said = _read(_path(family, name))
    if said is None or said == "0":
        return None if said is None else Switch.OFF
    is_ours = said == _OURS or _path(family, name).name == "force_forwarding"
    return Switch.OURS if is_ours else Switch.OTHERS


def ours(family: str) -> frozenset[str]:
    """All that bear our mark."""
    try:
        names = (
            [ALL] if has_one_for_all(family) else [each.name for each in _CONF[family].iterdir()]
        )
    except FileNotFoundError:  # the kernel does without IPv6
        return frozenset()
    return frozenset(name for name in names if _read(_path(family, name)) == _OURS)


def write(family: str, name: str, *, is_on: bool) -> None:
    """Switch on what is off, or off what is ours; leaves anything else as it is."""
    path = _path(family, name)
    if read(family, name) is not (Switch.OFF if is_on else Switch.OURS):
        return
    on = "1" if path.name == "force_forwarding" else _OURS
    own = _own_choices(family) if name == ALL else {}
    path.write_text(on if is_on else "0")
    for other, said in own.items():
        if _read(other) not in (None, said):
            other.write_text(said)


def _own_choices(family: str) -> Mapping[Path, str]:
    """By its own ``forwarding`` an interface of IPv6 believes router advertisements, or does not.

    The one switch for all would overwrite it.
    """
    paths = [path / "forwarding" for path in _CONF[family].iterdir() if path.name != ALL]
    return {path: said for path in paths if (said := _read(path)) is not None}


def _path(family: str, name: str) -> Path:
    is_forced = family == nft.IPV6 and not has_one_for_all(family)
    return _CONF[family] / name / ("force_forwarding" if is_forced else "forwarding")


def _read(path: Path) -> str | None:
    try:
        return path.read_text("ascii").strip()
    except FileNotFoundError:
        return None
