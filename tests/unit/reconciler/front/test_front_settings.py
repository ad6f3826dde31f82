"""The settings of a front: what is a range of ports, and what is none."""

from __future__ import annotations

import re

import pytest

from reconciler.front.settings import FrontSettings, check_port_range


def test_span_has_both_ends() -> None:
    assert FrontSettings().span == range(20_000, 30_000)
    assert FrontSettings(ports="21000-21015").span == range(21_000, 21_016)


@pytest.mark.parametrize(
    "text",
    ["20000", "-20000", "20000-", "a-b", "29999-20000", "1000-2000", "20000-20014", "1-99999"],
)
def test_what_is_no_range_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=re.escape(text)):
        check_port_range(text)
