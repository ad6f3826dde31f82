"""Apps with releases and secrets on a bench: archives of small programs, their specs, what runs."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
from collections import Counter
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from jails.process import ProcessRuntime
from maculaos.host.clock import SystemClock
from reconciling import REALM, Bench, a_bench, node
from releasehouse import tar_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from releasehouse import Server

PLAIN = {"realm.yaml": REALM, "nodes/n1.yaml": node("n1", 4701)}
# Says its version and the digest of its secret, and stays.
PROGRAM = """#!{python} -IS
import hashlib, os, signal
secret = os.environ.get("PASSWORD", "")
print("{version}", hashlib.sha256(secret.encode()).hexdigest(), flush=True)
signal.pause()
"""


def archive(version: str, padding: int = 0) -> bytes:
    program = PROGRAM.format(python=sys.executable, version=version).encode()
    return tar_of({"bin/run": program, "padding": os.urandom(padding)})


def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def app(name: str, *, release: dict[str, Any] | None = None, **keys: Any) -> str:
    said: dict[str, Any] = {"version": 1, "name": name, "node": "n1"}
    said["command"] = ["{release}/bin/run", name]
    # A version is stable as soon as it ran for a moment.
    said["strategy"] = {"min_healthy_time_s": 0.2, "healthy_deadline_s": 5}
    if release is not None:
        said["release"] = release
    return yaml.safe_dump({**said, **keys})


def published(server: Server, version: str, path: str = "", padding: int = 0) -> dict[str, Any]:
    """A release of that version on the server; what a spec says of it."""
    content, path = archive(version, padding), path or f"/{version}.tar"
    server.files[path] = content
    return {"url": server.url(path), "sha256": sha256(content)}


@contextmanager
def a_supplied_bench(**changes: Any) -> Iterator[Bench]:
    """A bench with the runtime of processes and a run_dir in memory."""
    with a_bench() as bench, _folder_in_memory() as run_dir:
        bench.runtime = ProcessRuntime(bench.root / "state" / "jails", SystemClock())
        releases = {"plain_http_hosts": ["localhost"], "stall_s": 0.5}
        settings = {"run_dir": str(run_dir), "releases": releases}
        bench.configure(**{**settings, **changes})
        try:
            yield bench
        finally:
            for jail in bench.runtime.look():
                bench.runtime.remove(jail)


@contextmanager
def _folder_in_memory() -> Iterator[Path]:
    there = "/dev/shm" if os.path.isdir("/dev/shm") else None  # noqa: S108
    with tempfile.TemporaryDirectory(dir=there, prefix="mac-") as name:
        yield Path(name)


def programs(bench: Bench) -> Counter[str]:
    """The programs that run from the bench's releases, by app and release."""
    found: Counter[str] = Counter()
    root = str(bench.root / "state" / "releases")
    for file in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            words = file.read_bytes().decode(errors="replace").split("\0")[:-1]
        except OSError:
            continue
        for word in words:
            if word.startswith(root) and words[0].endswith(
                "python" + sys.executable.rpartition("python")[2]
            ):
                found["/".join(Path(word).relative_to(root).parts[:2])] += 1
    return found


class AgeKeys:
    """The age key of a machine, and encryption to it."""

    def __init__(self, file: Path) -> None:
        self.file = file
        subprocess.run(["age-keygen", "-o", str(file)], check=True, capture_output=True)
        file.chmod(0o600)
        said = subprocess.run(["age-keygen", "-y", str(file)], check=True, capture_output=True)
        self.recipient = said.stdout.decode().strip()

    def encrypt(self, plain: str) -> bytes:
        argv = ["age", "--encrypt", "--recipient", self.recipient]
        return subprocess.run(argv, input=plain.encode(), check=True, capture_output=True).stdout


HAS_AGE = shutil.which("age") is not None
