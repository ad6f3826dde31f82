"""The credentials of a running node, kept up with their files, without losing a link.

A new certificate is taken on reload, if it is for the same key: the node id is the hash of the
key, so another key is another node. The revocation list is also looked at now and then. What is
wrong in a file is told, and what was held stays.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from maculaos.errors import UsageError
from maculaos.security.credentials import Credentials, load_credentials, read_revocations
from maculaos.security.revocations import newer

if TYPE_CHECKING:
    from pathlib import Path

    from maculaos.settings import NodeSettings

_Stamp = tuple[int, int, int]


class LiveCredentials:
    """What the node proves itself with now, and whom it believes."""

    def __init__(self, settings: NodeSettings, now: float) -> None:
        """Read the files that ``settings`` name; raises ``UsageError`` as a node's start does."""
        self._settings = settings
        self._stamp = _stamp(settings.credentials.revocations)
        self._overdue_told = -1
        self.current = _load(settings, now)

    def reload(self, now: float, settings: NodeSettings | None = None) -> Credentials:
        """Read every file again; ``now`` in epoch seconds.

        ``settings`` may name a revocation list for the first time, or in another place; those of
        before count if left out. Raises ``UsageError`` for what keeps a node from starting, for
        another key, for an older revocation list, and for one that is named no more; then what
        is held stays.
        """
        settings = self._settings if settings is None else settings
        self._check_list_is_named(settings)
        stamp = _stamp(settings.credentials.revocations)
        wanted = _load(settings, now)
        if wanted.identity.node_id != self.current.identity.node_id:
            raise UsageError(
                f"{self._settings.credentials.key} is another key, and so another node",
                "restart the node to become it",
            )
        newer(self.current.revoked, wanted.revoked)
        self._settings, self._stamp, self.current = settings, stamp, wanted
        return wanted

    def _check_list_is_named(self, settings: NodeSettings) -> None:
        """A line that is gone from a file must not give revoked nodes their place back."""
        was_named = self._settings.credentials.revocations is not None
        if was_named and settings.credentials.revocations is None:
            raise UsageError(
                "credentials.revocations cannot be left out while the node runs",
                "restart the node to believe revoked peers again",
            )

    def poll(self) -> Credentials | None:
        """The credentials with a newer revocation list, if its file changed since last time.

        Raises ``UsageError``, once per change, if the file is not the authority's or older.
        """
        path = self._settings.credentials.revocations
        stamp = _stamp(path)
        if path is None or stamp == self._stamp:
            return None
        self._stamp = stamp
        offered = newer(self.current.revoked, read_revocations(path, self.current.realm_ca))
        if offered == self.current.revoked:
            return None
        self.current = replace(self.current, revoked=offered)
        return self.current

    def tells_overdue(self, now: float) -> bool:
        """Whether a newer revocation list is overdue; true once for each list."""
        held = self.current.revoked
        if not held.is_expired(now) or held.number == self._overdue_told:
            return False
        self._overdue_told = held.number
        return True


def _load(settings: NodeSettings, now: float) -> Credentials:
    return load_credentials(settings.credentials, settings.name, settings.realm, now)


def _stamp(path: Path | None) -> _Stamp | None:
    """What changes when a file is written anew; nothing if it is not there."""
    if path is None:
        return None
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_mtime_ns, found.st_size, found.st_ino
