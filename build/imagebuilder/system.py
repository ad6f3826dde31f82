"""The systems of a build: the appliance's own, and the one of the stick that installs it.

Both are laid together from the same release and packages, by the same kinds of steps. What tells
them apart is said here: the layers above the packages, the names of steps and files, and what a
system cannot do without. Words only.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from imagebuilder.order import Order
    from imagebuilder.recipe import InstallerPart

PMBR: Final = "boot/pmbr"
GPTBOOT: Final = "boot/gptboot"
INSTALL_PROGRAM: Final = "usr/local/sbin/maculaos-install"
# By which our scripts start Python.
PYTHON: Final = "usr/local/bin/python3"
CHECKSUMS: Final = "checksums"
_OVERLAYS: Final = "overlays"
_INSTALLER: Final = "installer"


@dataclass(frozen=True, slots=True, kw_only=True)
class Upper:
    """A layer above the packages."""

    # As the sizes of the image tell of it.
    title: str
    # Which step made its entries, and in which file.
    step: str
    file: str


@dataclass(frozen=True, slots=True, kw_only=True)
class System:
    """One system of a build."""

    # What the names of its steps begin with, before a dash; empty for the appliance's.
    family: str = ""
    # What the names of its files begin with.
    stem: str
    # The overlays that no other system has.
    overlays: tuple[str, ...]
    # Lowest first.
    uppers: tuple[Upper, ...]
    # Paths without which it is refused.
    wanted: tuple[str, ...] = ()

    def step(self, name: str) -> str:
        """What the step that makes ``name`` of this system is called."""
        return f"{self.family}-{name}" if self.family else name

    @property
    def sources(self) -> tuple[str, ...]:
        """The steps that make its layers above the packages, each once."""
        return tuple(dict.fromkeys(upper.step for upper in self.uppers))


def appliance_of(order: Order) -> System:
    """What runs on machines, and is installed by a stick."""
    overlays = order.recipe.contents.overlays
    return System(
        # The same under every profile that only packs it, so that its steps are shared.
        stem=order.system_stem if order.recipe.installer else order.stem,
        overlays=overlays,
        uppers=_overlaid(overlays, _OVERLAYS),
    )


def installer_of(order: Order, installer: InstallerPart) -> System:
    """What runs from the stick: the appliance, with other overlays on top, and checksums."""
    overlays_step, checksums = f"{_INSTALLER}-{_OVERLAYS}", f"{_INSTALLER}-{CHECKSUMS}"
    return System(
        family=_INSTALLER,
        stem=order.stem,
        overlays=installer.overlays,
        uppers=(
            *appliance_of(order).uppers,
            *_overlaid(installer.overlays, overlays_step),
            Upper(title=CHECKSUMS, step=checksums, file=f"{CHECKSUMS}.jsonl"),
        ),
        wanted=(INSTALL_PROGRAM, PYTHON, *((PMBR, GPTBOOT) if order.has_bios else ())),
    )


def product_of(order: Order) -> System:
    """The system that the disk of this order starts."""
    installer = order.recipe.installer
    return appliance_of(order) if installer is None else installer_of(order, installer)


def _overlaid(overlays: tuple[str, ...], step: str) -> tuple[Upper, ...]:
    return tuple(
        Upper(title=f"overlay {name}", step=step, file=f"{name}.jsonl") for name in overlays
    )
