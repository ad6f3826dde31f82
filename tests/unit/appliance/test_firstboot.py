"""First boot: whatever is cut, and however often, a machine becomes what its seed says."""

from __future__ import annotations

import stat
from typing import TYPE_CHECKING

import pytest

from appliance import firstboot, identity
from appliance.firstboot import Facts, Found, Put, SetAside
from maculaos.host.entropy import SeededEntropy
from unit.appliance.startyard import SEED, Machine, PowerCut

if TYPE_CHECKING:
    from pathlib import Path

KEYS = ("identity/machine.key", "identity/hostuuid", "ssh/ssh_host_ed25519_key")


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    made = Machine(tmp_path)
    (tmp_path / "cfg/seed.toml").write_bytes(SEED)
    return made


def test_a_machine_that_is_settled_is_given_no_step(machine: Machine) -> None:
    assert machine.start().steps
    assert machine.start().steps == ()


def test_restart_makes_etc_anew_and_leaves_what_lasts(machine: Machine) -> None:
    machine.start()
    lasting, hostname = machine.lasting(), machine.text("/etc/rc.conf.d/hostname")
    machine.restart()
    assert machine.start().steps
    assert machine.lasting() == lasting
    assert machine.text("/etc/rc.conf.d/hostname") == hostname


def writes_of_a_start(folder: Path) -> int:
    folder.mkdir()
    machine = Machine(folder)
    (folder / "cfg/seed.toml").write_bytes(SEED)
    machine.start()
    return machine.files.writes


def test_cut_at_every_write_ends_in_the_same_machine(tmp_path: Path) -> None:
    writes = writes_of_a_start(tmp_path / "whole")
    assert writes > len(KEYS)
    lost = 0
    for cut in range(writes):
        folder = tmp_path / f"cut{cut}"
        folder.mkdir()
        machine = Machine(folder)
        (folder / "cfg/seed.toml").write_bytes(SEED)
        machine.files.cut_after = cut
        with pytest.raises(PowerCut):
            machine.start()
        lost += len(machine.leftovers())
        held = {name: content for name, content in machine.lasting().items() if name in KEYS}
        machine.files.cut_after = None
        machine.restart()
        machine.start()
        after = machine.lasting()
        assert held.items() <= after.items(), "a key that was kept has changed"
        assert set(after) == {"seed.toml", "identity/seed.toml", "credentials/join-token", *KEYS}
        assert machine.leftovers() == []
        assert machine.start().steps == ()
        assert machine.tunables["kern.hostuuid"] == after["identity/hostuuid"].decode().strip()

    assert lost, "no cut left half a file: the model is broken"


def test_secrets_are_for_root_only(machine: Machine) -> None:
    machine.start()
    for path in (machine.root / "cfg").rglob("*"):
        mode = stat.S_IMODE(path.stat().st_mode)
        if path.name != "seed.toml" or path.parent.name == "identity":
            assert mode & 0o077 == 0, path


def test_two_machines_of_one_image_differ_in_every_key(tmp_path: Path) -> None:
    seen = []
    for number in range(2):
        folder = tmp_path / str(number)
        folder.mkdir()
        machine = Machine(folder)
        machine.seed_number = number * 10
        machine.start()
        seen.append(machine.lasting())
    assert all(seen[0][name] != seen[1][name] for name in KEYS)


def test_machine_without_seed_starts_and_says_how_to_give_one(tmp_path: Path) -> None:
    machine = Machine(tmp_path)
    plan = machine.start()
    assert plan.seed is None
    assert plan.problems == ()
    assert any("seed.toml on a FAT stick" in line for line in machine.said)
    assert 'ifconfig_vtnet0="SYNCDHCP"' in machine.text("/etc/rc.conf.d/network")
    assert 'reconciler_enable="NO"' in machine.text("/etc/rc.conf.d/reconciler")
    assert set(machine.lasting()) == set(KEYS)


def test_seed_on_a_stick_is_kept_and_then_the_stick_is_not_needed(tmp_path: Path) -> None:
    machine = Machine(tmp_path, sticks={"da0": None, "da0p1": SEED})
    machine.start()
    assert machine.lasting()["seed.toml"] == SEED
    machine.sticks.clear()
    machine.restart()
    machine.start()
    assert 'hostname="edge-7"' in machine.text("/etc/rc.conf.d/hostname")


def test_stick_changes_nothing_on_a_machine_that_has_a_seed(tmp_path: Path) -> None:
    machine = Machine(tmp_path, sticks={"da0": SEED.replace(b"edge-7", b"stranger")})
    (tmp_path / "cfg/seed.toml").write_bytes(SEED)
    machine.start()
    assert machine.lasting()["seed.toml"] == SEED
    assert not any(argv[:2] == ("mount", "-t") for argv in machine.asked)


def test_own_seed_counts_more_than_a_found_one_even_if_it_is_broken() -> None:
    found = Found(where="da0", content=SEED)
    for own in (b"version = 1\nhostname = 'own'\n", b"broken"):
        facts = Facts(
            contents={firstboot.SEED: own}, interfaces=(), uuid="", host_id=0, found=found
        )
        seed = firstboot.choose(facts).seed
        assert seed is None or seed.hostname == "own"


def test_broken_seed_leaves_the_one_before_in_force(machine: Machine) -> None:
    machine.start()
    (machine.root / "cfg/seed.toml").write_bytes(b"version = 1\nhostnam = 'x'\n")
    machine.restart()
    plan = machine.start()
    assert plan.seed is not None
    assert plan.seed.hostname == "edge-7"
    assert plan.problems == (
        "/cfg/seed.toml: hostnam: there is no such key",
        "/cfg/seed.toml: the one before it holds on",
    )


def test_broken_seed_on_a_stick_is_not_kept(tmp_path: Path) -> None:
    machine = Machine(tmp_path, sticks={"da0": b"version = 2\n"})
    plan = machine.start()
    assert "seed.toml" not in machine.lasting()
    assert plan.problems[0].startswith("seed.toml on da0: version: ")


def test_token_that_was_used_comes_back_only_with_another_seed(machine: Machine) -> None:
    machine.start()
    token = machine.root / "cfg/credentials/join-token"
    assert token.read_text() == "token-of-edge-7\n"
    token.unlink()
    machine.start()
    assert not token.exists()
    (machine.root / "cfg/seed.toml").write_bytes(SEED.replace(b"token-of", b"second-of"))
    machine.start()
    assert token.read_text() == "second-of-edge-7\n"


@pytest.mark.parametrize("part", identity.PARTS, ids=lambda part: part.what)
def test_damaged_part_is_set_aside_and_made_anew(machine: Machine, part: identity.Part) -> None:
    machine.start()
    before = machine.lasting()
    file = machine.root / part.path[1:]
    file.write_bytes(b"torn")
    plan = machine.start()
    assert plan.problems == (f"{part.path} was damaged; a new one was made",)
    assert file.with_name(f"{file.name}.damaged").read_bytes() == b"torn"
    changed = {name for name, content in machine.lasting().items() if before.get(name) != content}
    assert changed == {
        part.path.removeprefix("/cfg/"),
        f"{part.path.removeprefix('/cfg/')}.damaged",
    }
    assert machine.start().steps == ()


def test_without_cfg_nothing_is_written_below_it(tmp_path: Path) -> None:
    machine = Machine(tmp_path, has_cfg=False)
    plan = machine.start()
    assert machine.lasting() == {}
    assert any("/cfg is not mounted" in problem for problem in plan.problems)
    assert machine.text("/etc/rc.conf.d/network")


def test_any_prefix_of_a_plan_then_a_new_plan_converges() -> None:
    start = Facts(
        contents={}, interfaces=("em0",), uuid="", host_id=0, found=Found(where="da0", content=SEED)
    )
    number = len(firstboot.plan(start, SeededEntropy(1).draw).steps)
    for prefix in range(number + 1):
        contents: dict[str, bytes] = {}
        for step in firstboot.plan(start, SeededEntropy(1).draw).steps[:prefix]:
            if isinstance(step, Put):
                contents[step.path] = step.content
        later = Facts(contents=contents, interfaces=("em0",), uuid="", host_id=0, found=start.found)
        again = firstboot.plan(later, SeededEntropy(2).draw)
        contents |= {step.path: step.content for step in again.steps if isinstance(step, Put)}
        uuid = identity.read_uuid(contents[identity.HOST_UUID])
        settled = Facts(
            contents=contents, interfaces=("em0",), uuid=uuid, host_id=identity.host_id(uuid)
        )
        assert firstboot.plan(settled, SeededEntropy(3).draw).steps == ()


def test_steps_never_show_what_they_write(machine: Machine) -> None:
    plan = machine.start()
    shown = repr(plan.steps) + "".join(step.describe() for step in plan.steps)
    assert "token-of-edge-7" not in shown
    assert "PRIVATE" not in shown
    assert "token-of-edge-7" not in "".join(machine.said)
    assert SetAside("/cfg/x").describe() == "set /cfg/x aside as /cfg/x.damaged"
