"""jail(8) of the model: a jail comes stage by stage, and goes the same way back.

As recorded: a start that fails removes the jail and its mounts, and leaves what hooks made (the
epair, its place in the bridge). A jail without ``persist`` dies in its start with status 0 and
leaves its mounts. ``-m`` crashes on a running jail. Inferred, not recorded: what a jail(8) that is
killed between two stages leaves, and that a null mount on its own copy is refused.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from jails.freebsd.model.answer import Answer, UntaughtCommand, refused
from jails.freebsd.model.hooks import words_of
from jails.freebsd.model.jailconf import ConfigurationRefused, Parameters, read_configuration
from jails.freebsd.mount import Mount

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from jails.freebsd.model.hooks import Inside
    from jails.freebsd.model.machine import Machine

_KNOWN = re.compile(
    r"path|host\.hostname|persist|vnet|vnet\.interface|ip4|ip4\.addr|ip6|interface|mount"
    r"|mount\.(fstab|devfs|fdescfs|procfs)|devfs_ruleset|enforce_statfs|securelevel|children\.max"
    r"|sysv(msg|sem|shm)|stop\.timeout|allow\.[a-z_.]+"
    r"|exec\.(prepare|prestart|created|start|poststart|prestop|stop|poststop|release|clean|timeout"
    r"|consolelog|jail_user|system_user|fib)"
)


class JailCommand:
    """jail(8); ``run`` carries out a command of the machine, ``stage`` is told after each stage."""

    def __init__(
        self,
        machine: Machine,
        inside: Inside,
        *,
        run: Callable[[tuple[str, ...]], Answer],
        stage: Callable[[], None],
    ) -> None:
        self._machine = machine
        self._inside = inside
        self._run = run
        self._stage = stage

    def jail(self, argv: tuple[str, ...]) -> Answer:
        """``jail -f FILE -c|-m|-r NAME`` and ``jail -f FILE -R -r NAME``."""
        match argv[1:]:
            case ("-f", file, "-c" | "-m" | "-r" as verb, name):
                return self._with_file(file, verb, name)
            case ("-f", _, "-R", "-r", name):
                return self._forget(name) if name in self._machine.jails.alive else _unknown(name)
        raise UntaughtCommand(argv)

    def _with_file(self, file: str, verb: str, name: str) -> Answer:
        content = self._machine.files.read(file)
        if content is None:
            return refused(f"jail: {file}: No such file or directory")
        try:
            parameters = read_configuration(content.decode(), name)
        except ConfigurationRefused as error:
            return refused(f"jail: {file}: {error}")
        is_there = name in self._machine.jails.alive
        if verb == "-c":
            if parameters is None:
                return _unknown(name)
            if is_there:
                return refused(f'jail: "{name}" already exists')
            return self._create(name, parameters)
        if not is_there:
            return _unknown(name)
        if verb == "-m":
            return refused("Segmentation fault", status=139)
        return self._remove(name, parameters or {})

    def _create(self, name: str, parameters: Parameters) -> Answer:
        strange = [key for key in parameters if not _KNOWN.fullmatch(key)]
        if strange:
            return refused(f"jail: {name}: unknown parameter: {strange[0]}")
        answer = Answer()
        for step in self._stages(name, parameters):
            answer += step
            if step.status != 0:
                answer += self._undo(name, parameters)
                return Answer(answer.stdout, answer.stderr, 1)
            self._stage()
            # Nothing makes it stay.
            if name in self._machine.jails.alive and "persist" not in parameters:
                self._forget(name)
                said = f"jail: {name}: jail_attach: Invalid argument\n"
                return Answer(answer.stdout, answer.stderr + said)
        return answer

    def _stages(self, name: str, parameters: Parameters) -> Iterator[Answer]:
        yield from self._hooks(name, parameters, "exec.prepare")
        yield from self._addresses(name, parameters, "alias")
        for mount in self._wanted_mounts(parameters):
            yield self._mount(name, mount)
        yield from self._hooks(name, parameters, "exec.prestart")
        yield self._make(name, parameters)
        jail = self._machine.jails.alive[name]
        yield from self._hooks(name, parameters, "exec.created")
        for interface in parameters.get("vnet.interface", []):
            argv = ("/sbin/ifconfig", interface, "vnet", name)
            yield _told(name, argv, self._run(("ifconfig", *argv[1:])))
        timeout_s = float(_one(parameters, "exec.timeout") or 0)
        for command in parameters.get("exec.start", []):
            yield self._inside.hook(jail, command, timeout_s)
        yield from self._hooks(name, parameters, "exec.poststart")

    def _make(self, name: str, parameters: Parameters) -> Answer:
        parent, dot, _ = name.rpartition(".")
        if dot and parent not in self._machine.jails.alive:
            return refused(f'jail: {name}: jail "{parent}" not found')
        path = _one(parameters, "path")
        if not self._machine.files.exists(path):
            return refused(f"jail: {name}: path {path}: No such file or directory")
        jail = self._machine.jails.create(name, path)
        jail.hostname = _one(parameters, "host.hostname")
        jail.addresses = [each.partition("/")[0] for each in parameters.get("ip4.addr", [])]
        if "vnet" in parameters:
            jail.has_stack = True
            self._machine.network.add_stack(name)
        return Answer(f"{name}: created\n")

    def _remove(self, name: str, parameters: Parameters) -> Answer:
        jail = self._machine.jails.alive[name]
        answer = Answer()
        for step in self._hooks(name, parameters, "exec.prestop"):
            answer += step
        for command in parameters.get("exec.stop", []):
            answer += self._inside.hook(jail, command, 0)
        self._stage()
        answer += self._forget(name)
        self._stage()
        for step in self._hooks(name, parameters, "exec.poststop"):
            answer += step
        answer += self._unmount(name, parameters)
        for step in self._addresses(name, parameters, "-alias"):
            answer += step
        for step in self._hooks(name, parameters, "exec.release"):
            answer += step
        return Answer(answer.stdout, answer.stderr)

    def _forget(self, name: str) -> Answer:
        """The kernel's part: processes die, the jail goes, its interfaces come back."""
        self._machine.processes.end_all(name)
        self._machine.jails.remove(name)
        self._machine.network.remove_stack(name)
        return Answer(f"{name}: removed\n")

    def _undo(self, name: str, parameters: Parameters) -> Answer:
        """After a failed stage: no hooks, but the jail, the mounts and the addresses go."""
        answer = self._forget(name) if name in self._machine.jails.alive else Answer()
        self._unmount(name, parameters)
        for _ in self._addresses(name, parameters, "-alias"):
            pass
        return answer

    def _hooks(self, name: str, parameters: Parameters, when: str) -> Iterator[Answer]:
        for command in parameters.get(when, []):
            argv = words_of(command)
            yield _told(name, argv, self._run(argv))

    def _addresses(self, name: str, parameters: Parameters, how: str) -> Iterator[Answer]:
        interface = _one(parameters, "interface")
        for address in parameters.get("ip4.addr", []) if interface else []:
            full = address if "/" in address else f"{address}/32"
            argv = ("/sbin/ifconfig", interface, "inet", full, how)
            yield _told(name, argv, self._run(("ifconfig", *argv[1:])))

    def _wanted_mounts(self, parameters: Parameters) -> list[Mount]:
        lines = list(parameters.get("mount", []))
        fstab = self._machine.files.read(_one(parameters, "mount.fstab"))
        lines += (fstab or b"").decode().splitlines()
        wanted = []
        for line in filter(str.strip, lines):
            source, path, kind, options = line.split()[:4]
            wanted.append(
                Mount(source=source, path=path, kind=kind, options=tuple(options.split(",")))
            )
        if "mount.devfs" in parameters:
            path = f"{_one(parameters, 'path')}/dev"
            wanted.append(Mount(source="devfs", path=path, kind="devfs", options=("rw",)))
        return wanted

    def _mount(self, name: str, mount: Mount) -> Answer:
        options = ("-o", ",".join(mount.options))
        argv = ("/sbin/mount", "-t", mount.kind, *options, mount.source, mount.path)
        return _told(name, argv, self._machine.mounts.add(mount))

    def _unmount(self, name: str, parameters: Parameters) -> Answer:
        answer = Answer()
        mounted = {each.path for each in self._machine.mounts.table}
        for mount in reversed(self._wanted_mounts(parameters)):
            if mount.path in mounted:
                argv = ("/sbin/umount", mount.path)
                answer += _told(name, argv, self._machine.mounts.umount(("umount", mount.path)))
                self._stage()
        return answer


def _one(parameters: Parameters, key: str) -> str:
    return next(iter(parameters.get(key, [])), "")


def _told(name: str, argv: tuple[str, ...], answer: Answer) -> Answer:
    if answer.status == 0:
        return answer
    return answer + refused(f"jail: {name}: {' '.join(argv)}: failed")


def _unknown(name: str) -> Answer:
    return refused(f'jail: "{name}" not found')
