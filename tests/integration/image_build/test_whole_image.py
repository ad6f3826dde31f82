"""A whole image, read back by programs that share no code with what wrote it."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import diskreader
import imageyard
import smallrelease
from diskreader import SECTOR, file_system, run
from imagebuilder.disk.layout import SLOTS
from imagebuilder.disk.signature import load_public_key
from imagebuilder.entries import Kind
from imagebuilder.filesystem.accounts import parse_accounts
from imagebuilder.filesystem.inodes import flag_bits
from imagebuilder.ledger import Ledger
from imagebuilder.outputs import verify_folder
from imagebuilder.release.source import sha256_of
from imagebuilder.steps.system import tree_in
from imageyard import STEM, TIME_S, Yard

if TYPE_CHECKING:
    from pathlib import Path

    from imagebuilder.filesystem.tree import Tree


def disk_of(yard: Yard) -> Path:
    return yard.folder / "out" / f"{STEM}.img"


def tree_of(yard: Yard) -> Tree:
    return tree_in(Ledger(yard.folder / "out/.build/steps").folder_of("tree"))


def partition(yard: Yard, number: int) -> bytes:
    return diskreader.partition(disk_of(yard), number)


def test_sgdisk_finds_the_partitions_and_nothing_to_complain_of(built: Yard) -> None:
    disk = str(disk_of(built))
    assert b"No problems found" in run("sgdisk", "--verify", disk)
    assert [(row.number, row.name) for row in diskreader.rows(disk_of(built))] == [
        (1, "boot"), (2, "efi"), (3, "slotA"), (4, "slotB"), (5, "cfg"), (6, "data"),
    ]  # fmt: skip
    assert b"0800000000000000" in run("sgdisk", "--info=3", disk)
    assert b"0000000000000000" in run("sgdisk", "--info=4", disk)


def test_both_slots_hold_the_same_bytes_and_boot_code_is_the_releases(built: Yard) -> None:
    first, second = (partition(built, number) for number in (3, 4))
    assert first == second
    assert any(first)
    members = {member.path: member.content for member in smallrelease.base_members()}
    gptboot, pmbr = members["boot/gptboot"], members["boot/pmbr"]
    assert gptboot is not None
    assert pmbr is not None
    assert partition(built, 1).startswith(gptboot)
    assert disk_of(built).read_bytes()[:446] == pmbr[:446]


def test_every_entry_is_in_the_slot_with_owner_mode_flags_and_bytes(built: Yard) -> None:
    tree = tree_of(built)
    seen = file_system(partition(built, 3))
    assert set(seen) == {entry.path for entry in tree.entries}
    by_path = tree.by_path()

    def text(path: str) -> str:
        source = by_path[path].source
        assert source is not None
        return source.read_text()

    accounts = parse_accounts(text("etc/master.passwd"), text("etc/group"))
    for entry in tree.entries:
        node, raw = seen[entry.path], seen[entry.path].inode
        owners = (accounts.user(entry.owner), accounts.group(entry.group))
        assert (raw.di_mode & 0o7777, raw.di_uid, raw.di_gid) == (entry.mode, *owners), entry.path
        assert (raw.di_flags, raw.di_mtime) == (flag_bits(entry.flags), TIME_S), entry.path
        if entry.kind is Kind.SYMLINK:
            assert node.link == entry.target, entry.path
        elif entry.source is not None:
            assert node.open().read() == entry.source.read_bytes(), entry.path
            assert node.inum == seen[entry.same_as or entry.path].inum, entry.path


def test_sets_packages_wheel_overlay_and_identity_are_all_there(built: Yard) -> None:
    seen = file_system(partition(built, 3))
    site = "usr/local/lib/python3.12/site-packages"
    for path in (
        *("sbin/init", "boot/kernel/kernel", "usr/local/bin/git", f"{site}/maculaos/__init__.py"),
        *("usr/local/bin/macula", "usr/local/bin/reconciler", "usr/local/lib/macula/thing.py"),
    ):
        assert path in seen, path
    assert seen["usr/local/bin/python3"].link == "python3.12"
    assert not any("__pycache__" in path for path in seen)
    assert seen["usr/local/etc/rc.d/node"].inode.di_mode & 0o7777 == 0o555
    assert seen["usr/local/sbin/macula-thing"].inode.di_mode & 0o7777 == 0o555
    assert seen["usr/local/lib/macula/thing.py"].inode.di_mode & 0o7777 == 0o644
    assert seen["var/db/git"].inode.di_uid == 964
    assert b"git_daemon:*:964:" in seen["etc/group"].open().read()
    assert seen["etc/motd.template"].open().read() == b"An appliance.\n"
    said = json.loads(seen["usr/local/share/macula/image.json"].open().read())
    assert (said["version"], said["freebsd"]) == ("1.2.3", "15.1-RELEASE")
    key = load_public_key(built.folder / "out/signing-key.pub")
    trusted = f"usr/local/share/macula/update/trusted/{key.key_id}.pub"
    assert seen[trusted].open().read().decode().strip() == key.raw.hex()


def test_templates_share_their_bytes_and_what_is_pruned_is_gone(built: Yard) -> None:
    seen = file_system(partition(built, 3))
    assert seen["conf/base/etc/group"].inum == seen["etc/group"].inum
    assert seen["conf/base/etc/md_size"].open().read() == b"32768\n"
    assert "etc/md_size" not in seen
    assert not {"usr/bin/cc", "usr/include", "rescue", "boot/kernel/if_iwlwifi.ko"} & set(seen)
    # The recipe keeps a module that prune.toml takes.
    assert "boot/kernel/snd_hda.ko" in seen


def test_partitions_for_the_machine_are_empty_file_systems(built: Yard) -> None:
    for number in (5, 6):
        seen = file_system(partition(built, number))
        assert list(seen) == [""]
        assert (seen[""].inode.di_uid, seen[""].inode.di_mode & 0o777) == (0, 0o755)


def test_mtools_finds_the_loader_where_firmware_looks(built: Yard, tmp_path: Path) -> None:
    image = tmp_path / "efi"
    image.write_bytes(partition(built, 2))
    listed = run("mdir", "-/", "-b", "-i", str(image), "::").split()
    files = [path for path in listed if not path.endswith(b"/")]
    assert files == [b"::/EFI/BOOT/BOOTX64.EFI"]
    loader = run("mtype", "-i", str(image), "::/EFI/BOOT/BOOTX64.EFI")
    members = {member.path: member.content for member in smallrelease.base_members()}
    assert loader == members["boot/gptboot.efi"]


def test_other_forms_hold_the_same_disk(built: Yard, tmp_path: Path) -> None:
    disk, out = disk_of(built), built.folder / "out"
    run("zstd", "-q", "-d", "--long=24", str(out / f"{STEM}.img.zst"), "-o", str(tmp_path / "d"))
    assert sha256_of(tmp_path / "d") == sha256_of(disk)
    qcow2 = str(out / f"{STEM}.qcow2")
    run("qemu-img", "compare", "-f", "raw", "-F", "qcow2", str(disk), qcow2)


def test_sums_signature_and_bundle_hold_and_a_change_is_told(built: Yard, tmp_path: Path) -> None:
    out = built.folder / "out"
    assert verify_folder(out, out / "signing-key.pub") == []
    for path in out.iterdir():
        if path.is_file():
            (tmp_path / path.name).write_bytes(path.read_bytes())
    spoilt = tmp_path / f"{STEM}.mtree"
    spoilt.write_text(spoilt.read_text() + "\n")
    assert verify_folder(tmp_path, out / "signing-key.pub") == [f"{STEM}.mtree: content differs"]
    sums = tmp_path / "SHA256SUMS"
    sums.write_text(sums.read_text().replace("a", "b"))
    (problem,) = verify_folder(tmp_path, out / "signing-key.pub")
    assert "signature" in problem


def test_bill_of_materials_and_sizes_name_every_part(built: Yard) -> None:
    out = built.folder / "out"
    materials = json.loads((out / f"{STEM}.spdx.json").read_text())
    names = {package["name"] for package in materials["packages"]}
    assert names == {"maculaos", "base", "kernel", "python312", "git-tiny"}
    sizes = json.loads((out / f"{STEM}.sizes.json").read_text())
    layers = sizes["system"]["layers"]
    assert {"base", "kernel", "packages", "overlay base", "identity", "accounts"} <= set(layers)
    assert sizes["files"][f"{STEM}.img"] == disk_of(built).stat().st_size
    assert sizes["slot"]["size_bytes"] == 6 * imageyard.MIB
    assert set(SLOTS) == {"slotA", "slotB"}


def test_another_architecture_has_its_own_loader_and_no_boot_code_for_bios(yard: Yard) -> None:
    yard.build(yard.order(arch="aarch64"))
    disk = yard.folder / "out/maculaos-1.2.3-aarch64.img"
    content = disk.read_bytes()
    assert not any(content[:446])
    assert not any(content[40 * SECTOR : 40 * SECTOR + 512 * 1024])
    esp = yard.folder / "out/.build/steps/boot/efi.fat"
    assert b"BOOTAA64.EFI" in run("mdir", "-/", "-b", "-i", str(esp), "::")
    assert verify_folder(yard.folder / "out", yard.folder / "out/signing-key.pub") == []
