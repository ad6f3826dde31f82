"""Stamps: what goes into a payload comes out of it."""

from __future__ import annotations

import random

from hypothesis import given
from hypothesis import strategies as st

from maculaos.loadtest.stamps import STAMP_SIZE, Stamper, read

words = st.integers(0, 2**32 - 1)


@given(words, words, words, st.floats(0, 86_400), st.integers(0, 4096))
def test_payload_has_the_size_and_says_what_was_stamped(
    run: int, publisher: int, sequence: int, due_s: float, size: int
) -> None:
    payload = Stamper(run, publisher, size, random.Random(1)).stamped(sequence, due_s)
    assert len(payload) == max(size, STAMP_SIZE)
    assert read(payload) == (run, publisher, sequence, round(due_s * 1_000_000))
