"""Laws of what machines and authorities say to each other: read as written, or refused."""

from __future__ import annotations

import asyncio
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from maculaos.errors import RemoteProtocolError, UsageError
from maculaos.security.enrolment.grant import read_grant
from maculaos.security.enrolment.messages import (
    Answer,
    AskAuthority,
    AuthorityIs,
    Granted,
    Join,
    Question,
    Refused,
    Renew,
    decode_answer,
    decode_question,
    read_body,
    write,
)
from maculaos.security.requests import RequestRefused, read_request


async def body_of(octets: bytes, limit: int = 1000) -> bytes:
    reader = asyncio.StreamReader()
    reader.feed_data(octets)
    reader.feed_eof()
    return await read_body(reader, limit)


@pytest.mark.parametrize("question", [AskAuthority(), Join("token", b"request"), Renew()])
def test_question_is_read_as_written(question: Question) -> None:
    assert decode_question(asyncio.run(body_of(write(question)))) == question


@pytest.mark.parametrize("answer", [AuthorityIs(b"pem"), Granted(b"pem"), Refused("no", "ask")])
def test_answer_is_read_as_written(answer: Answer) -> None:
    assert decode_answer(asyncio.run(body_of(write(answer)))) == answer


def test_length_alone_refuses_what_is_too_long() -> None:
    with pytest.raises(RemoteProtocolError, match="at most 1000"):
        asyncio.run(body_of((1001).to_bytes(4)))
    with pytest.raises(EOFError):
        asyncio.run(body_of((1000).to_bytes(4) + bytes(999)))


@given(st.binary(max_size=100))
def test_any_bytes_are_read_or_refused(octets: bytes) -> None:
    for prefix in (b"", b"\x93\x02", b"\x92\xcc\x82"):
        with suppress(RemoteProtocolError):
            decode_question(prefix + octets)
        with suppress(RemoteProtocolError):
            decode_answer(prefix + octets)
    with suppress(UsageError):
        read_grant(octets)
    with suppress(RequestRefused):
        read_request(octets)
