"""The file of a sender's secrets: read when it changed, and only if nobody else can read it."""

from __future__ import annotations

import os
import stat
from typing import TYPE_CHECKING, Final

from maculaos.errors import UsageError

if TYPE_CHECKING:
    from pathlib import Path

SECRETS: Final = 8
SHORTEST: Final = 16
FILE_BYTES: Final = 16 * 1024


class SecretFile:
    """A secret in each line; lines that are empty or start with # do not count."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._seen: tuple[int, ...] = ()
        self._secrets: tuple[bytes, ...] = ()

    def secrets(self) -> tuple[bytes, ...]:
        """What the file holds now; raises ``UsageError`` if it is not fit to be believed."""
        try:
            handle = os.open(self._path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
        except OSError as error:
            hint = "make it, with a secret in each line"
            raise UsageError(f"{self._path}: {error.strerror}", hint) from error
        try:
            facts = os.fstat(handle)
            seen = (facts.st_ino, facts.st_size, facts.st_mtime_ns, facts.st_ctime_ns)
            if seen != self._seen:
                self._check(facts)
                self._secrets = self._parsed(os.read(handle, FILE_BYTES))
                self._seen = seen
        finally:
            os.close(handle)
        return self._secrets

    def _check(self, facts: os.stat_result) -> None:
        if not stat.S_ISREG(facts.st_mode) or facts.st_size > FILE_BYTES:
            raise UsageError(f"{self._path} is no small file", "put a secret into each line")
        if facts.st_mode & 0o077:
            raise UsageError(f"{self._path} may be read by others", f"chmod 600 {self._path}")

    def _parsed(self, content: bytes) -> tuple[bytes, ...]:
        lines = [line.strip() for line in content.splitlines()]
        found = tuple(line for line in lines if line and not line.startswith(b"#"))
        if not found or len(found) > SECRETS or any(len(one) < SHORTEST for one in found):
            raise UsageError(
                f"{self._path} must hold 1 to {SECRETS} secrets of {SHORTEST} bytes or more",
                "openssl rand -hex 32 makes a good one",
            )
        return found
