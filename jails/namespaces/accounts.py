"""Accounts of the host that programs in jails run under, and what they own."""

from __future__ import annotations

import os
import pwd
from typing import TYPE_CHECKING

from jails.runtime import JailError

if TYPE_CHECKING:
    from pathlib import Path


def account_of(jail: str, user: str) -> tuple[int, int]:
    """User and group number; raises ``JailError`` if the host has no such account."""
    try:
        found = pwd.getpwnam(user)
    except KeyError as error:
        raise JailError(jail, f"there is no account {user!r}", "create it first") from error
    return found.pw_uid, found.pw_gid


def setpriv_argv(setpriv: str, account: tuple[int, int]) -> tuple[str, ...]:
    """Words before a command that is to run under an account, with no group beside its own."""
    return (setpriv, f"--reuid={account[0]}", f"--regid={account[1]}", "--clear-groups", "--")


def give(data: Path, account: tuple[int, int]) -> None:
    """Let ``account`` own the folder and all in it; links themselves, not what they lead to."""
    os.chown(data, *account)
    # Folders are opened one in another, so that no link made meanwhile leads elsewhere.
    for _, folders, files, handle in os.fwalk(data, follow_symlinks=False):
        for name in (*folders, *files):
            os.chown(name, *account, dir_fd=handle, follow_symlinks=False)
