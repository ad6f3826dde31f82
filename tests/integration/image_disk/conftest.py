"""Tools that disks are made with and read by: a test asks for them, and is skipped without."""

from __future__ import annotations

import os
import shutil
from typing import TYPE_CHECKING

import pytest

from maculaos.host.commands import SystemRunner

if TYPE_CHECKING:
    from collections.abc import Callable

SEARCHED = f"{os.environ.get('PATH', os.defpath)}:/usr/sbin:/sbin"


@pytest.fixture
def need() -> Callable[..., SystemRunner]:
    """``need("sgdisk", ...)``: what runs these tools; skips the test when one is missing."""

    def check(*tools: str) -> SystemRunner:
        missing = [tool for tool in tools if shutil.which(tool, path=SEARCHED) is None]
        if missing:
            pytest.skip(f"not installed: {', '.join(missing)}")
        return SystemRunner({**os.environ, "PATH": SEARCHED})

    return check
