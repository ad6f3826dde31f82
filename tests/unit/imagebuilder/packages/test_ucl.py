"""The subset of UCL: what repositories write is read, everything else is refused with its line."""

from __future__ import annotations

import json
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from imagebuilder.packages import ucl

LETTERS = st.characters(codec="utf-8", exclude_characters='"\\', min_codepoint=32)
WORDS = st.text(LETTERS, max_size=20)
KEYS = st.from_regex(r"[A-Za-z_][A-Za-z0-9_-]{0,9}", fullmatch=True)
VALUES = st.recursive(
    WORDS | st.booleans() | st.integers(-(10**17), 10**17),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=3),
    max_leaves=8,
)


def test_settings_with_equals_colon_quotes_and_comments_are_read() -> None:
    text = """
    # a comment
    version = 2;
    packing_format: "tzst"  /* another
    one */
    eol : never
    list [ ]
    """.replace("list [ ]", 'list = [a, "b c", 3]')
    assert ucl.parse(text, "meta.conf") == {
        "version": 2,
        "packing_format": "tzst",
        "eol": "never",
        "list": ["a", "b c", 3],
    }


def test_sections_nest_and_need_no_equals() -> None:
    text = 'cert { type = rsa; data = "x\\ny" }\nextra: { a { b = yes } }'
    assert ucl.parse(text, "m") == {
        "cert": {"type": "rsa", "data": "x\ny"},
        "extra": {"a": {"b": True}},
    }


def test_bare_value_may_hold_what_ends_a_key() -> None:
    assert ucl.parse("url = https://h/a=b\nnext = 1", "m") == {"url": "https://h/a=b", "next": 1}


@given(st.dictionaries(KEYS, VALUES, max_size=5))
def test_every_json_object_is_ucl(content: dict[str, ucl.Value]) -> None:
    # JSON may escape what is read here only as it stands.
    assert ucl.parse(json.dumps(content, ensure_ascii=False), "m") == content


@pytest.mark.parametrize(
    ("text", "line", "what"),
    [
        ("a = 1;\nb 2;", 2, "= or :"),
        ("a = 1\na = 2", 2, "set twice"),
        ("a = {", 1, "closing brace"),
        ("{ a = 1 } b = 2", 1, "after the closing brace"),
        ("a = [1 2]", 1, ", or ]"),
        ("\n.include x", 2, "macros"),
        ("a = 'b'", 1, "no meaning here"),
        ('a = "\\u0041"', 1, "no escape"),
        ("a =\n", 2, "value was expected"),
        ("= 1", 1, "a key was expected"),
        ("a = " + "{b = " * 20, 1, "levels"),
        ("a = " + "[" * 20, 1, "levels"),
    ],
)
def test_what_is_not_read_names_its_line(text: str, line: int, what: str) -> None:
    with pytest.raises(ucl.UclError, match=f"m: line {line}: ") as caught:
        ucl.parse(text, "m")
    assert what in str(caught.value)


@given(st.text(max_size=60))
def test_any_text_is_read_or_refused(text: str) -> None:
    with suppress(ucl.UclError):
        assert isinstance(ucl.parse(text, "m"), dict)


def test_text_beyond_the_bound_is_refused() -> None:
    with pytest.raises(ucl.UclError, match="longer"):
        ucl.parse("#" * (ucl.TEXT_CHARACTERS_MAX + 1), "m")
