"""Tools of the build host: run with a bound in time, and named with their package when missing."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Final

from maculaos.errors import UsageError
from maculaos.host.commands import CommandFailed

if TYPE_CHECKING:
    from collections.abc import Mapping

    from maculaos.host.commands import CommandRunner

# How long one tool may work on one disk.
LIMIT_S: Final = 3600.0

PACKAGES: Final[Mapping[str, str]] = {
    "mkfs.vfat": "dosfstools",
    "mmd": "mtools",
    "mcopy": "mtools",
    "mdir": "mtools",
    "qemu-img": "qemu-utils",
    "xz": "xz-utils",
    "zstd": "zstd",
}
# mkfs.vfat lies where ordinary users do not look.
_ALSO_SEARCHED: Final = ("/usr/sbin", "/sbin")
# What env(1) says of a program that is not there.
_NOT_FOUND: Final = 127


def run_tool(runner: CommandRunner, *argv: str, environment: tuple[str, ...] = ()) -> str:
    """Run ``argv``; ``environment`` are words of env(1), such as ``TZ=UTC`` or ``-u``, ``XZ_OPT``.

    Returns standard output. Raises ``UsageError`` when the tool is not installed, and
    ``CommandFailed`` when it fails.
    """
    try:
        return runner.run("env", *environment, _path(), *argv, timeout_s=LIMIT_S)
    except CommandFailed as error:
        if error.exit_status != _NOT_FOUND:
            raise
        package = PACKAGES.get(argv[0], argv[0])
        hint = f"install Debian's {package}, or the package of your system that has it"
        raise UsageError(f"{argv[0]} is not installed", hint) from error


def _path() -> str:
    return ":".join((f"PATH={os.environ.get('PATH', os.defpath)}", *_ALSO_SEARCHED))
