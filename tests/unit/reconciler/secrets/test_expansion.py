"""Unit: expansion of variables."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reconciler.secrets.expansion import LONGEST_VALUE, BadExpansion, Template, expand
from reconciler.secrets.reference import SecretReference

SECRET = SecretReference(**{"secret": "s.age"})


def test_a_name_stands_for_another_variable_or_for_the_machines() -> None:
    given_ = {"URL": "${SCHEME}://${HOST}/", "SCHEME": "https", "HOST": "${NODE}.example"}
    assert expand(given_, {"NODE": "n1", "SCHEME": "hidden"}) == {
        "URL": "https://n1.example/",
        "SCHEME": "https",
        "HOST": "n1.example",
    }


@pytest.mark.parametrize(
    ("text", "expanded"),
    [("$$", "$"), ("$${A}", "${A}"), ("$A", "$A"), ("a$", "a$"), ("$$$$", "$$"), ("${", "${")],
)
def test_two_dollar_signs_are_one(text: str, expanded: str) -> None:
    assert expand({"X": text}, {}) == {"X": expanded}


def test_what_comes_in_is_not_expanded_again() -> None:
    assert expand({"X": "${M}", "Y": "$${M}", "Z": "${Y}"}, {"M": "${X}"}) == {
        "X": "${X}",
        "Y": "${M}",
        "Z": "${M}",
    }


def test_a_value_with_a_secret_becomes_one() -> None:
    found = expand({"P": SECRET, "URL": "u:${P}@h$$", "PLAIN": "x"}, {})
    assert found["P"] == Template((SECRET,))
    assert found["URL"] == Template(("u:", SECRET, "@h$"))
    assert found["PLAIN"] == "x"


@pytest.mark.parametrize(
    ("environment", "words"),
    [
        ({"A": "${A}"}, "circle: A -> A"),
        ({"A": "${B}", "B": "${C}", "C": "${A}"}, "circle"),
        ({"A": "${NOBODY}"}, "A mentions .*NOBODY"),
        ({"A": "${}"}, "a name has"),
        ({"A": "${B-x}"}, "a name has"),
    ],
)
def test_what_cannot_be_expanded_is_said(environment: dict[str, str], words: str) -> None:
    with pytest.raises(BadExpansion, match=words):
        expand(environment, {})


def test_growth_has_a_bound() -> None:
    environment = {f"V{n}": f"${{V{n - 1}}}" * 10 for n in range(1, 10)} | {"V0": "x"}
    with pytest.raises(BadExpansion, match=str(LONGEST_VALUE)):
        expand(environment, {})


@given(st.dictionaries(st.sampled_from("ABCDE"), st.text("AB$C{}x", max_size=12), max_size=5))
def test_expansion_ends_and_the_order_of_variables_never_matters(found: dict[str, str]) -> None:
    def outcome(environment: dict[str, str]) -> object:
        try:
            return expand(environment, {"D": "machine"})
        except BadExpansion:
            return None

    assert outcome(found) == outcome(dict(reversed(found.items())))


@given(st.text(max_size=50))
def test_escaped_text_comes_out_as_it_was(text: str) -> None:
    assert expand({"X": text.replace("$", "$$")}, {}) == {"X": text}
