"""What callers and providers are told, wherever they are: over a socket, a link or a path."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from maculaos.effects import Send, SendToClient
from maculaos.rpc.parties import is_path
from maculaos.wire.messages import RpcCancel, RpcError
from maculaos.wire.registry import Answering, StreamClass

if TYPE_CHECKING:
    from maculaos.effects import Effect
    from maculaos.node.counters import Counters
    from maculaos.node.paths import Paths
    from maculaos.node.seeking import Call
    from maculaos.rpc.parties import Party
    from maculaos.wire.messages import RpcCredit, RpcResult

# What is passed on of an error in words.
MAX_DETAIL: Final = 1000
#: How long somebody is told over a path what is of use for a moment only, in seconds.
MOMENT_S: Final = 5.0
_MESSAGES: Final = StreamClass.MESSAGES
_NONE: Final = int(Answering.NONE)


class Telling:
    """Words about calls; times are monotonic seconds."""

    def __init__(self, paths: Paths, counters: Counters) -> None:
        self._paths = paths
        self._counters = counters

    def tell(
        self,
        party: Party,
        message: RpcResult | RpcError | RpcCancel | RpcCredit,
        now: float,
        until: float,
    ) -> list[Effect]:
        """Send ``message`` to a caller or provider, unless it is gone.

        Over a path nobody needs it any more at ``until``.
        """
        if party & 1:
            return [SendToClient(party >> 1, message)]
        if party > 0:
            return [Send(party >> 1, message, _MESSAGES)]
        effects = self._paths.send(party >> 1, message, now, until, is_word=True)
        if effects is None:
            self._counters.envelopes_dropped += 1
            return []
        return effects

    def give(
        self, party: Party, result: RpcResult, now: float, until: float
    ) -> list[Effect] | None:
        """Send a result to a caller; ``None`` if there is no room for it on its path."""
        if not is_path(party):
            return self.tell(party, result, now, until)
        return self._paths.send(party >> 1, result, now, until)

    def end(self, call: Call, code: int, detail: str, now: float) -> list[Effect]:
        """Tell the caller that there is no result; who cast it does not want to know."""
        self._counters.calls_failed += 1
        if call.request is not None and call.request.answering == _NONE:
            return []
        index = call.stream.next_index() if call.stream and is_path(call.origin) else 0
        error = RpcError(call.origin_call, code, detail[:MAX_DETAIL], index)
        return self.tell(call.origin, error, now, max(call.deadline, now + MOMENT_S))

    def withdraw(self, call: Call, now: float) -> list[Effect]:
        """Tell the provider that nobody waits any more."""
        self._counters.calls_cancelled += 1
        return self.tell(call.provider, RpcCancel(call.number), now, now + MOMENT_S)
