"""Updates on a booted image: those that commit, and those that must lead back to what worked.

Whatever happens, the machine has to come up again by itself on a slot that works, and to say why.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import pytest

from vm.bundles import INIT_PATH, NO_INIT, Forge
from vm.ssh import RemoteFailed

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from vm.booted import Appliance, Bench

    Fresh = Callable[..., Appliance]

_TARGET: Final = "/data/update.bundle"
_INSTALL_S: Final = 300.0
# Health has to last for 30 s, and may take 600 s to come: seconds of the guest, not of its work.
_COMMIT_S: Final = 120.0
_TRIAL_FAILS_S: Final = 700.0
_BEFORE: Final = {"A": ["bootme"], "B": []}
# A kernel waits 5 s after a panic, and the boot before it takes its time too.
_PANIC_S: Final = 90.0


@pytest.fixture(scope="session")
def forge(tmp_path_factory: pytest.TempPathFactory) -> Forge:
    """Makes bundles; the slot of the image is copied out of it once."""
    return Forge(tmp_path_factory.mktemp("bundles"))


@pytest.fixture(scope="session")
def sound(forge: Forge, bench: Bench) -> Path:
    """A bundle that holds the very system that runs, under a later version."""
    return forge.bundle(forge.slot_of(bench.image), "99.1")


@pytest.fixture(scope="session")
def panicking(forge: Forge, bench: Bench) -> Path:
    """A bundle whose kernel finds no init, and so panics."""
    return forge.bundle(forge.spoil(forge.slot_of(bench.image), INIT_PATH, NO_INIT), "99.2")


def test_sound_update_proves_itself_and_is_kept(fresh: Fresh, forge: Forge, sound: Path) -> None:
    appliance = _trusting(fresh(), forge)
    _install(appliance, sound)
    _restart_into_trial(appliance)
    assert appliance.marks()["A"] == ["bootme"], "until it is committed the old one is the way back"
    _expect_ending(appliance, "committed", _COMMIT_S)
    assert appliance.marks() == {"A": [], "B": ["bootme"]}
    appliance.power_cycle()
    assert appliance.slot() == "B"


def test_two_updates_in_a_row_lead_back_to_the_first_slot(
    fresh: Fresh, forge: Forge, bench: Bench, sound: Path
) -> None:
    appliance = _trusting(fresh(), forge)
    second = forge.bundle(forge.slot_of(bench.image), "99.3")
    for bundle, slot in ((sound, "B"), (second, "A")):
        _install(appliance, bundle)
        _restart_into_trial(appliance)
        assert appliance.slot() == slot
        _expect_ending(appliance, "committed", _COMMIT_S)


def test_bundle_that_nobody_trusted_signed_is_refused(
    fresh: Fresh, forge: Forge, bench: Bench
) -> None:
    appliance = _trusting(fresh(), forge)
    stranger = forge.bundle(forge.slot_of(bench.image), "99.4", key="stranger")
    appliance.ssh.copy(stranger, _TARGET)
    with pytest.raises(RemoteFailed, match="status 2"):
        appliance.ssh.run("maculaos-update", "install", _TARGET, timeout_s=_INSTALL_S)
    assert appliance.marks() == _BEFORE
    assert appliance.update_status()["phase"] == "idle"


def test_corrupt_bundle_never_boots(fresh: Fresh, forge: Forge, sound: Path) -> None:
    appliance = _trusting(fresh(), forge)
    appliance.ssh.copy(forge.corrupt(sound), _TARGET)
    with pytest.raises(RemoteFailed):
        appliance.ssh.run("maculaos-update", "install", _TARGET, timeout_s=_INSTALL_S)
    assert appliance.marks() == _BEFORE
    assert appliance.update_status()["slots"]["B"]["spoiled"]
    appliance.power_cycle()
    assert appliance.slot() == "A"


def test_kernel_that_panics_falls_back_and_is_remembered(
    fresh: Fresh, forge: Forge, panicking: Path
) -> None:
    appliance = _trusting(fresh(), forge)
    _install(appliance, panicking)
    appliance.expect_restart()
    appliance.machine.wait_text("slot=B", _PANIC_S)
    appliance.machine.wait_text("panic:", _PANIC_S)
    # The one panic that was wanted.
    appliance.expect_restart()
    appliance.ssh.hang_up()
    appliance.machine.wait_text("slot=A", _PANIC_S)
    appliance.wait_boot()
    _expect_ending(appliance, "fell back", _COMMIT_S)
    assert "bootme" in appliance.marks()["A"]
    with pytest.raises(RemoteFailed, match="failed here before"):
        appliance.ssh.run("maculaos-update", "install", _TARGET, timeout_s=_INSTALL_S)


def test_health_that_never_comes_falls_back_with_the_reason(
    fresh: Fresh, forge: Forge, sound: Path
) -> None:
    # The reconciler can follow nothing, so it never converges.
    appliance = _trusting(fresh(seed='[repository]\nurl = "file:///data/nowhere.git"\n'), forge)
    _install(appliance, sound)
    _restart_into_trial(appliance)
    # Waiting for health is silent on the console.
    appliance.eventually("back in A", lambda: _runs(appliance, "A"), _TRIAL_FAILS_S)
    _expect_ending(appliance, "fell back", _COMMIT_S)
    assert "reconciler" in appliance.update_status()["last"]["reason"]


def test_cut_while_a_slot_is_written_leaves_the_machine_as_it_was(
    fresh: Fresh, forge: Forge, sound: Path
) -> None:
    appliance = _trusting(fresh(), forge)
    appliance.ssh.copy(sound, _TARGET)
    installing = appliance.ssh.start("maculaos-update", "install", "--no-reboot", _TARGET)
    appliance.eventually("it writes", lambda: _phase(appliance) == "writing", 60)
    appliance.cut()
    installing.kill()
    installing.communicate()
    appliance.machine.power_on()
    appliance.wait_boot()
    assert appliance.slot() == "A"
    assert appliance.marks() == _BEFORE
    # The same again goes on where it stopped.
    _install(appliance, sound)
    _restart_into_trial(appliance)
    _expect_ending(appliance, "committed", _COMMIT_S)


def test_cut_between_arming_and_reboot_tries_the_new_system(
    fresh: Fresh, forge: Forge, sound: Path
) -> None:
    appliance = _trusting(fresh(), forge)
    _install(appliance, sound, "--no-reboot")
    assert _phase(appliance) == "armed"
    appliance.power_cycle()
    assert appliance.slot() == "B"
    _expect_ending(appliance, "committed", _COMMIT_S)


@pytest.mark.parametrize("moment", ["loader", "kernel", "login"])
def test_cut_during_the_trial_leads_back(
    fresh: Fresh, forge: Forge, sound: Path, moment: str
) -> None:
    appliance = _trusting(fresh(), forge)
    _install(appliance, sound)
    appliance.expect_restart()
    signs = {"loader": "slot=B", "kernel": "Trying to mount root from", "login": "login: "}
    appliance.machine.wait_text(signs[moment], _PANIC_S)
    appliance.power_cycle()
    assert appliance.slot() == "A"
    _expect_ending(appliance, "fell back", _COMMIT_S)


def test_reset_during_the_trial_leads_back(fresh: Fresh, forge: Forge, sound: Path) -> None:
    appliance = _trusting(fresh(), forge)
    _install(appliance, sound)
    _restart_into_trial(appliance)
    appliance.machine.reset()
    appliance.ssh.hang_up()
    appliance.wait_boot()
    assert appliance.slot() == "A"


def test_cut_while_it_is_committed_leaves_a_system_that_boots(
    fresh: Fresh, forge: Forge, sound: Path
) -> None:
    appliance = _trusting(fresh(), forge)
    _install(appliance, sound)
    _restart_into_trial(appliance)
    committing = appliance.ssh.start("maculaos-update", "commit")
    appliance.eventually("it is decided", lambda: _phase(appliance) != "trial", 60)
    appliance.cut()
    committing.kill()
    committing.communicate()
    appliance.machine.power_on()
    appliance.wait_boot()
    # Proved it was: either it is kept already, or it is tried once more and kept then.
    assert appliance.slot() == "B"
    _expect_ending(appliance, "committed", _COMMIT_S)


def test_operator_can_leave_the_trial(fresh: Fresh, forge: Forge, sound: Path) -> None:
    appliance = _trusting(fresh(), forge)
    _install(appliance, sound)
    _restart_into_trial(appliance)
    appliance.expect_restart()
    _ask_and_lose(appliance, "maculaos-update", "rollback")
    appliance.wait_boot()
    assert appliance.slot() == "A"


def _trusting(appliance: Appliance, forge: Forge) -> Appliance:
    """The machine, with the key of the forge among those of its operator."""
    appliance.ssh.run("mkdir", "-p", "-m", "700", "/cfg/update/trusted")
    appliance.ssh.copy(forge.public_file(), "/cfg/update/trusted/test.pub")
    return appliance


def _install(appliance: Appliance, bundle: Path, *options: str) -> None:
    """Fill the spare slot; without ``--no-reboot`` the machine restarts at the end."""
    appliance.ssh.copy(bundle, _TARGET)
    # The reboot would end this very connection, so it is asked for on its own.
    appliance.ssh.run("maculaos-update", "install", "--no-reboot", _TARGET, timeout_s=_INSTALL_S)
    if "--no-reboot" not in options:
        appliance.expect_restart()
        _ask_and_lose(appliance, "shutdown", "-r", "now")


def _ask_and_lose(appliance: Appliance, *argv: str) -> None:
    """Ask for what ends the connection."""
    appliance.ssh.succeeds(*argv)
    appliance.ssh.hang_up()


def _restart_into_trial(appliance: Appliance) -> None:
    appliance.wait_boot()
    status = appliance.update_status()
    assert status["on_trial"] or status["last"], status


def _expect_ending(appliance: Appliance, ending: str, timeout_s: float) -> None:
    def ended() -> bool:
        status = appliance.update_status()
        last = status["last"]
        return status["phase"] == "idle" and last is not None and last["ending"] == ending

    appliance.eventually(f"the update {ending}", ended, timeout_s)


def _phase(appliance: Appliance) -> str:
    return str(appliance.update_status()["phase"])


def _runs(appliance: Appliance, slot: str) -> bool:
    """Whether that slot runs; False while the machine restarts."""
    try:
        return appliance.slot() == slot
    except RemoteFailed:
        appliance.ssh.hang_up()
        return False
