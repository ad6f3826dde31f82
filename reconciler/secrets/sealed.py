"""Encrypted files that kept versions of apps need, by their SHA-256, below ``state_dir``.

So a version goes on running, and may be gone back to, when no commit at hand has its secrets any
more. What lies here is as it lay in Git, encrypted; nothing is decrypted here.
"""

from __future__ import annotations

import hashlib
import re
from contextlib import suppress
from typing import TYPE_CHECKING, Final

from maculaos.host.files import make_private_directory, write_atomically

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping
    from pathlib import Path

FOLDER: Final = "sealed"
_DIGEST: Final = re.compile(r"[0-9a-f]{64}")


class SealedFiles:
    """The files in ``folder``; only the holder of the lock writes."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def read(self, digest: str) -> bytes | None:
        """The file with that SHA-256; None if it is not here, or is not what its name says."""
        if _DIGEST.fullmatch(digest) is None:
            return None
        try:
            content = (self._folder / digest).read_bytes()
        except FileNotFoundError:
            return None
        return content if hashlib.sha256(content).hexdigest() == digest else None

    def keep(self, files: Mapping[str, bytes]) -> None:
        """Have these, by SHA-256, as well; raises ``OSError``."""
        new = [digest for digest in files if self.read(digest) is None]
        if new:
            make_private_directory(self._folder)
        for digest in new:
            write_atomically(self._folder / digest, files[digest], 0o600)

    def keep_only(self, digests: Collection[str]) -> None:
        """Delete all others; raises ``OSError``."""
        with suppress(FileNotFoundError):
            for path in self._folder.iterdir():
                if path.name not in digests:
                    path.unlink(missing_ok=True)
