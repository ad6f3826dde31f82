"""Writable parts as datasets: nothing is lost, nothing of others is touched, all or nothing."""

from __future__ import annotations

import tarfile
from contextlib import suppress
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import freebsdyard
from jails.freebsd.model import Crashed
from jails.runtime import JailError
from jails.spec import JailFile, JailSpec, JailState

if TYPE_CHECKING:
    from collections.abc import Iterator

    from freebsdyard import Yard

SPEC = JailSpec(name="n1", command=("/usr/local/bin/node",))
HOLDER = "tank/macula-n1"
# What holds the place of our holder if it is not ours.
STRANGE = ("zfs", "create", "-o", "canmount=noauto", HOLDER)


@pytest.fixture
def yard() -> Iterator[Yard]:
    with freebsdyard.yard(has_pool=True) as yard:
        yield yard


def rest(yard: Yard) -> None:
    """A jail that was started once and stopped."""
    yard.runtime().ensure(SPEC)
    yard.runtime().stop("n1")


def write(yard: Yard, text: str) -> None:
    (yard.root / "n1/data/file").write_text(text)


def read(yard: Yard) -> str:
    return (yard.root / "n1/data/file").read_text()


def datasets(yard: Yard) -> list[str]:
    return [name.removeprefix(HOLDER) for name in sorted(yard.host.pool.systems) if name != "tank"]


def mounted(yard: Yard) -> list[str]:
    return [each.source for each in yard.host.mounts.table if each.kind == "zfs"]


def three_snapshots(yard: Yard) -> None:
    rest(yard)
    for label in ("a", "b", "c"):
        write(yard, label)
        yard.runtime().snapshot("n1", label)
    write(yard, "now")


def test_a_jail_in_a_zfs_has_a_dataset_for_its_writable_part_alone(yard: Yard) -> None:
    yard.runtime().ensure(SPEC)
    assert datasets(yard) == ["", "/1"]
    assert mounted(yard) == ["tank", f"{HOLDER}/1"]
    assert yard.host.pool.systems[f"{HOLDER}/1"].live == yard.root / "n1/data"
    assert (yard.root / "n1/data").stat().st_mode & 0o777 == 0o700
    yard.runtime().remove("n1")
    assert datasets(yard) == []
    assert list(yard.root.iterdir()) == []


def test_a_jail_outside_of_a_zfs_never_runs_zfs() -> None:
    with freebsdyard.yard() as yard:
        rest(yard)
        yard.runtime().snapshot("n1", "a")
        yard.runtime().remove("n1")
        assert not any(argv[0] == "zfs" for argv in yard.host.asked)


def test_restoring_an_older_snapshot_keeps_the_newer_ones(yard: Yard) -> None:
    three_snapshots(yard)
    for label in ("a", "c", "b", "b", "a"):
        yard.runtime().restore("n1", label)
        assert read(yard) == label
        assert yard.runtime().snapshots("n1") == ["a", "b", "c"]


def test_a_generation_stays_only_as_long_as_its_snapshots_need_it(yard: Yard) -> None:
    three_snapshots(yard)
    for _ in range(3):
        yard.runtime().restore("n1", "a")
    assert datasets(yard) == ["", "/1", "/4"]
    yard.runtime().snapshot("n1", "d")
    yard.runtime().restore("n1", "a")
    assert len(datasets(yard)) == 4
    assert len(mounted(yard)) == 2


def test_a_snapshot_is_not_changed_by_what_is_written_after_restoring_it(yard: Yard) -> None:
    three_snapshots(yard)
    yard.runtime().restore("n1", "a")
    write(yard, "changed")
    yard.runtime().restore("n1", "a")
    assert read(yard) == "a"


def test_what_a_reboot_left_unmounted_is_mounted_again(yard: Yard) -> None:
    rest(yard)
    write(yard, "kept")
    yard.host.run("zfs", "unmount", f"{HOLDER}/1")
    assert not (yard.root / "n1/data/file").exists()
    yard.runtime().ensure(SPEC)
    assert read(yard) == "kept"


def test_a_folder_that_was_there_before_stays_a_folder() -> None:
    with freebsdyard.yard() as yard:
        rest(yard)
        write(yard, "kept")
        yard.runtime().snapshot("n1", "a")
        yard.host.pool.make("tank", yard.folder, yard.folder / "pool")
        yard.runtime().ensure(SPEC)
        assert datasets(yard) == []
        assert read(yard) == "kept"
        assert yard.runtime().snapshots("n1") == ["a"]


def test_a_dataset_of_a_stranger_is_refused_and_left_alone(yard: Yard) -> None:
    yard.host.run(*STRANGE)
    for _ in range(2):
        with pytest.raises(JailError, match=f"a dataset {HOLDER} that is not ours; rename it"):
            yard.runtime().ensure(SPEC)
    assert datasets(yard) == [""]


def test_a_dataset_that_a_stranger_put_among_ours_is_not_destroyed(yard: Yard) -> None:
    rest(yard)
    yard.host.run("zfs", "create", "-o", "canmount=noauto", f"{HOLDER}/theirs")
    with pytest.raises(JailError, match=f"{HOLDER}/theirs is not ours; move it elsewhere"):
        yard.runtime().remove("n1")
    assert f"{HOLDER}/theirs" in yard.host.pool.systems


def test_a_clone_that_a_stranger_made_of_a_snapshot_is_not_destroyed(yard: Yard) -> None:
    three_snapshots(yard)
    snapshot = f"{HOLDER}/1@macula-b"
    yard.host.run("zfs", "clone", "-o", "canmount=noauto", snapshot, "tank/theirs")
    with pytest.raises(JailError, match="filesystem has dependent clones"):
        yard.runtime().remove("n1")
    assert "tank/theirs" in yard.host.pool.systems
    assert yard.runtime().snapshots("n1") == ["a", "b", "c"]


def test_snapshots_that_somebody_takes_of_the_pool_are_neither_labels_nor_in_the_way(
    yard: Yard,
) -> None:
    three_snapshots(yard)
    for dataset in (HOLDER, f"{HOLDER}/1"):
        yard.host.run("zfs", "snapshot", f"{dataset}@daily-1")
    assert yard.runtime().snapshots("n1") == ["a", "b", "c"]
    yard.runtime().restore("n1", "a")
    yard.runtime().remove("n1")
    assert datasets(yard) == []


@pytest.mark.parametrize("times", [1, 5, 15])
def test_busy_datasets_are_waited_for_then_forced(yard: Yard, times: int) -> None:
    three_snapshots(yard)
    yard.host.pool.busy[f"{HOLDER}/1"] = times
    yard.runtime().restore("n1", "a")
    assert read(yard) == "a"
    yard.host.pool.busy[f"{HOLDER}/2"] = times
    yard.runtime().remove("n1")
    assert datasets(yard) == []
    forced = [argv for argv in yard.host.asked if argv[:3] == ("zfs", "unmount", "-f")]
    assert bool(forced) == (times > 10)


def test_a_dataset_that_stays_busy_is_told_and_nothing_else_is_lost(yard: Yard) -> None:
    rest(yard)
    yard.host.run("zfs", "unmount", f"{HOLDER}/1")
    yard.host.pool.busy[f"{HOLDER}/1"] = 1000
    with pytest.raises(JailError, match=f"the dataset {HOLDER}/1 cannot be destroyed: it is busy"):
        yard.runtime().remove("n1")
    yard.host.pool.busy.clear()
    yard.runtime().remove("n1")
    assert datasets(yard) == []


def test_an_archive_that_leads_outside_leaves_the_old_content(yard: Yard) -> None:
    three_snapshots(yard)
    archive = yard.folder / "bad.tar.gz"
    with tarfile.open(archive, "w:gz") as tar:
        tar.addfile(directory_member())
        link = tarfile.TarInfo("data/link")
        link.type, link.linkname = tarfile.SYMTYPE, "../record.json"
        tar.addfile(link)
    with pytest.raises(JailError, match="cannot be imported"):
        yard.runtime().import_archive("n1", archive)
    assert read(yard) == "now"
    assert datasets(yard) == ["", "/1"]
    assert not (yard.root / "n1/data.import").exists()


def directory_member() -> tarfile.TarInfo:
    member = tarfile.TarInfo("data")
    member.type = tarfile.DIRTYPE
    return member


@pytest.mark.parametrize("verb", ["restore", "import_archive"])
def test_every_single_moment_of_a_change_leaves_the_old_or_the_new(verb: str) -> None:
    moment = 0
    seen = set()
    while True:
        moment += 1
        with freebsdyard.yard(has_pool=True) as yard:
            three_snapshots(yard)
            yard.runtime().restore("n1", "a")
            yard.runtime().export("n1", yard.folder / "a.tar.gz")
            yard.runtime().restore("n1", "c")
            target = "a" if verb == "restore" else yard.folder / "a.tar.gz"
            runtime = yard.runtime()
            last = yard.host.crash_at = yard.host.moments + moment
            with suppress(Crashed):
                getattr(runtime, verb)("n1", target)
            is_done = yard.host.moments < last
            yard.host.crash_at = None
            yard.runtime().ensure(SPEC)
            seen.add(read(yard))
            assert yard.runtime().snapshots("n1") == ["a", "b", "c"]
            yard.runtime().stop("n1")
            getattr(yard.runtime(), verb)("n1", target)
            assert read(yard) == "a"
            assert len(mounted(yard)) == 2
            assert len(datasets(yard)) == 3
            yard.runtime().remove("n1")
            assert datasets(yard) == []
        if is_done:
            break
    assert seen == {"a", "c"}
    assert moment > 10


@st.composite
def acts(draw: st.DrawFn) -> tuple[str, str, int | None]:
    verb = draw(st.sampled_from(["write", "snapshot", "restore", "export", "import", "reboot"]))
    return verb, draw(st.sampled_from("xyz")), draw(st.none() | st.integers(1, 60))


def perform(yard: Yard, verb: str, word: str) -> None:
    archive = yard.folder / f"{word}.tar.gz"
    runtime = yard.runtime()
    if verb == "export":
        runtime.export("n1", archive)
    elif verb == "import" and archive.exists():
        runtime.import_archive("n1", archive)
    elif verb in ("snapshot", "restore"):
        getattr(runtime, verb)("n1", word)
    else:
        runtime.update_files(SPEC)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(planned=st.lists(acts(), max_size=10))
def test_whatever_is_done_and_breaks_off_content_and_labels_are_those_of_a_plain_table(
    planned: list[tuple[str, str, int | None]],
) -> None:
    with freebsdyard.yard(has_pool=True) as yard:
        rest(yard)
        write(yard, "start")
        content, labels, archives = "start", dict[str, str](), dict[str, str]()
        for number, (verb, word, crash_after) in enumerate(planned):
            if verb == "write":
                content = f"{word}{number}"
                write(yard, content)
                continue
            if verb == "reboot":
                yard.host.run("zfs", "unmount", mounted(yard)[-1])
            source = {"restore": labels, "import": archives}.get(verb, {})
            yard.host.crash_at = crash_after and yard.host.moments + crash_after
            with suppress(Crashed, JailError):
                perform(yard, verb, word)
            yard.host.crash_at = None
            yard.runtime().update_files(SPEC)
            found = read(yard)
            assert found in (content, source.get(word, content))
            content = found
            if verb == "snapshot" and word in yard.runtime().snapshots("n1"):
                labels.setdefault(word, content)
            if verb == "export" and (yard.folder / f"{word}.tar.gz").exists():
                archives[word] = content if crash_after is None else archives.get(word, content)
            assert yard.runtime().snapshots("n1") == sorted(labels)
        for label, kept in labels.items():
            yard.runtime().restore("n1", label)
            assert read(yard) == kept
        assert yard.runtime().look()["n1"].state is JailState.STOPPED
        assert yard.runtime().look()["n1"].files_digest == SPEC.files_digest()
        yard.runtime().remove("n1")
        assert datasets(yard) == []


def test_files_of_the_spec_are_in_the_dataset(yard: Yard) -> None:
    spec = JailSpec(name="n1", command=("/x",), files=(JailFile(path="a", content=b"1"),))
    yard.runtime().ensure(spec)
    assert (yard.host.pool.systems[f"{HOLDER}/1"].live / "a").read_bytes() == b"1"
    yard.runtime().stop("n1")
    yard.host.run("zfs", "unmount", f"{HOLDER}/1")
    assert (yard.host.pool.systems[f"{HOLDER}/1"].content / "a").read_bytes() == b"1"
