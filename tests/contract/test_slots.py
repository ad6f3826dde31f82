"""The recorded slots of a FreeBSD: read with our parser, and lived through by the model disk."""

from __future__ import annotations

import re

import pytest

from appliance.growth import next_growth
from appliance.model import ModelDisk
from appliance.slots import Mark, Slot, read_facts, set_argv, unset_argv
from contract import recordings
from jails.freebsd import gpart, kenv, mount

pytestmark = pytest.mark.contract

Marks = dict[Slot, set[str]]
INDICES = {3: Slot.A, 4: Slot.B}
_BACKUP_LINE = re.compile(r"^(\d+) +freebsd-ufs +\d+ +\d+ (\w+) +(?:\[([a-z,]+)\])?", re.MULTILINE)


def text_of(name: str) -> str:
    return (recordings.FOLDER / f"{name}.txt").read_text(encoding="utf-8")


def marks_shown(text: str) -> list[Marks]:
    """The marks of both slots in each ``gpart show`` of a recording."""
    blocks = re.findall(r"^=>.*?(?=\n\n)", text, re.MULTILINE | re.DOTALL)
    tables = [gpart.parse_tables(block)[0] for block in blocks]
    return [
        {INDICES[each.index]: set(each.attributes) for each in table.partitions
         if each.index in INDICES}
        for table in tables
    ]  # fmt: skip


def marks_saved(text: str) -> list[Marks]:
    """The marks of both slots in each ``gpart backup`` of a recording."""
    return [
        {INDICES[int(m[1])]: set(m[3].split(",")) if m[3] else set()
         for m in _BACKUP_LINE.finditer(block)}
        for block in text.split("GPT 128\n")[1:]
    ]  # fmt: skip


def marks_of(disk: ModelDisk) -> Marks:
    return {slot: set(map(str, marks)) for slot, marks in disk.table.marks.items()}


def test_model_tries_once_and_falls_back_as_the_bios_did() -> None:
    text = text_of("ab-slots-bios")
    armed, tried, fallen = marks_shown(text)
    disk = ModelDisk(300 << 20, content={slot: bytearray() for slot in Slot})
    said = disk.gpart(set_argv("vtbd0", 4, Mark.BOOTONCE))
    assert said == "bootonce set on vtbd0p4\n"
    assert said in text
    assert marks_of(disk) == armed
    assert (disk.select(set()), marks_of(disk)) == (Slot.B, tried)
    assert (disk.select(set()), marks_of(disk)) == (Slot.A, fallen)
    assert re.findall(r"slot=(\w)", text) == ["B", "A"]


def test_model_commits_as_the_firmware_did() -> None:
    text = text_of("ab-slots-uefi")
    (before,) = marks_saved(text_of("ab-slots-bios"))
    tried, committed = marks_saved(text)
    disk = ModelDisk(300 << 20, content={slot: bytearray() for slot in Slot})
    for argv in (set_argv("vtbd0", 4, Mark.BOOTFAILED), set_argv("vtbd0", 3, Mark.BOOTME)):
        disk.gpart(argv)
    assert marks_of(disk) == before
    assert disk.select(set()) is Slot.A
    disk.gpart(set_argv("vtbd0", 4, Mark.BOOTONCE))
    assert (disk.select(set()), marks_of(disk)) == (Slot.B, tried)
    said = "".join(
        disk.gpart(argv)
        for argv in (
            unset_argv("vtbd0", 4, Mark.BOOTONCE),
            set_argv("vtbd0", 4, Mark.BOOTME),
            unset_argv("vtbd0", 3, Mark.BOOTME),
        )
    )
    assert said in text
    assert marks_of(disk) == committed


def test_facts_are_read_from_a_whole_recorded_machine() -> None:
    host = {each.argv: each.stdout for each in recordings.load("host")}
    environment = kenv.parse_environment(host[kenv.read_argv()])
    # That machine's loader did not name the slot; the root and the loader's device agree.
    assert environment["currdev"] == "disk0p4:"
    facts = read_facts(
        mount.parse_mounts(host[mount.list_argv()]),
        {**environment, "macula.slot": environment.get("macula.slot", "B")},
        host[gpart.labels_argv()],
    )
    assert (facts.disk, facts.running, facts.is_on_trial) == ("vtbd0", Slot.B, False)
    assert facts.slots[Slot.B].marks == {Mark.BOOTFAILED, Mark.BOOTME}
    assert facts.slots[Slot.A].size_bytes == 300 << 20


def test_growth_takes_the_recorded_steps() -> None:
    shown = [each for each in recordings.load("disk-and-supervised-jail") if each.argv[0] in (
        "gpart", "growfs",
    )]  # fmt: skip
    # They were shown without labels, which sit on the same indices.
    small, grown = (
        each.stdout.replace("3  freebsd-ufs", "3  slotA").replace("4  freebsd-ufs", "4  slotB")
        .replace("5  freebsd-swap", "5  cfg").replace("6  freebsd-swap", "6  data")
        for each in shown if each.argv[1] == "show"
    )  # fmt: skip
    recovered = small.replace(" [CORRUPT]", "").replace("34  2457533", "40  4194224")
    steps = [
        next_growth(small, 300 << 20),
        next_growth(recovered, 300 << 20),
        next_growth(grown, 300 << 20),
    ]
    recorded = [each.argv for each in shown if each.argv[1] not in {"show", "status"}]
    assert [step.argv for step in steps if step] == recorded
    assert next_growth(grown, 2883544 * 512) is None
