"""Machines of a fleet that are folders: a disk that is a file, and a command with a fate.

Run as a program, this is the machine's ``maculaos-update``, ``reconciler`` and ``shutdown``; it
keeps the forms of the real ones, which docs/updates.md and their own tests hold.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[3]
PLAYBOOKS = ROOT / "image/ansible"
ANSIBLE = Path(sys.executable).with_name("ansible-playbook")
# Seconds; a play takes a few on an idle machine.
PLAY_TIMEOUT_S = 170
# How often a machine on trial is asked before it has a verdict.
ASKED_ON_TRIAL = 1


@dataclass(frozen=True, slots=True)
class Fleet:
    """Machines below one folder, and the playbooks."""

    folder: Path

    def add(self, group: str, name: str, fate: str = "healthy", **settings: str) -> Path:
        """A machine in a group of the inventory; returns its folder."""
        machine = self.folder / name
        machine.mkdir()
        slots: dict[str, Any] = {"running": "A", "phase": "idle", "last": None, "fate": fate}
        _save(machine, slots)
        inventory = self._inventory()
        hosts = inventory["all"]["children"].setdefault(group, {"hosts": {}})["hosts"]
        hosts[name] = self._own(machine) | settings
        self._hosts.parent.mkdir(exist_ok=True)
        self._hosts.write_text(json.dumps(inventory))
        return machine

    def play(self, name: str, **words: str) -> subprocess.CompletedProcess[str]:
        """Run a playbook; ``words`` are its extra variables."""
        extra = [each for word in words.items() for each in ("-e", "{}={}".format(*word))]
        return self.run("-i", str(self._hosts), name, *extra)

    def run(self, *words: str) -> subprocess.CompletedProcess[str]:
        """Run ``ansible-playbook`` in its folder, deaf to the settings of whoever tests."""
        return subprocess.run(
            [str(ANSIBLE), *words],
            cwd=PLAYBOOKS,
            env=self._environment(),
            capture_output=True,
            text=True,
            timeout=PLAY_TIMEOUT_S,
            check=False,
        )

    def done(self, name: str) -> list[str]:
        """What a machine was asked to do, without questions."""
        log = self.folder / name / "log"
        return log.read_text().splitlines() if log.exists() else []

    @property
    def _hosts(self) -> Path:
        return self.folder / "inventory/hosts.json"

    def _inventory(self) -> dict[str, Any]:
        if self._hosts.exists():
            return dict(json.loads(self._hosts.read_text()))
        # All that is not set below is as in the example.
        shutil.copytree(
            PLAYBOOKS / "inventory.example/group_vars", self.folder / "inventory/group_vars"
        )
        return {"all": {"children": {}}}

    @staticmethod
    def _own(machine: Path) -> dict[str, Any]:
        """Variables of one host, which nothing of the inventory sets aside."""
        fake = [sys.executable, __file__, str(machine)]
        return {
            "ansible_connection": "local",
            "ansible_python_interpreter": sys.executable,
            "macula_rescue_python": sys.executable,
            "macula_bundle_folder": str(machine),
            "macula_rescue_folder": str(machine),
            "macula_update": [*fake, "update"],
            "macula_reconciler": [*fake, "reconciler"],
            "macula_restart": [*fake, "restart"],
            "macula_rescue_restart": [*fake, "restart"],
            "macula_verdict_pause_s": 0,
            "macula_health_pause_s": 0,
        }

    def _stubs(self) -> Path:
        folder = self.folder / "stubs"
        folder.mkdir(exist_ok=True)
        for name in ("shutdown", "reboot", "poweroff", "halt"):
            stub = folder / name
            stub.write_text("#!/bin/sh\necho 'the real machine was to be stopped' >&2\nexit 1\n")
            stub.chmod(0o755)
        return folder

    def _environment(self) -> dict[str, str]:
        return {
            "HOME": str(self.folder),
            "LC_ALL": "C.UTF-8",
            # No playbook of a test may ever stop the machine that tests.
            "PATH": f"{self._stubs()}:{os.environ['PATH']}",
            "ANSIBLE_PIPELINING": "1",
            "ANSIBLE_LOCAL_TEMP": str(self.folder / "local"),
            "ANSIBLE_REMOTE_TEMP": str(self.folder / "remote"),
            "ANSIBLE_NOCOLOR": "1",
            "ANSIBLE_LOCALHOST_WARNING": "0",
        }


def missing(*programs: str) -> str:
    """Which of these programs this machine lacks; empty if none."""
    lacks = [name for name in programs if shutil.which(name) is None]
    return ", ".join(lacks if ANSIBLE.exists() else [*lacks, "ansible-core"])


def _load(machine: Path) -> dict[str, Any]:
    return dict(json.loads((machine / "slots.json").read_text()))


def _save(machine: Path, slots: dict[str, Any]) -> None:
    (machine / "slots.json").write_text(json.dumps(slots))


def _note(machine: Path, words: str) -> None:
    with (machine / "log").open("a") as log:
        log.write(f"{words}\n")


def _status(machine: Path) -> str:
    slots = _load(machine)
    if slots["phase"] == "trial":
        slots["asked"] = slots.get("asked", 0) + 1
        if slots["asked"] > ASKED_ON_TRIAL:
            _judge(slots)
        _save(machine, slots)
    return json.dumps(slots)


def _judge(slots: dict[str, Any]) -> None:
    is_well = slots["fate"] == "healthy"
    slots["phase"] = "idle"
    slots["last"] = {
        "ending": "committed" if is_well else "fell back",
        "reason": "it proved its health" if is_well else slots["fate"],
    }
    if not is_well:
        slots["running"] = "A" if slots["running"] == "B" else "B"


def _install(machine: Path, bundle: str) -> int:
    slots, content = _load(machine), Path(bundle).read_text()
    if slots.get("holds") == content:
        sys.stderr.write("maculaos-update: 2.0 runs already, in slot B; give --force\n")
        return 2
    _note(machine, f"install {content}")
    _save(machine, slots | {"phase": "armed", "holds": content})
    return 0


def _restart(machine: Path) -> int:
    slots = _load(machine)
    _note(machine, "restart")
    if slots["phase"] == "armed":
        slots |= {"phase": "trial", "running": "B" if slots["running"] == "A" else "A"}
    _save(machine, slots)
    return 0


def main() -> int:
    """One command of a machine."""
    machine, words = Path(sys.argv[1]), sys.argv[2:]
    match words:
        case ["update", "status", "--json"]:
            sys.stdout.write(_status(machine))
        case ["update", "install", bundle, "--no-reboot"]:
            return _install(machine, bundle)
        case ["reconciler", "status", "--json"]:
            sys.stdout.write(json.dumps({"converged": True}))
        case ["restart"]:
            return _restart(machine)
        case _:
            sys.stderr.write(f"no such command: {words}\n")
            return 64
    return 0


if __name__ == "__main__":
    sys.exit(main())
