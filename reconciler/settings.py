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
from typing import Annotated, Any, ClassVar, Final, Literal
from urllib.parse import urlsplit

from annotated_types import Ge, Le
from pydantic import AfterValidator

from maculaos.errors import UsageError
from reconciler.placement import NODE_SOCKET
from reconciler.values import LONGEST_NAME, STRICT, Maybe, Seconds

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

_INTERFACE: Final = re.compile(r"[A-Za-z][A-Za-z0-9_.-]*")
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


Url = Annotated[str, AfterValidator(check_url)]
Branch = Annotated[str, AfterValidator(check_branch)]
Interface = Annotated[str, AfterValidator(check_interface)]
Subnet = Annotated[str, AfterValidator(check_subnet)]


@dataclass(frozen=True, slots=True, kw_only=True)
class RepositorySettings:
    """Where the desired state comes from."""

    __pydantic_config__: ClassVar[dict[str, Any]] = STRICT

    url: Url
    """https://, ssh://, file:// or a path; a path is relative to the settings file."""
    branch: Branch = "main"
    """The branch whose tip is wanted."""


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
    network: NetworkSettings = field(default_factory=NetworkSettings)
    """Whose network jails use."""
    poll: PollSettings = field(default_factory=PollSettings)
    """How often Git is asked."""
    drift_interval_s: Seconds = 10.0
    """Time between two looks at the machine: shorter repairs sooner, and costs a look each."""
    retry: RetrySettings = field(default_factory=RetrySettings)
    """How soon a step that failed is tried again."""
    health: HealthSettings = field(default_factory=HealthSettings)
    """When a node counts as ready."""
    limits: BoundSettings = field(default_factory=BoundSettings)
    """Bounds."""


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
        realm_dir=None if realm_dir is None else _absolute(folder, realm_dir),
    )


def _located_repository(repository: RepositorySettings, folder: Path) -> RepositorySettings:
    if "://" in repository.url:
        return repository
    return replace(repository, url=str(_absolute(folder, Path(repository.url))))


def _absolute(folder: Path, path: Path) -> Path:
    return Path(os.path.normpath(folder.absolute() / path))
