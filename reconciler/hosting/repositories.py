"""The folder of a Git host: its bare repositories and the file of its tokens.

``<root>/<name>.git`` is a repository, ``<root>/tokens.json`` (mode 0600) holds the hashes. A
symbolic link anywhere on the way is no repository.
"""

from __future__ import annotations

import os
import stat
from typing import TYPE_CHECKING, Final

from maculaos.errors import UsageError
from maculaos.host.commands import SystemRunner
from maculaos.host.files import exclusive_lock, make_private_directory, write_atomically
from reconciler.hosting.requests import check_name
from reconciler.hosting.tokens import (
    TOKEN_BYTES,
    TokenRecord,
    make_record,
    new_token,
    read_records,
    written_records,
)

if TYPE_CHECKING:
    from pathlib import Path

    from maculaos.host.entropy import Entropy

TOKENS_NAME: Final = "tokens.json"
HOME_NAME: Final = "home"
FILE_BYTES: Final = 1 << 20
BRANCH: Final = "main"


class Repositories:
    """The repositories and tokens below one folder."""

    def __init__(self, root: Path) -> None:
        self.root = root.absolute()

    @property
    def home(self) -> Path:
        """A home for Git's programs, in which nothing lies."""
        return self.root / HOME_NAME

    def prepare(self) -> None:
        """Have the folder in place, for us alone."""
        make_private_directory(self.root)
        make_private_directory(self.home)
        self.root = self.root.resolve()

    def create(self, name: str) -> Path:
        """Make an empty bare repository; raises ``UsageError``."""
        path = self._place(name)
        if path.exists():
            raise UsageError(f"{path} exists", "choose another name")
        self.prepare()
        make_private_directory(path.parent)
        environment = {
            "PATH": os.environ.get("PATH", os.defpath),
            "HOME": str(self.home),
            "GIT_CONFIG_NOSYSTEM": "1",
            "GIT_CONFIG_GLOBAL": os.devnull,
        }
        words = ("init", "--quiet", "--bare", "--template=", f"--initial-branch={BRANCH}")
        SystemRunner(environment).run("git", *words, "--", str(path))
        return path

    def find(self, name: str) -> Path:
        """The folder of that repository; raises ``UsageError``."""
        path = self._place(name)
        if path.resolve() != self.root.resolve() / f"{name}.git" or not path.is_dir():
            raise UsageError(f"there is no repository {name}", "reconciler serve-git init makes it")
        return path

    def _place(self, name: str) -> Path:
        try:
            return self.root / f"{check_name(name)}.git"
        except ValueError as error:
            raise UsageError(str(error), "choose another name") from error

    def tokens(self) -> tuple[TokenRecord, ...]:
        """All tokens; raises ``UsageError`` if others can read or write the file."""
        try:
            handle = os.open(self._tokens, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
        except FileNotFoundError:
            return ()
        try:
            facts = os.fstat(handle)
            if not stat.S_ISREG(facts.st_mode) or facts.st_mode & 0o077:
                raise UsageError(f"{self._tokens} may be read by others", "chmod 600 it")
            return read_records(os.read(handle, FILE_BYTES))
        finally:
            os.close(handle)

    def add_token(
        self, name: str, *, may_write: bool, repositories: tuple[str, ...], entropy: Entropy
    ) -> str:
        """Make a token and return it; only its hash is kept. Raises ``UsageError``."""
        self.prepare()
        token = new_token(entropy.draw(TOKEN_BYTES))
        with exclusive_lock(self.root / "tokens.lock"):
            records = self.tokens()
            if any(record.name == name for record in records):
                raise UsageError(f"there is a token {name} already", "choose another name")
            for one in repositories:
                self.find(one)
            added = make_record(name, token, may_write=may_write, repositories=repositories)
            write_atomically(self._tokens, written_records((*records, added)), 0o600)
        return token

    def remove_token(self, name: str) -> None:
        """Let that token open nothing from now on; raises ``UsageError``."""
        self.prepare()
        with exclusive_lock(self.root / "tokens.lock"):
            records = self.tokens()
            kept = tuple(record for record in records if record.name != name)
            if kept == records:
                raise UsageError(f"there is no token {name}", "see reconciler serve-git token list")
            write_atomically(self._tokens, written_records(kept), 0o600)

    @property
    def _tokens(self) -> Path:
        return self.root / TOKENS_NAME
