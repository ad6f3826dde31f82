"""A real Git repository somewhere else, as the tests of the reconciler push to it."""

from __future__ import annotations

import os
import shutil
import subprocess
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

_ENVIRONMENT = {
    "PATH": os.environ["PATH"],
    "GIT_CONFIG_NOSYSTEM": "1",
    "GIT_CONFIG_GLOBAL": os.devnull,
    "GIT_AUTHOR_NAME": "Ada",
    "GIT_AUTHOR_EMAIL": "ada@example.test",
    "GIT_COMMITTER_NAME": "Ada",
    "GIT_COMMITTER_EMAIL": "ada@example.test",
}


class Upstream:
    """A bare repository at ``path`` and a work tree that pushes to its branch ``main``."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "upstream.git"
        self.work = folder / "work"
        self.git("init", "--quiet", "--bare", "--initial-branch=main", str(self.path))
        self.git("init", "--quiet", "--initial-branch=main", str(self.work))

    def git(self, *words: str, cwd: Path | None = None) -> str:
        done = subprocess.run(
            ["git", *words], cwd=cwd, env=_ENVIRONMENT, check=True, capture_output=True, timeout=30
        )
        return done.stdout.decode().strip()

    def commit(self, files: Mapping[str, str | bytes | None], subject: str = "change") -> str:
        """Write (or, for ``None``, delete) files, commit and push them; return the revision."""
        for name, content in files.items():
            path = self.work / name
            if content is None:
                path.unlink()
                continue
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content.encode() if isinstance(content, str) else content)
        return self.record(subject)

    def record(self, subject: str = "change") -> str:
        """Commit the work tree as it is and push it."""
        self.git("add", "--all", cwd=self.work)
        self.git("commit", "--quiet", "--allow-empty", "-m", subject, cwd=self.work)
        return self.push()

    def push(self) -> str:
        """Push ``main``, with force; return its revision."""
        self.git("push", "--quiet", "--force", str(self.path), "main:main", cwd=self.work)
        return self.git("rev-parse", "main", cwd=self.work)

    def rewrite(self, files: Mapping[str, str | bytes | None], subject: str = "rewritten") -> str:
        """Replace the whole history of ``main`` by one commit that shares nothing with it."""
        self.git("checkout", "--quiet", "--orphan", "other", cwd=self.work)
        for name in self.git("ls-files", cwd=self.work).splitlines():
            if name not in files:
                self.git("rm", "--quiet", "-f", name, cwd=self.work)
        self.git("branch", "-D", "main", cwd=self.work)
        self.git("branch", "-m", "main", cwd=self.work)
        return self.commit(files, subject)

    def hide(self) -> None:
        """Make the repository unreachable."""
        self.path.rename(self.path.with_suffix(".hidden"))

    def show(self) -> None:
        """Make it reachable again."""
        self.path.with_suffix(".hidden").rename(self.path)

    def empty(self) -> None:
        """Replace it by a repository without a commit."""
        shutil.rmtree(self.path)
        self.git("init", "--quiet", "--bare", "--initial-branch=main", str(self.path))
