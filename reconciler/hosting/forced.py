"""The ssh side of a Git host: the forced command of a key in sshd's ``authorized_keys``.

sshd has checked the key; its line there says what the key may do. Here the command that the
client asked for is read strictly, and one of two Git programs is started on the connection.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from maculaos.errors import UsageError
from maculaos.host.pipes import run_attached
from reconciler.hosting.backend import HostingLimits, git_environment, protocol_environment
from reconciler.hosting.requests import GitRequest, NotServed, Service, parse_ssh

if TYPE_CHECKING:
    from collections.abc import Sequence

    from reconciler.hosting.repositories import Repositories

ORIGINAL_COMMAND = "SSH_ORIGINAL_COMMAND"


def asked_of(command: str, *, may_write: bool, names: Sequence[str]) -> GitRequest:
    """What the client may have; raises ``UsageError``. Pure."""
    try:
        asked = parse_ssh(command)
    except NotServed as error:
        raise UsageError(str(error), "this account has no shell") from error
    if names and asked.repository not in names:
        raise UsageError(f"there is no repository {asked.repository}", "ask whoever runs this host")
    if asked.service is Service.WRITE and not may_write:
        raise UsageError("this key may only read", "ask whoever runs this host")
    return asked


def serve_asked(repositories: Repositories, asked: GitRequest, limits: HostingLimits) -> int:
    """Serve that request on our own standard streams; the exit status."""
    path = repositories.find(asked.repository)
    may_write = asked.service is Service.WRITE
    search = os.environ.get("PATH", os.defpath)
    environment = git_environment(search, repositories.home, limits, may_write=may_write)
    environment |= protocol_environment(os.environ.get("GIT_PROTOCOL", ""))
    words = ("git", asked.service.removeprefix("git-"))
    return run_attached(
        *words, "--", str(path), environment=environment, timeout_s=limits.timeout_s
    )
