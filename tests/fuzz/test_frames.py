"""A small part of what ``python -m fuzz`` does: hostile frames do no harm, and a seed replays."""

from __future__ import annotations

import random

import pytest

from fuzz.__main__ import attack
from fuzz.mutation import Attacker
from maculaos.wire.registry import ErrorCode

FRAMES = 3000
# Each run of the tests tries other frames; a failure prints the seed.
SEEDS = (1, random.SystemRandom().randrange(2**32))


@pytest.mark.parametrize("seed", SEEDS, ids=["fixed", "fresh"])
def test_hostile_frames_do_no_harm(seed: int) -> None:
    outcomes = attack(seed, FRAMES).outcomes
    # The attack gets everywhere: past the reader, past the greeting, through the decoders.
    assert outcomes["delivered"] > FRAMES / 100
    for code in (ErrorCode.MALFORMED, ErrorCode.TOO_LARGE, ErrorCode.NOT_ALLOWED_YET):
        assert outcomes[f"refused: {code.name}"] > 0
    assert outcomes[f"cut: {ErrorCode.UNSUPPORTED_VERSION.name}"] > 0


def test_seed_replays_its_frames() -> None:
    one, two, other = Attacker(7), Attacker(7), Attacker(8)
    assert [one.frame() for _ in range(200)] == [two.frame() for _ in range(200)]
    assert one.frame() != other.frame()
