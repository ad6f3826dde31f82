"""The seam: what every way of running jails must be able to do.

Every operation can be repeated, and repairs what an earlier crash left: a runtime looks at the
machine, it does not remember. Operations block; the reconciler calls them from a thread.
"""

from __future__ import annotations

import re
from dataclasses import fields
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Protocol

from jails.spec import HookKind, Isolation

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from jails.spec import JailFacts, JailFile, JailSpec, JailUsage

# A DNS label: the name also serves as host name and as directory.
_NAME = re.compile(r"[a-z0-9]([a-z0-9-]{0,30}[a-z0-9])?")
# Configuration, keys and the like; anything larger has no business in a spec.
MOST_FILE_BYTES = 16 * 1024 * 1024
MOST_FILES = 1_000
EXEC_TIMEOUT_S = 60.0


class JailError(Exception):
    """A jail could not be brought where it should be; ``hint`` is the next move."""

    def __init__(self, jail: str, what: str, hint: str = "") -> None:
        super().__init__(f"{jail}: {what}" + (f"; {hint}" if hint else ""))
        self.jail = jail
        self.what = what
        self.hint = hint


class Runtime(Protocol):
    """A way of running jails on this machine."""

    @property
    def name(self) -> str:
        """``jail``, ``namespaces``, ``process`` or, in tests, ``memory``."""
        ...

    def look(self) -> Mapping[str, JailFacts]:
        """Facts of every jail that is ours, whatever started it."""
        ...

    def ensure(self, spec: JailSpec) -> None:
        """Make ``spec`` run: start it, or replace what runs under that name if it differs.

        A program that already runs from an equal spec is left alone, and never started twice.
        """
        ...

    def update_files(self, spec: JailSpec) -> None:
        """Put the files of ``spec`` in place, each atomically, without touching the program."""
        ...

    def stop(self, name: str) -> None:
        """Stop the program within its deadline, by force after it; keep its writable part."""
        ...

    def remove(self, name: str) -> None:
        """Stop the program and delete the jail with its writable part."""
        ...

    def rename(self, former: str, name: str) -> None:
        """Give the writable part and the snapshots of a stopped jail to a name without any.

        The former jail is then gone as after ``remove``, and the new one is ``STOPPED`` without a
        program digest: it has data and never ran. Without a former jail there is nothing to do.
        Raises ``JailError``, with nothing changed, if the former jail runs, if a jail ``name`` runs
        or has a writable part of its own, or if either is no jail name. Killed anywhere and
        called again, the data are under exactly one of the two names, and in the end under the new.
        """
        ...

    def data_path(self, name: str) -> Path:
        """Where the jail's writable part lies, as seen from the host."""
        ...

    def logs(self, name: str, lines: int) -> list[str]:
        """The last lines that the program wrote, oldest first; empty for an unknown jail."""
        ...

    # What follows may be beyond a runtime: it then raises ``JailError`` (``cannot``) at once.

    def exec(self, name: str, command: tuple[str, ...], timeout_s: float = EXEC_TIMEOUT_S) -> str:
        """Run a command inside a running jail; its standard output.

        Raises ``JailError`` with the status and the first words if it fails or takes too long.
        """
        ...

    def hook(self, name: str, kind: HookKind, extra_s: float = 0.0) -> bool:
        """Run that hook of a running jail; whether it has one.

        It runs inside the jail, with the account, the folder and all of the environment that the
        program was started with, and is ended by force ``extra_s`` after its own time. Nothing is
        done about a jail that does not run. Raises ``JailError`` with the status and the first
        words if the hook fails or takes too long.
        """
        ...

    def usage(self, name: str) -> JailUsage:
        """What a running jail uses now; raises ``JailError`` if it does not run."""
        ...

    def snapshots(self, name: str) -> list[str]:
        """The labels of the snapshots of a jail; empty for an unknown one."""
        ...

    def snapshot(self, name: str, label: str) -> None:
        """Keep the writable part of a stopped jail as it is, under a label that is free."""
        ...

    def restore(self, name: str, label: str) -> None:
        """Make the writable part of a stopped jail what it was when the snapshot was taken."""
        ...

    def export(self, name: str, archive: Path) -> None:
        """Write the writable part of a stopped jail to a file."""
        ...

    def import_archive(self, name: str, archive: Path) -> None:
        """Make the writable part of a stopped jail what an exported file holds."""
        ...


def is_jail_name(name: str) -> bool:
    """Whether ``name`` can be a jail's: a DNS label of at most 32 characters."""
    return _NAME.fullmatch(name) is not None


def refuse_bad_spec(spec: JailSpec) -> None:
    """Raise ``JailError`` if no runtime could run ``spec``, whatever the machine looks like."""
    if not is_jail_name(spec.name):
        raise JailError(
            repr(spec.name), "is no name for a jail", "use at most 32 of a-z, 0-9 and - inside"
        )
    words = (*spec.command, *spec.environment.keys(), *spec.environment.values())
    if not spec.command or not spec.command[0] or any("\0" in word for word in words):
        raise JailError(spec.name, "has no command that can be run", "name a program")
    hooked = [each for kind in HookKind if (each := spec.hooks.command(kind))]
    if any(not each[0] or any("\0" in word for word in each) for each in hooked):
        raise JailError(spec.name, "has a hook that cannot be run", "name a program")
    if any(not key or "=" in key for key in spec.environment):
        raise JailError(spec.name, "has an environment variable without a name, or with = in it")
    _refuse_bad_files(spec)


def refuse_bad_rename(former: str, name: str) -> None:
    """Raise ``JailError`` if no runtime could give what ``former`` has to ``name``."""
    for each in (former, name):
        if not is_jail_name(each):
            hint = "use at most 32 of a-z, 0-9 and - inside"
            raise JailError(repr(each), "is no name for a jail", hint)
    if former == name:
        raise JailError(name, "cannot take over from itself", "name the jail that it was")


def cannot(name: str, runtime: str, what: str) -> JailError:
    """The refusal of what a runtime is not able to do."""
    return JailError(name, f"the runtime {runtime} cannot {what}", "take a runtime that isolates")


def taken(name: str) -> JailError:
    """The refusal to give anything to a jail that has something to lose."""
    what = "has a writable part of its own"
    return JailError(name, what, "remove that jail first, or take another name")


def refuse_isolation(spec: JailSpec, runtime: str) -> None:
    """Raise ``JailError`` if ``spec`` wants to be kept apart further than a process is.

    For runtimes that cannot: whoever asked for isolation must not believe to have it.
    """
    wanted, plain = spec.isolation, Isolation()
    asked = [
        each.name
        for each in fields(plain)
        if getattr(wanted, each.name) != getattr(plain, each.name)
    ]
    if asked:
        what = f"the runtime {runtime} cannot give it its own {', '.join(asked)}"
        raise JailError(spec.name, what, "leave that out, or take a runtime that isolates")


def _refuse_bad_files(spec: JailSpec) -> None:
    paths = [file.path for file in spec.files]
    if len(paths) > MOST_FILES:
        raise JailError(spec.name, f"has more than {MOST_FILES} files")
    folders = {str(folder) for path in paths for folder in PurePosixPath(path).parents}
    if len(set(paths)) < len(paths) or folders & set(paths):
        raise JailError(spec.name, "has two files in one place", "give each its own path")
    for file in spec.files:
        if not _is_placeable(file):
            raise JailError(
                spec.name,
                f"cannot place the file {file.path!r}",
                f"use a plain relative path without .., a mode up to 0777, at most "
                f"{MOST_FILE_BYTES >> 20} MiB",
            )


def _is_placeable(file: JailFile) -> bool:
    path = PurePosixPath(file.path)
    is_inside = not path.is_absolute() and ".." not in path.parts and "\0" not in file.path
    is_plain = bool(path.parts) and str(path) == file.path
    return (
        is_inside
        and is_plain
        and 0 <= file.mode <= 0o777
        and len(file.content) <= (MOST_FILE_BYTES)
    )
