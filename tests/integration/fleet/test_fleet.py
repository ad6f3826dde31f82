"""Playbooks against machines that are folders: whom they touch, where they stop, what they say."""

from __future__ import annotations

import hashlib
import json
import runpy
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from appliance import wishes
from appliance.slots import Mark, Slot, SlotFacts, SlotsFacts
from appliance.state import Bundle, State
from appliance.steps import Refusal
from imagebuilder.disk.esp import Esp, build_esp
from imagebuilder.disk.signature import generate_key, load_signing_key, sign_file
from integration.fleet.fleetyard import PLAYBOOKS, Fleet, missing
from maculaos.host.commands import SystemRunner
from maculaos.host.entropy import SeededEntropy

if TYPE_CHECKING:
    from pathlib import Path

MIB = 1 << 20
SEED = b'version = 1\nhostname = "edge-1"\n'

pytestmark = [
    pytest.mark.timeout(180),
    pytest.mark.skipif(
        bool(missing("zstd", "mcopy", "mkfs.vfat")),
        reason=f"not on this machine: {missing('zstd', 'mcopy', 'mkfs.vfat')}",
    ),
]


@pytest.fixture
def fleet(tmp_path: Path) -> Fleet:
    return Fleet(tmp_path)


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    path = tmp_path / "new.bundle"
    path.write_text("new")
    return path


@pytest.fixture
def release(tmp_path: Path) -> Path:
    """A signed release of a small disk; returns the compressed disk."""
    folder = tmp_path / "release"
    folder.mkdir()
    esp = folder / "esp"
    build_esp(SystemRunner(), Esp(size_bytes=4 * MIB, epoch=1_700_000_000, seed="s"), esp)
    disk = folder / "maculaos-1-amd64.img"
    disk.write_bytes(b"\x55" * MIB + esp.read_bytes() + bytes(range(256)) * (MIB // 256))
    subprocess.run(["zstd", "-q", "--long=29", disk], check=True)
    sizes = folder / "maculaos-1-amd64.sizes.json"
    sizes.write_text(json.dumps({"files": {disk.name: disk.stat().st_size}}))
    packed = disk.with_name(f"{disk.name}.zst")
    sums = folder / "SHA256SUMS"
    sums.write_text("".join(f"{_sha256(file)}  {file.name}\n" for file in (disk, packed, sizes)))
    generate_key(tmp_path / "key.pem", SeededEntropy(1))
    sign_file(sums, load_signing_key(tmp_path / "key.pem"))
    return packed


def _sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def test_update_stops_at_the_first_machine_that_falls_back_and_leaves_the_rest(
    fleet: Fleet, bundle: Path
) -> None:
    fleet.add("appliances", "edge-1")
    fleet.add("appliances", "edge-2", fate="mesh: node n1 sees nobody else")
    fleet.add("appliances", "edge-3")
    said = fleet.play("update.yml", macula_bundle=str(bundle))
    assert said.returncode != 0, said.stdout
    assert "edge-2: slot A runs; fell back: mesh: node n1 sees nobody else" in said.stdout
    assert fleet.done("edge-1") == fleet.done("edge-2") == ["install new", "restart"]
    assert fleet.done("edge-3") == []
    assert not (fleet.folder / "edge-1/update.bundle").exists()
    assert not (fleet.folder / "edge-3/update.bundle").exists()


def test_second_update_goes_on_where_the_first_one_stopped(fleet: Fleet, bundle: Path) -> None:
    done = fleet.add("appliances", "edge-1")
    slots = json.loads((done / "slots.json").read_text())
    (done / "slots.json").write_text(json.dumps(slots | {"holds": "new"}))
    fleet.add("appliances", "edge-2")
    said = fleet.play("update.yml", macula_bundle=str(bundle))
    assert said.returncode == 0, said.stdout + said.stderr
    assert fleet.done("edge-1") == []
    assert fleet.done("edge-2") == ["install new", "restart"]


def test_words_that_the_playbook_looks_for_are_those_of_the_updater() -> None:
    held = Bundle(digest="d", name="n", version="2", created="c", slot_bytes=1, slot_sha256="s")
    slots = {Slot.A: SlotFacts(index=3, size_bytes=1, marks=frozenset({Mark.BOOTME}))}
    slots[Slot.B] = SlotFacts(index=4, size_bytes=1)
    facts = SlotsFacts(disk="vtbd0", running=Slot.A, slots=slots)
    with pytest.raises(Refusal, match="runs already"):
        wishes.install(facts, State(contents={Slot.A: held}), held, is_forced=False)


def test_install_writes_the_signed_disk_with_its_seed_and_waits(
    fleet: Fleet, release: Path
) -> None:
    seed = fleet.folder / "seed.toml"
    seed.write_bytes(SEED)
    disk = fleet.folder / "disk"
    disk.write_bytes(b"\xee" * (16 * MIB))
    fleet.add("rescue", "edge-1", macula_disk=str(disk), macula_seed=str(seed))
    said = fleet.play("install.yml", macula_image=str(release), macula_key=_key(fleet))
    assert said.returncode == 0, said.stdout + said.stderr
    image = release.with_suffix("").read_bytes()
    written = disk.read_bytes()
    assert written[:MIB] == image[:MIB]
    assert written[5 * MIB : 6 * MIB] == image[5 * MIB :]
    # The table of what was there before is gone.
    assert not any(written[-34 * 512 :])
    assert _seed_on(disk) == SEED
    assert fleet.done("edge-1") == ["restart"]
    assert sorted(path.name for path in (fleet.folder / "edge-1").iterdir()) == [
        "log", "slots.json",
    ]  # fmt: skip


def test_install_of_another_image_than_the_signed_one_writes_nothing(
    fleet: Fleet, release: Path
) -> None:
    disk = fleet.folder / "disk"
    disk.write_bytes(b"\xee" * (16 * MIB))
    fleet.add("rescue", "edge-1", macula_disk=str(disk))
    release.write_bytes(release.read_bytes()[:-1] + b"\0")
    said = fleet.play("install.yml", macula_image=str(release), macula_key=_key(fleet))
    assert said.returncode != 0
    assert "is not the signed image; nothing was written" in said.stdout
    assert disk.read_bytes() == b"\xee" * (16 * MIB)
    assert fleet.done("edge-1") == []


def test_release_that_was_signed_by_another_or_changed_is_refused(
    fleet: Fleet, release: Path
) -> None:
    sums = release.with_name("SHA256SUMS")
    good = sums.read_text()
    for change in (good.replace("0", "1", 1), good + good, ""):
        sums.write_text(change)
        said = _check_release(release, _key(fleet))
        assert (said.returncode, said.stdout) == (1, "")
        assert "the signature of SHA256SUMS is not good" in said.stderr
    sums.write_text(good)
    assert _check_release(release, _key(fleet)).returncode == 0
    generate_key(fleet.folder / "other.pem", SeededEntropy(2))
    assert _check_release(release, f"{fleet.folder}/other.pem.pub").returncode == 1
    release.with_name("maculaos-1-amd64.sizes.json").write_text("{}")
    assert "sizes.json is not as" in _check_release(release, _key(fleet)).stderr


def _check_release(image: Path, key: str) -> subprocess.CompletedProcess[str]:
    argv = [sys.executable, str(PLAYBOOKS / "files/check_release.py"), str(image), key]
    return subprocess.run(argv, capture_output=True, text=True, check=False)


def _write_disk(*words: object) -> subprocess.CompletedProcess[str]:
    argv = [sys.executable, str(PLAYBOOKS / "files/write_disk.py"), *map(str, words)]
    return subprocess.run(argv, capture_output=True, text=True, check=False)


def test_disk_that_is_used_or_small_or_none_is_refused(tmp_path: Path) -> None:
    small = tmp_path / "disk"
    small.write_bytes(bytes(MIB))
    for words in ((small, 2 * MIB), (tmp_path, MIB), (tmp_path / "none", MIB)):
        said = _write_disk("check", *words)
        assert said.returncode == 1
        assert said.stderr.startswith("write_disk: ")
        assert said.stderr.count("\n") == 1
    assert _write_disk("check", small, MIB).returncode == 0
    assert _write_disk("check", small).returncode == 2


@pytest.mark.parametrize(
    ("device", "is_user"),
    [("/dev/sda", 1), ("/dev/sda2", 1), ("/dev/sdap1", 1), ("/dev/sdaa", 0), ("/dev/sdb1", 0)],
)
def test_partitions_of_the_disk_count_as_its_users(device: str, is_user: int) -> None:
    path = PLAYBOOKS / "files/write_disk.py"
    program = runpy.run_path(str(path))
    assert bool(program["user_of"]("/dev/sda", [device])) == bool(is_user)


def test_image_that_unpacks_to_something_else_leaves_a_disk_that_does_not_start(
    tmp_path: Path, release: Path
) -> None:
    disk = tmp_path / "disk"
    image = release.with_suffix("")
    for size, whole in ((image.stat().st_size, "0" * 64), (5 * MIB, _sha256(image))):
        disk.write_bytes(b"\xee" * (16 * MIB))
        said = _write_disk("write", disk, size, release, _sha256(release), whole)
        assert said.returncode == 1
        assert "does not unpack to the signed disk" in said.stderr
        assert not any(disk.read_bytes()[:MIB])


def test_playbooks_and_example_are_sound(fleet: Fleet) -> None:
    argv = ["-i", str(PLAYBOOKS / "inventory.example"), "--syntax-check"]
    said = fleet.run(*argv, "install.yml", "update.yml")
    assert said.returncode == 0, said.stderr
    assert "WARNING" not in said.stderr


def _key(fleet: Fleet) -> str:
    return str(fleet.folder / "key.pem.pub")


def _seed_on(disk: Path) -> bytes:
    argv = ["mcopy", "-i", f"{disk}@@{MIB}", "::seed.toml", "-"]
    return subprocess.run(argv, capture_output=True, check=True).stdout
