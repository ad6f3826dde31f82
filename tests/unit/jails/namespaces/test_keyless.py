"""The filter that refuses keyrings, read as the kernel reads it."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jails.namespaces import keyless

LOAD, IF_EQUAL, AND, ANSWER = 0x20, 0x15, 0x54, 0x06
ALLOW, REFUSE = 0x7FFF0000, 0x00050000 | 38
X86_64, X32 = 0xC000003E, 0x40000000


def answer(architecture: int, number: int) -> int:
    """What the filter says of a call (linux/filter.h: jumps count from the next instruction)."""
    code, at, accumulator = keyless.instructions(), 0, 0
    data = {0: number, 4: architecture}
    while True:
        operation, if_true, if_false, operand = code[at]
        at += 1
        if operation == LOAD:
            accumulator = data[operand]
        elif operation == AND:
            accumulator &= operand
        elif operation == IF_EQUAL:
            at += if_true if accumulator == operand else if_false
        else:
            assert operation == ANSWER
            return operand


@pytest.mark.parametrize("architecture", keyless.CALLS)
def test_exactly_the_three_calls_are_refused(architecture: int) -> None:
    refused = {n for n in range(1000) if answer(architecture, n) == REFUSE}
    assert refused == set(keyless.CALLS[architecture])
    assert len(refused) == 3


def test_the_calls_are_refused_by_their_numbers_of_x32_too() -> None:
    assert {answer(X86_64, X32 | n) for n in keyless.CALLS[X86_64]} == {REFUSE}


@given(
    st.integers(0, 2**32 - 1).filter(lambda each: each not in keyless.CALLS), st.integers(0, 999)
)
def test_nothing_is_refused_where_the_numbers_are_not_known(architecture: int, number: int) -> None:
    assert answer(architecture, number) == ALLOW
