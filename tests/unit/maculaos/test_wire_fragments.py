"""Laws of fragments: any interleaving gives the payloads back; whatever is begun is bounded."""

from __future__ import annotations

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from maculaos.wire.fragments import (
    FRAGMENT_HEADER,
    MAX_PAUSE_S,
    MAX_PIECE_SIZE,
    MAX_UNFINISHED,
    MIN_PIECE_SIZE,
    Assembler,
    cut,
)
from maculaos.wire.frames import MAX_PAYLOAD_SIZE, Frame, FrameError
from maculaos.wire.registry import ErrorCode, FrameFlag

FRAGMENTED = FrameFlag.FRAGMENTED
KIND = 0x13


def fragment(number: int, total: int, piece: bytes, *, kind: int = KIND, flags: int = 0) -> Frame:
    return Frame(kind, FRAGMENT_HEADER.pack(number, total) + piece, flags | FRAGMENTED)


def refusal(assembler: Assembler, frame: Frame, stream: int = 1) -> ErrorCode:
    with pytest.raises(FrameError) as refused:
        assembler.take(frame, stream, 0.0)
    return refused.value.code


@settings(max_examples=40, deadline=None)
@given(
    sizes=st.lists(st.integers(MAX_PIECE_SIZE + 1, 5 * MAX_PIECE_SIZE), min_size=1, max_size=6),
    seed=st.integers(0, 1000),
)
def test_any_interleaving_gives_the_same_payloads(sizes: list[int], seed: int) -> None:
    rng = random.Random(seed)
    frames = [Frame(KIND + n % 2, rng.randbytes(size), n % 2) for n, size in enumerate(sizes)]
    waiting = {number: list(cut(frame, number)) for number, frame in enumerate(frames)}
    assembler, whole = Assembler(), {}
    while waiting:
        number = rng.choice(sorted(waiting))
        taken = assembler.take(waiting[number].pop(0), number % 3, 0.0)
        assert (taken is None) == bool(waiting[number])
        if taken is not None:
            whole[number] = taken
            del waiting[number]
    assert [whole[number] for number in range(len(frames))] == frames
    assert assembler.held_size == 0
    assert assembler.next_deadline() is None


def test_short_payload_stays_one_frame() -> None:
    frame = Frame(KIND, bytes(MAX_PIECE_SIZE))
    assert list(cut(frame, 1)) == [frame]
    assert len(list(cut(Frame(KIND, bytes(MAX_PIECE_SIZE + 1)), 1))) == 2


def test_payload_above_the_limit_is_not_cut() -> None:
    with pytest.raises(FrameError) as refused:
        list(cut(Frame(KIND, bytes(MAX_PAYLOAD_SIZE + 1)), 1))
    assert refused.value.code is ErrorCode.TOO_LARGE


@pytest.mark.parametrize("payload", [b"", b"12345678", FRAGMENT_HEADER.pack(1, 2000)])
def test_fragment_without_a_piece_is_malformed(payload: bytes) -> None:
    frame = Frame(KIND, payload[: FRAGMENT_HEADER.size], FRAGMENTED)
    assert refusal(Assembler(), frame) is ErrorCode.MALFORMED


@pytest.mark.parametrize(
    "second",
    [
        fragment(1, 4000, bytes(2000), kind=KIND + 1),
        fragment(1, 4000, bytes(2000), flags=FrameFlag.COMPRESSED),
        fragment(1, 4001, bytes(2000)),
        fragment(1, 4000, bytes(2001)),
    ],
    ids=["type", "flags", "total", "too much"],
)
def test_fragment_that_does_not_continue_its_payload_is_malformed(second: Frame) -> None:
    assembler = Assembler()
    assert assembler.take(fragment(1, 4000, bytes(2000)), 1, 0.0) is None
    assert refusal(assembler, second) is ErrorCode.MALFORMED


def test_same_number_on_another_stream_is_another_payload() -> None:
    assembler = Assembler()
    assembler.take(fragment(1, 4000, b"a" * 2000), 1, 0.0)
    assembler.take(fragment(1, 3000, b"b" * 2000), 2, 0.0)
    whole = assembler.take(fragment(1, 3000, b"b" * 1000), 2, 0.0)
    assert whole == Frame(KIND, b"b" * 3000)
    assert assembler.held_size == 2000


def test_crumbs_are_malformed_but_for_the_last() -> None:
    small = MIN_PIECE_SIZE - 1
    assert refusal(Assembler(), fragment(1, 4000, bytes(small))) is ErrorCode.MALFORMED
    assembler = Assembler()
    assembler.take(fragment(1, MIN_PIECE_SIZE + 1, bytes(MIN_PIECE_SIZE)), 1, 0.0)
    assert assembler.take(fragment(1, MIN_PIECE_SIZE + 1, b"x"), 1, 0.0) is not None


def test_announced_size_is_refused_with_the_first_fragment() -> None:
    first = fragment(1, MAX_PAYLOAD_SIZE + 1, bytes(2000))
    assert refusal(Assembler(), first) is ErrorCode.TOO_LARGE


def test_unfinished_payloads_are_bounded_in_count() -> None:
    assembler = Assembler()
    for number in range(MAX_UNFINISHED):
        assembler.take(fragment(number, 4000, bytes(2000)), 1, 0.0)
    assert refusal(assembler, fragment(99, 4000, bytes(2000))) is ErrorCode.LIMIT_EXCEEDED


def test_unfinished_payloads_are_bounded_in_bytes() -> None:
    assembler, piece = Assembler(), bytes(15 * 1024 * 1024)
    for number in range(2):
        assembler.take(fragment(number, MAX_PAYLOAD_SIZE, piece), 1, 0.0)
    third = fragment(2, MAX_PAYLOAD_SIZE, piece)
    assert refusal(assembler, third) is ErrorCode.LIMIT_EXCEEDED


def test_other_words_put_the_deadline_off_and_make_none() -> None:
    assembler = Assembler()
    assembler.heard(5.0)
    assert assembler.next_deadline() is None
    assembler.take(fragment(1, 4000, bytes(2000)), 1, 10.0)
    assembler.heard(30.0)
    assert assembler.next_deadline() == 30.0 + MAX_PAUSE_S


def test_each_fragment_puts_the_deadline_off() -> None:
    assembler = Assembler()
    assembler.take(fragment(1, 4000, bytes(2000)), 1, 10.0)
    assert assembler.next_deadline() == 10.0 + MAX_PAUSE_S
    assembler.take(fragment(1, 4000, bytes(1500)), 1, 20.0)
    assembler.check_time(19.9 + MAX_PAUSE_S)
    with pytest.raises(FrameError) as refused:
        assembler.check_time(20.0 + MAX_PAUSE_S)
    assert refused.value.code is ErrorCode.LIMIT_EXCEEDED


@given(
    st.lists(
        st.tuples(st.integers(0, 3), st.integers(0, 5000), st.binary(max_size=40)), max_size=30
    )
)
def test_hostile_fragments_are_taken_or_refused_and_counted_right(
    said: list[tuple[int, int, bytes]],
) -> None:
    assembler = Assembler()
    for number, total, crumb in said:
        try:
            assembler.take(fragment(number, total, crumb * 60), 1, 0.0)
        except FrameError:
            break
        assert 0 <= assembler.held_size <= 4 * 5000
