"""What the kernel holds of one jail, and taking it away again: looked for, never remembered.

Each step can be repeated and finds what any crash left. What is not provably this jail's is left
alone: a jail counts by name and folder, a mount by its folder, an interface by its derived name.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from jails.freebsd import ifconfig, jail, jls, mount, pfctl, rctl
from jails.naming import derive, mac_of_bridge
from jails.runtime import JailError
from maculaos.host.commands import CommandFailed

if TYPE_CHECKING:
    from jails.freebsd.ifconfig import Interface
    from jails.freebsd.jls import JailRow
    from jails.freebsd.place import Place, Record
    from maculaos.host.clock import Clock
    from maculaos.host.commands import CommandRunner

_LOOK_AGAIN_S = 0.1
# Unmounting is asked for that often, then forced; a dying jail is waited for as long.
_PATIENT_TRIES = 10
_TRIES = 20
# Beside the time that the program has to end: hooks, unmounting.
_REMOVE_S = 60.0
# The first octet of what FreeBSD draws for an epair.
_DRAWN_MAC = "02:"


class Kernel:
    """The machine's jails, mounts, interfaces and rules, as far as they are of our jails."""

    def __init__(self, runner: CommandRunner, clock: Clock) -> None:
        self._run = runner.run
        self._clock = clock

    def rows(self) -> tuple[JailRow, ...]:
        """Every jail of the machine, whoever made it."""
        return jls.parse_jls(self._run(*jls.jls_argv()))

    def is_living(self, place: Place) -> bool:
        """Whether the jail of that place lives, whoever started it."""
        return any(_is_at(row, place) and not row.is_dying for row in self.rows())

    def refuse_stranger(self, place: Place) -> None:
        """Raise ``JailError`` if a jail of somebody else has the name."""
        stranger = self._stranger(place)
        if stranger is not None:
            what = f"a jail {stranger.name} that is not ours runs in {stranger.path}"
            raise JailError(place.name, what, "remove it, or take another name")

    def interfaces(self) -> dict[str, Interface]:
        """The interfaces of the machine's own stack."""
        return ifconfig.parse_interfaces(self._run(*ifconfig.list_argv()))

    def mounts_of(self, place: Place) -> list[mount.Mount]:
        """What is mounted on or below the jail's root, in the order of mounting."""
        root = str(place.root)
        mounted = mount.parse_mounts(self._run(*mount.list_argv()))
        return [each for each in mounted if f"{each.path}/".startswith(f"{root}/")]

    def refuse_mounted(self, place: Place) -> None:
        """Raise ``JailError`` if anything is mounted on or below the jail's root."""
        if self.mounts_of(place):
            raise JailError(place.name, f"{place.root} is still mounted upon", "try again")

    def clear(self, place: Place, record: Record | None) -> None:
        """Take away all that there is of the jail; raises ``JailError`` if some of it stays."""
        self._remove_jail(place, record.stop_deadline_s if record else 0.0)
        self._unmount(place)
        self._destroy_interfaces(place, record)
        self._destroy_idle_bridges(record)
        if record is not None and record.shared_interface:
            self._drop_address(record)
        self._drop_rules(place)

    def _remove_jail(self, place: Place, stop_deadline_s: float) -> None:
        if self.is_living(place):
            file, name = str(place.conf), place.kernel_name
            self._try(*jail.remove_argv(file, name), timeout_s=stop_deadline_s + _REMOVE_S)
            if self.is_living(place):
                self._try(*jail.remove_without_file_argv(file, name), timeout_s=_REMOVE_S)
            if self.is_living(place):
                raise JailError(place.name, "jail(8) cannot remove it", f"try: jail -r {name}")
        for _ in range(_TRIES):
            if not any(_is_at(row, place) for row in self.rows()):
                return
            self._clock.sleep(_LOOK_AGAIN_S)
        # It may die for minutes while the network lets go of it. It holds no process and no mount
        # that is not looked for below, and its number is never used again: so it may.

    def _unmount(self, place: Place) -> None:
        for attempt in range(_TRIES):
            left = self.mounts_of(place)
            if not left:
                return
            is_forced = attempt >= _PATIENT_TRIES
            done = [
                self._try(*mount.unmount_argv(each.path, by_force=is_forced))
                for each in reversed(left)
            ]
            if not all(done):
                self._clock.sleep(_LOOK_AGAIN_S)
        if left := self.mounts_of(place):
            raise JailError(place.name, f"{left[-1].path} cannot be unmounted", "see: fstat")

    def _destroy_interfaces(self, place: Place, record: Record | None) -> None:
        names = derive(place.name)
        for name in (names.host_interface, names.jail_interface):
            # Looked at anew each time: with one end the other goes.
            if name in self.interfaces():
                self._try(*ifconfig.destroy_argv(name))
        if record is not None and record.epair is not None:
            self._destroy_unnamed(f"epair{record.epair}")
        left = {names.host_interface, names.jail_interface} & self.interfaces().keys()
        if left:
            what = f"its interface {min(left)} cannot be destroyed"
            raise JailError(place.name, what, f"try: ifconfig {min(left)} destroy")

    def _destroy_idle_bridges(self, record: Record | None) -> None:
        """The bridges that were made for jails and join none any more."""
        begun = "" if record is None else record.bridge
        for name, found in self.interfaces().items():
            is_begun = name == begun and not found.addresses and not found.is_up
            if (found.ether == mac_of_bridge(name) or is_begun) and not found.members:
                self._try(*ifconfig.destroy_argv(name))

    def _destroy_unnamed(self, pair: str) -> None:
        """An epair that was asked for, unless somebody uses an end of it."""
        found = self.interfaces()
        ends = [found[name] for name in (f"{pair}a", f"{pair}b") if name in found]
        if ends and all(_is_untouched(each) for each in ends):
            self._try(*ifconfig.destroy_argv(ends[0].name))

    def _drop_address(self, record: Record) -> None:
        interface = self.interfaces().get(record.shared_interface)
        wanted = record.address.partition("/")[0]
        for each in interface.addresses if interface else ():
            if str(each.ip) == wanted:
                self._try(*ifconfig.unalias_argv(record.shared_interface, each))

    def _drop_rules(self, place: Place) -> None:
        has_rules = any(rule.jail == place.kernel_name for rule in self._rules())
        # A stranger's rules would bear the same name.
        if has_rules and self._stranger(place) is None:
            self._run(*rctl.remove_argv(place.kernel_name))
        if place.name in self._anchors():
            self._run(*pfctl.load_argv(place.name), stdin=pfctl.rules_text(()))

    def _stranger(self, place: Place) -> JailRow | None:
        others = (row for row in self.rows() if row.path != str(place.root) and not row.is_dying)
        return next((row for row in others if row.name == place.kernel_name), None)

    def _rules(self) -> tuple[rctl.Rule, ...]:
        """The rules of all jails; a kernel without limits has none."""
        try:
            return rctl.parse_rules(self._run(*rctl.list_argv()))
        except CommandFailed:
            return ()

    def _anchors(self) -> tuple[str, ...]:
        """The jails with redirects; a kernel without packet filter has none."""
        try:
            return pfctl.parse_anchors(self._run(*pfctl.anchors_argv()))
        except CommandFailed:
            return ()

    def _try(self, *argv: str, timeout_s: float = _REMOVE_S) -> bool:
        """Run what may be refused because it is done already, or not yet possible."""
        try:
            self._run(*argv, timeout_s=timeout_s)
        except CommandFailed:
            return False
        return True


def _is_at(row: JailRow, place: Place) -> bool:
    return row.name == place.kernel_name and row.path == str(place.root)


def _is_untouched(interface: Interface) -> bool:
    """As an epair is born; one that anybody uses is not."""
    is_born = interface.ether is not None and interface.ether.startswith(_DRAWN_MAC)
    is_idle = "PROMISC" not in interface.flags and not interface.addresses
    return is_born and is_idle and not interface.is_up
