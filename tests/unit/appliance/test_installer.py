"""The installer: what it refuses, and that a cut at any write leaves nothing half that starts."""

from __future__ import annotations

import hashlib
import tomllib
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from appliance import installer
from appliance.growth import next_growth
from appliance.installer import Answers, Contents, Disk, Ending, Facts, Refusal, Stick
from appliance.installing import Conversation, Installer, MountedFolders, Tools
from appliance.model import PowerCut
from maculaos.errors import MaculaError, UsageError
from maculaos.host.commands import CommandFailed, ScriptedRunner
from unit.appliance.stickyard import (
    ESP,
    MIB,
    NEW,
    OLD,
    SECTOR,
    SLOT_BYTES,
    TARGET_BYTES,
    Machine,
    ModelDisk,
    blank,
    foreign,
    stick,
)

if TYPE_CHECKING:
    from collections.abc import Callable

ROOT = Path(__file__).parents[3]
SEED = b'version = 1\nhostname = "edge-1"\n'
STICK = Stick(disk="da0", system_index=4, slot_bytes=SLOT_BYTES, esp_bytes=len(ESP), fat_index=5)
FACTS = Facts(
    stick=STICK,
    disks=(
        Disk(name="da0", size_bytes=1 << 30, is_in_use=True, contents=Contents.SOMETHING),
        Disk(name="ada0", size_bytes=TARGET_BYTES),
    ),
)


def old_system() -> ModelDisk:
    machine = Machine({"da0": stick(), "ada0": blank()})
    install(machine, "ada0")
    disk = machine.disks["ada0"]
    assert disk.table is not None
    for index in (3, 4):
        disk.write(disk.table[index].start * SECTOR, OLD)
    return disk


class Sums:
    """Where the list of checksums lies, which a stick has in its system."""

    path = Path()


@pytest.fixture(scope="module", autouse=True)
def _sums(tmp_path_factory: pytest.TempPathFactory) -> None:
    digests = {"efi": hashlib.sha256(ESP), "system": hashlib.sha256(NEW)}
    Sums.path = tmp_path_factory.mktemp("sums") / "SHA256SUMS"
    lines = (f"{digest.hexdigest()}  {name}\n" for name, digest in digests.items())
    Sums.path.write_text("".join(lines))


def tools(machine: Machine, said: list[str] | None = None) -> Tools:
    return Tools(
        runner=machine,
        devices=machine,
        folders=machine.folders(),
        say=(list[str]() if said is None else said).append,
        lock=nullcontext,
        sums=Sums.path,
        chunk_bytes=MIB,
    )


def install(machine: Machine, name: str) -> Disk:
    return Installer(tools(machine)).install(lambda facts: installer.check(facts, name))


def unattended(machine: Machine, *, erase: bool = False) -> Disk:
    answers = Answers(version=1, target="ada0", erase=erase)
    return Installer(tools(machine)).install(
        lambda facts: installer.check_unattended(facts, answers)
    )


def check_whole(disk: ModelDisk, seed: bytes | None) -> None:
    assert disk.firmware() == {NEW}
    assert disk.pmbr
    assert disk.table is not None
    assert [part.label for _, part in sorted(disk.table.items())] == [
        "boot", "efi", "slotA", "slotB", "cfg", "data",
    ]  # fmt: skip
    assert disk.content(3, SLOT_BYTES) == disk.content(4, SLOT_BYTES) == NEW
    assert disk.table[3].marks == {"bootme"}
    assert not disk.table[4].marks
    assert disk.files[5].get("seed.toml") == seed
    assert disk.files[6] == {}


@pytest.mark.parametrize("before", [blank, foreign, old_system])
def test_cut_at_every_write_leaves_nothing_half_that_starts_and_a_second_run_completes(
    before: Callable[[], ModelDisk],
) -> None:
    whole = Machine({"da0": stick(seed_toml=SEED), "ada0": before()})
    install(whole, "ada0")
    assert whole.writes > 20
    for cut in range(whole.writes):
        machine = Machine({"da0": stick(seed_toml=SEED), "ada0": before()}, cut_after=cut)
        with pytest.raises(PowerCut):
            install(machine, "ada0")
        assert machine.disks["ada0"].firmware() <= {NEW, OLD}
        machine.cut_after = None
        install(machine, "ada0")
        check_whole(machine.disks["ada0"], SEED)


@settings(max_examples=25, deadline=None)
@given(cuts=st.lists(st.integers(0, 36), min_size=1, max_size=4), is_foreign=st.booleans())
def test_any_number_of_cuts_never_needs_a_person(cuts: list[int], is_foreign: bool) -> None:
    machine = Machine({"da0": stick(), "ada0": foreign() if is_foreign else blank()})
    is_done = False
    for cut in [*cuts, 1000]:
        machine.cut_after = machine.writes + cut
        if is_done:
            with pytest.raises(Refusal, match="a whole MaculaOS"):
                unattended(machine, erase=is_foreign)
            continue
        try:
            unattended(machine, erase=is_foreign)
        except PowerCut:
            assert machine.disks["ada0"].firmware() <= {NEW}
        table = machine.disks["ada0"].table or {}
        is_done = 3 in table and bool(table[3].marks)
    assert is_done
    assert machine.disks["ada0"].firmware() == {NEW}


def test_installed_disk_has_nothing_left_to_grow() -> None:
    for size in (TARGET_BYTES, TARGET_BYTES + 5 * SECTOR, TARGET_BYTES + MIB - SECTOR):
        machine = Machine({"da0": stick(), "ada0": ModelDisk(size)})
        install(machine, "ada0")
        table = machine.disks["ada0"].table
        assert table is not None
        assert next_growth(machine.disks["ada0"].shown("ada0"), table[6].size * SECTOR) is None


def test_smallest_disk_has_the_least_data_of_the_image() -> None:
    recipe = tomllib.loads((ROOT / "image/image.toml").read_text())["disk"]
    assert recipe["cfg_mib"] * MIB == installer.CFG_BYTES
    assert recipe["data_mib"] * MIB == installer.DATA_BYTES_MIN
    wanted = installer.bytes_wanted(STICK)
    small = replace(FACTS, disks=(Disk(name="ada0", size_bytes=wanted - SECTOR),))
    with pytest.raises(Refusal, match="are needed"):
        installer.check(small, "ada0")
    machine = Machine({"da0": stick(), "ada0": ModelDisk(wanted)})
    install(machine, "ada0")
    check_whole(machine.disks["ada0"], None)


@pytest.mark.parametrize(
    ("change", "name", "words"),
    [
        ({}, "ada", "there is no disk 'ada'"),
        ({}, "ada0p3", "there is no disk"),
        ({}, "\x1b[2J", "there is no disk '?"),
        ({}, "da0", "the installer itself runs from da0"),
        ({"is_in_use": True}, "ada0", "ada0 is in use"),
        ({"sector_bytes": 4096}, "ada0", "sectors of 4096 bytes"),
        ({"size_bytes": 300 * MIB}, "ada0", "has 300 MiB, and"),
    ],
)
def test_refusal_is_one_line_that_says_why(change: dict[str, Any], name: str, words: str) -> None:
    facts = replace(FACTS, disks=(FACTS.disks[0], replace(FACTS.disks[1], **change)))
    with pytest.raises(Refusal) as refused:
        installer.check(facts, name)
    assert words in str(refused.value)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize("contents", [Contents.SYSTEM, Contents.UNFINISHED])
def test_second_disk_with_slots_is_refused(contents: Contents) -> None:
    other = Disk(name="nda0", size_bytes=TARGET_BYTES, contents=contents, has_slots=True)
    facts = replace(FACTS, disks=(*FACTS.disks, other))
    with pytest.raises(Refusal, match="unplug it"):
        installer.check(facts, "ada0")
    assert installer.check(facts, "nda0") == other


@pytest.mark.parametrize(
    ("contents", "erase", "words"),
    [
        (Contents.NOTHING, False, ""),
        (Contents.UNFINISHED, False, ""),
        (Contents.SOMETHING, False, "is not empty"),
        (Contents.SOMETHING, True, ""),
        (Contents.SYSTEM, True, "remove the stick"),
    ],
)
def test_unattended_overwrites_only_what_it_was_allowed(
    contents: Contents, erase: bool, words: str
) -> None:
    disk = replace(FACTS.disks[1], contents=contents)
    facts = replace(FACTS, disks=(FACTS.disks[0], disk))
    answers = Answers(version=1, target="ada0", erase=erase)
    if not words:
        assert installer.check_unattended(facts, answers) == disk
        return
    with pytest.raises(Refusal, match=words):
        installer.check_unattended(facts, answers)


@pytest.mark.parametrize("part", [2, 4])
def test_damaged_stick_is_refused_before_anything_is_written(part: int) -> None:
    bad = stick()
    assert bad.table is not None
    bad.write(bad.table[part].start * SECTOR, b"\xff" * SECTOR)
    machine = Machine({"da0": bad, "ada0": blank()})
    with pytest.raises(Refusal, match="is not as it was made"):
        install(machine, "ada0")
    assert machine.writes == 0


def test_broken_seed_is_refused_before_anything_is_written() -> None:
    machine = Machine({"da0": stick(seed_toml=b"version = 2"), "ada0": blank()})
    with pytest.raises(UsageError, match=r"seed\.toml"):
        install(machine, "ada0")
    assert machine.writes == 0


def test_disk_that_forgets_is_an_error_and_does_not_start() -> None:
    class Forgetful(ModelDisk):
        def read(self, offset: int, size: int) -> bytes:
            content = super().read(offset, size)
            return content.replace(NEW[:SECTOR], bytes(SECTOR))

    machine = Machine({"da0": stick(), "ada0": Forgetful(TARGET_BYTES)})
    with pytest.raises(MaculaError, match="does not keep what is written"):
        install(machine, "ada0")
    assert machine.disks["ada0"].firmware() == set()


def test_disks_are_read_as_geom_and_gpart_print_them() -> None:
    disks = {"da0": stick(), "ada0": foreign(), "vtbd1": blank(), "cd0": blank()}
    disks["nda0"] = replace(blank(), size=0)
    machine = Machine(disks)
    seen = {disk.name: disk for disk in Installer(tools(machine)).look().disks}
    assert list(seen) == ["da0", "ada0", "vtbd1"]
    assert seen["da0"].is_in_use
    assert (seen["ada0"].contents, seen["ada0"].has_table) == (Contents.SOMETHING, True)
    assert (seen["vtbd1"].contents, seen["vtbd1"].has_table) == (Contents.NOTHING, False)
    assert seen["vtbd1"].describe() == "vtbd1  0.4 GB  QEMU HARDDISK  holds nothing"


def test_two_installers_or_none_are_refused() -> None:
    for disks in ({"da0": stick(), "da1": stick()}, {"ada0": blank()}):
        with pytest.raises(UsageError, match="holds an installer"):
            Installer(tools(Machine(disks))).look()


@pytest.mark.parametrize(
    "content",
    [
        b"", b"version = 2\ntarget = 'ada0'", b"version = 1", b"version = 1\ntarget = '/dev/ada0'",
        b"version = 1\ntarget = 'ada0'\nforce = true", b"version = 1\ntarget = 'ada0'\nerase = 1",
        b"version = 1\ntarget = 'ada0'\nending = 'explode'", b"\xff\xfe", b"x" * 5000,
        b"a = 2020-01-01",
    ],
)  # fmt: skip
def test_wrong_answers_are_one_line(content: bytes) -> None:
    with pytest.raises(UsageError) as refused:
        installer.parse_answers(content)
    assert str(refused.value).startswith("installer.toml")


def test_answers_may_come_from_windows() -> None:
    content = b'\xef\xbb\xbfversion = 1\r\ntarget = "ada0"\r\nending = "reboot"\r\n'
    wanted = Answers(version=1, target="ada0", ending=Ending.REBOOT)
    assert installer.parse_answers(content) == wanted


def talk(machine: Machine, typed: list[str]) -> list[str]:
    said: list[str] = []
    words = iter(typed)

    def ask(prompt: str) -> str:
        said.append(prompt)
        try:
            return next(words)
        except StopIteration:
            raise EOFError from None

    try:
        Conversation(Installer(tools(machine, said)), said.append, ask).hold()
    except EOFError:
        said.append("(hung up)")
    return said


def test_person_sees_the_disks_and_names_one_in_full() -> None:
    machine = Machine({"da0": stick(), "ada0": foreign()})
    said = talk(machine, ["", "ad", "da0", "ada0", ""])
    assert any("ada0  0.4 GB" in line for line in said)
    assert any("(the installer)" in line for line in said)
    assert any("there is no disk 'ad'" in line for line in said)
    assert any("ada0 is done" in line for line in said)
    check_whole(machine.disks["ada0"], None)
    assert machine.ran == [("shutdown", "-r", "now")]


def test_answers_on_the_stick_install_once_and_never_again() -> None:
    words = b'version = 1\ntarget = "ada0"\n'
    machine = Machine({"da0": stick(installer_toml=words, seed_toml=SEED), "ada0": blank()})
    talk(machine, [])
    check_whole(machine.disks["ada0"], SEED)
    assert machine.ran == [("shutdown", "-p", "now")]
    writes = machine.writes
    said = talk(machine, [])
    assert any("holds a whole MaculaOS already" in line for line in said)
    assert said[-1] == "(hung up)"
    assert machine.writes == writes


def test_files_of_a_partition_are_reached_through_a_mount(tmp_path: Path) -> None:
    work = tmp_path / "work"
    folder = str(work / "mounted")
    mounts: dict[tuple[str, ...], str | CommandFailed] = {
        ("umount", "-f", folder): CommandFailed((), 1, "not mounted"),
        ("umount", folder): "",
        ("mount", "-t", "msdosfs", "-o", "ro,noexec,nosuid", "/dev/da0p5", folder): "",
        ("mount", "-t", "ufs", "-o", "rw,noatime", "/dev/ada0p5", folder): "",
    }
    runner = ScriptedRunner(mounts)
    folders = MountedFolders(runner, work)
    assert folders.read("/dev/da0p5", "seed.toml", 10) is None
    folders.put("/dev/ada0p5", "seed.toml", SEED)
    assert ((work / "mounted/seed.toml").stat().st_mode & 0o777) == 0o600
    assert folders.read("/dev/da0p5", "seed.toml", 10) == SEED[:11]
    assert [argv[0] for argv in runner.asked] == ["umount", "mount", "umount"] * 3
