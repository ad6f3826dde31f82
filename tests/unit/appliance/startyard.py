"""A machine that starts: real folders, a model of its kernel, sticks, and power cuts."""

from __future__ import annotations

import base64
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from appliance.media import Media
from appliance.places import Places
from appliance.startup import MachineFiles, Startup, Tools
from maculaos.host.clock import FakeClock
from maculaos.host.commands import DEFAULT_TIMEOUT_S, CommandFailed
from maculaos.host.entropy import SeededEntropy

if TYPE_CHECKING:
    from appliance.firstboot import Plan

NO_UUID = "00000000-0000-0000-0000-000000000000"
FAT_SECTOR = bytes(54) + b"FAT12   " + bytes(448) + b"\x55\xaa"


def ssh_key(kind: str = "ssh-ed25519") -> str:
    name = kind.encode()
    blob = len(name).to_bytes(4) + name + (32).to_bytes(4) + bytes(range(32))
    return f"{kind} {base64.b64encode(blob).decode()}"


SEED = f"""
version = 1
hostname = "edge-7"
[ssh]
authorized_keys = ["{ssh_key()} ann@example.org"]
[realm]
join_token = "token-of-edge-7"
[repository]
url = "https://git.example/site.git"
[jails]
network = "vnet"
""".encode()


class PowerCut(BaseException):
    """Everything stops here."""


class CutFiles(MachineFiles):
    """Files of a machine whose power goes before or after a write, or leaves half of one."""

    def __init__(self, root: Path) -> None:
        super().__init__(root)
        self.root = root
        self.writes = 0
        self.cut_after: int | None = None

    def put(self, path: str, content: bytes, mode: int) -> None:
        if self.cut_after == self.writes:
            # What a writer leaves that was killed half way.
            file = self.root / path[1:]
            file.parent.mkdir(parents=True, exist_ok=True)
            (file.parent / f".{file.name}.{self.writes}.0123abcd").write_bytes(content[:3])
        self._count()
        super().put(path, content, mode)

    def remove(self, path: str) -> None:
        self._count()
        super().remove(path)

    def set_aside(self, path: str) -> None:
        self._count()
        super().set_aside(path)

    def _count(self) -> None:
        if self.cut_after is not None and self.writes >= self.cut_after:
            raise PowerCut
        self.writes += 1


@dataclass
class Machine:
    """One machine below ``root``; ``cfg`` outlives a restart, the rest does not."""

    root: Path
    has_cfg: bool = True
    interfaces: str = "vtnet0 lo0"
    memory_bytes: int = 1 << 30
    # What a stick holds: a name below /dev, and the content of its seed.toml.
    sticks: dict[str, bytes | None] = field(default_factory=dict)
    failing: set[str] = field(default_factory=set)
    # Tunables that its kernel has not.
    unknown: set[str] = field(default_factory=set)

    def __post_init__(self) -> None:
        self.files = CutFiles(self.root)
        self.said: list[str] = []
        self.asked: list[tuple[str, ...]] = []
        self.tunables: dict[str, str] = {}
        self.mounted = ""
        self.seed_number = 0
        for name in ("dev", "cfg"):
            (self.root / name).mkdir()
        for name in self.sticks:
            (self.root / "dev" / name).write_bytes(FAT_SECTOR)
        self.restart()

    def restart(self) -> None:
        """Memory forgets; ``cfg`` and what was written half stay."""
        self.tunables = {"kern.hostuuid": NO_UUID, "kern.hostid": "0"}
        for path in sorted((self.root / "etc").rglob("*"), reverse=True):
            path.rmdir() if path.is_dir() else path.unlink()

    def startup(self) -> Startup:
        self.seed_number += 1
        places = Places(root=self.root)
        return Startup(
            Tools(
                places=places,
                files=self.files,
                runner=self,
                media=Media(places, self),
                clock=FakeClock(),
                # Never the same keys twice.
                entropy=SeededEntropy(self.seed_number),
                say=self.said.append,
            )
        )

    def start(self) -> Plan:
        return self.startup().settle(is_running=False)

    def run(self, *argv: str, stdin: bytes = b"", timeout_s: float = DEFAULT_TIMEOUT_S) -> str:
        """A model of the few commands that a start asks."""
        del stdin, timeout_s
        self.asked.append(argv)
        if argv[0] in self.failing:
            raise CommandFailed(argv, 1, "it fails")
        if argv[0] == "sysctl":
            return self._sysctl(argv)
        match argv:
            case ("mount", "-p"):
                return "/dev/gpt/cfg /cfg ufs rw 2 2\n" if self.has_cfg else ""
            case ("mount", "-t", "msdosfs", "-o", "ro,noexec,nosuid", device, folder):
                return self._mount(argv, device, folder)
            case ("umount", "-f", folder):
                Path(folder, "seed.toml").unlink(missing_ok=True)
                self.mounted = ""
            case ("ifconfig", "-l"):
                return f"{self.interfaces}\n"
            case ("service", _, "restart" | "reload"):
                pass
            case _:
                raise AssertionError(f"nobody taught the model {argv}")
        return ""

    def _sysctl(self, argv: tuple[str, ...]) -> str:
        if argv == ("sysctl", "-n", "hw.physmem"):
            return f"{self.memory_bytes}\n"
        name, is_set, value = argv[-1].partition("=")
        if is_set and name in self.unknown:
            if "-i" in argv:
                return ""
            raise CommandFailed(argv, 1, f"sysctl: unknown oid '{name}'")
        if is_set:
            before, self.tunables[name] = self.tunables.get(name, "0"), value
            return f"{name}: {before} -> {value}\n"
        return "".join(f"{name}: {self.tunables[name]}\n" for name in argv[1:])

    def _mount(self, argv: tuple[str, ...], device: str, folder: str) -> str:
        assert not self.mounted, "the stick before was not let go"
        content = self.sticks.get(device.rpartition("/")[2])
        if content is None:
            raise CommandFailed(argv, 1, "Invalid argument")
        self.mounted = device
        Path(folder, "seed.toml").write_bytes(content)
        return ""

    def lasting(self) -> dict[str, bytes]:
        """Everything on cfg that has a name of its own."""
        cfg = self.root / "cfg"
        return {
            str(path.relative_to(cfg)): path.read_bytes()
            for path in cfg.rglob("*")
            if path.is_file() and not path.name.startswith(".")
        }

    def leftovers(self) -> list[str]:
        """What killed writers left on cfg."""
        return [path.name for path in (self.root / "cfg").rglob(".*")]

    def text(self, path: str) -> str:
        return (self.root / path.lstrip("/")).read_text()
