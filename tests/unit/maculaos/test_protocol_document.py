"""docs/protocol.md names every number and every field of the wire: it cannot fall behind."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from maculaos.wire import messages
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
