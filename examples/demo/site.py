"""The folder in which the demo plays: what an operator would have prepared on a real machine."""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import socket
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

import yaml
from git import Actor, Repo

from maculaos.errors import UsageError
from maculaos.host.clock import SystemClock
from maculaos.host.entropy import SystemEntropy
from maculaos.host.files import make_private_directory, write_atomically
from maculaos.security.authority import Request, create_realm, issue

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

SEED: Final = Path(__file__).resolve().parent.parent / "mesh-config"
REALM: Final = "demo"
BRANCH: Final = "main"
# Identities made ahead, so that a pushed n4 to n6 needs no further move.
SEATS: Final = tuple(f"n{number}" for number in range(1, 7))
OPERATOR: Final = Actor("Demo operator", "operator@demo.invalid")
# A Unix socket path holds about 100 bytes; a checkout may lie deeper than that.
LONGEST_RUN_DIRECTORY: Final = 62


@dataclass(frozen=True, slots=True)
class Jails:
    """How the jails of a demo are run, in the words of the reconciler's settings."""

    runtime: str = "process"
    own_network: bool = False


@dataclass(frozen=True, slots=True)
class Site:
    """Where everything of one demo lies."""

    root: Path

    @property
    def repository(self) -> Path:
        """The bare repository that the reconciler follows."""
        return self.root / "config.git"

    @property
    def worktree(self) -> Path:
        """A clone of it, to edit and push from."""
        return self.root / "config"

    @property
    def realm(self) -> Path:
        """The certificate authority of the realm."""
        return self.root / "realm"

    @property
    def credentials(self) -> Path:
        """One folder per node: certificate, key, realm certificate."""
        return self.root / "credentials"

    @property
    def state(self) -> Path:
        """What the reconciler remembers, and the jails."""
        return self.root / "state"

    @property
    def settings_file(self) -> Path:
        """The reconciler's settings."""
        return self.root / "reconciler.yaml"

    @property
    def run(self) -> Path:
        """The sockets; outside the checkout where its path is too long for one."""
        inside = self.root / "run"
        if len(os.fsencode(inside)) <= LONGEST_RUN_DIRECTORY:
            return inside
        digest = hashlib.sha256(os.fsencode(self.root)).hexdigest()[:12]
        return Path("/tmp") / f"macula-{os.getuid()}-{digest}"  # noqa: S108  # made 0700, owner checked

    @property
    def bridge(self) -> str:
        """The bridge of this site's vnets, if they have any; two sites never share one."""
        return f"macula{hashlib.sha256(os.fsencode(self.root)).hexdigest()[:8]}"

    def socket(self, node: str) -> Path:
        """The control socket of a node."""
        return self.run / node / "control.sock"


def prepare(
    site: Site, ports: Mapping[str, int], tell: Callable[[str], None], jails: Jails | None = None
) -> None:
    """Make what is missing of ``site``; what is there is kept, so that pushes survive a restart.

    ``ports`` replaces the listening ports of the seeded nodes, by name. Raises ``UsageError``.
    """
    make_private_directory(site.root)
    _make_run_directory(site.run)
    if not (site.realm / "realm.crt").exists():
        tell(f"creating the realm {REALM} in {site.realm}")
        create_realm(site.realm, REALM, now=SystemClock().now(), entropy=SystemEntropy())
    _issue_missing(site, tell)
    if not site.repository.exists():
        tell(f"seeding the Git repository {site.repository}")
        _seed_repository(site, ports)
    if not (site.worktree / ".git" / "HEAD").exists():
        _clone_worktree(site)
    write_atomically(site.settings_file, _settings(site, jails or Jails()).encode(), 0o644)


def listening_ports(site: Site) -> dict[str, tuple[str, int]]:
    """Address and port of every node that the work tree describes."""
    found = {}
    for file in sorted((site.worktree / "nodes").glob("*.yaml")):
        listen = yaml.safe_load(file.read_text())["listen"]
        found[file.stem] = (str(listen["address"]), int(listen["port"]))
    return found


def free_port() -> int:
    """A UDP port of the loopback address that nobody uses now."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def commit(site: Site, subject: str, files: Mapping[str, str | None]) -> str:
    """Write (or, for ``None``, delete) files, commit, push; return the revision."""
    with Repo(site.worktree) as repo:
        for path, content in files.items():
            target = site.worktree / path
            if content is None:
                target.unlink()
            else:
                target.parent.mkdir(parents=True, exist_ok=True)
                target.write_text(content)
        repo.git.add(all=True)
        revision = repo.index.commit(subject, author=OPERATOR, committer=OPERATOR).hexsha
        repo.git.push("origin", BRANCH)
    return revision


def with_port(spec: str, port: int) -> str:
    """The text of a node's spec, listening on another port."""
    return re.sub(r"(\bport:\s*)\d+", rf"\g<1>{port}", spec, count=1)


def _make_run_directory(path: Path) -> None:
    make_private_directory(path)
    if path.is_symlink() or path.stat().st_uid != os.getuid():
        raise UsageError(f"{path} belongs to somebody else", "remove it, or move the checkout")


def _issue_missing(site: Site, tell: Callable[[str], None]) -> None:
    missing = [name for name in SEATS if not (site.credentials / name / "node.crt").exists()]
    if missing:
        tell(f"issuing identities for {', '.join(missing)}")
    for name in missing:
        issue(
            site.realm,
            site.credentials,
            Request(name=name),
            now=SystemClock().now(),
            entropy=SystemEntropy(),
        )


def _seed_repository(site: Site, ports: Mapping[str, int]) -> None:
    """Build the bare repository beside its place and move it there last: all or nothing."""
    building = site.root / "config.git.new"
    shutil.rmtree(building, ignore_errors=True)
    Repo.init(building, bare=True, initial_branch=BRANCH).close()
    with tempfile.TemporaryDirectory() as folder:
        seed = Path(folder) / "seed"
        shutil.copytree(SEED, seed)
        for name, port in ports.items():
            file = seed / "nodes" / f"{name}.yaml"
            file.write_text(with_port(file.read_text(), port))
        with Repo.init(seed, initial_branch=BRANCH) as repo:
            repo.git.add(all=True)
            repo.index.commit(
                "Describe three nodes and an app", author=OPERATOR, committer=OPERATOR
            )
            repo.git.push(str(building), BRANCH)
    building.rename(site.repository)


def _clone_worktree(site: Site) -> None:
    shutil.rmtree(site.worktree, ignore_errors=True)
    with (
        Repo.clone_from(str(site.repository), str(site.worktree), branch=BRANCH) as repo,
        repo.config_writer() as config,
    ):
        # Commits must work on a machine where git does not know its user yet.
        config.set_value("user", "name", OPERATOR.name or "")
        config.set_value("user", "email", OPERATOR.email or "")


def _settings(site: Site, jails: Jails) -> str:
    network = {"kind": "vnet", "bridge": site.bridge} if jails.own_network else {"kind": "host"}
    return yaml.safe_dump(
        {
            "version": 1,
            "repository": {"url": str(site.repository), "branch": BRANCH},
            "state_dir": str(site.state),
            "run_dir": str(site.run),
            "credentials_dir": str(site.credentials),
            "realm_dir": str(site.realm),
            "runtime": jails.runtime,
            "network": network,
            "poll": {"interval_s": 1.0},
        },
        sort_keys=False,
    )
