"""docs/protocol.md names every number and every field of the wire: it cannot fall behind."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from maculaos.wire import events, messages, seals, table
from maculaos.wire.registry import ErrorCode, MessageType, RpcErrorCode, StreamClass

if TYPE_CHECKING:
    from enum import IntEnum

DOCUMENT = (Path(__file__).parents[3] / "docs" / "protocol.md").read_text()
REGISTERED = [*MessageType, *ErrorCode, *RpcErrorCode, *StreamClass]


def row_of(member: IntEnum) -> str:
    """The row of the table that gives ``member`` its number."""
    rows = re.findall(rf"^\| {member.name} \| `0x{member:02X}` \|.*$", DOCUMENT, re.MULTILINE)
    assert rows, f"{type(member).__name__}.{member.name} = 0x{member:02X} is not in protocol.md"
    return str(rows[0])


@pytest.mark.parametrize("member", REGISTERED, ids=lambda member: member.name)
def test_every_registered_number_is_documented(member: IntEnum) -> None:
    row_of(member)


@pytest.mark.parametrize("kind", list(MessageType), ids=lambda kind: kind.name)
def test_the_fields_of_every_message_are_documented_in_order(kind: MessageType) -> None:
    body = getattr(messages, "".join(word.capitalize() for word in kind.name.split("_")))
    fields = row_of(kind).split("|")[3]
    assert [field.split()[0] for field in fields.split(",")] == list(body.__struct_fields__)


@pytest.mark.parametrize(
    ("arrays", "most"),
    [
        (("addresses",), table.MAX_ADDRESSES),
        (("rumours",), messages.MAX_RUMOURS),
        (("rumours",), messages.MAX_RUMOURS_OF_PROBE),
        (("payloads",), events.MAX_PAYLOADS),
        (("subscriptions", "deliveries"), events.MAX_SUBSCRIPTIONS),
        (("trace",), events.MAX_TRACE),
        (("sequences",), events.MAX_SEQUENCES),
        (("added", "removed"), events.MAX_WISHES),
        (("states", "nodes"), events.MAX_NODES),
        (("methods",), events.MAX_SUBSCRIPTIONS),
        (("contacts",), table.MAX_CONTACTS),
        (("records",), table.MAX_RECORDS),
        (("taken",), seals.MAX_TAKEN),
    ],
    ids=str,
)
def test_the_bound_of_every_array_is_documented(arrays: tuple[str, ...], most: int) -> None:
    named = ", ".join(f"`{each}`" for each in arrays)
    assert re.search(rf"^\| {named} \| [^|]+ \| {most:,} \|$", DOCUMENT, re.MULTILINE)
