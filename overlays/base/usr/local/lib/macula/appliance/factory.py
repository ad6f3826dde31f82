"""Factory reset: what people and the site put on the machine goes; the system in its slots stays.

A mark on ``cfg`` says that it was asked for. The work is done at the next start, before anything
uses the folders, and the mark goes last: whatever cuts it short, the start after that goes on.
What is deleted is not overwritten: whoever must be sure on flash storage destroys the disk.
"""

from __future__ import annotations

import os
import stat
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from maculaos.host.files import sync_directory, write_atomically

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

MARK: Final = "factory-reset"
# The record of the slots belongs to the system: without it, a half-written slot would seem whole.
KEPT: Final = frozenset({MARK, "update", ".snap", "lost+found"})
# Secrets first, so that they are gone however far it comes; the names are those on cfg.
FIRST: Final = ("credentials", "identity", "ssh", "seed.toml")


@dataclass(frozen=True, slots=True)
class FactoryReset:
    """The reset of one machine; ``cfg`` and ``data`` are mount points, and stay."""

    cfg: Path
    data: Path

    def ask(self) -> None:
        """Have it done at the next start."""
        write_atomically(self.cfg / MARK, b"asked for by an operator\n")

    @property
    def is_due(self) -> bool:
        """Whether it was asked for and is not finished."""
        return (self.cfg / MARK).exists()

    def plan(self) -> tuple[Path, ...]:
        """What goes, in order: secrets, then data, then every other setting."""
        settings = [path for path in _entries(self.cfg) if path.name not in KEPT]
        first = [path for name in FIRST for path in settings if path.name == name]
        data = [path for path in _entries(self.data) if path.name not in KEPT]
        return (*first, *data, *(path for path in settings if path not in first))

    def finish(self, say: Callable[[str], None]) -> int:
        """Delete what goes, then the mark; how many entries went. Raises ``OSError``."""
        gone = 0
        for path in self.plan():
            say(f"factory reset: delete {path}")
            _delete(path)
            sync_directory(path.parent)
            gone += 1
        (self.cfg / MARK).unlink(missing_ok=True)
        sync_directory(self.cfg)
        return gone


def _entries(folder: Path) -> list[Path]:
    return sorted(folder.iterdir()) if folder.is_dir() else []


def _delete(path: Path) -> None:
    """Delete a tree; never follows a link, never leaves the file system it began on."""
    device = path.lstat().st_dev
    for each in _bottom_up(path, device):
        _unlock(each)
        if stat.S_ISDIR(each.lstat().st_mode):
            each.rmdir()
        else:
            each.unlink()


def _bottom_up(path: Path, device: int) -> Iterator[Path]:
    found = path.lstat()
    if found.st_dev != device:
        raise OSError(f"{path} is another file system: unmount it first")
    if stat.S_ISDIR(found.st_mode):
        _unlock(path)
        for child in sorted(path.iterdir()):
            yield from _bottom_up(child, device)
    yield path


def _unlock(path: Path) -> None:
    """Take away flags such as schg, which keep even root from deleting."""
    change = getattr(os, "lchflags", None)
    flags: int = getattr(path.lstat(), "st_flags", 0)
    if change is not None and flags:
        change(path, 0)
