"""What a seal is made over: no two envelopes have the same text."""

from __future__ import annotations

from typing import Any

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from maculaos.wire.messages import body_frame, decode_message
from maculaos.wire.seals import sealed_text
from maculaos.wire.table import Routed, Seal

small = st.integers(0, 3)
seals = st.builds(Seal, small, small, small, small, st.lists(small, max_size=3).map(tuple))
short = st.binary(max_size=2)
envelopes = st.builds(Routed, short, short, st.just(16), short, seals)


def meaning(routed: Routed) -> tuple[Any, ...]:
    """What must not be changed on the way."""
    seal = routed.seal
    assert seal is not None
    numbers = (seal.life, seal.number, seal.stamp_ms, seal.age_ms, seal.taken)
    return (routed.target, routed.source, routed.frame, *numbers)


def text_of(routed: Routed) -> bytes:
    """What is signed of it."""
    assert routed.seal is not None
    return sealed_text(routed, routed.seal)


@given(envelopes, envelopes)
def test_two_envelopes_have_one_text_only_if_they_say_the_same(one: Routed, other: Routed) -> None:
    assert (text_of(one) == text_of(other)) == (meaning(one) == meaning(other))


@given(envelopes, st.integers(1, 16))
def test_hops_and_the_signature_are_not_signed(routed: Routed, hops: int) -> None:
    assert routed.seal is not None
    signed = msgspec.structs.replace(routed.seal, public_key=b"k", signature=b"s")
    changed = msgspec.structs.replace(routed, hops=hops, seal=signed)
    assert text_of(changed) == text_of(routed)


@given(envelopes)
def test_sealed_envelope_travels_as_it_is(routed: Routed) -> None:
    assert decode_message(body_frame(routed)) == routed
