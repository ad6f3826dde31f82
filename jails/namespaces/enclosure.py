"""The surroundings of a jail made of namespaces: what is made for it, and what its keeper runs.

[ip netns exec NAME] [join GROUP] [prlimit ...] keyless bwrap ... -- [setpriv ...] COMMAND
"""

from __future__ import annotations

import os
import stat
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from jails.keeper.records import JailDirectory, place_of
from jails.namespaces import accounts, ip, keyless, limits
from jails.namespaces.admission import refuse_unsupported
from jails.namespaces.bwrap import DATA, Bind, Rights, View, bwrap_argv
from jails.namespaces.groups import ControlGroups, join_argv
from jails.namespaces.naming import Naming
from jails.namespaces.network import NetworkMaker
from jails.namespaces.record import Record, delete_record, read_record, write_record
from jails.namespaces.system import hidden_of, system_of
from jails.runtime import JailError, is_jail_name
from jails.spec import Network, NetworkKind
from maculaos.host.commands import CommandFailed

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from jails.namespaces.abilities import Abilities
    from jails.spec import JailSpec
    from maculaos.host.clock import Clock
    from maculaos.host.commands import CommandRunner

# To become another user, in a folder that is that user's alone; gone with the change.
_TO_CHANGE_USER = ("CAP_SETUID", "CAP_SETGID", "CAP_DAC_READ_SEARCH")
# Low ports are those of the jail's own network; it takes them from nobody.
_IN_OWN_NETWORK = ("CAP_NET_BIND_SERVICE",)


@dataclass(frozen=True, slots=True, kw_only=True)
class EnclosureSettings:
    """What every jail under one root has in common."""

    # Each folder in memory that a jail has for scratch (/tmp and the like) holds at most this.
    scratch_bytes: int = 256 * 1024 * 1024
    # Folders of the host that no jail sees, wherever they lie.
    private: tuple[Path, ...] = ()


class NamespaceEnclosure:
    """An ``Enclosure`` of Linux namespaces for the jails under ``root``."""

    def __init__(
        self,
        root: Path,
        abilities: Abilities,
        runner: CommandRunner,
        clock: Clock,
        settings: EnclosureSettings,
    ) -> None:
        self._root = root
        self._abilities = abilities
        self._run = runner.run
        self._settings = settings
        self._naming = Naming(root)
        self._network = NetworkMaker(runner, abilities, clock) if abilities.has_network else None
        top = abilities.groups
        self._groups = ControlGroups(top, clock) if top and abilities.controllers else None

    def refuse(self, spec: JailSpec) -> None:
        """See ``Enclosure.refuse``."""
        addresses = {} if spec.isolation.network.kind is NetworkKind.HOST else self._addresses()
        refuse_unsupported(spec, self._abilities, addresses)
        if spec.isolation.user:
            accounts.account_of(spec.name, spec.isolation.user)

    def names(self) -> frozenset[str]:
        """See ``Enclosure.names``."""
        places: frozenset[str] = frozenset()
        with _blaming(str(self._root)):
            places |= self._network.places() if self._network is not None else frozenset()
        if self._groups is not None:
            places |= self._groups.places()
        return frozenset(filter(None, map(self._naming.jail_of, places)))

    def damaged(self, directories: Iterable[JailDirectory]) -> frozenset[str]:
        """See ``Enclosure.damaged``."""
        with _blaming(str(self._root)):
            return frozenset(each.name for each in directories if not self._is_whole(each))

    def mend(self, directory: JailDirectory) -> None:
        """See ``Enclosure.mend``: what joins its network to the host's."""
        record = read_record(directory)
        if self._network is not None and record is not None and record.network.bridge:
            with _blaming(directory.name):
                labels = self._naming.of(directory.name)
                self._network.mend(directory.name, labels, record.network, record.forwards)

    def own(self, spec: JailSpec, directory: JailDirectory) -> None:
        """See ``Enclosure.own``."""
        if spec.isolation.user:
            account = accounts.account_of(spec.name, spec.isolation.user)
            accounts.give(directory.data, account)

    def enter(
        self, spec: JailSpec, directory: JailDirectory
    ) -> tuple[tuple[str, ...], Mapping[str, str]]:
        """See ``Enclosure.enter``."""
        isolation = spec.isolation
        is_vnet = isolation.network.kind is NetworkKind.VNET
        record = Record(
            network=isolation.network if is_vnet else Network(),
            forwards=isolation.forwards if is_vnet else (),
            folders=tuple(_folders(each.source for each in isolation.mounts)),
            release=isolation.hooks.release,
        )
        write_record(directory, record)
        try:
            with _blaming(spec.name):
                self._make(spec)
        except JailError:
            with suppress(JailError):
                self.leave(directory)
            raise
        environment = {key: _inside(text) for key, text in spec.environment.items()}
        return self._command(spec, directory), environment

    def leave(self, directory: JailDirectory) -> None:
        """See ``Enclosure.leave``."""
        labels, record = self._naming.of(directory.name), read_record(directory)
        with _blaming(directory.name):
            if self._network is not None:
                self._network.take_away(labels, record.network if record else Network())
            if self._groups is not None:
                self._groups.take_away(labels.place)
            for command in record.release if record else ():
                self._run(*command)
        delete_record(directory)

    def group_of(self, jail: str) -> Path | None:
        """The control group of a jail, if it has one."""
        place = self._naming.of(jail).place
        has_one = self._groups is not None and self._groups.path(place).is_dir()
        return self._groups.path(place) if self._groups is not None and has_one else None

    def _make(self, spec: JailSpec) -> None:
        isolation, labels = spec.isolation, self._naming.of(spec.name)
        for command in isolation.hooks.prepare:
            self._run(*command)
        if isolation.network.kind is NetworkKind.VNET and self._network is not None:
            self._network.make(spec.name, labels, isolation.network, isolation.forwards)
        controllers = self._abilities.controllers
        if self._groups is not None and limits.used_controllers(isolation.limits, controllers):
            self._groups.make(labels.place, isolation.limits, controllers)

    def _command(self, spec: JailSpec, directory: JailDirectory) -> tuple[str, ...]:
        isolation, tools = spec.isolation, self._abilities.tools
        is_vnet = isolation.network.kind is NetworkKind.VNET
        place = self._naming.of(spec.name).place
        capabilities: tuple[str, ...] = _IN_OWN_NETWORK if is_vnet else ()
        command = tuple(map(_inside, spec.command))
        if isolation.user:
            account = accounts.account_of(spec.name, isolation.user)
            command = (*accounts.setpriv_argv(tools["setpriv"], account), *command)
            capabilities += _TO_CHANGE_USER
        rights = Rights(is_root=self._abilities.is_root, capabilities=capabilities)
        view = self._view(spec, directory)
        return (
            *(ip.within(tools["ip"], place) if is_vnet else ()),
            *self._joined(spec, place),
            *limits.prlimit_argv(
                tools.get("prlimit", ""), isolation.limits, self._abilities.controllers
            ),
            *keyless.argv(),
            *bwrap_argv(tools["bwrap"], spec.name, view, rights, command),
        )

    def _joined(self, spec: JailSpec, place: str) -> tuple[str, ...]:
        used = limits.used_controllers(spec.isolation.limits, self._abilities.controllers)
        if self._groups is None or not used:
            return ()
        return join_argv(self._groups.path(place))

    def _view(self, spec: JailSpec, directory: JailDirectory) -> View:
        root = spec.isolation.root
        names_hosts = spec.isolation.network.kind is NetworkKind.HOST
        system = system_of(root, names_hosts=names_hosts)
        files, folders = hidden_of(root, (self._root, *self._settings.private), system)
        return View(
            system=system,
            hidden_files=files,
            hidden_folders=folders,
            data=str(directory.data),
            mounts=tuple(
                Bind(each.source, each.target, each.is_writable) for each in spec.isolation.mounts
            ),
            scratch_bytes=self._settings.scratch_bytes,
        )

    def _is_whole(self, directory: JailDirectory) -> bool:
        record = read_record(directory)
        if record is None:
            return False
        if any(_place(path) != place for path, place in record.folders):
            return False
        if not record.network.bridge or self._network is None:
            return True
        return self._network.is_whole(self._naming.of(directory.name), record.network)

    def _addresses(self) -> Mapping[str, tuple[str, str]]:
        """Bridge and address of each jail that has them, by name."""
        with suppress(FileNotFoundError):
            paths = (path for path in self._root.iterdir() if is_jail_name(path.name))
            records = {path.name: read_record(JailDirectory(path)) for path in paths}
            return {
                name: (record.network.bridge, record.network.address)
                for name, record in records.items()
                if record is not None and record.network.bridge
            }
        return {}


def _folders(paths: Iterable[str]) -> Iterator[tuple[str, str]]:
    """Those of ``paths`` that are folders, with what tells each from another in its place."""
    return ((path, place) for path in paths if (place := _place(path)))


def _place(path: str) -> str:
    """Empty if there is no folder."""
    try:
        found = os.stat(path)
    except OSError:
        return ""
    return place_of(found) if stat.S_ISDIR(found.st_mode) else ""


def _inside(text: str) -> str:
    return text.replace("{data}", DATA)


@contextmanager
def _blaming(jail: str) -> Iterator[None]:
    """Failures of tools and of the machine, told as the jail's."""
    try:
        yield
    except CommandFailed as failed:
        raise JailError(jail, str(failed)) from failed
    except ip.UnreadableAnswer as error:
        raise JailError(jail, str(error), "its version may not be supported") from error
    except OSError as error:
        where = f" ({error.filename})" if error.filename else ""
        raise JailError(jail, f"{error.strerror or error}{where}") from error
