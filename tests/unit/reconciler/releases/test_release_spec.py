"""Unit: what may be said of a release."""

from __future__ import annotations

import json
from typing import Any

import pytest
from pydantic import TypeAdapter, ValidationError

from reconciler.releases.spec import ReleaseSpec, is_identity

SPEC = TypeAdapter(ReleaseSpec)


def read(said: dict[str, Any]) -> ReleaseSpec:
    return SPEC.validate_json(json.dumps(said))


GOOD: dict[str, Any] = {"url": "https://dl.example/app-1.tar.gz", "sha256": "a1" * 32}


def test_a_release_is_its_digest_and_how_it_is_cut() -> None:
    plain = read(GOOD)
    cut = read(GOOD | {"strip": 1})
    assert plain.identity == GOOD["sha256"]
    assert cut.identity != plain.identity
    assert is_identity(plain.identity)
    assert is_identity(cut.identity)


@pytest.mark.parametrize("name", ["", "current", "A1" * 32, "a1" * 31, "a1" * 32 + "-strip0", ".."])
def test_nothing_else_names_a_release(name: str) -> None:
    assert not is_identity(name)


@pytest.mark.parametrize(
    "change",
    [
        {"url": "ftp://x/y"},
        {"url": "https://user:word@x/y"},
        {"url": "https://"},
        {"url": "https://x/ y"},
        {"url": "https://x/y\n"},
        {"url": "https://x:99999/y"},
        {"url": "https://x/y#z"},
        {"url": "file://host/x"},
        {"url": "file:x"},
        {"url": "/x"},
        {"url": "https://[::1/y"},
        {"url": ""},
        {"sha256": "A1" * 32},
        {"sha256": "a1" * 32 + "\n"},
        {"strip": -1},
        {"strip": 9},
        {"strip": "1"},
        {"size": 0},
        {"signature": None},
        {"other": 1},
    ],
)
def test_what_cannot_be_fetched_is_refused(change: dict[str, Any]) -> None:
    read(GOOD)
    with pytest.raises(ValidationError):
        read(GOOD | change)
