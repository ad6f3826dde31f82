"""The small release as a repository of base packages: the same files, split as FreeBSD splits them.

Settings are config files, folders belong to the runtime, headers and manuals lie in packages that
no image takes, and some libraries in packages that only their name asks for.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import smallrelease
from smallrepository import SmallKey, SmallPackage, SmallRepository

if TYPE_CHECKING:
    from pathlib import Path

    from smallrelease import Member

VERSION = "15.1"
# The first part of a path that fits decides; what fits none belongs to the runtime.
OWNERS = {
    "boot/kernel/": "kernel-generic",
    "boot/": "bootloader",
    "lib/libedit.so.8": "libedit-lib",
    "lib/libutil.so.9": "libutil",
    "lib/": "clibs",
    "libexec/ld-elf.so.1": "clibs",
    "usr/lib/libc.a": "clibs-dev",
    "usr/include/": "clibs-dev",
    "usr/lib/libprivatellvm": "clang",
    "usr/bin/cc": "clang",
    "usr/bin/clang": "clang",
    "usr/share/man/": "utilities-man",
    "usr/tests/": "tests",
    "etc/rc": "rc",
    "etc/defaults/rc.conf": "rc",
    "usr/sbin/service": "rc",
    "usr/sbin/sshd": "ssh",
    "etc/ssh/": "ssh",
    "usr/share/zoneinfo/": "zoneinfo",
    "usr/": "utilities",
    "rescue/": "utilities",
}
# By name: what it needs by name, what it brings and needs as libraries, and other words.
MORE: dict[str, dict[str, Any]] = {
    "runtime": {
        "shlibs_required": ["libc.so.7", "libedit.so.8"],
        "scripts": {"post-install": "pwd_mkdb%20-p%0A"},
        "annotations": {"FreeBSD_version": "1501000"},
    },
    "utilities": {"shlibs_required": ["libc.so.7", "libutil.so.9"]},
    "clibs": {"shlibs_provided": ["libc.so.7", "ld-elf.so.1"]},
    "libedit-lib": {"shlibs_provided": ["libedit.so.8"], "shlibs_required": ["libc.so.7"]},
    # Of two that bring a library the wrong one has the first name.
    "libedit-dev": {"shlibs_provided": ["libedit.so.8"]},
    "libutil": {"shlibs_provided": ["libutil.so.9"]},
}
DEPS = {"runtime": ("clibs", "zoneinfo"), "set-minimal": ("runtime", "rc", "utilities-man")}
EMPTY = ("jail", "pf", "set-minimal", "libedit-dev", "tests-dbg")


def members() -> list[Member]:
    """Every member of the small release, those of the kernel last."""
    script = f'#!/bin/sh\nUSERLAND_VERSION="{smallrelease.VERSION}"\n'
    named = smallrelease.Member("bin/freebsd-version", script.encode(), 0o555)
    return [*smallrelease.base_members(), named, *smallrelease.kernel_members()]


def owner_of(member: Member) -> str:
    """Which package brings it."""
    if member.content is None and not member.symlink and not member.hard_link:
        return "runtime"
    starts = (owner for start, owner in OWNERS.items() if member.path.startswith(start))
    return next(starts, "runtime")


def packages(version: str = VERSION) -> list[SmallPackage]:
    """The release as packages, each as FreeBSD names it."""
    found: dict[str, SmallPackage] = {}
    for member in members():
        name = owner_of(member)
        _add(member, found.setdefault(name, _package(name, version)))
    # The kernel's own folder is also one of the system's.
    _add(smallrelease.Member("boot/kernel"), found["kernel-generic"])
    for name in EMPTY:
        found[name] = _package(name, version)
    for name, package in found.items():
        config = [f"/{path}" for path in package.files if path.startswith("etc/")]
        package.more = {**({"config": config} if config else {}), **MORE.get(name, {})}
    return [found[name] for name in sorted(found)]


def _package(name: str, version: str) -> SmallPackage:
    deps = {f"FreeBSD-{one}": "base" for one in DEPS.get(name, ())}
    return SmallPackage(
        name=f"FreeBSD-{name}", version=version, origin=f"base/FreeBSD-{name}", deps=deps
    )


def _add(member: Member, package: SmallPackage) -> None:
    path, names = member.path, (member.owner[0], member.group[0])
    package.modes[path], package.owners[path] = member.mode, names
    if member.flags:
        package.flags[path] = member.flags
    if member.symlink:
        package.links[path] = member.symlink
    elif member.hard_link:
        package.hard_links[path] = member.hard_link
    elif member.content is None:
        # As pkg writes the root, which the runtime has among its folders.
        package.folders["" if path == "." else path] = (*names, member.mode)
    else:
        package.files[path] = member.content


def make(folder: Path, *keys: SmallKey, version: str = VERSION, without: str = "") -> Path:
    """Write the repository into ``folder``, signed with ``keys``, and return it."""
    folder.mkdir(parents=True, exist_ok=True)
    kept = [package for package in packages(version) if package.name != without]
    SmallRepository(folder, kept).write(*keys)
    return folder
