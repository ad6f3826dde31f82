"""The stick of the installer: read back by strangers, and used by the installer that is on it."""

from __future__ import annotations

import hashlib
import json
from contextlib import nullcontext
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

import diskreader
import imageyard
import smallrelease
from appliance import installer
from appliance.device import RawDevice
from appliance.installing import SUMS, Installer, Tools
from diskreader import SECTOR, file_system, run
from imagebuilder.disk.checksums import write_sums
from imagebuilder.disk.signature import load_signing_key, sign_file
from imagebuilder.outputs import published, sizes_of, verify_folder
from imageyard import MIB, STEM, Yard, contents
from maculaos.errors import UsageError
from maculaos.host.commands import DEFAULT_TIMEOUT_S

if TYPE_CHECKING:
    from collections.abc import Mapping

INSTALLER = f"{STEM}-installer"
# What an image has already made when its installer is built, and what comes above.
SHARED = ("wheel", "catalogue", "packages", "sets", "unpack", "overlays", "tree", "slot", "boot")
OWN = tuple(
    f"installer-{name}"
    for name in (
        "checksums",
        "overlays",
        "tree",
        "slot",
        "seed",
        "disk",
        "zstd",
        "materials",
        "sums",
    )
)
NAMES = {
    *(f"{INSTALLER}.{kind}" for kind in ("img", "img.zst", "mtree", "spdx.json", "sizes.json")),
    *("SHA256SUMS", "SHA256SUMS.sig", "signing-key.pub"),
}
GEOMS = """\
Geom name: da0
   Mediasize: 33554432 (32M)
   Sectorsize: 512
   Mode: r1w0e0
   descr: a stick
Geom name: ada0
   Mediasize: 419430400 (400M)
   Sectorsize: 512
   Mode: r0w0e0
   descr: a disk
"""


def disk_of(yard: Yard) -> Path:
    return yard.folder / "out/installer" / f"{INSTALLER}.img"


def partition(yard: Yard, number: int) -> bytes:
    return diskreader.partition(disk_of(yard), number)


def sums_on(yard: Yard) -> str:
    """The list that the running installer reads, by dissect.ffs."""
    seen = file_system(partition(yard, 3))
    content: bytes = seen[str(SUMS).lstrip("/")].open().read()
    return content.decode()


def tables_of(disk: Path) -> str:
    """``gpart show -l`` of a machine with this disk in it, from what sgdisk says."""
    sectors = disk.stat().st_size // SECTOR
    lines = [f"=>  34  {sectors - 67}  da0  GPT  (32M)"]
    for row in diskreader.rows(disk):
        said = run("sgdisk", f"--info={row.number}", str(disk))
        mark = "[bootme]  " if b"0800000000000000" in said else ""
        lines.append(f"  {row.first}  {row.size}  {row.number}  {row.name}  {mark}(1M)")
    return "\n".join(lines) + "\n"


def test_sgdisk_finds_partitions_that_no_appliance_has(stick: Yard) -> None:
    disk = disk_of(stick)
    assert b"No problems found" in run("sgdisk", "--verify", str(disk))
    assert [(row.name, row.code) for row in diskreader.rows(disk)] == [
        ("boot", "A501"), ("efi", "EF00"), ("installer", "A503"), ("system", "A503"),
        ("seed", "0700"),
    ]  # fmt: skip
    assert b"0800000000000000" in run("sgdisk", "--info=3", str(disk))
    for number in (4, 5):
        assert b"0000000000000000" in run("sgdisk", f"--info={number}", str(disk))
    assert [row.size * SECTOR for row in diskreader.rows(disk)[2:]] == [6 * MIB, 6 * MIB, 8 * MIB]


def test_what_is_installed_is_the_image_byte_for_byte(stick: Yard, built: Yard) -> None:
    image = built.folder / "out" / f"{STEM}.img"
    assert partition(stick, 4) == diskreader.partition(image, 3)
    assert partition(stick, 2) == diskreader.partition(image, 2)
    assert partition(stick, 1) == diskreader.partition(image, 1)
    assert partition(stick, 3) != partition(stick, 4)
    # A machine that has both disks tells them apart.
    shown = (run("sgdisk", "--print", str(disk)) for disk in (image, disk_of(stick)))
    assert len({text.split(b"(GUID): ")[1][:36] for text in shown}) == 2


def test_the_sums_on_the_stick_are_those_of_whole_partitions(stick: Yard) -> None:
    esp, system = (hashlib.sha256(partition(stick, number)).hexdigest() for number in (2, 4))
    assert sums_on(stick) == f"{esp}  efi\n{system}  system\n"
    assert installer.parse_digests(sums_on(stick)) == installer.Digests(system=system, esp=esp)


def test_the_installer_finds_its_stick(stick: Yard) -> None:
    assert installer.find_stick(tables_of(disk_of(stick))) == installer.Stick(
        disk="da0", system_index=4, slot_bytes=6 * MIB, esp_bytes=MIB, fat_index=5
    )


def test_the_slot_of_the_stick_is_the_system_and_its_overlay(stick: Yard) -> None:
    on_stick, system = (file_system(partition(stick, number)) for number in (3, 4))
    overlay = imageyard.ROOT / "overlays/installer"
    own = {str(path.relative_to(overlay)) for path in overlay.rglob("*") if path.is_file()}
    for path in own:
        assert on_stick[path].open().read() == (overlay / path).read_bytes(), path
        assert path not in system or system[path].open().read() != (overlay / path).read_bytes()
    folders = {str(parent) for path in own for parent in Path(path).parents}
    templates = {f"conf/base/{path}" for path in own if path.startswith("etc/")}
    sums = str(SUMS).lstrip("/")
    assert set(on_stick) - set(system) <= own | folders | templates | {sums, str(Path(sums).parent)}
    assert set(system) <= set(on_stick)
    assert on_stick["usr/local/sbin/maculaos-install"].inode.di_mode & 0o7777 == 0o555
    members = {member.path: member.content for member in smallrelease.base_members()}
    for path in ("boot/pmbr", "boot/gptboot"):
        assert on_stick[path].open().read() == members[path]


def test_the_seed_is_fat_that_takes_the_answers_of_people(stick: Yard, tmp_path: Path) -> None:
    image, answers = tmp_path / "seed", tmp_path / "installer.toml"
    image.write_bytes(partition(stick, 5))
    assert b"SEED" in run("mlabel", "-s", "-i", str(image), "::")
    answers.write_text('version = 1\ntarget = "ada0"\n')
    run("mcopy", "-i", str(image), str(answers), "::/installer.toml")
    # There was nothing else, and no folder that firmware would take for one of its own.
    listed = run("mdir", "-/", "-b", "-i", str(image), "::").split()
    assert listed == [b"::/installer.toml"]
    read = run("mtype", "-i", str(image), "::/installer.toml")
    assert installer.parse_answers(read).target == "ada0"


class Silent:
    """Tools of a machine that say only which disks there are."""

    def __init__(self, answers: Mapping[tuple[str, ...], str]) -> None:
        self.answers = answers
        self.ran: list[tuple[str, ...]] = []

    def run(self, *argv: str, stdin: bytes = b"", timeout_s: float = DEFAULT_TIMEOUT_S) -> str:
        """See ``CommandRunner.run``."""
        del stdin, timeout_s
        self.ran.append(argv)
        return self.answers.get(argv, "")


class Files:
    """Disks and partitions of a machine as files of a folder; no partition of it is mounted."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def open(self, path: str, *, is_writable: bool) -> RawDevice:
        """See ``Devices.open``."""
        file = self.folder / Path(path).name
        file.touch()
        return RawDevice(file, is_writable=is_writable)

    def read(self, device: str, name: str, limit: int) -> bytes | None:
        """See ``Folders.read``."""
        del device, name, limit
        return None

    def put(self, device: str, name: str, content: bytes) -> None:
        """See ``Folders.put``."""
        raise AssertionError(f"{device}: no seed was given, and {name} has {len(content)} bytes")


def install(stick: Yard, machine: Path) -> Silent:
    """Install from the stick onto ada0 of a machine whose disks are files in ``machine``."""
    for number in (2, 4):
        content = machine / f"da0p{number}"
        if not content.exists():
            content.write_bytes(partition(stick, number))
    (machine / "sums").write_text(sums_on(stick))
    tools = Silent({installer.TABLES: tables_of(disk_of(stick)), installer.GEOMS: GEOMS})
    files = Files(machine)
    Installer(
        Tools(
            runner=tools,
            devices=files,
            folders=files,
            say=lambda _: None,
            lock=nullcontext,
            sums=machine / "sums",
        )
    ).install(partial(installer.check, name="ada0"))
    return tools


def test_the_installer_puts_the_system_into_both_slots(stick: Yard, tmp_path: Path) -> None:
    ran = install(stick, tmp_path).ran
    for slot in ("ada0p3", "ada0p4"):
        assert (tmp_path / slot).read_bytes() == partition(stick, 4)
    assert (tmp_path / "ada0p2").read_bytes() == partition(stick, 2)
    assert ran[-1] == ("gpart", "set", "-a", "bootme", "-i", "3", "ada0")


def test_the_installer_refuses_a_stick_that_was_written_badly(stick: Yard, tmp_path: Path) -> None:
    system = bytearray(partition(stick, 4))
    system[-1] ^= 1
    (tmp_path / "da0p4").write_bytes(system)
    with pytest.raises(installer.Refusal, match="/dev/da0p4 is not as it was made"):
        install(stick, tmp_path)
    assert not (tmp_path / "ada0p3").exists()


def test_files_bear_the_profile_and_lie_in_its_folder(stick: Yard) -> None:
    out = stick.folder / "out/installer"
    assert set(contents(out)) == NAMES
    assert set(published(out)) == NAMES - {"SHA256SUMS", "SHA256SUMS.sig"}
    assert contents(stick.folder / "out") == {}
    layers = sizes_of(out)["system"]["layers"]
    assert {"overlay base", "overlay installer", "checksums"} <= set(layers)
    materials = json.loads((out / f"{INSTALLER}.spdx.json").read_text())
    assert {"base", "kernel", "python312"} <= {each["name"] for each in materials["packages"]}


def test_the_compressed_stick_is_the_same_disk(stick: Yard, tmp_path: Path) -> None:
    packed = disk_of(stick).with_suffix(".img.zst")
    run("zstd", "-q", "-d", "--long=24", str(packed), "-o", str(tmp_path / "disk"))
    assert (tmp_path / "disk").read_bytes() == disk_of(stick).read_bytes()


def test_a_stick_whose_parts_do_not_fit_together_is_told(stick: Yard, tmp_path: Path) -> None:
    out = stick.folder / "out/installer"
    assert verify_folder(out, out / "signing-key.pub") == []
    content = bytearray(disk_of(stick).read_bytes())
    system = diskreader.rows(disk_of(stick))[3]
    content[(system.first + system.size) * SECTOR - 1] ^= 1
    (tmp_path / f"{INSTALLER}.img").write_bytes(content)
    # Its maker signed it all the same.
    sums = write_sums([tmp_path / f"{INSTALLER}.img"], tmp_path)
    sign_file(sums, load_signing_key(stick.checkout / "var/keys/image.pem"))
    assert verify_folder(tmp_path, out / "signing-key.pub") == [
        f"{INSTALLER}.img: its installer has other checksums"
    ]


def test_two_sticks_from_two_folders_are_byte_identical(stick: Yard, tmp_path: Path) -> None:
    other = Yard.make(tmp_path)
    other.build(other.stick("elsewhere"))
    first, second = (
        contents(folder / "installer") for folder in (stick.folder / "out", tmp_path / "elsewhere")
    )
    assert first.keys() == second.keys()
    assert [name for name in first if first[name] != second[name]] == []


def test_an_image_and_its_installer_share_what_they_have_in_common(yard: Yard) -> None:
    packages = str(yard.folder / "repository")
    image, stick = yard.order(packages=packages), yard.stick()
    yard.build(image)
    before = contents(image.out)
    assert yard.build(stick) == OWN
    assert contents(image.out) == before
    # Neither takes away what the other made.
    assert yard.build(image) == ()
    assert yard.build(stick) == ()
    for out in (image.out, stick.out):
        assert verify_folder(out, out / "signing-key.pub") == []
    (yard.checkout / "overlays/installer/etc/ttys").write_text("# Nobody.\n")
    assert yard.build(stick) == (
        *("installer-overlays", "installer-tree", "installer-slot"),
        *("installer-disk", "installer-zstd", "installer-sums"),
    )
    assert yard.build(image) == ()


def test_an_installer_without_an_image_makes_no_more_than_it_needs(stick: Yard) -> None:
    made = {path.name for path in (stick.folder / "out/.build/steps").iterdir()}
    assert made == {*SHARED, *OWN}


def test_another_architecture_has_a_stick_without_boot_code_for_bios(yard: Yard) -> None:
    yard.build(yard.stick(arch="aarch64", packages=str(yard.folder / "repository")))
    disk = yard.folder / "out/installer/maculaos-1.2.3-aarch64-installer.img"
    assert not any(disk.read_bytes()[:446])
    assert not any(diskreader.partition(disk, 1))


@pytest.mark.parametrize("path", ["boot/gptboot", "usr/local/bin/python3"])
def test_a_stick_that_could_not_install_stops_the_build(yard: Yard, path: str) -> None:
    prune = yard.checkout / "image/prune.toml"
    prune.write_text(prune.read_text() + f'[[remove]]\nreason = "a slip"\npaths = ["{path}"]\n')
    with pytest.raises(UsageError, match=f"there is no {path}"):
        yard.build(yard.stick())
    assert not (yard.folder / "out/installer/SHA256SUMS").exists()
