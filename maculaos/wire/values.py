"""Application values: bytes, or what JSON can say; the codec's own types never reach a user.

MessagePack knows more (dates, extension types, maps with any key); those are refused in both
directions, so that every language and the HTTP world can read what a node passes on.

A payload is bounded in bytes and levels, not in values: an empty array is one byte of it, and some
70 bytes once it is decoded, so that the largest payload may take 1.2 GB in a program that reads it.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, Final, TypeAlias

import msgspec
from msgspec import Raw

from maculaos.errors import RemoteProtocolError, UsageError
from maculaos.wire.frames import MAX_PAYLOAD_SIZE

if TYPE_CHECKING:
    from collections.abc import Callable

Value: TypeAlias = (
    "bool | int | float | str | bytes | list[Value] | tuple[Value, ...] | dict[str, Value] | None"
)

MAX_DEPTH: Final = 64
# A value is passed on in other frames than it came in; names and numbers around it fit the rest.
MAX_VALUE_SIZE: Final = MAX_PAYLOAD_SIZE - 1024
_ENCODER: Final = msgspec.msgpack.Encoder()
_DECODER: Final = msgspec.msgpack.Decoder()
_encode: Final = _ENCODER.encode
_decode: Final = _DECODER.decode
# Whatever is exactly of one of these has nothing to be complained of: most events are.
_PLAIN: Final = frozenset({bytes, str, bool, type(None)})
# MessagePack cannot even write another integer than one of 64 bits.
_PLAIN_WHEN_DECODED: Final = _PLAIN | {int}


def encode_value(value: Value) -> Raw:
    """``value`` as a payload.

    Raises ``UsageError`` for what is neither bytes nor JSON-like, and above ``MAX_VALUE_SIZE``.
    """
    if type(value) not in _PLAIN and (complaint := _complaint(value)):
        raise UsageError(f"cannot send {complaint}", "send bytes, or what JSON can say")
    try:
        encoded = _encode(value)
    except UnicodeEncodeError as error:
        raise UsageError("cannot send text with lone surrogates", "send it as bytes") from error
    if len(encoded) > MAX_VALUE_SIZE:
        what = f"cannot send a value of {len(encoded)} bytes, at most {MAX_VALUE_SIZE} fit"
        raise UsageError(what, "send it in parts")
    return Raw(encoded)


def decode_value(payload: Raw) -> Value:
    """The value a peer sent; raises ``RemoteProtocolError`` if it is not bytes or JSON-like."""
    try:
        value: Any = _decode(payload)
    except (msgspec.MsgspecError, RecursionError, UnicodeDecodeError, TypeError) as error:
        raise RemoteProtocolError(f"payload: {error}") from error
    if type(value) not in _PLAIN_WHEN_DECODED and (complaint := _complaint(value)):
        raise RemoteProtocolError(f"payload holds {complaint}")
    return value  # type: ignore[no-any-return]  # it was judged


def _complaint(value: object, depth: int = 0) -> str:
    """What is wrong with ``value``, or nothing."""
    if depth > MAX_DEPTH:
        return f"more than {MAX_DEPTH} levels"
    judge = _JUDGES.get(type(value))
    if judge is None:
        # A kind of number, text or container of its own, or what cannot be sent.
        judge = next((_JUDGES[kind] for kind in _JUDGES if isinstance(value, kind)), _of_stranger)
    return judge(value, depth)


def _of_plain(value: object, depth: int) -> str:
    del value, depth
    return ""


def _of_integer(value: Any, depth: int) -> str:
    del depth
    return "" if -(2**63) <= value < 2**64 else "an integer beyond 64 bits"


def _of_number(value: Any, depth: int) -> str:
    del depth
    return "" if math.isfinite(value) else f"the number {value}"


def _of_map(value: Any, depth: int) -> str:
    for key in value:
        if not isinstance(key, str):
            return f"a map with the key {key!r}"
    return _of_items(value.values(), depth)


def _of_items(items: Any, depth: int) -> str:
    depth += 1
    for item in items:
        if (type(item) not in _PLAIN or depth > MAX_DEPTH) and (bad := _complaint(item, depth)):
            return bad
    return ""


def _of_stranger(value: object, depth: int) -> str:
    del depth
    return f"a {type(value).__name__}"


# Truth values are integers to Python: they come first.
_JUDGES: Final[dict[type, Callable[[Any, int], str]]] = {
    bool: _of_plain,
    type(None): _of_plain,
    str: _of_plain,
    bytes: _of_plain,
    int: _of_integer,
    float: _of_number,
    list: _of_items,
    tuple: _of_items,
    dict: _of_map,
}
