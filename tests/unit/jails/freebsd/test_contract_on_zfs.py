"""What every runtime must do, done by the FreeBSD runtime where its jails lie in a ZFS."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

import freebsdyard
from unit.jails import test_runtime_contract as contract

if TYPE_CHECKING:
    from collections.abc import Iterator

    from jails.runtime import Runtime


@pytest.fixture
def runtime() -> Iterator[Runtime]:
    with freebsdyard.yard(has_pool=True) as machine:
        yield machine.runtime()


# The laws are the same; only the machine differs, which this module's fixture makes.
globals().update({name: law for name, law in vars(contract).items() if name.startswith("test_")})
