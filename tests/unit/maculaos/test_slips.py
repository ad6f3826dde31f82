"""Slips in YAML are told in plain words, at the place where somebody has to change something."""

from __future__ import annotations

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from maculaos.documents import InvalidDocument, read_document

# What the parser of YAML says and nobody else does.
JARGON = ("scanning", "parsing", "token", "scalar", "sequence", "stream", "block", "flow", "<", "$")


def first_problem(text: str) -> str:
    with pytest.raises(InvalidDocument) as caught:
        read_document(text.encode(), "f", dict)
    return str(caught.value.problems[0])


@pytest.mark.parametrize(
    ("text", "place", "said"),
    [
        # Brackets.
        ("version: 1\nrealm: [demo\n", "2:8", "this [ is never closed; close it with ]"),
        ("a:\n  - {b: c, d: [e]\n", "2:5", "this { is never closed; close it with }"),
        ("a: [", "1:4", "this [ is never closed; close it with ]"),
        ("a: [b,\n", "1:4", "this [ is never closed; close it with ]"),
        ("name: [n2\nrealm: demo\n", "2:6", "the [ that began at line 1, column 7 is not closed"),
        ("a: [b, c}\n", "1:9", "the [ that began at line 1, column 4 is not closed"),
        ("a: {b: c d: e}\n", "1:11", "the { that began at line 1, column 4 is not closed"),
        ("a: [b]]\n", "1:7", "this ] closes nothing"),
        ("a: }\n", "1:4", "this } closes nothing"),
        ("a: [b,, c]\n", "1:7", "nothing stands before this comma"),
        # Quotes.
        ('a: "b\nc: d\n', "1:4", 'this " is never closed; close it with "'),
        ("a: 'b\nc: d\n", "1:4", "this ' is never closed; close it with '"),
        ('a: "b\nc: "d"\n', "2:5", "something after the end of a value; close each quote"),
        ("a: 'it's'\n", "1:8", "something after the end of a value"),
        ('a: "C:\\Users"\n', "1:9", r"a \ before s means nothing; write \\ for \, or use single"),
        ('a: "\\q"\n', "1:6", r"a \ before q means nothing"),
        # Colons.
        ("version: 1\nname n1\nrealm: demo\n", "2:1", "a key without its colon"),
        ("version: 1\nname:n1\n", "2:1", "a key without its colon; write key: value, with a blank"),
        ("version 1\nname: n1\n", "2:5", "a key where the line above goes on; give the line above"),
        ("a: hello: world\n", "1:9", "a second colon in one line"),
        # Indentation.
        ("listen:\n\tport: 1\n", "2:1", "a tab where only spaces may stand; indent with spaces"),
        ("peers:\n\t- a\n", "2:1", "a tab where only spaces may stand"),
        ("version: 1\n  name: n1\n", "2:7", "a key where the line above goes on"),
        ("a:\n    b: c\n  d: e\n", "3:3", "this line does not begin in the same column as"),
        ("  a: b\nc: d\n", "2:1", "this line does not begin in the same column as"),
        ("a:\n  - b\n - c\n", "3:2", "this line does not begin in the same column as"),
        ("a:\n  - b\n  c: d\n", "3:3", "a key among list items"),
        ("a:\n  b: c\n  - d\n", "3:3", "a list item among keys"),
        ("a: - b\n", "1:4", "a list cannot begin here"),
        # Signs with a meaning of their own.
        ("a: @b\n", "1:4", "text without quotes cannot begin with @; write it in quotes"),
        ("a: * b\n", "1:4", "text without quotes cannot begin with * like this"),
        ("a: >= 1\n", "1:4", "text without quotes cannot begin with > like this"),
        ("a: !x!y z\n", "1:4", "tags (!) may not be used"),
        ("%YAML 9.1\n---\na: b\n", "1:1", "lines that begin with % are not read"),
        ("a: 1\n<<<<<<< HEAD\nb: 2\n=======\nb: 3\n>>>>>>> x\n", "2:1", "two versions of this"),
        # Whatever else.
        ("-\n?   - 1", "2:1", "this cannot be read as YAML"),
    ],
)
def test_slip_is_told_in_words_at_its_place(text: str, place: str, said: str) -> None:
    assert first_problem(text).startswith(f"f:{place}: {said}")


@given(st.text("ab:-[]{}&*!<\n\t '\"#?|>,%1.\\@"))
@example("[\n---")
def test_no_slip_is_told_in_the_words_of_the_parser(text: str) -> None:
    try:
        read_document(text.encode(), "f", dict)
    except InvalidDocument as error:
        for problem in error.problems:
            said = f"{problem.what}; {problem.hint}".replace("merges (<<)", "")
            assert not [word for word in JARGON if word in said and word not in text], said
