"""Signatures of events, with the credentials that the node has at that moment."""

from __future__ import annotations

from typing import TYPE_CHECKING

from maculaos.wire.signatures import BadSignature, check_run, sign_run

if TYPE_CHECKING:
    from collections.abc import Callable

    from maculaos.security.credentials import Credentials
    from maculaos.wire.events import Events


class RealmEventSeal:
    """Signs as this node; checks that a publisher holds the key that its node id is the hash of."""

    def __init__(self, current: Callable[[], Credentials]) -> None:
        self._current = current

    def sign(self, run: Events) -> Events:
        """The same run, signed by this node; raises ``LocalProtocolError`` if not its own."""
        ours = self._current()
        return sign_run(run, ours.identity.realm, ours.key)

    def is_genuine(self, run: Events) -> bool:
        """Whether the publisher signed it, for this realm."""
        try:
            check_run(run, self._current().identity.realm)
        except BadSignature:
            return False
        return True
