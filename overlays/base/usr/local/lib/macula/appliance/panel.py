"""Gathers what the status screen shows, and prints it where people look when it has changed.

Nothing is decided here and nothing may fail: what cannot be found out is shown as unknown. The
console is written to at most once in a while, so that it stays legible while things go to and fro.
"""

from __future__ import annotations

import json
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any, Final

from appliance import firstboot, identity
from appliance.configuration import RECONCILER_SETTINGS
from appliance.health import MachineHealth
from appliance.places import Places
from appliance.screen import Screen, render
from appliance.slots import UnclearSlots, read_facts
from appliance.startup import MachineFiles
from appliance.state import StateFile
from jails.freebsd import gpart, ifconfig, kenv, mount
from jails.freebsd.unreadable import UnreadableAnswer
from maculaos.errors import MaculaError
from maculaos.host.clock import Clock
from maculaos.host.commands import CommandFailed, CommandRunner

CONSOLE: Final = "dev/console"
# With a serial line the console is that, and the screen is a terminal of its own.
_SERIAL: Final = "dev/ttyu0"
_VIDEO: Final = "dev/ttyv0"
ISSUE: Final = "/etc/issue"
IMAGE: Final = "/usr/local/share/macula/image.json"
# Left by the last start, for whoever looks later.
PROBLEMS: Final = "/var/run/macula-problems"
_INTERVAL_S: Final = 15.0
# The console shows a new screen at most that often.
_QUIET_S: Final = 60.0
_STATUS_TIMEOUT_S: Final = 20.0
_REVISION_CHARACTERS: Final = 10


@dataclass(frozen=True, slots=True, kw_only=True)
class Panel:
    """Looks at this machine; changes nothing but consoles and ``/etc/issue``."""

    places: Places
    files: MachineFiles
    runner: CommandRunner
    clock: Clock

    def look(self) -> Screen:
        """How things stand now."""
        screen = Screen(
            hostname=self._run("hostname").strip() or "macula",
            version=self._version(),
            slot=self._slot(),
            addresses=self._addresses(),
            has_seed=self.files.read(firstboot.ACCEPTED) is not None,
            health=MachineHealth(self.runner).look().describe(),
            update=StateFile(self.places.record).load().describe(),
            ssh_key=self._fingerprint(identity.SSH_HOST_KEY),
            machine_key=self._fingerprint(identity.MACHINE_KEY),
            problems=tuple(
                (self.files.read(PROBLEMS) or b"").decode("utf-8", "replace").splitlines()
            ),
        )
        return self._with_reconciler(screen)

    def watch(self, rounds: int | None = None) -> None:
        """Print the screen when it changes; ``rounds`` looks, or for ever."""
        shown, printed_at = "", -_QUIET_S
        while rounds is None or rounds > 0:
            text, now = render(self.look()), self.clock.monotonic()
            if text != shown and now - printed_at >= _QUIET_S:
                self._print(text)
                shown, printed_at = text, now
            rounds = None if rounds is None else rounds - 1
            self.clock.sleep(_INTERVAL_S)

    def _print(self, text: str) -> None:
        """To serial line and screen, and to what getty(8) shows before it asks for a name."""
        with suppress(OSError):
            self.files.put(ISSUE, text.encode("ascii"), 0o644)
        root = self.places.root
        has_both = (root / _SERIAL).exists() and (root / _VIDEO).exists()
        for device in (CONSOLE, _VIDEO) if has_both else (CONSOLE,):
            with (
                suppress(OSError),
                (root / device).open("a", encoding="ascii", newline="\r\n") as opened,
            ):
                opened.write(f"\n{text}")

    def _run(self, *argv: str) -> str:
        try:
            return self.runner.run(*argv, timeout_s=_STATUS_TIMEOUT_S)
        except CommandFailed:
            return ""

    def _version(self) -> str:
        said = _table(self.files.read(IMAGE) or b"")
        version, commit = said.get("version", ""), str(said.get("commit", ""))
        freebsd = said.get("freebsd", "")
        return f"{version} ({commit[:_REVISION_CHARACTERS]}) on FreeBSD {freebsd}" if said else ""

    def _slot(self) -> str:
        try:
            facts = read_facts(
                mount.parse_mounts(self._run(*mount.list_argv())),
                kenv.parse_environment(self._run(*kenv.read_argv())),
                self._run(*gpart.labels_argv()),
            )
        except (UnclearSlots, UnreadableAnswer) as error:
            return f"unclear: {error}"
        return f"{facts.running}, on trial" if facts.is_on_trial else str(facts.running)

    def _addresses(self) -> tuple[str, ...]:
        try:
            found = ifconfig.parse_interfaces(self._run(*ifconfig.list_argv()))
        except UnreadableAnswer:
            return ()
        return tuple(
            f"{interface.name} {address}"
            for interface in found.values()
            for address in interface.addresses
            if not address.ip.is_loopback and not address.ip.is_link_local
        )

    def _fingerprint(self, path: str) -> str:
        content = self.files.read(path)
        try:
            return identity.fingerprint(identity.public_line(content)) if content else ""
        except MaculaError:
            return ""

    def _with_reconciler(self, screen: Screen) -> Screen:
        if self.files.read(RECONCILER_SETTINGS) is None:
            return screen
        said = _table(self._run("reconciler", "status", "--json").encode())
        if not said:
            return replace(screen, reconciler="does not answer")
        problems = said.get("problems") or []
        words = "converged" if said.get("converged") is True else "at work"
        follows = f"{said.get('url', '')} {said.get('branch', '')}".strip()
        revisions = said.get("revisions")
        applied = revisions.get("applied") if isinstance(revisions, dict) else None
        return replace(
            screen,
            reconciler=f"{words}, follows {follows}" + (f"; {problems[0]}" if problems else ""),
            revision=str(applied or "none yet")[:_REVISION_CHARACTERS],
        )


def _table(content: bytes) -> dict[str, Any]:
    try:
        said = json.loads(content)
    except ValueError:
        return {}
    return said if isinstance(said, dict) else {}
