"""What image/prune.toml leaves: all that the start of FreeBSD, ssh, jails and Python ask for."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from imagebuilder.entries import Entry, Kind
from imagebuilder.filesystem.prune import parse_rules, prune
from imagebuilder.filesystem.tree import Layer, merge

if TYPE_CHECKING:
    from collections.abc import Iterable

ROOT = Path(__file__).resolve().parents[3]
# By whom.
WANTED = {
    "boot program and loader": (
        "boot/gptboot boot/gptboot.efi boot/pmbr boot/loader boot/loader_lua boot/loader.efi"
        " boot/loader_lua.efi boot/defaults/loader.conf boot/device.hints boot/lua/loader.lua"
        " boot/lua/config.lua boot/lua/core.lua boot/lua/hook.lua boot/lua/cli.lua"
        " boot/lua/password.lua boot/lua/color.lua boot/kernel/kernel boot/kernel/linker.hints"
    ),
    "modules that something loads": (
        "boot/kernel/if_bridge.ko boot/kernel/bridgestp.ko boot/kernel/if_epair.ko"
        " boot/kernel/nullfs.ko boot/kernel/fdescfs.ko boot/kernel/tmpfs.ko boot/kernel/pf.ko"
        " boot/kernel/ichwd.ko boot/kernel/amdsbwd.ko boot/kernel/mac_ntpd.ko"
        " boot/kernel/msdosfs.ko boot/kernel/virtio_random.ko boot/kernel/umass.ko"
    ),
    "drivers of Ethernet, and what finds them": (
        "sbin/devmatch sbin/kldstat usr/sbin/devctl usr/bin/sort boot/kernel/uether.ko"
        " boot/kernel/mlx4.ko boot/kernel/mlx4en.ko boot/kernel/if_cdce.ko"
        " boot/kernel/if_em.ko boot/kernel/if_igc.ko boot/kernel/if_ix.ko boot/kernel/if_re.ko"
        " boot/kernel/if_vtnet.ko boot/kernel/if_vmx.ko boot/kernel/if_ena.ko boot/kernel/if_ice.ko"
        " boot/kernel/if_axge.ko boot/kernel/if_ure.ko boot/kernel/mlx5en.ko boot/kernel/miibus.ko"
    ),
    "rc and its scripts": (
        "sbin/init sbin/mdmfs sbin/mount sbin/mount_msdosfs sbin/mount_nullfs sbin/umount"
        " sbin/fsck sbin/fsck_ffs sbin/fsck_ufs sbin/sysctl sbin/kldload sbin/ldconfig sbin/md5"
        " sbin/rcorder sbin/ifconfig sbin/route sbin/dhclient sbin/dhclient-script sbin/devd"
        " sbin/pfctl sbin/gpart sbin/growfs sbin/geom sbin/shutdown sbin/reboot bin/sh bin/kenv"
        " lib/geom/geom_part.so usr/sbin/service usr/sbin/mtree usr/sbin/pw usr/sbin/pwd_mkdb"
        " usr/sbin/daemon usr/sbin/newsyslog usr/sbin/syslogd usr/sbin/cron usr/sbin/ntpd"
        " usr/sbin/watchdogd usr/bin/logger usr/bin/grep usr/bin/awk usr/bin/sed usr/bin/timeout"
        " usr/bin/cap_mkdb usr/bin/protect usr/bin/uuidgen usr/bin/install etc/mtree/BSD.var.dist"
        " etc/ntp/leap-seconds etc/protocols etc/services etc/pf.os etc/login.conf"
    ),
    "ways in": (
        "usr/sbin/sshd usr/libexec/sshd-session usr/libexec/sshd-auth usr/libexec/sftp-server"
        " usr/bin/ssh usr/bin/ssh-keygen usr/libexec/getty usr/bin/login usr/lib/pam_unix.so.6"
        " usr/lib/libprivatessh.so.5 usr/lib/libprivateldns.so.5 usr/share/misc/termcap"
        " usr/share/misc/termcap.db etc/gettytab etc/pam.d/sshd etc/pam.d/cron etc/shells"
    ),
    "confined programs of the base system": (
        "lib/casper/libcap_dns.so.2 lib/casper/libcap_net.so.1 lib/casper/libcap_syslog.so.1"
        " lib/libcasper.so.1"
    ),
    "jails": "usr/sbin/jail usr/sbin/jls usr/sbin/jexec usr/bin/rctl etc/defaults/devfs.rules",
    "Python and Git": (
        "usr/share/locale/C.UTF-8/LC_CTYPE usr/share/zoneinfo/UTC etc/ssl/openssl.cnf"
        " usr/share/certs/trusted/ISRG_Root_X1.pem etc/ssl/certs/4042bcee.0 etc/ssl/cert.pem"
        " usr/lib/libssl.so.35 lib/libcrypto.so.35 usr/lib/libffi.so.8 usr/lib/libbz2.so.4"
        " usr/lib/engines/capi.so usr/lib/ossl-modules/legacy.so usr/lib/libprivatesqlite3.so.0"
        " usr/lib/libprivatezstd.so.5 usr/bin/tar usr/bin/zstd usr/bin/fetch"
    ),
}


# What cron(8) would run beside our crontab.
UNWANTED = ("etc/cron.d/at", "usr/libexec/atrun")


def left_of(paths: Iterable[str]) -> set[str]:
    """What of these files is on the image."""
    paths = tuple(paths)
    folders = {str(each) for path in paths for each in Path(path).parents} - {"."}
    tree = merge(
        [
            Layer("base", [Entry(path=path, kind=Kind.FOLDER, mode=0o755) for path in folders]),
            Layer("files", [Entry(path=path, kind=Kind.FILE, mode=0o644) for path in paths]),
        ]
    )
    text = (ROOT / "image/prune.toml").read_text()
    left, _ = prune(tree, parse_rules(text, "prune.toml"), {})
    return set(paths) & set(left.by_path())


def test_what_is_asked_for_is_left() -> None:
    wanted = {path: whose for whose, paths in WANTED.items() for path in paths.split()}
    left = left_of(wanted)
    assert {path: whose for path, whose in wanted.items() if path not in left} == {}


def test_cron_runs_only_what_our_crontab_says() -> None:
    assert left_of(UNWANTED) == set()
