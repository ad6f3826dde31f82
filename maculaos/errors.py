"""Errors by blame: whose fault it is decides what is given up.

A local error is a bug (crash the task), a remote error is the peer's (drop the peer, keep the
node), a usage error is the operator's (say what, where and what to do next). Host errors live
beside the host seam, in ``maculaos.host``.
"""

from __future__ import annotations


class MaculaError(Exception):
    """Everything that Macula raises on purpose."""


class LocalProtocolError(MaculaError):
    """Our own code asked for something that the protocol forbids: a bug."""


class RemoteProtocolError(MaculaError):
    """The peer broke the protocol: drop the peer, keep the node."""


class UsageError(MaculaError):
    """A person asked for something that cannot be done; ``hint`` is the next move."""

    def __init__(self, what: str, hint: str = "") -> None:
        super().__init__(what)
        self.what = what
        self.hint = hint

    def __str__(self) -> str:
        return f"{self.what}; {self.hint}" if self.hint else self.what
