"""Making one jail: its network, its files, jail(8), and a look whether its program stays.

Whoever calls has cleared away what there was. A start that fails is cleared away here as well; one
whose program ends at once is left to the loop in the jail, which goes on by the restart policy.
"""

from __future__ import annotations

import shutil
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from jails.freebsd import jail, render
from jails.freebsd.findings import facts_of
from jails.freebsd.skeleton import make_root
from jails.naming import derive
from jails.runtime import JailError
from jails.spec import HookKind, JailState, RootKind
from maculaos.host.commands import CommandFailed
from maculaos.host.files import write_atomically

if TYPE_CHECKING:
    from jails.freebsd.kernel import Kernel
    from jails.freebsd.network import NetworkMaker
    from jails.freebsd.place import Place
    from jails.spec import JailSpec
    from maculaos.host.clock import Clock
    from maculaos.host.commands import CommandRunner

_START_S = 120.0
_TAIL_LINES = 8


class Maker:
    """Makes jails that share ``system`` unless they have a base of their own."""

    def __init__(
        self, runner: CommandRunner, clock: Clock, kernel: Kernel, network: NetworkMaker
    ) -> None:
        self._runner = runner
        self._clock = clock
        self._kernel = kernel
        self._network = network

    def make(self, place: Place, spec: JailSpec, system: Path) -> None:
        """Make the jail, whose record is written; raises ``JailError`` or ``OSError``."""
        try:
            self._network.make(spec, place)
            self._render(place, spec, system)
            self._note_start(place)
            argv = jail.create_argv(str(place.conf), place.kernel_name)
            self._runner.run(*argv, timeout_s=_START_S)
        except (CommandFailed, JailError, OSError, ValueError) as failed:
            with suppress(JailError, CommandFailed):
                self._kernel.clear(place, place.record())
            if not isinstance(failed, CommandFailed):
                raise
            said = failed.stderr.strip().splitlines()
            what = f"did not start: {said[0]}" if said else str(failed)
            raise JailError(spec.name, what, "; ".join(said[1:3])) from failed

    def check(self, place: Place, settle_s: float) -> None:
        """Raise ``JailError`` with its last words if the program does not run after that time."""
        self._clock.sleep(settle_s)
        is_living = self._kernel.is_living(place)
        facts = facts_of(place, self._runner, is_living=is_living)
        if facts.state is not JailState.RUNNING:
            last = " | ".join(place.last_lines(_TAIL_LINES))
            hint = f"it wrote: {last}" if last else "it wrote nothing"
            raise JailError(place.name, "ended at once", hint)

    def _render(self, place: Place, spec: JailSpec, system: Path) -> None:
        root = spec.isolation.root
        base = system if root.kind is RootKind.HOST else Path(root.base)
        parts = [part for part in render.SHARED_PARTS if (base / part).is_dir()]
        wanted = render.mounts(spec, place, base, parts)
        self._kernel.refuse_mounted(place)
        make_root(place, base, root.kind, wanted)
        # What an earlier start remembered is not of this one.
        _drop(place.keep)
        place.keep.mkdir(mode=0o700)
        for folder in (place.launch, place.logs):
            folder.mkdir(mode=0o755, exist_ok=True)
        mode = 0o644 if spec.isolation.user else 0o600
        write_atomically(place.launch / "start", render.start_script(spec).encode(), 0o600)
        write_atomically(place.launch / "program", render.program_script(spec).encode(), mode)
        for kind in HookKind:
            (place.launch / render.hook_file(kind)).unlink(missing_ok=True)
        for name, script in render.hook_scripts(spec).items():
            write_atomically(place.launch / name, script.encode(), mode)
        write_atomically(place.fstab, render.fstab(wanted).encode(), 0o600)
        conf = render.jail_conf(spec, place, derive(spec.name))
        write_atomically(place.conf, conf.encode(), 0o600)

    def _note_start(self, place: Place) -> None:
        place.console.unlink(missing_ok=True)
        for path in (place.earlier_log, place.older_log):
            _drop(path)
        if place.log.is_file():
            place.log.replace(place.earlier_log)
        _drop(place.log)
        record = place.record()
        if record is not None:
            place.write_record(replace(record, started_at=self._clock.now()))


def _drop(path: Path) -> None:
    """Delete what is there, whatever the jail made of it."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
