"""The raw bytes of a slot, as they lie on the disk.

Whole sectors only, past every cache of ours. Which slot may be written is decided by the caller,
from ``appliance.slots``: the kernel does not protect the slot that runs.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from pathlib import Path

    from appliance.slots import Slot


class SlotDevice(Protocol):
    """An open slot; every method raises ``OSError``."""

    def read_at(self, offset: int, size: int) -> bytes:
        """Exactly ``size`` bytes from byte ``offset`` on; fewer only at the end."""
        ...

    def write_at(self, offset: int, content: bytes) -> None:
        """All of ``content``, to byte ``offset`` and on."""
        ...

    def sync(self) -> None:
        """Return when what was written would survive a power cut."""
        ...

    def close(self) -> None:
        """Let go of it."""
        ...


class Devices(Protocol):
    """Where slots are opened."""

    def open(self, slot: Slot) -> SlotDevice:
        """The spare slot, for reading and writing."""
        ...


class RawDevice(SlotDevice):
    """A device or file, read and written past Python's buffers."""

    def __init__(self, path: Path, *, is_writable: bool = True) -> None:
        access = os.O_RDWR if is_writable else os.O_RDONLY
        self._handle = os.open(path, access | os.O_CLOEXEC)

    def read_at(self, offset: int, size: int) -> bytes:
        """See ``SlotDevice.read_at``."""
        pieces = bytearray()
        while len(pieces) < size:
            piece = os.pread(self._handle, size - len(pieces), offset + len(pieces))
            if not piece:
                break
            pieces += piece
        return bytes(pieces)

    def write_at(self, offset: int, content: bytes) -> None:
        """See ``SlotDevice.write_at``."""
        done = 0
        while done < len(content):
            done += os.pwrite(self._handle, memoryview(content)[done:], offset + done)

    def sync(self) -> None:
        """See ``SlotDevice.sync``."""
        os.fsync(self._handle)

    def close(self) -> None:
        """See ``SlotDevice.close``."""
        os.close(self._handle)


class SlotDevices:
    """The slots of this machine, below ``/dev/gpt``, or below another folder for tests."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def open(self, slot: Slot) -> RawDevice:
        """See ``Devices.open``."""
        return RawDevice(self._folder / slot.label)
