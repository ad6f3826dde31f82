"""A place for jails that are plain processes, and the runtime that keeps them there."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

import jailyard

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from jails.process import ProcessRuntime


@pytest.fixture
def root() -> Iterator[Path]:
    with jailyard.yard() as root:
        yield root


@pytest.fixture
def runtime(root: Path) -> ProcessRuntime:
    return jailyard.runtime_at(root)
