"""The way into a booted image: one key for the run, one host key that was read off its console.

All sessions of one boot share a connection: the appliance's firewall takes few new ones a minute.
"""

from __future__ import annotations

import shlex
import subprocess
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

ALIAS: Final = "appliance"
_CONFIG: Final = """\
Host {alias}
  HostName 127.0.0.1
  Port {port}
  User root
  IdentityFile {key}
  IdentitiesOnly yes
  BatchMode yes
  HostKeyAlias {alias}
  HostKeyAlgorithms ssh-ed25519
  StrictHostKeyChecking yes
  UserKnownHostsFile {known_hosts}
  ConnectTimeout 60
  ServerAliveInterval 5
  ServerAliveCountMax 6
  ControlMaster auto
  ControlPersist 120
  ControlPath {control}
"""


class RemoteFailed(AssertionError):
    """A command on the machine ended with another status than 0, or did not end in time."""


def make_key(path: Path) -> str:
    """Make the key of a run in ``path``; its public half, as authorized_keys has it."""
    _run("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "test", "-f", str(path), limit_s=60)
    return path.with_suffix(".pub").read_text().strip()


@dataclass(frozen=True, slots=True, kw_only=True)
class Ssh:
    """Commands on one machine."""

    # Holds configuration, known host and the shared connection; short enough for a socket.
    folder: Path
    port: int
    key: Path
    # By how much everything takes longer than on KVM.
    patience: float

    @property
    def config(self) -> Path:
        """The configuration for ssh, scp and Git."""
        return self.folder / "ssh_config"

    def pin(self, fingerprint: str) -> None:
        """Believe only the host key with this fingerprint, as the console showed it.

        Raises ``AssertionError`` when the port answers with another key.
        """
        known = self.folder / "known_hosts"
        limit = self.patience * 10
        words = ("-T", "60", "-t", "ed25519", "-p", str(self.port), "127.0.0.1")
        offered = _run("ssh-keyscan", *words, limit_s=60 + limit)
        (line,) = [line for line in offered.splitlines() if line and not line.startswith("#")]
        known.write_text(f"{ALIAS} {line.split(maxsplit=1)[1]}\n")
        shown = _run("ssh-keygen", "-l", "-f", str(known), limit_s=60)
        assert fingerprint in shown.split(), f"the console shows {fingerprint}, ssh gets {shown}"
        self.config.write_text(
            _CONFIG.format(
                alias=ALIAS,
                port=self.port,
                key=self.key,
                known_hosts=known,
                control=self.folder / "c",
            )
        )

    def run(self, *argv: str, timeout_s: float = 30) -> str:
        """Standard output of a command; raises ``RemoteFailed``."""
        command = shlex.join(argv)
        words = ("-F", str(self.config), ALIAS, command)
        return _run("ssh", *words, limit_s=timeout_s * self.patience)

    def succeeds(self, *argv: str) -> bool:
        """Whether a command ended well; False also when the machine does not answer."""
        with suppress(RemoteFailed):
            self.run(*argv)
            return True
        return False

    def start(self, *argv: str) -> subprocess.Popen[str]:
        """A command that goes on while other things happen; whoever asks ends it."""
        return subprocess.Popen(
            ["ssh", "-F", str(self.config), ALIAS, shlex.join(argv)],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def copy(self, source: Path, target: str) -> None:
        """Copy a file or folder to the machine."""
        words = ("-q", "-r", "-F", str(self.config), str(source), f"{ALIAS}:{target}")
        _run("scp", *words, limit_s=120 * self.patience)

    def write(self, target: str, text: str) -> None:
        """Write a small file on the machine."""
        self.run("sh", "-c", 'printf %s "$1" > "$2"', "write", text, target)

    def hang_up(self) -> None:
        """Close the shared connection: the machine restarts, or is gone."""
        with suppress(RemoteFailed):
            _run("ssh", "-F", str(self.config), "-O", "exit", ALIAS, limit_s=30)
        (self.folder / "c").unlink(missing_ok=True)


def _run(*argv: str, limit_s: float) -> str:
    try:
        done = subprocess.run(
            argv,
            capture_output=True,
            text=True,
            timeout=limit_s,
            check=False,
            stdin=subprocess.DEVNULL,
        )
    except subprocess.TimeoutExpired as error:
        raise RemoteFailed(f"{shlex.join(argv)}: not within {limit_s:g} s") from error
    if done.returncode:
        what = f"{shlex.join(argv)}: status {done.returncode}"
        raise RemoteFailed(f"{what}: {(done.stderr or done.stdout).strip()[-2000:]}")
    return done.stdout
