"""Laws of join tokens: only the authority's own count, whole, and in time."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from maculaos.security.tokens import (
    PREFIX,
    JoinToken,
    TokenRefused,
    check_token,
    read_token,
    write_token,
)

KEY, OTHER_KEY = bytes(32), bytes([1]) * 32
NOW = 1_800_000_000
TOKEN = JoinToken(bytes(16), "home", "n1", b"p" * 32, NOW + 60, "edge.example:4700")
TEXT = write_token(TOKEN, KEY)


def test_token_says_to_both_ends_what_it_was_made_for() -> None:
    assert read_token(TEXT) == TOKEN
    assert check_token(TEXT, KEY, NOW) == TOKEN
    assert check_token(f"\n {TEXT} \n", KEY, NOW) == TOKEN


def test_token_is_one_word_that_survives_a_shell() -> None:
    assert TEXT.startswith(PREFIX)
    assert len(TEXT) < 250
    assert TEXT.replace("-", "").replace("_", "").isalnum()


def test_token_of_another_key_is_refused_though_it_reads_well() -> None:
    forged = write_token(TOKEN, OTHER_KEY)
    assert read_token(forged) == TOKEN
    with pytest.raises(TokenRefused, match="not made by this"):
        check_token(forged, KEY, NOW)


def test_token_expires() -> None:
    check_token(TEXT, KEY, NOW + 60)
    with pytest.raises(TokenRefused, match="expired"):
        check_token(TEXT, KEY, NOW + 61)


@given(at=st.integers(0, len(TEXT) - 1), letter=st.sampled_from("Aa0-_=+ \u00e9"))
def test_one_wrong_letter_is_told_before_anything_is_asked(at: int, letter: str) -> None:
    changed = TEXT[:at] + letter + TEXT[at + 1 :]
    if changed.strip() == TEXT:
        return
    try:
        # The last letter holds bits that mean nothing: what it says then is the same.
        assert read_token(changed) == TOKEN
        assert at == len(TEXT) - 1
    except TokenRefused as refused:
        assert "damaged" in refused.what  # noqa: PT017  # both outcomes are within the law


@given(size=st.integers(0, len(TEXT) - 1))
def test_half_a_token_is_damaged(size: int) -> None:
    with pytest.raises(TokenRefused, match="damaged"):
        read_token(TEXT[:size])


@given(st.text(max_size=300))
def test_any_text_is_a_token_or_refused(text: str) -> None:
    for written in (text, PREFIX + text):
        with pytest.raises(TokenRefused):
            read_token(written)


@pytest.mark.parametrize(
    "token",
    [
        JoinToken(bytes(15), "home", "n1", bytes(32), NOW),
        JoinToken(bytes(16), "home", "n1", bytes(31), NOW),
        JoinToken(bytes(16), "home", "../n1", bytes(32), NOW),
        JoinToken(bytes(16), "", "n1", bytes(32), NOW),
    ],
)
def test_token_of_odd_content_is_refused_whoever_made_it(token: JoinToken) -> None:
    with pytest.raises(TokenRefused):
        check_token(write_token(token, KEY), KEY, NOW)
