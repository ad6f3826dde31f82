"""The start of a machine: gathers the facts, carries out the steps, says what people should know.

What is to be done is decided in ``appliance.firstboot``; what grows, in ``appliance.growth``. A
step that fails is said and passed over: a machine that starts with less is easier to mend than one
that does not start.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

from appliance import firstboot, tuning
from appliance.configuration import ethernet
from appliance.device import RawDevice
from appliance.firstboot import Facts, Put, Remove, SetAside, SetTunable
from appliance.growth import LABEL, filesystem_bytes, next_growth
from appliance.media import Media
from appliance.places import Places
from appliance.seed import BYTES_MAX
from jails.freebsd import gpart, mount, sysctl
from maculaos.errors import MaculaError
from maculaos.host.clock import Clock
from maculaos.host.commands import CommandFailed, CommandRunner
from maculaos.host.entropy import Entropy
from maculaos.host.files import (
    make_private_directory,
    remove_leftovers,
    sync_directory,
    write_atomically,
)

if TYPE_CHECKING:
    from pathlib import Path

    from appliance.firstboot import Plan, Step

_MEMORY: Final = "hw.physmem"
# Read by rc.d/sysctl after /etc/sysctl.conf.
TUNED: Final = "/etc/sysctl.conf.local"
_TUNED_MODE: Final = 0o644
# A stick needs a moment until the kernel knows it; only a machine without a seed waits.
LOOKS: Final = 5
LOOK_PAUSE_S: Final = 2.0
_GROWTH_STEPS_MAX: Final = 4
_GROWTH_TIMEOUT_S: Final = 600.0
# In this order: who needs a name before who needs a network, and that before who uses it.
_SERVICES: Final = ("hostname", "syslogd", "pf", "netif", "routing", "ntpd", "reconciler")
# pf keeps the states of connections, such as the one that asks for this.
_RELOADED: Final = frozenset({"pf"})


class MachineFiles:
    """The files of this machine, below its root; every change is whole, or did not happen."""

    def __init__(self, root: Path) -> None:
        self._root = root

    def read(self, path: str) -> bytes | None:
        """The content, cut where it is longer than any of ours; None if there is no such file.

        What is there and cannot be read is empty: damaged, which is not the same as missing.
        """
        try:
            with self._at(path).open("rb") as opened:
                return opened.read(BYTES_MAX + 1)
        except (FileNotFoundError, NotADirectoryError):
            return None
        except OSError:
            return b""

    def put(self, path: str, content: bytes, mode: int) -> None:
        """Return when the file would survive a power cut, where its partition does."""
        file = self._at(path)
        if path.startswith(f"{firstboot.CFG}/"):
            make_private_directory(file.parent)
        else:
            file.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
        remove_leftovers(file)
        write_atomically(file, content, mode)

    def remove(self, path: str) -> None:
        """Delete the file if it is there."""
        file = self._at(path)
        file.unlink(missing_ok=True)
        sync_directory(file.parent)

    def set_aside(self, path: str) -> None:
        """Rename the file; an older one that was set aside is lost."""
        file = self._at(path)
        file.replace(file.with_name(f"{file.name}.damaged"))
        sync_directory(file.parent)

    def _at(self, path: str) -> Path:
        return self._root / path.removeprefix("/")


@dataclass(frozen=True, slots=True, kw_only=True)
class Tools:
    """What a start needs of the machine."""

    places: Places
    files: MachineFiles
    runner: CommandRunner
    media: Media
    clock: Clock
    entropy: Entropy
    say: Callable[[str], None]


class Startup:
    """Makes a machine what its seed says."""

    def __init__(self, tools: Tools) -> None:
        self._tools = tools

    def settle(self, *, is_running: bool) -> Plan:
        """Do what is due, and return what was. ``is_running``: restart the services it concerns."""
        plan = firstboot.plan(self.facts(), self._tools.entropy.draw)
        done = [step for step in plan.steps if self._attempt(step)]
        for problem in plan.problems:
            self._tools.say(problem)
        if is_running:
            self._restart({each.service for each in done if isinstance(each, Put | Remove)})
        if plan.seed is None:
            self._tools.say("no seed: give one as seed.toml on a FAT stick, then reboot")
        return plan

    def facts(self) -> Facts:
        """The machine as it is."""
        tools = self._tools
        values = sysctl.parse_tunables(
            tools.runner.run(*sysctl.read_argv(firstboot.HOST_UUID, firstboot.HOST_ID))
        )
        mounts = mount.parse_mounts(tools.runner.run(*mount.list_argv()))
        has_cfg = any(each.path == firstboot.CFG for each in mounts)
        facts = Facts(
            contents=self._contents(firstboot.KEPT) if has_cfg else {},
            interfaces=ethernet(tools.runner.run("ifconfig", "-l").split()),
            uuid=values[firstboot.HOST_UUID],
            host_id=int(values[firstboot.HOST_ID]) % (1 << 32),
            has_cfg=has_cfg,
        )
        if firstboot.SEED not in facts.contents:
            facts = replace(facts, found=self._look())
        paths = firstboot.paths(facts)
        return replace(facts, contents={**facts.contents, **self._contents(paths)})

    def grow(self) -> None:
        """Let the data partition take what the disk has beyond the image; says what it does."""
        tools = self._tools
        try:
            for _ in range(_GROWTH_STEPS_MAX):
                tables = tools.runner.run(*gpart.labels_argv())
                step = next_growth(tables, self._data_bytes())
                if step is None:
                    return
                tools.say(f"{step.reason}: {' '.join(step.argv)}")
                tools.runner.run(*step.argv, timeout_s=_GROWTH_TIMEOUT_S)
        except (MaculaError, OSError) as error:
            tools.say(f"the data partition stays as it is: {error}")

    def tune(self) -> None:
        """Set the tunables for a machine of this size; a name that is not known is passed over.

        What was set is also kept in ``TUNED``: rc.d/sysctl_lastload reads ``/etc/sysctl.conf``, the
        values of small machines, once more when the machine is nearly up, and that file after it.
        """
        tools = self._tools
        memory = int(tools.runner.run(*sysctl.value_argv(_MEMORY)))
        held = ""
        for name, value in tuning.tunables(memory):
            try:
                # With -i, nothing is answered about a name that is not known.
                if tools.runner.run("sysctl", "-i", f"{name}={value}"):
                    held += f"{name}={value}\n"
            except CommandFailed as error:
                tools.say(f"{name} stays as it is: {error.stderr.strip()}")
        try:
            tools.files.put(TUNED, held.encode(), _TUNED_MODE)
        except OSError as error:
            tools.say(f"cannot write {TUNED}: {error}")

    def _contents(self, paths: tuple[str, ...]) -> dict[str, bytes]:
        read = {path: self._tools.files.read(path) for path in paths}
        return {path: content for path, content in read.items() if content is not None}

    def _look(self) -> firstboot.Found | None:
        for look in range(LOOKS):
            if look:
                self._tools.clock.sleep(LOOK_PAUSE_S)
            found = self._tools.media.find()
            if found is not None:
                return found
        return None

    def _attempt(self, step: Step) -> bool:
        try:
            self._take(step)
        except (OSError, CommandFailed) as error:
            self._tools.say(f"cannot {step.describe()}: {error}")
            return False
        self._tools.say(step.describe())
        return True

    def _take(self, step: Step) -> None:
        match step:
            case Put():
                self._tools.files.put(step.path, step.content, step.mode)
            case Remove():
                self._tools.files.remove(step.path)
            case SetAside():
                self._tools.files.set_aside(step.path)
            case SetTunable():
                self._tools.runner.run(*sysctl.set_argv(step.name, step.value))

    def _restart(self, services: set[str]) -> None:
        for service in _SERVICES:
            if service not in services:
                continue
            verb = "reload" if service in _RELOADED else "restart"
            try:
                self._tools.runner.run("service", service, verb, timeout_s=120)
            except CommandFailed as error:
                self._tools.say(f"{service} does not {verb}: {error.stderr.strip()}")

    def _data_bytes(self) -> int:
        device = RawDevice(self._tools.places.labels / LABEL, is_writable=False)
        try:
            return filesystem_bytes(device.read_at)
        finally:
            device.close()
