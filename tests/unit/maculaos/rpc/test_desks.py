"""Desks: as many calls as a client said, of each method by itself."""

from __future__ import annotations

from maculaos.rpc.desks import Desks


def test_desk_is_full_with_as_many_as_its_client_takes() -> None:
    desks = Desks()
    desks.set_up(1, ("add", "sub"), 2)
    add, sub = desks.of(1, "add"), desks.of(1, "sub")
    assert add is not None
    assert sub is not None
    add.waiting = 2
    assert (add.is_full, sub.is_full) == (True, False)
    assert desks.of(2, "add") is None


def test_new_limit_counts_those_that_wait_already() -> None:
    desks = Desks()
    desks.set_up(1, ("add",), 1)
    desk = desks.of(1, "add")
    assert desk is not None
    desk.waiting = 1
    desks.set_up(1, ("add",), 2)
    assert desks.of(1, "add") is desk
    assert not desk.is_full


def test_who_takes_all_that_come_or_is_gone_has_no_desk() -> None:
    desks = Desks()
    desks.set_up(1, ("add", "sub"), 2)
    desks.set_up(2, ("add",), 2)
    desks.set_up(1, ("add",), 0)
    assert desks.of(1, "add") is None
    desks.drop(1)
    assert len(desks) == 1
    desks.clear(2, ("add", "unknown"))
    assert len(desks) == 0
