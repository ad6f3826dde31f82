"""How ``macula discovery`` writes a source down."""

from __future__ import annotations

from typing import Any

from maculaos.cli.discovery import _row


def test_a_source_is_one_line_whatever_it_says() -> None:
    said = {
        "source": "dns mesh.example",
        "state": "failing",
        "addresses": ["10.0.0.1:1", "10.0.0.2:1"],
        "last_result_s": 12.4,
        "error": "no\x1b[2Janswer\n",
    }
    words = ("dns mesh.example", "failing", "12 s ago", "10.0.0.1:1 10.0.0.2:1", "no?[2Janswer?")
    assert _row(said) == words


def test_what_is_not_known_is_a_dash() -> None:
    said: dict[str, Any] = {
        "source": "mdns",
        "state": "off",
        "addresses": [],
        "last_result_s": None,
        "error": None,
    }
    assert _row(said) == ("mdns", "off", "-", "-", "-")
