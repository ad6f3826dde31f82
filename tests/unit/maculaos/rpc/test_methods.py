"""Which texts name methods that an application may offer."""

from __future__ import annotations

import pytest

from maculaos.rpc.methods import InvalidMethod, check_method


@pytest.mark.parametrize("method", ["add", "math.add", "plant/1.read-temp", "x" * 255])
def test_method_names_are_accepted(method: str) -> None:
    assert check_method(method) == method


@pytest.mark.parametrize(
    "method", ["", "a..b", ".a", "a.", "a b", "größe", "a\n", "x" * 256, "macula.ping", "macula.x"]
)
def test_other_text_is_refused(method: str) -> None:
    with pytest.raises(InvalidMethod):
        check_method(method)
