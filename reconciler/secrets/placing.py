"""Where plain text lies while an app runs: one file of mode 0600 for each, in memory.

A keeper reads it whenever it starts the program. The folder must lie in memory, so that no disk
ever holds it; settings may say otherwise for machines where that does not matter.
"""

from __future__ import annotations

import os
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Final

from jails.runtime import is_jail_name
from jails.spec import SecretEnvironment, encode_secret_environment
from maculaos.errors import UsageError
from maculaos.host.files import make_private_directory, remove_leftovers, write_atomically
from maculaos.host.mounts import is_in_memory

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping
    from pathlib import Path

# A name that no node has: the folders of their sockets lie beside it.
FOLDER: Final = ".secrets"


class SecretPlaces:
    """The files below ``run_dir/.secrets``, by jail."""

    def __init__(self, run_dir: Path, *, allow_disk: bool) -> None:
        self._folder = run_dir / FOLDER
        self._allow_disk = allow_disk

    def path(self, jail: str) -> Path:
        """Where the file of that jail lies, or would."""
        if not is_jail_name(jail):
            raise UsageError(f"{jail!r} is no name of a jail")
        return self._folder / jail

    def wanted(self, jail: str, digest: str) -> SecretEnvironment:
        """What a ``JailSpec`` says of it: where it lies, and a keyed digest of what is in it."""
        return SecretEnvironment(path=str(self.path(jail)), digest=digest)

    def place(self, jail: str, values: Mapping[str, bytes | bytearray]) -> None:
        """Have exactly these variables in the jail's file, before it is started.

        Raises ``UsageError`` if the folder does not lie in memory, or cannot be written.
        """
        path = self.path(jail)
        content = encode_secret_environment(values)
        with self._in_words():
            make_private_directory(self._folder)
            os.chmod(self._folder, 0o700)
            self._refuse_disk()
            if not _holds(path, content):
                remove_leftovers(path)
                write_atomically(path, content, 0o600)

    def keep_only(self, jails: Collection[str]) -> None:
        """Delete the files of all jails but these, and what killed writers left."""
        with self._in_words(), suppress(FileNotFoundError):
            for name in os.listdir(self._folder):
                if name not in jails:
                    (self._folder / name).unlink(missing_ok=True)

    def _refuse_disk(self) -> None:
        if not self._allow_disk and not is_in_memory(self._folder):
            raise UsageError(
                f"{self._folder} does not lie in memory: secrets would be written to a disk",
                "let run_dir lie on a tmpfs, or set secrets.allow_disk",
            )

    @contextmanager
    def _in_words(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            what = f"secrets cannot be placed in {self._folder}: {error.strerror or error}"
            raise UsageError(what, "see who owns it, and whether there is room") from error


def _holds(path: Path, content: bytes) -> bool:
    try:
        found = path.lstat()
        return found.st_mode & 0o7777 == 0o600 and path.read_bytes() == content
    except OSError:
        return False
