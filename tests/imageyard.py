"""A small checkout with everything that an image is built from, and builds in it."""

from __future__ import annotations

import shutil
from dataclasses import dataclass, replace
from pathlib import Path

import smallrelease
from imagebuilder.image import build_image
from imagebuilder.order import Checkout, Order, Wishes, settle
from imagebuilder.revision import Revision
from imagebuilder.screen import Screen, Silence
from maculaos.host.clock import SystemClock
from maculaos.host.commands import SystemRunner
from maculaos.host.entropy import SeededEntropy
from smallrepository import SmallPackage, SmallRepository

ROOT = Path(__file__).parents[1]
MIB = 1 << 20
TIME_S = 1_750_000_000
REVISION = Revision(version="1.2.3", commit="ab" * 20, committed_at=TIME_S)
STEM = "maculaos-1.2.3-amd64"
TOOLS = ("mkfs.vfat", "mcopy", "qemu-img", "zstd", "sgdisk")

RECIPE = """
[release]
version = "15.1"
arch = "amd64"
sets = ["base", "kernel"]
lock = "release.lock"
[disk]
slot_mib = 6
efi_mib = 1
cfg_mib = 4
data_mib = 9
[contents]
overlays = ["base"]
prune = "prune.toml"
packages = "packages.toml"
python = "python.toml"
accounts = "accounts.toml"
requirements = "run.lock"
sysctls = "sysctls"
layout = "layout.toml"
[[module]]
names = ["nullfs", "snd_hda"]
why = "jails; and a module that prune.toml takes"
[formats]
disks = ["qcow2"]
zstd_window_log = 24
xz = false
"""
LAYOUT = """
[[memory]]
folder = "etc"
template = "conf/base/etc"
how = "copy"
why = "settings"
"""
PACKAGES = """
[repository]
url = "https://packages.invalid"
trusted = []
[[package]]
name = "python312"
why = "runs the daemons"
[[package]]
name = "git-tiny"
why = "fetches"
"""
PYTHON = 'version = "3.12"\nflavour = "py312"\n'
OVERLAY = {
    "etc/sysctl.conf": "# Bytes.\nkern.ipc.maxsockbuf=4194304\n",
    "boot/loader.conf": 'kern.racct.enable="1"\nautoboot_delay="2"\n',
    "etc/motd.template": "An appliance.\n",
    "conf/base/etc/md_size": "32768\n",
    "usr/local/etc/rc.d/node": "#!/bin/sh\n",
    "usr/local/sbin/macula-thing": "#!/bin/sh\nexit 0\n",
    "usr/local/lib/macula/thing.py": "VALUE = 1\n",
    "usr/local/lib/macula/__pycache__/thing.pyc": "made by who tried it\n",
}


def missing_tools() -> str:
    """Which tools are missing here; empty if none is."""
    path = ":".join(["/usr/sbin", "/sbin", "/usr/local/bin", "/usr/bin", "/bin"])
    return ", ".join(tool for tool in TOOLS if shutil.which(tool, path=path) is None)


def make_checkout(folder: Path) -> Path:
    """A checkout with an overlay, the files of ``image/``, and our packages in small."""
    files = {
        "image/image.toml": RECIPE,
        "image/layout.toml": LAYOUT,
        "image/packages.toml": PACKAGES,
        "image/python.toml": PYTHON,
        "image/run.lock": "# Nothing but our own wheel.\n",
        "image/sysctls/13.1.txt": "kern.ipc.maxsockbuf\nkern.racct.enable\n",
        "image/sysctls/changes.toml": "",
        **{f"overlays/base/{path}": text for path, text in OVERLAY.items()},
        **{
            f"{name}/__init__.py": f'"""{name}."""\n'
            for name in ("maculaos", "reconciler", "jails")
        },
    }
    for path, text in files.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_text(text)
    for name in ("prune.toml", "accounts.toml", "installer.toml"):
        shutil.copy(ROOT / "image" / name, folder / "image")
    shutil.copytree(ROOT / "overlays/installer", folder / "overlays/installer")
    for name in ("pyproject.toml", "README.md", "LICENSE", "CHANGELOG.md"):
        shutil.copy(ROOT / name, folder)
    return folder


def make_repository(folder: Path) -> Path:
    """A repository whose packages need the base system, accounts, and each other."""
    folder.mkdir()
    python = SmallPackage(
        name="python312",
        version="3.12.9",
        files={
            "usr/local/bin/python3.12": smallrelease.program("python", "libpython3.12.so.1.0"),
            "usr/local/lib/libpython3.12.so.1.0": smallrelease.elf(
                ("libc.so.7",), soname="libpython3.12.so.1.0"
            ),
        },
        modes={"usr/local/bin/python3.12": 0o755},
    )
    git = SmallPackage(
        name="git-tiny",
        files={"usr/local/bin/git": smallrelease.program("git")},
        folders={"var/db/git": ("git_daemon", "git_daemon", 0o750)},
        more={"users": ["git_daemon"], "groups": ["git_daemon"]},
    )
    SmallRepository(folder, [python, git, SmallPackage(name="unwanted")]).write()
    return folder


@dataclass(frozen=True)
class Yard:
    """A checkout, a release and a repository in one folder, and orders over them."""

    folder: Path

    @classmethod
    def make(cls, folder: Path) -> Yard:
        """Everything in ``folder``."""
        make_checkout(folder / "checkout")
        smallrelease.make(folder / "sets")
        make_repository(folder / "repository")
        return cls(folder)

    @property
    def checkout(self) -> Path:
        """The checkout."""
        return self.folder / "checkout"

    def order(self, out: str = "out", **wishes: str) -> Order:
        """An order with the small sets and no packages, if nothing else is wished."""
        usual = Wishes(
            sets=str(self.folder / "sets"),
            packages="none",
            out=str(self.folder / out),
            cache=str(self.folder / f"{out}.cache"),
            lock=str(self.folder / "release.lock"),
        )
        return settle(replace(usual, **wishes), Checkout(folder=self.checkout), REVISION)  # type: ignore[arg-type]  # only words are given

    def stick(self, out: str = "out", **wishes: str) -> Order:
        """An order of the stick that installs what the small release and repository make."""
        packages = str(self.folder / "repository")
        return self.order(out, **{"profile": "installer", "packages": packages, **wishes})

    def build(self, order: Order, screen: Screen | None = None) -> tuple[str, ...]:
        """Build; the steps that were done. All builds of a yard share their key."""
        return build_image(
            order, SystemRunner(), SystemClock(), SeededEntropy(7), screen or Silence()
        )


def contents(out: Path) -> dict[str, bytes]:
    """Name and bytes of everything that was published."""
    return {path.name: path.read_bytes() for path in sorted(out.iterdir()) if path.is_file()}
