"""The seed: what a new machine is told once, in one TOML file, so that it finds its place.

Read without trust: bounded in size, every key known, every value of a form that cannot break out of
the files which ``appliance.configuration`` makes of it. All problems are found at once, each as one
line that begins with the key. Where a seed lies, and when it counts, is the matter of others. Pure.
"""

from __future__ import annotations

import json
import tomllib
from dataclasses import dataclass, field
from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import Annotated, ClassVar, Final, Literal

from annotated_types import Ge, Le, MaxLen, MinLen
from pydantic import AfterValidator, ConfigDict, TypeAdapter, ValidationError

from appliance import forms
from maculaos.errors import UsageError

BYTES_MAX: Final = 64 << 10
_PROBLEMS_MAX: Final = 20
_SHOWN_MAX: Final = 200
# What pydantic calls things, in the words of TOML.
_WORDS: Final = {
    "unexpected_keyword_argument": "there is no such key",
    "missing": "it is missing",
    "string_type": "it must be text in quotes",
    "int_type": "it must be a whole number",
    "tuple_type": "it must be a list in [ ]",
    "dataclass_type": "it must be a table",
    "too_short": "it must not be empty",
    "too_long": "it has too many entries",
}
_STRICT: Final = ConfigDict(extra="forbid", strict=True)

Hostname = Annotated[str, AfterValidator(forms.check_hostname)]
Interface = Annotated[str, AfterValidator(forms.check_interface)]
Address4 = Annotated[str, AfterValidator(forms.check_interface4)]
Address6 = Annotated[str, AfterValidator(forms.check_interface6)]
Host = Annotated[str, AfterValidator(forms.check_host)]
HostPort = Annotated[str, AfterValidator(forms.check_host_port)]
Server = Annotated[str, AfterValidator(forms.check_server)]
SshKey = Annotated[str, AfterValidator(forms.check_ssh_key)]
KnownHost = Annotated[str, AfterValidator(forms.check_known_host)]
Signer = Annotated[str, AfterValidator(forms.check_signer)]
Token = Annotated[str, AfterValidator(forms.check_token)]
Url = Annotated[str, AfterValidator(forms.check_url)]
Branch = Annotated[str, AfterValidator(forms.check_branch)]
Port = Annotated[int, Ge(1), Le(65535)]


@dataclass(frozen=True, slots=True, kw_only=True)
class NetworkSeed:
    """How the machine reaches the world."""

    __pydantic_config__: ClassVar[ConfigDict] = _STRICT

    mode: Literal["dhcp", "static"] = "dhcp"
    # None: every Ethernet interface asks for an address; with static, the first one has it.
    interface: Interface | None = None
    # Addresses with the length of their network, and routers.
    address: Address4 | None = None
    gateway: Host | None = None
    address6: Address6 | None = None
    gateway6: Host | None = None
    nameservers: Annotated[tuple[Host, ...], MaxLen(3)] = ()

    def __post_init__(self) -> None:
        """Raise ``ValueError`` for a network that cannot be."""
        given = (self.address, self.gateway, self.address6, self.gateway6)
        if self.mode == "dhcp" and any(given):
            raise ValueError("addresses and gateways are for mode = 'static'")
        if self.mode == "static" and not (self.address or self.address6):
            raise ValueError("mode = 'static' needs address, address6 or both")
        _check_family("gateway", self.gateway, IPv4Address)
        _check_family("gateway6", self.gateway6, IPv6Address)
        for server in self.nameservers:
            if not forms.is_address(server):
                raise ValueError(f"nameservers: {server!r} is a name; write its address")


@dataclass(frozen=True, slots=True, kw_only=True)
class SshSeed:
    """Who may log in."""

    __pydantic_config__: ClassVar[ConfigDict] = _STRICT

    authorized_keys: Annotated[tuple[SshKey, ...], MinLen(1), MaxLen(64)]


@dataclass(frozen=True, slots=True, kw_only=True)
class RealmSeed:
    """Which mesh the machine is to join."""

    __pydantic_config__: ClassVar[ConfigDict] = _STRICT

    join_token: Token


@dataclass(frozen=True, slots=True, kw_only=True)
class RepositorySeed:
    """Which repository the machine follows."""

    __pydantic_config__: ClassVar[ConfigDict] = _STRICT

    url: Url
    branch: Branch = "main"
    # Lines as in ssh's known_hosts, and as in its allowed_signers.
    known_hosts: Annotated[tuple[KnownHost, ...], MaxLen(32)] = ()
    allowed_signers: Annotated[tuple[Signer, ...], MaxLen(64)] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class JailsSeed:
    """Which network jails have: that of the machine, or one of their own."""

    __pydantic_config__: ClassVar[ConfigDict] = _STRICT

    network: Literal["host", "vnet"] = "host"


@dataclass(frozen=True, slots=True, kw_only=True)
class FirewallSeed:
    """What the firewall lets in, beside ssh."""

    __pydantic_config__: ClassVar[ConfigDict] = _STRICT

    quic_ports: Annotated[tuple[Port, ...], MinLen(1), MaxLen(32)] = (4433,)


@dataclass(frozen=True, slots=True, kw_only=True)
class LogSeed:
    """Where a copy of the log goes."""

    __pydantic_config__: ClassVar[ConfigDict] = _STRICT

    remote: HostPort


@dataclass(frozen=True, slots=True, kw_only=True)
class TimeSeed:
    """Who knows what time it is."""

    __pydantic_config__: ClassVar[ConfigDict] = _STRICT

    servers: Annotated[tuple[Server, ...], MinLen(1), MaxLen(8)]


@dataclass(frozen=True, slots=True, kw_only=True)
class Seed:
    """Everything that a machine is told; each part may be left out."""

    __pydantic_config__: ClassVar[ConfigDict] = _STRICT

    version: Literal[1]
    hostname: Hostname | None = None
    network: NetworkSeed = field(default_factory=NetworkSeed)
    ssh: SshSeed | None = None
    realm: RealmSeed | None = None
    repository: RepositorySeed | None = None
    jails: JailsSeed = field(default_factory=JailsSeed)
    firewall: FirewallSeed = field(default_factory=FirewallSeed)
    log: LogSeed | None = None
    time: TimeSeed | None = None


class InvalidSeed(UsageError):
    """The file cannot be a seed; ``problems`` has a line for each thing to mend."""

    def __init__(self, problems: tuple[str, ...]) -> None:
        more = f" (and {len(problems) - 1} more)" if len(problems) > 1 else ""
        super().__init__(f"seed.toml: {problems[0]}{more}", "see docs/first-boot.md")
        self.problems = problems


_SEED: Final = TypeAdapter(Seed)


def parse_seed(content: bytes) -> Seed:
    """The seed in a TOML file; raises ``InvalidSeed`` with every problem."""
    if len(content) > BYTES_MAX:
        raise InvalidSeed((f"it has more than {BYTES_MAX >> 10} KiB",))
    try:
        # Windows' editors begin a file with a mark, and end lines with two characters.
        tree = tomllib.loads(content.decode("utf-8-sig").replace("\r\n", "\n"))
    except UnicodeDecodeError as error:
        raise InvalidSeed(("it is not UTF-8 text; save it as such",)) from error
    except (tomllib.TOMLDecodeError, RecursionError, ValueError) as error:
        raise InvalidSeed((_brief(str(error) or "it is nested too deep"),)) from error
    try:
        # Through JSON, which a strict check takes lists and tables from; TOML's dates it has not.
        return _SEED.validate_json(json.dumps(tree))
    except TypeError as error:
        raise InvalidSeed(("dates and times belong in quotes",)) from error
    except ValidationError as error:
        raise InvalidSeed(_problems(error)) from error


def _problems(error: ValidationError) -> tuple[str, ...]:
    found = error.errors(include_url=False, include_context=False)
    places = [each["loc"] for each in found]
    # A list whose entries are all wrong is said to be empty, which it is not.
    real = [
        each
        for each in found
        if each["type"] != "too_short" or not any(_is_below(place, each["loc"]) for place in places)
    ]
    return tuple(
        _brief(f"{_key(each['loc'])}: {_words(each['type'], each['msg'])}")
        for each in real[:_PROBLEMS_MAX]
    )


def _is_below(place: tuple[int | str, ...], other: tuple[int | str, ...]) -> bool:
    return len(place) > len(other) and place[: len(other)] == other


def _key(place: tuple[int | str, ...]) -> str:
    """A key as TOML has it, with the number of an entry counted from 1."""
    parts = [f"[{part + 1}]" if isinstance(part, int) else f".{part}" for part in place]
    return "".join(parts).lstrip(".") or "the file"


def _words(kind: str, message: str) -> str:
    return _WORDS.get(kind, message.removeprefix("Value error, ").replace("Input", "it"))


def _brief(text: str) -> str:
    line = " ".join(text.split())
    plain = "".join(letter if letter.isprintable() else "?" for letter in line)
    return plain[:_SHOWN_MAX]


def _check_family(key: str, text: str | None, family: type[IPv4Address | IPv6Address]) -> None:
    if text is None:
        return
    if not forms.is_address(text) or not isinstance(ip_address(text), family):
        number = 4 if family is IPv4Address else 6
        raise ValueError(f"{key}: {text!r} is no IPv{number} address")
