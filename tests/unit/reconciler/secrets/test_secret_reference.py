"""Unit: what may name a secret."""

from __future__ import annotations

import json
from typing import Any

import pytest
from pydantic import TypeAdapter, ValidationError

from reconciler.secrets.reference import Environment, SecretReference

ENVIRONMENT: TypeAdapter[dict[str, Any]] = TypeAdapter(Environment)


def named(path: str, **key: str) -> SecretReference:
    return SecretReference(**{"secret": path, **key})


def test_a_value_is_text_or_the_name_of_a_secret() -> None:
    said = {"A": "x", "B": {"secret": "s/b.age"}, "C": {"secret": "c.sops.yaml", "key": "a.b"}}
    assert ENVIRONMENT.validate_json(json.dumps(said)) == {
        "A": "x",
        "B": named("s/b.age"),
        "C": named("c.sops.yaml", key="a.b"),
    }
    assert str(named("c.sops.yaml", key="a.b")) == "c.sops.yaml#a.b"


@pytest.mark.parametrize(
    "said",
    [
        {"secret": "plain.txt"},
        {"secret": "/etc/x.age"},
        {"secret": "../x.age"},
        {"secret": "a/../x.age"},
        {"secret": ".git/x.age"},
        {"secret": "-/x.age "},
        {"secret": "a//x.age"},
        {"secret": "x.age\n"},
        {"secret": ""},
        {"secret": "x.age", "key": "a"},
        {"secret": "x.sops.yaml"},
        {"secret": "x.sops.yaml", "key": 'a"]["b'},
        {"secret": "x.sops.yaml", "key": "a..b"},
        {"secret": "x.sops.yaml", "key": None},
        {"secret": "x.age", "other": 1},
        {},
        1,
        None,
    ],
)
def test_anything_else_is_refused(said: object) -> None:
    with pytest.raises(ValidationError):
        ENVIRONMENT.validate_json(json.dumps({"A": said}))
