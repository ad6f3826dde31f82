"""Laws of application values: bytes and JSON-like values come back, nothing else gets through."""

from __future__ import annotations

import datetime
import math
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import Raw

from maculaos.errors import RemoteProtocolError, UsageError
from maculaos.wire.values import MAX_DEPTH, Value, decode_value, encode_value

SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(2**63), 2**64 - 1),
    st.floats(allow_nan=False, allow_infinity=False),
    st.text(max_size=30),
    st.binary(max_size=30),
)
VALUES: st.SearchStrategy[Any] = st.recursive(
    SCALARS,
    lambda inner: st.one_of(
        st.lists(inner, max_size=4), st.dictionaries(st.text(max_size=8), inner, max_size=4)
    ),
    max_leaves=20,
)


def nested(depth: int) -> Value:
    value: Value = 1
    for _ in range(depth):
        value = [value]
    return value


@given(VALUES)
def test_what_goes_in_comes_out(value: Value) -> None:
    back = decode_value(encode_value(value))
    assert back == value
    assert type(back) is type(value)


@given(st.binary(max_size=200))
def test_random_bytes_raise_nothing_but_remote_errors(octets: bytes) -> None:
    try:
        value = decode_value(Raw(octets))
    except RemoteProtocolError:
        return
    encode_value(value)


@pytest.mark.parametrize(
    "value",
    [
        object(),
        {1: "a"},
        {b"k": 1},
        {"a": {None: 1}},
        {1, 2},
        datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC),
        math.nan,
        math.inf,
        2**64,
        -(2**63) - 1,
        msgspec.msgpack.Ext(1, b""),
        bytearray(b"a"),
        "\ud800",
        {"\ud800": 1},
        nested(MAX_DEPTH + 1),
        nested(5000),
    ],
    ids=lambda value: type(value).__name__,
)
def test_what_is_not_json_like_cannot_be_sent(value: Any) -> None:
    with pytest.raises(UsageError):
        encode_value(value)


@pytest.mark.parametrize(
    "octets",
    [
        msgspec.msgpack.encode(msgspec.msgpack.Ext(5, b"abc")),
        msgspec.msgpack.encode(datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC)),
        msgspec.msgpack.encode({1: "a"}),
        msgspec.msgpack.encode({b"k": 1}),
        msgspec.msgpack.encode([{"a": {2.5: 1}}]),
        msgspec.msgpack.encode(math.nan),
        b"\x81\x90\x01",  # a map whose key is an array
        b"\x81\x80\x01",  # a map whose key is a map
        b"\xa1\xff",  # text that is not UTF-8
        b"\x91" * (MAX_DEPTH + 1) + b"\x01",
        b"\x91" * 100_000 + b"\x01",
        b"\xdd\xff\xff\xff\xff",  # an array of four billion, without one of them
        b"\x01\x02",  # two values
        b"",
    ],
    ids=lambda octets: octets[:8].hex(),
)
def test_payload_that_is_not_json_like_is_the_peers_fault(octets: bytes) -> None:
    with pytest.raises(RemoteProtocolError):
        decode_value(Raw(octets))


def test_deepest_allowed_value_passes() -> None:
    assert decode_value(encode_value(nested(MAX_DEPTH))) == nested(MAX_DEPTH)
