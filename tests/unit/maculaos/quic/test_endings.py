"""Why a link ended, and what that says of the peer."""

from __future__ import annotations

import pytest

from maculaos.quic.endings import Ending, cause_of
from maculaos.wire.registry import ErrorCode

ALIVE = {
    cause_of(ErrorCode.SPARE_LINK),
    cause_of(ErrorCode.DUPLICATE_LINK),
    f"peer: {cause_of(ErrorCode.SPARE_LINK)}",
    f"peer: {cause_of(ErrorCode.DUPLICATE_LINK)}",
    f"peer: {cause_of(ErrorCode.LIMIT_EXCEEDED)}",
}


@pytest.mark.parametrize("code", ErrorCode)
@pytest.mark.parametrize("who", ["", "peer: "])
def test_only_what_ends_on_purpose_and_a_full_peer_raise_no_doubt(
    code: ErrorCode, who: str
) -> None:
    cause = who + cause_of(code)
    assert Ending(cause, "").raises_doubt == (cause not in ALIVE)


def test_silence_and_broken_transports_raise_doubt() -> None:
    assert Ending("transport", "idle timeout").raises_doubt
    assert Ending("refused by peer", "refused by the peer: bad certificate").raises_doubt
