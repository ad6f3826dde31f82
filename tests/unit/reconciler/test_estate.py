"""The estate: what is owned survives restarts, crashes and full disks, and nothing else goes."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from maculaos.documents import Problem
from maculaos.errors import UsageError
from reconciler.estate import Estate, Tenure
from reconciler.inventory import Guard
from reconciler.names import jail_of
from reconciler.specs.desired import Desired
from reconciler.specs.spec import AppSpec, RealmSpec

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

REALM = RealmSpec(version=1, name="demo")


def app(name: str, *words: str) -> AppSpec:
    return AppSpec(version=1, name=name, node="n1", command=words or ("sleep", "9"))


def desired(*apps: AppSpec, broken: tuple[str, ...] = (), moved: str = "") -> Desired:
    made = Desired.of(REALM, (), apps)
    problems = {
        f"app/{name}": (Problem(f"apps/{name}.yaml", 1, 1, "broken", ""),) for name in broken
    }
    new, _, former = moved.partition("<")
    renames = {f"app/{new}": f"app/{former}"} if moved else {}
    return Desired(made.realm, made.items, broken=problems, moved=renames)


def opened(folder: Path) -> Estate:
    return Estate(folder, Guard())


def run(estate: Estate, wanted: Desired, found: tuple[str, ...] = ()) -> Tenure:
    tenure = estate.settle(wanted)
    estate.claim(tenure)
    estate.release(tenure, [jail_of(f"app/{name}") for name in found])
    return tenure


def command_of(tenure: Tenure, name: str) -> tuple[str, ...]:
    spec = tenure.desired.items[f"app/{name}"].spec
    assert isinstance(spec, AppSpec)
    return spec.command


def test_a_broken_item_keeps_its_good_version_over_restarts(tmp_path: Path) -> None:
    run(opened(tmp_path), desired(app("a", "good"), app("b")))
    later = opened(tmp_path)
    tenure = run(later, desired(app("b", "new"), broken=("a",)))
    assert command_of(tenure, "a") == ("good",)
    assert command_of(tenure, "b") == ("new",)
    assert tenure.settlement.removals == frozenset()
    assert command_of(opened(tmp_path).settle(desired(app("b"), broken=("a",))), "a") == ("good",)


def test_only_what_was_made_here_is_removed(tmp_path: Path) -> None:
    estate = opened(tmp_path)
    run(estate, desired(app("a"), app("b")))
    tenure = estate.settle(desired(app("b")))
    assert tenure.settlement.removals == {"app/a"}
    assert tenure.kept(["app-a", "app-b", "app-foreign"]) == {"app-foreign"}


def test_what_goes_is_owned_until_it_is_seen_to_be_gone(tmp_path: Path) -> None:
    estate = opened(tmp_path)
    run(estate, desired(app("a"), app("b")))
    run(estate, desired(app("b")), found=("a", "b"))
    assert opened(tmp_path).settle(desired(app("b"))).settlement.removals == {"app/a"}
    run(estate, desired(app("b")), found=("b",))
    assert opened(tmp_path).settle(desired(app("b"))).settlement.removals == frozenset()


def test_removals_that_wait_for_consent_leave_the_jails_as_they_are(tmp_path: Path) -> None:
    estate = opened(tmp_path)
    run(estate, desired(*(app(name) for name in "abcd")))
    tenure = estate.settle(desired(app("a")))
    assert tenure.settlement.held == {"app/b", "app/c", "app/d"}
    assert tenure.kept(["app-a", "app-b", "app-c"]) == {"app-b", "app-c"}
    agreed = estate.settle(desired(app("a")), has_consent=True)
    assert agreed.kept(["app-a", "app-b", "app-c"]) == frozenset()


def test_a_move_that_has_begun_goes_on_after_a_restart(tmp_path: Path) -> None:
    run(opened(tmp_path), desired(app("old")))
    renamed = desired(app("new"), moved="new<old")
    run(opened(tmp_path), renamed, found=("old",))
    assert opened(tmp_path).settle(renamed).settlement.moves == {"app/new": "app/old"}
    run(opened(tmp_path), renamed, found=("new",))
    settled = opened(tmp_path).settle(renamed).settlement
    assert (settled.moves, settled.removals) == ({}, frozenset())


def test_a_version_that_is_lost_leaves_the_jail_as_it_runs(tmp_path: Path) -> None:
    run(opened(tmp_path), desired(app("a"), app("b")))
    (tmp_path / "versions.jsonl").write_bytes(b"from another time\n")
    tenure = run(opened(tmp_path), desired(app("b"), broken=("a",)))
    assert "app/a" not in tenure.desired.items
    assert tenure.kept(["app-a", "app-b"]) == {"app-a"}


def test_an_inventory_that_cannot_be_read_removes_nothing(tmp_path: Path) -> None:
    (tmp_path / "inventory.json").write_bytes(b"{")
    with pytest.raises(UsageError, match=r"inventory\.json: the inventory cannot be read"):
        opened(tmp_path).settle(desired())


def test_nothing_is_written_where_nothing_changed(tmp_path: Path) -> None:
    estate = opened(tmp_path)
    run(estate, desired(app("a")))
    before = (tmp_path / "inventory.json").stat().st_ino
    run(estate, desired(app("a")), found=("a",))
    assert (tmp_path / "inventory.json").stat().st_ino == before


@pytest.fixture
def cut(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[int]]:
    """The number of changes to the disk that still succeed; then the disk is full."""
    left = [10_000]
    for name in ("fsync", "replace"):
        monkeypatch.setattr(os, name, _counted(getattr(os, name), left))
    yield left
    left[0] = 10_000


def _counted(call: object, left: list[int]) -> object:
    def counted(*words: object) -> object:
        if left[0] <= 0:
            raise OSError(28, "No space left on device")
        left[0] -= 1
        return call(*words)  # type: ignore[operator]  # os.fsync or os.replace

    return counted


def test_a_write_that_fails_anywhere_leaves_what_was_owned(tmp_path: Path, cut: list[int]) -> None:
    for point in range(12):
        folder = tmp_path / str(point)
        folder.mkdir()
        run(opened(folder), desired(app("a", "good"), app("b")))
        cut[0] = point
        estate = opened(folder)
        try:
            run(estate, desired(app("b", "new"), app("c")), found=("a", "b"))
        except OSError:
            cut[0] = 10_000
            # The same process tries again, and so does the next one.
            for again in (estate, opened(folder)):
                tenure = again.settle(desired(app("c"), broken=("a", "b")))
                assert command_of(tenure, "a") == ("good",)
                assert tenure.settlement.removals == frozenset()
        else:
            cut[0] = 10_000
            break
    else:
        raise AssertionError("never reached the end")
    assert point > 2


def test_versions_that_a_rollout_names_are_kept_over_restarts_until_it_names_them_no_more(
    tmp_path: Path,
) -> None:
    estate = opened(tmp_path)
    run(estate, desired(app("a", "old")))
    (old,) = estate.versions()
    tenure = estate.settle(desired(app("a", "new")))
    estate.claim(tenure, {old})
    later = opened(tmp_path)
    assert old in later.versions()
    for word, named in (("1", {old}), ("2", set[str]()), ("3", set[str]())):
        later.claim(later.settle(desired(app("a", "new"), app("b", word))), named)
        assert (old in opened(tmp_path).versions()) == (word != "3")
    assert old not in opened(tmp_path).versions()
