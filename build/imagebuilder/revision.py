"""The revision that an image is built from: commit, time of the commit, and our version.

Every time inside an image is the time of the commit, never the time of the build.
"""

from __future__ import annotations

import re
import tomllib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from maculaos.errors import UsageError
from maculaos.host.commands import CommandFailed

if TYPE_CHECKING:
    from pathlib import Path

    from maculaos.host.commands import CommandRunner

_COMMIT: Final = re.compile(r"[0-9a-f]{40}|[0-9a-f]{64}")
# What FAT can hold, and no later than a 32-bit time.
_TIME_MIN_S: Final = 315_532_800
_TIME_MAX_S: Final = 4_294_967_295


@dataclass(frozen=True, slots=True, kw_only=True)
class Revision:
    """What an image is built from."""

    version: str
    commit: str
    # Seconds since the epoch.
    committed_at: int
    # Whether files differ from the commit; the image is then no image of the commit alone.
    is_changed: bool = False

    def __post_init__(self) -> None:
        """Raise ``UsageError`` for what is no commit and no time."""
        if not _COMMIT.fullmatch(self.commit):
            raise UsageError(f"{self.commit!r} is no commit", "give 40 or 64 hexadecimal digits")
        if not _TIME_MIN_S <= self.committed_at <= _TIME_MAX_S:
            raise UsageError(
                f"{self.committed_at} is no time of a commit", "give seconds since 1970, after 1980"
            )


def version_of(checkout: Path) -> str:
    """Our version, from ``pyproject.toml``; raises ``UsageError``."""
    path = checkout / "pyproject.toml"
    try:
        return str(tomllib.loads(path.read_text())["project"]["version"])
    except (OSError, KeyError, tomllib.TOMLDecodeError) as error:
        raise UsageError(f"{path} gives no version: {error}", "build in a checkout") from error


def revision_of(checkout: Path, runner: CommandRunner) -> Revision:
    """The commit that is checked out; raises ``UsageError`` where Git knows none."""
    version = version_of(checkout)
    git = ("git", "-C", str(checkout))
    try:
        said = runner.run(*git, "log", "-1", "--format=%H %ct").split()
        changed = runner.run(*git, "status", "--porcelain", "--untracked-files=normal")
        commit, time = said
    except (CommandFailed, ValueError) as error:
        raise UsageError(
            f"Git knows no commit of {checkout}: {error}",
            "build in a checkout, or say COMMIT= and EPOCH=",
        ) from error
    return Revision(
        version=version, commit=commit, committed_at=int(time), is_changed=bool(changed.strip())
    )
