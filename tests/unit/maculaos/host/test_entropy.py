"""Entropy: the machine's never repeats, a seed's always does."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from maculaos.host.entropy import SeededEntropy, SystemEntropy


@given(st.integers(0, 1 << 64), st.integers(0, 100))
def test_a_seed_replays_its_bytes(seed: int, size: int) -> None:
    first = SeededEntropy(seed).draw(size)
    assert first == SeededEntropy(seed).draw(size)
    assert len(first) == size


def test_the_machine_does_not_repeat_itself() -> None:
    entropy = SystemEntropy()
    assert len({entropy.draw(16) for _ in range(100)}) == 100
