"""What can go wrong between a program and the mesh, in words for the program."""

from __future__ import annotations

from maculaos.errors import MaculaError, UsageError
from maculaos.wire.registry import RpcErrorCode


class NodeUnreachable(UsageError):
    """No node answers on that socket, or the one that did is gone."""


class CallFailed(MaculaError):
    """The node, or whoever it asked, has no result; ``code`` is a name such as ``NO_PROVIDER``."""

    def __init__(self, code: str, detail: str) -> None:
        super().__init__(f"{code}: {detail}" if detail else code)
        self.code = code
        self.detail = detail


def failure(code: int, detail: str) -> CallFailed:
    """The error that a node named by its number."""
    try:
        name = RpcErrorCode(code).name
    except ValueError:
        name = f"code {code}"
    return CallFailed(name, detail)


def late(timeout_s: float) -> CallFailed:
    """Nothing came in time."""
    return CallFailed(RpcErrorCode.DEADLINE_EXCEEDED.name, f"no answer within {timeout_s:g} s")


def overloaded(detail: str) -> CallFailed:
    """More than there is room for."""
    return CallFailed(RpcErrorCode.OVERLOADED.name, detail)
