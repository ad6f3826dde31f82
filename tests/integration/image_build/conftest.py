"""Yards in which whole images are built."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

import imageyard
from imageyard import Yard

if TYPE_CHECKING:
    from pathlib import Path

MISSING = imageyard.missing_tools()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Without the tools nothing here can run, and each test says which are missing."""
    here = __file__.rpartition("/")[0]
    for item in items:
        if MISSING and str(item.path).startswith(here):
            item.add_marker(pytest.mark.skip(reason=f"not installed: {MISSING}"))


@pytest.fixture
def yard(tmp_path: Path) -> Yard:
    return Yard.make(tmp_path)


@pytest.fixture(scope="session")
def built(tmp_path_factory: pytest.TempPathFactory) -> Yard:
    """A yard with a whole image with packages in it; nobody changes it."""
    yard = Yard.make(tmp_path_factory.mktemp("built"))
    yard.build(yard.order(packages=str(yard.folder / "repository")))
    return yard


@pytest.fixture(scope="session")
def stick(tmp_path_factory: pytest.TempPathFactory) -> Yard:
    """A yard with a stick in it that installs the same system; nobody changes it."""
    yard = Yard.make(tmp_path_factory.mktemp("stick"))
    yard.build(yard.stick())
    return yard
