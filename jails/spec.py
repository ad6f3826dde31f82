"""What a jail is, and what can be seen of it; words only, no behaviour but digests.

``JailSpec`` is what is wanted, ``JailFacts`` what a runtime found when it looked. Comparing the
two is the reconciler's business (``reconciler.plan``); bringing them together is a runtime's.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from types import MappingProxyType


class RestartPolicy(StrEnum):
    """When a program that ended is started again."""

    ALWAYS = "always"
    ON_FAILURE = "on-failure"
    NEVER = "never"


class JailState(StrEnum):
    """What a look at the machine says of a jail."""

    RUNNING = "running"
    BACKING_OFF = "backing-off"  # the program ended; its supervisor waits before the next start
    STOPPED = "stopped"  # files are there, nothing runs
    FAILED = "failed"  # ended for good, by its restart policy
    ORPHANED = "orphaned"  # the program runs, its supervisor is gone: ensure() repairs it


# Nothing runs, and nobody is about to start it.
AT_REST = (JailState.STOPPED, JailState.FAILED)


@dataclass(frozen=True, slots=True, kw_only=True)
class Restart:
    """Restart policy with backoff: base_s, doubled up to max_s, forgotten after steady_s up."""

    policy: RestartPolicy = RestartPolicy.ALWAYS
    base_s: float = 0.25
    max_s: float = 30.0
    steady_s: float = 10.0


@dataclass(frozen=True, slots=True, kw_only=True)
class JailFile:
    """A file in the jail's own writable part; ``path`` is relative and stays inside."""

    path: str
    content: bytes = field(repr=False)
    mode: int = 0o600
    # True: the program must be restarted to see a change; False: it can reload.
    restarts: bool = True


class RootKind(StrEnum):
    """What a program sees as its root folder."""

    HOST = "host"  # the machine's own system; a runtime that isolates shows it read-only
    THIN = "thin"  # the system under ``base``, shared and read-only, with own writable folders
    THICK = "thick"  # a system of its own under ``base``, writable


@dataclass(frozen=True, slots=True, kw_only=True)
class Root:
    """The root folder; ``base`` is a folder of the host."""

    kind: RootKind = RootKind.HOST
    base: str = "/"


@dataclass(frozen=True, slots=True, kw_only=True)
class SharedFolder:
    """A folder or file ``source`` of the host, seen in the jail at the absolute ``target``."""

    source: str
    target: str
    is_writable: bool = False


class NetworkKind(StrEnum):
    """Whose network a program uses."""

    HOST = "host"  # all of the machine's
    SHARED = "shared"  # the machine's stack, with one address that is set on ``interface``
    VNET = "vnet"  # a stack of its own, joined to ``bridge``


@dataclass(frozen=True, slots=True, kw_only=True)
class Network:
    """The network; addresses as text, ``address`` with the length of its network."""

    kind: NetworkKind = NetworkKind.HOST
    interface: str = ""
    bridge: str = ""
    address: str = ""
    # The bridge's own address, and the way out of the jail; empty: no way out.
    gateway: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Forward:
    """What arrives at ``port`` of the host's ``interface`` goes to the jail's address."""

    interface: str
    protocol: str
    port: int
    # None: the same port inside.
    inner_port: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What a jail may use at most; None: as much as there is."""

    memory_bytes: int | None = None
    processes: int | None = None
    open_files: int | None = None
    # 100 is one whole core.
    cpu_percent: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Hooks:
    """Commands of the host: before the jail is made, and after it is gone."""

    prepare: tuple[tuple[str, ...], ...] = ()
    release: tuple[tuple[str, ...], ...] = ()


class HookKind(StrEnum):
    """At which moment in the life of a program a hook of its own is run."""

    START = "start"  # it runs, and takes no traffic yet
    DRAIN = "drain"  # it gets no new traffic any more
    STOP = "stop"  # it is about to be told to end


@dataclass(frozen=True, slots=True, kw_only=True)
class ProgramHooks:
    """Commands beside the program, inside the jail, as the program itself; empty for none.

    A runtime runs one only when it is told to, never by itself.
    """

    start: tuple[str, ...] = ()
    drain: tuple[str, ...] = ()
    stop: tuple[str, ...] = ()
    # How long each may take before it is ended by force.
    timeout_s: float = 10.0

    def command(self, kind: HookKind) -> tuple[str, ...]:
        """What is run at that moment."""
        return {HookKind.START: self.start, HookKind.DRAIN: self.drain, HookKind.STOP: self.stop}[
            kind
        ]


@dataclass(frozen=True, slots=True, kw_only=True)
class Isolation:
    """How far a jail is kept apart; the defaults keep it apart no further than a process."""

    root: Root = Root()
    mounts: tuple[SharedFolder, ...] = ()
    network: Network = Network()
    forwards: tuple[Forward, ...] = ()
    # The account that the program runs under; empty: that of the runtime.
    user: str = ""
    limits: Limits = Limits()
    hooks: Hooks = Hooks()


@dataclass(frozen=True, slots=True, kw_only=True)
class SecretEnvironment:
    """Variables that only the program may know: a file of the host, read at each of its starts.

    It holds ``encode_secret_environment``. ``digest`` changes with it and tells nothing of it.
    """

    path: str
    digest: str


@dataclass(frozen=True, slots=True, kw_only=True)
class JailSpec:
    """One wanted jail. ``{data}`` in command and environment is the jail's writable part."""

    name: str
    command: tuple[str, ...]
    environment: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    files: tuple[JailFile, ...] = ()
    restart: Restart = Restart()
    stop_deadline_s: float = 10.0
    # A digest of whatever else the program reads only when it starts, such as its credentials.
    generation: str = ""
    isolation: Isolation = Isolation()
    # On top of the environment; values are in no record, digest or argument.
    secrets: SecretEnvironment | None = None
    # ``{data}`` in their words means the same as in the command.
    hooks: ProgramHooks = ProgramHooks()

    def program_digest(self) -> str:
        """Changes when the program must be started anew; reloadable files are left out."""
        said = {
            "command": self.command,
            "environment": dict(sorted(self.environment.items())),
            "restart": asdict(self.restart),
            "stop_deadline_s": self.stop_deadline_s,
            "generation": self.generation,
            "files": [_file_digest(f) for f in self._sorted_files() if f.restarts],
        }
        if self.isolation != Isolation():
            said["isolation"] = asdict(self.isolation)
        if self.secrets is not None:
            said["secrets"] = asdict(self.secrets)
        if self.hooks != ProgramHooks():
            said["hooks"] = asdict(self.hooks)
        return _digest(json.dumps(said, sort_keys=True).encode())

    def files_digest(self) -> str:
        """Changes when any file changes; a runtime computes the same from what lies on disk."""
        return digest_of_files({f.path: (f.content, f.mode) for f in self.files})

    def _sorted_files(self) -> list[JailFile]:
        return sorted(self.files, key=lambda f: f.path)


@dataclass(frozen=True, slots=True, kw_only=True)
class JailFacts:
    """What was found of one jail, whoever started it."""

    name: str
    state: JailState
    # Digests of the spec it was started from, and of its files as they lie there now.
    program_digest: str = ""
    files_digest: str = ""
    pid: int | None = None
    # Seconds since the epoch; None where nothing runs.
    started_at: float | None = None
    restarts: int = 0
    last_exit: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class JailUsage:
    """What a jail uses now; None where the runtime cannot tell."""

    memory_bytes: int | None = None
    # Seconds of one core, since the start.
    cpu_s: float | None = None
    processes: int | None = None
    open_files: int | None = None
    received_bytes: int | None = None
    sent_bytes: int | None = None


def encode_secret_environment(values: Mapping[str, bytes | bytearray]) -> bytes:
    """``NAME=value`` of each, ended by a NUL byte, as environ(7) has it."""
    return b"".join(b"%s=%s\0" % (name.encode(), value) for name, value in sorted(values.items()))


def decode_secret_environment(content: bytes) -> dict[str, str]:
    """What ``encode_secret_environment`` wrote; bytes that are no UTF-8 come as surrogates."""
    entries = content.decode("utf-8", "surrogateescape").split("\0")
    return {name: value for name, _, value in (each.partition("=") for each in entries) if name}


def digest_of_files(files: Mapping[str, tuple[bytes, int]]) -> str:
    """One digest over path, mode and content of every file."""
    said = [(path, mode, _digest(content)) for path, (content, mode) in sorted(files.items())]
    return _digest(json.dumps(said).encode())


def _file_digest(file: JailFile) -> tuple[str, int, str]:
    return file.path, file.mode, _digest(file.content)


def _digest(data: bytes) -> str:
    # Loaded by whoever compares: a keeper only needs the words, and stays small.
    import hashlib

    return hashlib.sha256(data).hexdigest()
