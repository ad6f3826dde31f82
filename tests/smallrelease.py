"""A small FreeBSD release made by the tests: MANIFEST, base.txz and kernel.txz, always the same.

It has one of everything that a build must carry over: owners, setuid, flags, hard links, symbolic
links, boot code, programs that need libraries, and things to prune. Nothing in it runs.
"""

from __future__ import annotations

import hashlib
import io
import lzma
import random
import struct
import tarfile
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

VERSION = "15.1-RELEASE"
_TIME_S = 1_750_000_000
_X86_64 = 62

ACCOUNTS = """\
# A few of FreeBSD's own accounts.
root:*:0:0::0:0:Charlie &:/root:/bin/sh
toor:*:0:0::0:0:Bourne-again Superuser:/root:
daemon:*:1:1::0:0:Owner of many system processes:/root:/usr/sbin/nologin
operator:*:2:5::0:0:System &:/:/usr/sbin/nologin
sshd:*:22:22::0:0:Secure Shell Daemon:/var/empty:/usr/sbin/nologin
unbound:*:59:59::0:0:Unbound DNS Resolver:/var/unbound:/usr/sbin/nologin
ntpd:*:123:123::0:0:NTP Daemon:/var/db/ntp:/usr/sbin/nologin
nobody:*:65534:65534::0:0:Unprivileged user:/nonexistent:/usr/sbin/nologin
"""
GROUP = """\
wheel:*:0:root
daemon:*:1:
kmem:*:2:
sys:*:3:
tty:*:4:
operator:*:5:root
mail:*:6:
sshd:*:22:
unbound:*:59:
ntpd:*:123:
nogroup:*:65533:
nobody:*:65534:
"""


@dataclass(frozen=True)
class Member:
    """One member of a set: a folder, a file, a symbolic link or a hard link."""

    path: str
    content: bytes | None = None
    mode: int = 0o755
    owner: tuple[str, int] = ("root", 0)
    group: tuple[str, int] = ("wheel", 0)
    flags: str = ""
    symlink: str = ""
    hard_link: str = ""


def elf(
    needed: tuple[str, ...] = (), *, interpreter: str = "", soname: str = "", runpath: str = ""
) -> bytes:
    """A 64-bit ELF file with headers and a dynamic section, and no code."""
    strings, places = bytearray(b"\0"), []
    for name in (*needed, soname, runpath):
        places.append(len(strings))
        strings += name.encode() + b"\0"
    tags = [(1, place) for place in places[: len(needed)]]
    tags += [(14, places[-2])] if soname else []
    tags += [(29, places[-1])] if runpath else []
    head = 64 + 3 * 56
    texts = interpreter.encode() + b"\0"
    dynamic_at = head + len(texts) + len(strings)
    tags += [(5, head + len(texts)), (0, 0)]
    dynamic = b"".join(struct.pack("<qQ", *tag) for tag in tags)
    size = dynamic_at + len(dynamic)
    segments = [(1, 0, size), (2, dynamic_at, len(dynamic))]
    if interpreter:
        segments.append((3, head, len(texts)))
    table = b"".join(
        struct.pack("<IIQQQQQQ", kind, 5, at, at, at, length, length, 8)
        for kind, at, length in segments
    )
    identity = b"\x7fELF\x02\x01\x01\x09" + bytes(8)
    numbers = (3, _X86_64, 1, 0, 64, 0, 0, 64, 56, len(segments), 0, 0, 0)
    header = identity + struct.pack("<HHIQQQIHHHHHH", *numbers)
    return header + table.ljust(3 * 56, b"\0") + texts + bytes(strings) + dynamic


def noise(seed: str, size: int) -> bytes:
    """Bytes that do not compress, the same for the same seed."""
    return random.Random(seed).randbytes(size)


def program(seed: str, *needed: str) -> bytes:
    """A program of FreeBSD with some weight."""
    return elf(needed or ("libc.so.7",), interpreter="/libexec/ld-elf.so.1") + noise(seed, 3000)


def base_members() -> list[Member]:
    """What base.txz holds, folders before what lies in them."""
    return [*_folders(), *_settings(), *_programs(), *_boot(), *_unwanted()]


def kernel_members() -> list[Member]:
    """What kernel.txz holds."""
    modules = ("nullfs", "tmpfs", "if_epair", "if_bridge", "pf", "snd_hda", "iwlwifi")
    return [
        Member("boot/kernel"),
        Member("boot/kernel/kernel", b"\x7fELF" + noise("kernel", 90_000), 0o555),
        Member("boot/kernel/linker.hints", noise("hints", 900), 0o644),
        *(
            Member(f"boot/kernel/{name}.ko", b"\x7fELF" + noise(name, 5000), 0o555)
            for name in modules
        ),
    ]


def _folders() -> list[Member]:
    plain = (
        *("bin", "boot", "boot/defaults", "boot/kernel", "boot/lua", "boot/modules", "dev"),
        *("etc", "etc/defaults", "etc/rc.d", "etc/ssh", "lib", "libexec", "media", "mnt"),
        *("rescue", "root", "sbin", "usr", "usr/bin", "usr/include", "usr/lib", "usr/libexec"),
        *("usr/local", "usr/sbin", "usr/share", "usr/share/games", "usr/share/locale"),
        *("usr/share/man", "usr/share/man/man1", "usr/share/misc", "usr/share/zoneinfo"),
        *("usr/tests", "var/cron", "var/db", "var/log", "var/run"),
    )
    return [
        Member("."),
        *(Member(path) for path in plain),
        Member("tmp", mode=0o1777),
        Member("var/tmp", mode=0o1777),
        Member("var/empty", mode=0o555, flags="schg"),
        Member("var/db/ntp", owner=("ntpd", 123), group=("ntpd", 123)),
        Member("var/unbound", owner=("unbound", 59), group=("unbound", 59)),
        Member("var/crash", mode=0o750),
    ]


def _settings() -> list[Member]:
    return [
        Member("etc/master.passwd", ACCOUNTS.encode(), 0o600),
        Member("etc/group", GROUP.encode(), 0o644),
        Member("etc/passwd", b"root:*:0:0:Charlie &:/root:/bin/sh\n", 0o644),
        Member("etc/pwd.db", noise("pwd.db", 40_960), 0o644),
        Member("etc/spwd.db", noise("spwd.db", 40_960), 0o600),
        Member("etc/rc", b"#!/bin/sh\n# Nothing to do.\n", 0o644),
        Member("etc/rc.d/sshd", b"#!/bin/sh\n", 0o555),
        Member("etc/defaults/rc.conf", b'sshd_enable="NO"\n', 0o644),
        Member("etc/ssh/sshd_config", b"UsePAM no\n", 0o644),
        Member("etc/login.conf", b"default:\\\n\t:path=/bin:\n", 0o644),
        Member("etc/aliases", symlink="mail/aliases"),
        Member("etc/motd.template", b"", 0o644),
        Member("var/log/cron", b"", 0o600),
        Member("var/db/locate.database", b"", 0o644, ("nobody", 65534)),
    ]


def _programs() -> list[Member]:
    setuid = Member("usr/bin/su", program("su", "libutil.so.9", "libc.so.7"), 0o4555, flags="schg")
    return [
        Member("bin/sh", program("sh", "libedit.so.8", "libc.so.7"), 0o555),
        Member("bin/test", program("test"), 0o555),
        Member("bin/[", mode=0o555, hard_link="bin/test"),
        Member("sbin/init", program("init"), 0o555, flags="schg"),
        Member("sbin/mount", program("mount"), 0o555),
        Member("rescue/rescue", noise("rescue", 250_000), 0o555),
        *(Member(f"rescue/{name}", mode=0o555, hard_link="rescue/rescue") for name in ("sh", "ls")),
        Member("libexec/ld-elf.so.1", elf(soname="ld-elf.so.1"), 0o555, flags="schg"),
        Member(
            "lib/libc.so.7", elf(soname="libc.so.7") + noise("libc", 200_000), 0o444, flags="schg"
        ),
        Member("lib/libedit.so.8", elf(("libc.so.7",), soname="libedit.so.8"), 0o444),
        Member("lib/libutil.so.9", elf(("libc.so.7",), soname="libutil.so.9"), 0o444),
        Member("usr/lib/libedit.so", symlink="../../lib/libedit.so.8"),
        setuid,
        Member("usr/bin/wall", program("wall"), 0o2555, group=("tty", 4)),
        Member("usr/bin/login", program("login"), 0o4555),
        Member("usr/sbin/sshd", program("sshd", "libutil.so.9", "libc.so.7"), 0o555),
        Member("usr/sbin/service", b"#!/bin/sh\n", 0o555),
        Member("usr/share/zoneinfo/UTC", b"TZif2" + bytes(100), 0o444),
        Member("usr/share/zoneinfo/Etc", symlink="."),
        Member("usr/share/misc/a name with spaces # and more", b"odd\n", 0o444),
        Member("sys", symlink="usr/src/sys"),
        Member("home", symlink="/usr/home"),
    ]


def _boot() -> list[Member]:
    return [
        Member("boot/pmbr", noise("pmbr", 510) + b"\x55\xaa", 0o444),
        Member("boot/gptboot", noise("gptboot", 30_000), 0o444),
        Member("boot/gptboot.efi", b"MZ" + noise("gptboot.efi", 100_000), 0o444),
        Member("boot/loader", noise("loader", 250_000), 0o444),
        Member("boot/loader_lua", mode=0o444, hard_link="boot/loader"),
        Member("boot/loader.efi", b"MZ" + noise("loader.efi", 300_000), 0o444),
        Member("boot/defaults/loader.conf", b'kernel="kernel"\n', 0o444),
        Member("boot/device.hints", b'hint.uart.0.at="isa"\n', 0o444),
        Member("boot/lua/loader.lua", b'require("core")\n', 0o444),
    ]


def _unwanted() -> list[Member]:
    return [
        Member("usr/bin/cc", program("cc", "libprivatellvm.so.19", "libc.so.7"), 0o555),
        Member("usr/bin/clang", mode=0o555, hard_link="usr/bin/cc"),
        Member("usr/lib/libprivatellvm.so.19", elf(soname="libprivatellvm.so.19"), 0o444),
        Member("usr/lib/libc.a", noise("libc.a", 50_000), 0o444),
        Member("usr/include/stdio.h", b"#define EOF (-1)\n", 0o444),
        Member("usr/share/man/man1/sh.1.gz", noise("sh.1", 9000), 0o444),
        Member("usr/share/games/fortune", b"You will build an image.\n", 0o444),
        Member("usr/share/locale/de_DE.UTF-8", symlink="C.UTF-8"),
        Member("usr/tests/Kyuafile", b"syntax(2)\n", 0o444),
    ]


def pack(members: list[Member]) -> bytes:
    """A set: the members as a tar archive in pax format, compressed by xz."""
    plain = io.BytesIO()
    with tarfile.open(fileobj=plain, mode="w", format=tarfile.PAX_FORMAT) as tar:
        for member in members:
            tar.addfile(_header(member), io.BytesIO(member.content or b""))
    # The least effort: the tests make many releases, and nobody downloads them.
    return lzma.compress(plain.getvalue(), preset=0)


def _header(member: Member) -> tarfile.TarInfo:
    header = tarfile.TarInfo("./" + member.path if member.path != "." else ".")
    header.mode, header.mtime = member.mode, _TIME_S
    (header.uname, header.uid), (header.gname, header.gid) = member.owner, member.group
    if member.symlink:
        header.type, header.linkname = tarfile.SYMTYPE, member.symlink
    elif member.hard_link:
        header.type, header.linkname = tarfile.LNKTYPE, "./" + member.hard_link
    elif member.content is None:
        header.type = tarfile.DIRTYPE
    else:
        header.size = len(member.content)
    if member.flags:
        header.pax_headers = {"SCHILY.fflags": member.flags}
    return header


def manifest_of(sets: dict[str, tuple[bytes, int]]) -> bytes:
    """The MANIFEST for archives by file name, each with its number of members."""
    lines = []
    for file, (archive, count) in sets.items():
        name = file.removesuffix(".txz").replace("-", "_")
        digest = hashlib.sha256(archive).hexdigest()
        lines.append(f'{file}\t{digest}\t{count}\t{name}\t"The {name} set (small)"\ton\n')
    return "".join(lines).encode()


def make(folder: Path, version: str = VERSION) -> Path:
    """Write MANIFEST, base.txz and kernel.txz into ``folder``, and return it.

    Two versions differ in ``bin/freebsd-version``, and in nothing else.
    """
    folder.mkdir(parents=True, exist_ok=True)
    script = f'#!/bin/sh\nUSERLAND_VERSION="{version}"\n'
    named = Member("bin/freebsd-version", script.encode(), 0o555)
    sets = {}
    for file, members in (
        ("base.txz", [*base_members(), named]),
        ("kernel.txz", kernel_members()),
    ):
        archive = pack(members)
        (folder / file).write_bytes(archive)
        sets[file] = (archive, len(members))
    (folder / "MANIFEST").write_bytes(manifest_of(sets))
    return folder
