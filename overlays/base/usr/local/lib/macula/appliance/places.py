"""Where things lie on an appliance."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True, kw_only=True)
class Places:
    """Folders and devices, all below ``root``, which is ``/`` except in tests."""

    root: Path = Path("/")

    @property
    def cfg(self) -> Path:
        """The partition of saved settings."""
        return self.root / "cfg"

    @property
    def data(self) -> Path:
        """The partition that grows."""
        return self.root / "data"

    @property
    def record(self) -> Path:
        """The state of updates."""
        return self.cfg / "update"

    @property
    def trusted(self) -> tuple[Path, ...]:
        """Public keys whose bundles are taken: the image's own, and the operator's."""
        return (self._shipped / "trusted", self.record / "trusted")

    @property
    def revoked(self) -> tuple[Path, ...]:
        """Public keys that are trusted no more."""
        return (self._shipped / "revoked", self.record / "revoked")

    @property
    def lock(self) -> Path:
        """The folder that is locked while slots are decided about; gone with every reboot."""
        return self.root / "var/run/maculaos-update"

    @property
    def labels(self) -> Path:
        """The partitions by name."""
        return self.root / "dev/gpt"

    @property
    def _shipped(self) -> Path:
        return self.root / "usr/local/share/macula/update"
