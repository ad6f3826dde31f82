"""Tuning: by memory, in one table, within what the kernel takes."""

from __future__ import annotations

import pytest

from appliance.tuning import GIB, LARGE_BYTES, TABLE, Size, size_of, tunables


@pytest.mark.parametrize(
    ("memory", "size"),
    [
        (512 << 20, Size.SMALL),
        (1030246400, Size.SMALL),
        (4 * GIB, Size.SMALL),
        (LARGE_BYTES - 1, Size.SMALL),
        # What is left of 8 GiB when firmware has taken its part.
        (8 * GIB - (300 << 20), Size.LARGE),
        (64 * GIB, Size.LARGE),
    ],
)
def test_size_follows_memory(memory: int, size: Size) -> None:
    assert size_of(memory) is size


@pytest.mark.parametrize("memory", [GIB, 16 * GIB])
def test_a_socket_may_take_in_what_is_its_default(memory: int) -> None:
    values = dict(tunables(memory))
    # The kernel lets a socket have 8/9 of it, and refuses more.
    assert int(values["net.inet.udp.recvspace"]) <= int(values["kern.ipc.maxsockbuf"]) * 8 // 9


@pytest.mark.parametrize("memory", [GIB, 16 * GIB])
def test_what_only_the_loader_can_set_is_not_tried(memory: int) -> None:
    names = [name for name, _value in tunables(memory)]
    assert len(names) == len(set(names))
    assert not [name for name in names if name.startswith(("net.isr.", "net.link."))]


def test_large_machines_never_get_less() -> None:
    for each in TABLE:
        assert int(each.large) >= int(each.small) or each.name == "net.isr.maxthreads"
