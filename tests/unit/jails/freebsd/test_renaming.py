"""A jail that is given another name, broken off at every moment: its data are under exactly one."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

import filechanges
import freebsdyard
from jails.freebsd.model import Crashed
from jails.runtime import JailError
from jails.spec import Isolation, JailFile, JailSpec, JailState, Network, NetworkKind

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from freebsdyard import Yard

OWN = Network(kind=NetworkKind.VNET, bridge="bridge0", address="10.77.0.11/24", gateway="10.77.0.1")
FILE = JailFile(path="config", content=b"one")
FORMER = JailSpec(
    name="n1",
    command=("/usr/local/bin/node",),
    files=(FILE,),
    isolation=Isolation(network=OWN),
)
NEW = replace(FORMER, name="n2")


def rest(yard: Yard) -> None:
    """Data, a clone of a snapshot as what counts, and a newer snapshot: as wide as it gets."""
    yard.runtime().ensure(FORMER)
    yard.runtime().stop("n1")
    for text in ("first", "second"):
        (yard.root / "n1/data/written").write_text(text)
        yard.runtime().snapshot("n1", text)
    yard.runtime().restore("n1", "first")
    (yard.root / "n1/data/written").write_text("kept")


def written(yard: Yard, name: str) -> str:
    file = yard.root / name / "data/written"
    return file.read_text() if file.exists() else ""


def datasets(yard: Yard) -> list[str]:
    return [name for name in yard.host.pool.systems if name != "tank"]


def break_off(yard: Yard, moment: int) -> bool:
    """Whether the renaming was done before that moment came."""
    last = yard.host.crash_at = yard.host.moments + moment
    with suppress(Crashed):
        yard.runtime().rename("n1", "n2")
    yard.host.crash_at = None
    return yard.host.moments < last


def each_moment(*, has_pool: bool) -> Iterator[Yard]:
    """A machine for every moment in which a renaming can break off, and one where it does not."""
    moment, is_done = 0, False
    while not is_done:
        moment += 1
        with freebsdyard.yard(has_pool=has_pool) as yard:
            rest(yard)
            is_done = break_off(yard, moment)
            yield yard
    assert moment > 15


def check_named(yard: Yard, spec: JailSpec) -> None:
    """All that was kept is that jail's."""
    yard.runtime().ensure(spec)
    facts = yard.runtime().look()[spec.name]
    assert facts.state is JailState.RUNNING
    assert facts.files_digest == spec.files_digest()
    assert written(yard, spec.name) == "kept"
    yard.runtime().stop(spec.name)
    assert yard.runtime().snapshots(spec.name) == ["first", "second"]
    for label in ("second", "first"):
        yard.runtime().restore(spec.name, label)
        assert written(yard, spec.name) == label


def check_removable(yard: Yard) -> None:
    for name in yard.runtime().look():
        yard.runtime().remove(name)
    assert datasets(yard) == []
    assert list(yard.root.iterdir()) == []


@pytest.mark.parametrize("has_pool", [False, True])
def test_a_renaming_that_broke_off_anywhere_is_finished_when_it_is_repeated(has_pool: bool) -> None:
    for yard in each_moment(has_pool=has_pool):
        assert list(yard.runtime().look()) in (["n1"], ["n2"])
        assert all(each.state is JailState.STOPPED for each in yard.runtime().look().values())
        for _ in range(2):
            yard.runtime().rename("n1", "n2")
            assert list(yard.runtime().look()) == ["n2"]
            assert written(yard, "n2") == "kept"
        assert not any("macula-n1" in name for name in datasets(yard))
        check_named(yard, NEW)
        check_removable(yard)


@pytest.mark.parametrize("has_pool", [False, True])
def test_a_renaming_that_broke_off_before_any_change_to_a_file_is_finished(has_pool: bool) -> None:
    change, is_done, seen = 0, False, set()
    while not is_done:
        change += 1
        with freebsdyard.yard(has_pool=has_pool) as yard:
            rest(yard)
            with filechanges.end_before(change, crash, outside(yard.folder / "pool")):
                try:
                    yard.runtime().rename("n1", "n2")
                    is_done = True
                except Crashed:
                    seen |= set(yard.runtime().look())
            yard.runtime().rename("n1", "n2")
            assert [each.name for each in yard.root.iterdir()] == ["n2"]
            check_named(yard, NEW)
            check_removable(yard)
    assert change > 10
    assert seen == {"n1", "n2"}


def crash() -> None:
    raise Crashed


def outside(pool: Path) -> Callable[[str], bool]:
    """What the machine does to its pool is no change of ours."""
    return lambda path: not Path(path).is_relative_to(pool)


@pytest.mark.parametrize("has_pool", [False, True])
def test_a_renaming_that_broke_off_anywhere_can_be_left_at_that(has_pool: bool) -> None:
    """Nobody repeats it: the name that is seen has everything, and the other begins anew."""
    seen = set()
    for yard in each_moment(has_pool=has_pool):
        (name,) = yard.runtime().look()
        seen.add(name)
        keeper, other = (FORMER, NEW) if name == "n1" else (NEW, FORMER)
        plain = replace(other, isolation=Isolation())
        yard.runtime().ensure(plain)
        assert written(yard, other.name) == ""
        check_named(yard, keeper)
        assert written(yard, other.name) == ""
        assert yard.runtime().snapshots(other.name) == []
        check_removable(yard)
    assert seen == {"n1", "n2"}


@pytest.mark.parametrize("has_pool", [False, True])
@pytest.mark.parametrize(
    "following",
    [
        lambda yard, name: yard.runtime().remove(name),
        lambda yard, name: yard.runtime().rename(name, "n3"),
        lambda yard, name: yard.runtime().rename(name, "n1" if name == "n2" else "n2"),
        lambda yard, name: yard.runtime().snapshots(name),
    ],
    ids=["remove", "on", "back", "snapshots"],
)
def test_whatever_follows_a_renaming_that_broke_off_finds_all_of_it(
    has_pool: bool, following: Callable[[Yard, str], None]
) -> None:
    for yard in each_moment(has_pool=has_pool):
        (name,) = yard.runtime().look()
        assert yard.runtime().snapshots(name) == ["first", "second"]
        following(yard, name)
        for left in yard.runtime().look():
            check_named(yard, replace(FORMER, name=left))
        check_removable(yard)


def test_a_reboot_in_between_loses_nothing() -> None:
    for yard in each_moment(has_pool=True):
        for each in [e for e in yard.host.mounts.table if e.kind == "zfs" and e.source != "tank"]:
            yard.host.run("zfs", "unmount", each.source)
        yard.runtime().rename("n1", "n2")
        check_named(yard, NEW)


def test_the_dataset_has_the_new_name_and_its_mark_and_is_mounted_at_the_new_place() -> None:
    with freebsdyard.yard(has_pool=True) as yard:
        rest(yard)
        yard.runtime().rename("n1", "n2")
        assert sorted(datasets(yard)) == ["tank/macula-n2", "tank/macula-n2/1", "tank/macula-n2/2"]
        systems = yard.host.pool.systems
        assert systems["tank/macula-n2"].properties["macula:place"] == str(yard.root / "n2")
        assert systems["tank/macula-n2/2"].live == yard.root / "n2/data"
        assert systems["tank/macula-n2/2"].origin == "tank/macula-n2/1@macula-first"
        assert not (yard.root / "n2/moved").exists()


@pytest.mark.parametrize("options", [(), ("-o", "macula:place=/elsewhere/n2")])
def test_a_dataset_of_a_stranger_under_the_new_name_is_refused_before_anything_moves(
    options: tuple[str, ...],
) -> None:
    with freebsdyard.yard(has_pool=True) as yard:
        rest(yard)
        yard.host.run("zfs", "create", "-o", "canmount=noauto", *options, "tank/macula-n2")
        with pytest.raises(JailError, match="a dataset tank/macula-n2 that is not ours"):
            yard.runtime().rename("n1", "n2")
        assert list(yard.runtime().look()) == ["n1"]
        assert [each.name for each in yard.root.iterdir()] == ["n1"]
        check_named(yard, FORMER)


def test_a_dataset_without_its_folder_is_a_writable_part_too() -> None:
    with freebsdyard.yard(has_pool=True) as yard:
        rest(yard)
        place = f"macula:place={yard.root}/n2"
        yard.host.run("zfs", "create", "-o", "canmount=off", "-o", place, "tank/macula-n2")
        with pytest.raises(JailError, match="n2: has a writable part of its own"):
            yard.runtime().rename("n1", "n2")
        assert [each.name for each in yard.root.iterdir()] == ["n1"]


def test_a_stranger_that_takes_the_name_while_the_dataset_is_on_its_way_gets_nothing() -> None:
    with freebsdyard.yard(has_pool=True) as yard:
        rest(yard)
        moment = 1
        while not break_off(yard, moment) and "n1" in yard.runtime().look():
            moment += 1
        yard.host.run("zfs", "create", "-o", "canmount=noauto", "tank/macula-n2")
        for _ in range(2):
            with pytest.raises(JailError, match="a dataset tank/macula-n2 that is not ours"):
                yard.runtime().ensure(NEW)
        yard.host.run("zfs", "destroy", "tank/macula-n2")
        check_named(yard, NEW)


def test_a_folder_in_a_zfs_moves_as_a_folder() -> None:
    with freebsdyard.yard() as yard:
        rest(yard)
        yard.host.pool.make("tank", yard.folder, yard.folder / "pool")
        yard.runtime().rename("n1", "n2")
        check_named(yard, NEW)
        assert datasets(yard) == []


@pytest.mark.parametrize("times", [1, 5, 15])
def test_a_busy_dataset_is_waited_for(times: int) -> None:
    with freebsdyard.yard(has_pool=True) as yard:
        rest(yard)
        yard.host.pool.busy["tank/macula-n1/2"] = times
        yard.runtime().rename("n1", "n2")
        check_named(yard, NEW)


def test_what_is_in_the_way_and_not_ours_is_left_alone() -> None:
    with freebsdyard.yard() as yard:
        rest(yard)
        (yard.root / "n2").mkdir()
        (yard.root / "n2/theirs").touch()
        with pytest.raises(JailError, match="n2 is in the way, and not ours; move it"):
            yard.runtime().rename("n1", "n2")
        assert (yard.root / "n2/theirs").exists()
        check_named(yard, FORMER)
