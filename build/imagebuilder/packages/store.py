"""The content store: the bytes of files by their SHA-256, so that no name of a package is a path.

What is in it is never changed, so entries of many builds may point at it. It is written by one
build at a time; a file that a killed build left half done has another name and is never found.
"""

from __future__ import annotations

import hashlib
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from maculaos.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Iterable


class ContentStore:
    """A folder of files named after their content."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        folder.mkdir(parents=True, exist_ok=True)

    def add(self, pieces: Iterable[bytes], bytes_max: int) -> tuple[str, Path]:
        """Keep the content; its SHA-256 in hexadecimal and where it lies.

        Raises ``UsageError`` beyond ``bytes_max`` bytes, and keeps nothing then.
        """
        digest, size = hashlib.sha256(), 0
        with tempfile.NamedTemporaryFile(dir=self._folder, prefix=".new-", delete=False) as file:
            part = Path(file.name)
            try:
                for piece in pieces:
                    size += len(piece)
                    if size > bytes_max:
                        raise UsageError(f"a file of more than {bytes_max} bytes")
                    digest.update(piece)
                    file.write(piece)
            except BaseException:
                part.unlink()
                raise
        return digest.hexdigest(), self._keep(part, digest.hexdigest())

    def add_bytes(self, content: bytes) -> Path:
        """Keep ``content``; where it lies."""
        return self.add([content], len(content))[1]

    def _keep(self, part: Path, sha256: str) -> Path:
        place = self._folder / sha256[:2] / sha256
        place.parent.mkdir(exist_ok=True)
        part.chmod(0o644)
        return part.replace(place)
