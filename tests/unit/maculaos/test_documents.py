"""YAML without trust: what is read, what is refused, and what people are told."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from maculaos.documents import (
    MAX_DEPTH,
    MAX_NODES,
    MAX_SIZE,
    InvalidDocument,
    Problem,
    read_document,
)
from maculaos.settings import STRICT, NodeSettings, Port

GOOD = """\
version: 1
name: n1
realm: home
listen:
  port: 4701
credentials: {certificate: node.crt, key: node.key, realm_ca: realm.crt}
control_socket: n1.sock
peers:
  - 127.0.0.1:4702
"""


@dataclass(frozen=True, kw_only=True)
class Lamp:
    __pydantic_config__: ClassVar[dict[str, Any]] = STRICT
    kind: Literal["lamp"]
    port: Port = 1


@dataclass(frozen=True, kw_only=True)
class House:
    __pydantic_config__: ClassVar[dict[str, Any]] = STRICT
    name: str
    things: tuple[Lamp, ...] = ()
    rooms: dict[str, Lamp] = field(default_factory=dict)
    height: float = 1.0
    open: bool = False


def found_in(content: bytes) -> tuple[Problem, ...] | None:
    try:
        read_document(content, "f.yaml", House)
    except InvalidDocument as error:
        return error.problems
    return None


def problems(text: str | bytes, kind: type = House) -> list[str]:
    content = text if isinstance(text, bytes) else text.encode()
    with pytest.raises(InvalidDocument) as caught:
        read_document(content, "f.yaml", kind)
    return [str(problem) for problem in caught.value.problems]


def test_a_good_document_is_typed_and_knows_its_positions() -> None:
    document = read_document(GOOD.encode(), "n1.yaml", NodeSettings)
    assert document.value.listen.port == 4701
    assert document.value.peers == ("127.0.0.1:4702",)
    assert document.position("listen", "port") == (5, 9)
    assert document.position("peers", 0) == (9, 5)
    assert document.position("listen", "unknown") == (5, 3)
    assert str(document.problem("no", "name", hint="do")) == "n1.yaml:2:7: no; do"


@pytest.mark.parametrize(
    ("written", "read"),
    [
        ("NO", "NO"), ("on", "on"), ("yes", "yes"), ("12:30", "12:30"), ("017", "017"),
        ("0x1F", "0x1F"), ("2026-01-01", "2026-01-01"), ("1_000", "1_000"), ("'1'", "1"),
        (".inf", ".inf"), ("=", "="), ('"a\\n"', "a\n"), ("'9' # no. 9", "9"),
    ],
)  # fmt: skip
def test_text_stays_text(written: str, read: str) -> None:
    assert read_document(f"name: {written}".encode(), "f", House).value.name == read


@pytest.mark.parametrize(
    ("written", "read"), [("2", 2.0), ("1.5", 1.5), ("-.5", -0.5), ("1e3", 1e3), ("+3.", 3.0)]
)
def test_numbers_are_decimal(written: str, read: float) -> None:
    assert read_document(f"name: a\nheight: {written}".encode(), "f", House).value.height == read


@given(st.floats(min_value=1e-15, max_value=1e15))
def test_number_is_read_as_python_writes_it(number: float) -> None:
    assert read_document(f"name: a\nheight: {number!r}".encode(), "f", House).value.height == number


def test_every_problem_is_reported_at_once_and_in_order() -> None:
    text = (
        "nmae: a\nheight: '2'\nthings:\n- {kind: lmp, port: 0}\n- kind: lamp\n  prt: 1\nopen: no\n"
    )
    assert problems(text) == [
        "f.yaml:1:1: the key 'name' is missing; add it",
        "f.yaml:1:1: unknown key 'nmae'; did you mean 'name'?",
        'f.yaml:2:9: height must be a number, not "2"; write it without quotes',
        "f.yaml:4:10: things[0].kind must be 'lamp', not lmp",
        "f.yaml:4:21: things[0].port must be 1 or more, not 0",
        "f.yaml:6:3: unknown key 'prt'; did you mean 'port'?",
        "f.yaml:7:7: open must be true or false, not no",
    ]


def test_a_number_where_text_is_wanted_is_to_be_quoted() -> None:
    assert problems("name: 1.10") == [
        'f.yaml:1:7: name must be text, not 1.10; write it in quotes: "1.10"'
    ]


def test_unknown_keys_inside_of_mappings_are_told_with_what_is_known() -> None:
    assert problems("name: a\nrooms: {hall: {kind: lamp, zzz: 1}}") == [
        "f.yaml:2:28: unknown key 'zzz'; known here: kind, port"
    ]


def test_what_a_validator_says_is_passed_on() -> None:
    assert problems(GOOD.replace("127.0.0.1:4702", "nowhere"), NodeSettings) == [
        "f.yaml:9:5: peers[0]: 'nowhere' is not host:port (an IPv6 host goes in brackets)"
    ]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", "f.yaml:1:1: the file is empty"),
        ("# nothing\n", "f.yaml:2:1: the file is empty"),
        ("---\n", "f.yaml:2:1: the file says nothing"),
        ("name: a\n---\nname: b\n", "f.yaml:2:1: a second document begins here"),
        ("name: &a x\n", "f.yaml:1:7: anchors (&) may not be used"),
        ("name: *a\n", "f.yaml:1:7: aliases (*) may not be used"),
        ("<<: {name: a}\n", "f.yaml:1:1: merges (<<) may not be used"),
        ("name: !!str a\n", "f.yaml:1:7: tags (!) may not be used"),
        ("name: !!python/object/apply:os.system [id]\n", "f.yaml:1:7: tags (!) may not be used"),
        ("name: a\nopen: true\nname: b\n", "f.yaml:3:1: the key 'name' is given twice; it stands"),
        ("1: a\n", 'f.yaml:1:1: the key 1 is not text; write "1"'),
        ("? [a]\n: b\n", "f.yaml:1:3: a key must be text"),
        ('name: "\\ud800"\n', "f.yaml:1:7: the character U+D800 may not be in text"),
        ('name: "\\UFFFFFFFF"\n', "f.yaml:1:1: an escape or a number that cannot be read"),
        ("name: \x01\n", "f.yaml:1:7: the character U+0001 may not be in a document"),
        (b"name: a\nopen: \xff\n", "f.yaml:2:7: not UTF-8"),
        ("just text", "f.yaml:1:1: the document must be a mapping"),
        ("[" * (MAX_DEPTH + 5), f"f.yaml:1:{MAX_DEPTH + 1}: more than {MAX_DEPTH} levels"),
        ("[" * 100_000, f"f.yaml:1:{MAX_DEPTH + 1}: more than {MAX_DEPTH} levels"),
        ("[" + "a," * MAX_NODES + "]", f"f.yaml:1:{2 * MAX_NODES}: more than {MAX_NODES} values"),
        ("#" * (MAX_SIZE + 1), f"f.yaml:1:1: {MAX_SIZE + 1} bytes, more than {MAX_SIZE}"),
    ],
)
def test_what_could_harm_or_mislead_is_refused(text: str | bytes, expected: str) -> None:
    assert problems(text)[0].startswith(expected)


LINE_BREAK = re.compile("\r\n|[\n\r\x85\u2028\u2029]")


@example(b"  \r \x00")
@given(st.binary() | (st.text() | st.text("ab:-[]{}&*!<\n '\"#?|>,%1.\\")).map(str.encode))
def test_no_content_raises_anything_else_and_positions_lie_in_the_file(content: bytes) -> None:
    lines = LINE_BREAK.split(content.decode("utf-8", "replace"))
    found = found_in(content)
    assert found != ()
    for problem in found or ():
        assert 1 <= problem.line <= len(lines) + 1
        assert 1 <= problem.column <= max(map(len, lines)) + 2


# JSON and YAML differ in what may stand unescaped in a string: control and separator characters.
words = st.text(
    st.characters(codec="utf-8", exclude_categories=["Cc", "Cf", "Cn", "Zl", "Zp"]), max_size=8
)


@dataclass(frozen=True)
class Anything:
    content: Any


@given(st.recursive(st.none() | st.booleans() | st.integers(-9, 9) | words,
                    lambda inner: st.lists(inner, max_size=3)
                    | st.dictionaries(words, inner, max_size=3), max_leaves=8))  # fmt: skip
def test_any_json_is_read_as_yaml_reads_it(value: Any) -> None:
    written = json.dumps({"content": value}, ensure_ascii=False).encode()
    assert read_document(written, "f.yaml", Anything).value.content == value
