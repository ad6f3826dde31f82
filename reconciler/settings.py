"""The settings of one reconciler: which repository, and where things lie on this machine.

``maculaos.documents`` reads them from a YAML file (``reconciler run --config FILE``) and reports
every problem with its line and column; ``located`` then resolves the paths. What shall run is not
said here but in the repository.
"""

from __future__ import annotations

import ipaddress
import os
import re
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Annotated, Any, ClassVar, Final, Literal, TypeVar
from urllib.parse import urlsplit

from annotated_types import Ge, Le, Len
from pydantic import AfterValidator

from maculaos.errors import UsageError
from reconciler.front.settings import FrontSettings
from reconciler.monitoring.settings import MetricsSettings, located_metrics
from reconciler.notices.settings import NotifySettings, located_notify
from reconciler.placement import NODE_SOCKET
from reconciler.values import (
    LONGEST_NAME,
    STRICT,
    LabelKey,
    LabelValue,
    MachineName,
    Maybe,
    Seconds,
)
from reconciler.webhook.settings import WebhookSettings, located_webhook

# Remote helpers (ext::), options and plain text protocols are not on this list on purpose.
SCHEMES: Final = ("https", "ssh", "file")
# What bind() takes on FreeBSD, the strictest of our systems, less its final NUL byte.
SOCKET_PATH_BYTES: Final = 103
LONGEST_SOCKET_NAME: Final = f"{'x' * LONGEST_NAME}/{NODE_SOCKET}"
# Names of interfaces on FreeBSD and Linux, less the byte that ends them.
LONGEST_INTERFACE: Final = 15
# Of the network that jails have addresses in: room for 13 of them at least.
SHORTEST_PREFIX: Final = 8
LONGEST_PREFIX: Final = 28

_ACCESS_FILES: Final = ("token_file", "ssh_key_file", "known_hosts_file", "ca_file")
_TRUST_FILES: Final = ("allowed_signers", "revoked_keys", "gpg_keyring")
_RELEASE_FILES: Final = ("authorities", "allowed_signers", "revoked_keys")
_SECRET_FILES: Final = ("key_file",)
_INTERFACE: Final = re.compile(r"[A-Za-z][A-Za-z0-9_.-]*")
_ACCOUNT: Final = re.compile(r"[A-Za-z0-9._-]{1,100}")
_UNPRINTABLE: Final = re.compile(r"[\x00-\x20\x7f]")
_BRANCH: Final = re.compile(
    r"(?![-/.])(?!.*(//|\.\.|/\.|\.lock(/|$)))[A-Za-z0-9._/+-]{1,200}(?<![/.])"
)


def check_url(url: str) -> str:
    """Return ``url`` if Git may be given it; raise ``ValueError`` in words if not."""
    scheme, separator, _ = url.partition("://")
    if not url or url.startswith("-"):
        raise ValueError(f"{url!r} is neither a URL nor a path")
    if "::" in url.partition("/")[0]:
        raise ValueError("remote helpers (ext:: and the like) are not allowed")
    if not separator:
        return _check_path(url)
    if scheme not in SCHEMES:
        raise ValueError(f"{scheme}:// is not allowed: use https://, ssh://, file:// or a path")
    return _check_remote(url)


def _check_path(path: str) -> str:
    if "\0" in path or "\n" in path:
        raise ValueError("a path has no NUL bytes and no line breaks")
    if ":" in path.partition("/")[0]:
        raise ValueError(f"{path!r} is not a path: write ssh://<user>@<host>/<path> in full")
    return path


def _check_remote(url: str) -> str:
    parts = urlsplit(url)
    if _UNPRINTABLE.search(url) is not None:
        raise ValueError("a URL has no blanks and no control characters")
    if parts.password is not None or (parts.username is not None and parts.scheme != "ssh"):
        raise ValueError("a URL is shown in status and logs: keep name and password out of it")
    if parts.scheme != "file" and not parts.hostname:
        raise ValueError(f"{url!r} names no host")
    if (parts.username or "").startswith("-") or (parts.hostname or "").startswith("-"):
        raise ValueError("neither user nor host may start with -")
    return url


def check_branch(branch: str) -> str:
    """Return ``branch`` if it can name one (narrower than Git); else ``ValueError``."""
    if _BRANCH.fullmatch(branch) is None:
        raise ValueError(f"{branch!r} cannot name a branch")
    return branch


def check_interface(name: str) -> str:
    """Return ``name`` if it can be an interface's; else ``ValueError``."""
    if len(name) > LONGEST_INTERFACE or _INTERFACE.fullmatch(name) is None:
        raise ValueError(f"{name!r} cannot name an interface of at most 15 characters")
    return name


def check_subnet(text: str) -> str:
    """Return ``text`` if it is an IPv4 network with room for jails; else ``ValueError``."""
    try:
        subnet = ipaddress.IPv4Network(text)
    except ValueError:
        raise ValueError(f"{text!r} is no IPv4 network, such as 10.77.0.0/16") from None
    if not SHORTEST_PREFIX <= subnet.prefixlen <= LONGEST_PREFIX:
        raise ValueError(f"{text!r} must have a length of {SHORTEST_PREFIX} to {LONGEST_PREFIX}")
    return str(subnet)


def check_account(name: str) -> str:
    """Return ``name`` if it can be asked for along with a token; else ``ValueError``."""
    if _ACCOUNT.fullmatch(name) is None:
        raise ValueError(f"{name!r} cannot be a user: use letters, digits and . _ -")
    return name


Url = Annotated[str, AfterValidator(check_url)]
Account = Annotated[str, AfterValidator(check_account)]
Branch = Annotated[str, AfterValidator(check_branch)]
S = TypeVar("S", "AccessSettings", "TrustSettings", "ReleaseSettings", "SecretSettings")
Interface = Annotated[str, AfterValidator(check_interface)]
Subnet = Annotated[str, AfterValidator(check_subnet)]


@dataclass(frozen=True, slots=True, kw_only=True)
class AccessSettings:
    """Files that prove who we are and who the server is; paths start at the settings file."""

    __pydantic_config__: ClassVar[dict[str, Any]] = STRICT

    token_file: Maybe[Path] = None
    """https: holds the token (or password) in one line; mode 0600, read anew at each fetch."""
    user: Account = "git"
    """https: the name that goes with the token; most servers take any."""
    ssh_key_file: Maybe[Path] = None
    """ssh: the private key, mode 0600 and without a passphrase; no agent is asked then."""
    known_hosts_file: Maybe[Path] = None
    """ssh: the host keys of the server, several for a change of keys; others are refused."""
    ca_file: Maybe[Path] = None
    """https: the authorities that may vouch for the server, instead of the system's."""

    def fitting(self, url: str) -> None:
        """Raise ``ValueError`` if a key is of no use for ``url``."""
        ssh, https = (self.ssh_key_file, self.known_hosts_file), (self.token_file, self.ca_file)
        if any(ssh) and not url.startswith("ssh://"):
            raise ValueError("ssh_key_file and known_hosts_file are for ssh:// URLs")
        if any(https) and not url.startswith("https://"):
            raise ValueError("token_file and ca_file are for https:// URLs")


@dataclass(frozen=True, slots=True, kw_only=True)
class FallbackSettings:
    """Another place where the same repository can be fetched."""

    __pydantic_config__: ClassVar[dict[str, Any]] = STRICT

    url: Url
    """As repository.url."""
    access: AccessSettings = field(default_factory=AccessSettings)
    """As repository.access."""

    def __post_init__(self) -> None:
        self.access.fitting(self.url)


@dataclass(frozen=True, slots=True, kw_only=True)
class RepositorySettings:
    """Where the desired state comes from."""

    __pydantic_config__: ClassVar[dict[str, Any]] = STRICT

    url: Url
    """https://, ssh://, file:// or a path; a path is relative to the settings file."""
    branch: Branch = "main"
    """The branch whose tip is wanted."""
    access: AccessSettings = field(default_factory=AccessSettings)
    """How to get in there, and how to know that it is the right server."""
    fallbacks: Annotated[tuple[FallbackSettings, ...], Len(0, 8)] = ()
    """Other remotes with the same branch, in order; the newest head of all of them counts."""

    def __post_init__(self) -> None:
        self.access.fitting(self.url)
        urls = [self.url, *(fallback.url for fallback in self.fallbacks)]
        if len(set(urls)) < len(urls):
            raise ValueError("a URL is named twice")


@dataclass(frozen=True, slots=True, kw_only=True)
class TrustSettings:
    """Which commits are followed; the lists lie on this machine, never in the repository."""

    __pydantic_config__: ClassVar[dict[str, Any]] = STRICT

    allowed_signers: Maybe[Path] = None
    """SSH keys that may sign commits, as in ssh-keygen(1); with it, every commit must be signed."""
    revoked_keys: Maybe[Path] = None
    """SSH keys that may not, whatever else is said: public keys, or a list of ssh-keygen -k."""
    gpg_keyring: Maybe[Path] = None
    """OpenPGP keys that may sign commits, as gpg --export writes them."""
    history: Literal["descend", "follow"] = "descend"
    """descend: a branch that was rewritten or taken back waits for a consent; follow: never."""

    def __post_init__(self) -> None:
        if self.revoked_keys is not None and self.allowed_signers is None:
            raise ValueError("revoked_keys needs allowed_signers: name those who may sign, too")


@dataclass(frozen=True, slots=True, kw_only=True)
class PollSettings:
    """How often Git is asked."""

    __pydantic_config__: ClassVar[dict[str, Any]] = STRICT

    interval_s: Seconds = 60.0
    """Time between two looks: shorter sees a push sooner, and costs the server a request each."""
    jitter: Annotated[float, Ge(0), Le(1)] = 0.1
    """Up to this share of the interval is added at random: machines must not march in step."""
    timeout_s: Seconds = 60.0
    """How long one fetch may take."""
    backoff_base_s: Seconds = 1.0
    """The first ceiling of the wait after a failed fetch; doubled at each failure in a row."""
    backoff_max_s: Seconds = 300.0
    """The highest ceiling of that wait: how late a healed server is seen."""

    def __post_init__(self) -> None:
        if self.backoff_max_s < self.backoff_base_s:
            raise ValueError("backoff_max_s must not be below backoff_base_s")


@dataclass(frozen=True, slots=True, kw_only=True)
class RetrySettings:
    """How soon a step that failed is tried again; for each jail by itself."""

    __pydantic_config__: ClassVar[dict[str, Any]] = STRICT

    base_s: Seconds = 1.0
    """The first ceiling of the wait; doubled at each failure in a row."""
    max_s: Seconds = 60.0
    """The highest ceiling of the wait."""

    def __post_init__(self) -> None:
        if self.max_s < self.base_s:
            raise ValueError("max_s must not be below base_s")


@dataclass(frozen=True, slots=True, kw_only=True)
class HealthSettings:
    """When a node counts as ready."""

    __pydantic_config__: ClassVar[dict[str, Any]] = STRICT

    interval_s: Seconds = 1.0
    """Time between two questions to a node."""
    timeout_s: Seconds = 2.0
    """How long a node may take to answer one."""
    deadline_s: Seconds = 30.0
    """How long after its start a node may take to become ready before it is called stalled."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NetworkSettings:
    """Whose network jails use; one of their own needs a runtime that isolates."""

    __pydantic_config__: ClassVar[dict[str, Any]] = STRICT

    kind: Literal["host", "vnet"] = "host"
    """host: all of the machine's; vnet: each jail has its own, joined to the bridge."""
    bridge: Interface = "bridge77"
    """The bridge of the vnets, made if it is not there; FreeBSD makes bridge and a number only."""
    subnet: Subnet = "10.77.0.0/16"
    """Addresses of vnets are derived from jail names, in here; too small, and names clash."""
    uplink: Maybe[Interface] = None
    """The interface whose ports are forwarded to nodes, and the way out; without it none."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MachineSettings:
    """What this machine is called, for specs that are meant for some machines only."""

    __pydantic_config__: ClassVar[dict[str, Any]] = STRICT

    name: Maybe[MachineName] = None
    """Small letters, digits, . _ and -; the host name, in small letters, if left out."""
    labels: Annotated[dict[LabelKey, LabelValue], Len(0, 64)] = field(default_factory=dict)
    """What is said of it, such as site: cellar."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RemovalSettings:
    """How much one commit may remove by itself; above both bounds an operator has to consent."""

    __pydantic_config__: ClassVar[dict[str, Any]] = STRICT

    items: Annotated[int, Ge(0), Le(100_000)] = 2
    """Nodes and apps."""
    share: Annotated[float, Ge(0), Le(1)] = 0.5
    """Their share of all that run here."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BoundSettings:
    """Bounds: what lies beyond is refused or forgotten."""

    __pydantic_config__: ClassVar[dict[str, Any]] = STRICT

    files: Annotated[int, Ge(1), Le(100_000)] = 10_000
    """Files in one commit."""
    file_bytes: Annotated[int, Ge(1024), Le(1 << 24)] = 256 * 1024
    """Bytes in one spec."""
    history: Annotated[int, Ge(1), Le(10_000)] = 100
    """Generations that are remembered."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ReleaseSettings:
    """How releases of apps come to this machine, and what they may take."""

    __pydantic_config__: ClassVar[dict[str, Any]] = STRICT

    plain_http_hosts: Annotated[tuple[str, ...], Len(0, 100)] = ()
    """Hosts, or addresses, that archives are fetched from without encryption."""
    authorities: Maybe[Path] = None
    """Certificates (PEM) to believe of servers, instead of those that the system has."""
    allowed_signers: Maybe[Path] = None
    """Who may sign archives: a file as ssh-keygen(1) describes it under ALLOWED SIGNERS."""
    revoked_keys: Maybe[Path] = None
    """Keys that do not count any more: public keys, or a KRL of ssh-keygen(1)."""
    signatures: Literal["optional", "required"] = "optional"
    """required: an archive without a signature is refused. One that is named is always checked."""
    archive_bytes: Annotated[int, Ge(1024), Le(1 << 40)] = 1 << 30
    """The largest archive."""
    timeout_s: Seconds = 1800.0
    """How long one attempt to fetch an archive may take; what came stays for the next."""
    stall_s: Seconds = 20.0
    """How long a server may say nothing, and over how long its rate is judged."""
    slowest_bytes_s: Annotated[float, Ge(0), Le(1 << 30)] = 1024.0
    """Bytes a second; an attempt that is slower is given up."""
    entries: Annotated[int, Ge(1), Le(10_000_000)] = 100_000
    """Files, folders and links in one archive."""
    unpacked_bytes: Annotated[int, Ge(1024), Le(1 << 42)] = 4 << 30
    """What one archive may unpack to."""
    ratio: Annotated[int, Ge(1), Le(10_000)] = 200
    """Unpacked bytes for each packed one, beyond 16 MiB: more is taken for a bomb."""
    keep_old: Annotated[int, Ge(0), Le(100)] = 2
    """Releases of an app that are kept beside those that run."""

    def __post_init__(self) -> None:
        if self.signatures == "required" and self.allowed_signers is None:
            raise ValueError("signatures: required needs allowed_signers")


@dataclass(frozen=True, slots=True, kw_only=True)
class SecretSettings:
    """How secrets are decrypted, and where their plain text may lie."""

    __pydantic_config__: ClassVar[dict[str, Any]] = STRICT

    key_file: Maybe[Path] = None
    """The age identities of this machine (age-keygen(1)): mode 0600, owned by who reconciles."""
    secret_bytes: Annotated[int, Ge(1), Le(1 << 24)] = 64 * 1024
    """The largest secret, or SOPS file, in plain."""
    timeout_s: Seconds = 20.0
    """How long one decryption may take."""
    allow_disk: bool = False
    """true: plain text may lie in run_dir although that is not in memory. For tests and laptops."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ReconcilerSettings:
    """Everything one reconciler needs to know."""

    __pydantic_config__: ClassVar[dict[str, Any]] = STRICT

    version: Literal[1]
    """The version of this format."""
    repository: RepositorySettings
    """Where the desired state comes from."""
    state_dir: Path
    """The clone, the jails and what the reconciler remembers; nobody else writes here."""
    credentials_dir: Path
    """<name>/node.crt, <name>/node.key and <name>/realm.crt for each node."""
    run_dir: Path
    """The control sockets, one for each node."""
    realm_dir: Maybe[Path] = None
    """Where the realm's own key lies, if here; named in hints and never opened."""
    runtime: Literal["auto", "jail", "namespaces", "process"] = "auto"
    """How jails are run; auto takes the strongest way that this machine has."""
    trust: TrustSettings = field(default_factory=TrustSettings)
    """Which commits are followed."""
    network: NetworkSettings = field(default_factory=NetworkSettings)
    """Whose network jails use."""
    front: FrontSettings = field(default_factory=FrontSettings)
    """Where apps with ports are reached."""
    poll: PollSettings = field(default_factory=PollSettings)
    """How often Git is asked."""
    webhook: Maybe[WebhookSettings] = None
    """A listener for the webhooks of Git hosts; without it Git is polled only."""
    metrics: Maybe[MetricsSettings] = None
    """A listener for metrics and questions after health; without it nothing listens."""
    notify: Maybe[NotifySettings] = None
    """Who is told what came of each commit; nobody if left out."""
    machine: MachineSettings = field(default_factory=MachineSettings)
    """What this machine is called."""
    drift_interval_s: Seconds = 10.0
    """Time between two looks at the machine: shorter repairs sooner, and costs a look each."""
    retry: RetrySettings = field(default_factory=RetrySettings)
    """How soon a step that failed is tried again."""
    health: HealthSettings = field(default_factory=HealthSettings)
    """When a node counts as ready."""
    removal: RemovalSettings = field(default_factory=RemovalSettings)
    """How much one commit may remove by itself."""
    limits: BoundSettings = field(default_factory=BoundSettings)
    """Bounds."""
    releases: ReleaseSettings = field(default_factory=ReleaseSettings)
    """How releases of apps come to this machine."""
    secrets: SecretSettings = field(default_factory=SecretSettings)
    """How secrets are decrypted."""


def located(settings: ReconcilerSettings, folder: Path) -> ReconcilerSettings:
    """``settings`` with every path absolute: relative ones start at ``folder``, that of the file.

    Raises ``UsageError`` if the sockets in ``run_dir`` would have paths that no system accepts.
    """
    run_dir = _absolute(folder, settings.run_dir)
    longest = len(os.fsencode(run_dir / LONGEST_SOCKET_NAME))
    if longest > SOCKET_PATH_BYTES:
        over = longest - SOCKET_PATH_BYTES
        raise UsageError(
            f"run_dir {run_dir} is {over} bytes too long for the sockets in it",
            "choose a shorter path for run_dir",
        )
    realm_dir = settings.realm_dir
    return replace(
        settings,
        repository=_located_repository(settings.repository, folder),
        state_dir=_absolute(folder, settings.state_dir),
        credentials_dir=_absolute(folder, settings.credentials_dir),
        run_dir=run_dir,
        trust=_located_files(settings.trust, folder, _TRUST_FILES),
        releases=_located_files(settings.releases, folder, _RELEASE_FILES),
        secrets=_located_files(settings.secrets, folder, _SECRET_FILES),
        webhook=settings.webhook and located_webhook(settings.webhook, folder),
        metrics=settings.metrics and located_metrics(settings.metrics, folder),
        notify=settings.notify and located_notify(settings.notify, folder),
        realm_dir=None if realm_dir is None else _absolute(folder, realm_dir),
    )


def _located_repository(repository: RepositorySettings, folder: Path) -> RepositorySettings:
    return replace(
        repository,
        url=_located_url(repository.url, folder),
        access=_located_files(repository.access, folder, _ACCESS_FILES),
        fallbacks=tuple(
            replace(
                fallback,
                url=_located_url(fallback.url, folder),
                access=_located_files(fallback.access, folder, _ACCESS_FILES),
            )
            for fallback in repository.fallbacks
        ),
    )


def _located_url(url: str, folder: Path) -> str:
    return url if "://" in url else str(_absolute(folder, Path(url)))


def _located_files(settings: S, folder: Path, names: tuple[str, ...]) -> S:
    given = ((name, getattr(settings, name)) for name in names)
    changes: dict[str, Any] = {name: _absolute(folder, path) for name, path in given if path}
    return replace(settings, **changes)


def _absolute(folder: Path, path: Path) -> Path:
    return Path(os.path.normpath(folder.absolute() / path))
