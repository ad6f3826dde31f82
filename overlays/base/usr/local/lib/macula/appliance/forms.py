"""Forms of values: what a host name, a key or a URL may look like before it gets into a file.

Each check gives the value back, or raises ``ValueError`` in words. They are narrower than what the
programs would take: nothing that passes has a quote, a line break or a sign that a shell, YAML or a
configuration file reads. Pure.
"""

from __future__ import annotations

import base64
import binascii
import re
from ipaddress import IPv4Interface, IPv6Interface, ip_address
from typing import Final
from urllib.parse import urlsplit

# What bounds a name in DNS, and an interface in the kernel.
_HOST_CHARACTERS_MAX: Final = 253
_URL_CHARACTERS_MAX: Final = 512
_COMMENT_CHARACTERS_MAX: Final = 100
_KEY_CHARACTERS_MAX: Final = 2048
_LABEL: Final = re.compile(r"[A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?")
_INTERFACE: Final = re.compile(r"[a-z][a-z_]{0,11}[0-9]{1,4}")
_COMMENT: Final = re.compile(r"[A-Za-z0-9@._+ -]*")
_TOKEN: Final = re.compile(r"[A-Za-z0-9._~:=/+-]{8,4096}")
_URL: Final = re.compile(r"[A-Za-z0-9._~:/@%+=?&\[\]-]+")
_BRANCH: Final = re.compile(
    r"(?![-/.])(?!.*(//|\.\.|/\.|\.lock(/|$)))[A-Za-z0-9._/+-]{1,200}(?<![/.])"
)
_PRINCIPALS: Final = re.compile(r"[A-Za-z0-9@._+*,-]{1,200}")
_HOSTS: Final = re.compile(r"(\|1\|[A-Za-z0-9+/=]{1,64}\|[A-Za-z0-9+/=]{1,64})|[][A-Za-z0-9.,:*-]+")
_SSH_KINDS: Final = frozenset(
    {
        "ssh-ed25519",
        "ssh-rsa",
        "ecdsa-sha2-nistp256",
        "ecdsa-sha2-nistp384",
        "ecdsa-sha2-nistp521",
        "sk-ssh-ed25519@openssh.com",
        "sk-ecdsa-sha2-nistp256@openssh.com",
    }
)
_SCHEMES: Final = frozenset({"https", "ssh", "file"})


def is_address(text: str) -> bool:
    """Whether it is an IPv4 or IPv6 address, without a zone."""
    try:
        return "%" not in str(ip_address(text))
    except ValueError:
        return False


def check_hostname(name: str) -> str:
    """A host name: labels of letters, digits and ``-``, joined by dots."""
    labels = name.split(".")
    if len(name) > _HOST_CHARACTERS_MAX or not all(map(_LABEL.fullmatch, labels)):
        raise ValueError(f"{name!r} is no host name: use letters, digits and -, joined by dots")
    if labels[-1].isdigit():
        raise ValueError(f"{name!r} is no host name: it looks like an address")
    return name


def check_host(text: str) -> str:
    """A host name or an address."""
    return text if is_address(text) else check_hostname(text)


def check_host_port(text: str) -> str:
    """``host`` or ``host:port``, an IPv6 address in brackets."""
    found = re.fullmatch(r"(?:\[([0-9A-Fa-f:.]+)\]|([^\[\]:]+))(?::([0-9]{1,5}))?", text)
    if found is None:
        raise ValueError(f"{text!r} is neither host nor host:port")
    if found[3] is not None and not 0 < int(found[3]) <= 65535:
        raise ValueError(f"{text!r} names no port from 1 to 65535")
    check_host(found[1] or found[2])
    return text


def check_server(text: str) -> str:
    """A time server: a host, or ``pool`` and a host that stands for many."""
    check_host(text.removeprefix("pool "))
    return text


def check_interface(name: str) -> str:
    """A network interface: a driver and a number."""
    if _INTERFACE.fullmatch(name) is None:
        raise ValueError(f"{name!r} is no interface, such as vtnet0 or igb0")
    return name


def check_interface4(text: str) -> str:
    """An IPv4 address with the length of its network."""
    return _check_prefixed(text, IPv4Interface, "192.0.2.10/24")


def check_interface6(text: str) -> str:
    """An IPv6 address with the length of its network."""
    return _check_prefixed(text, IPv6Interface, "2001:db8::10/64")


def check_ssh_key(text: str) -> str:
    """A public key as in ``authorized_keys``, without options."""
    kind, _, rest = text.partition(" ")
    blob, _, comment = rest.partition(" ")
    if kind not in _SSH_KINDS:
        raise ValueError("an ssh key begins with its kind, such as ssh-ed25519; options go nowhere")
    _check_blob(kind, blob)
    if len(comment) > _COMMENT_CHARACTERS_MAX or _COMMENT.fullmatch(comment) is None:
        raise ValueError("the comment of an ssh key has letters, digits and @ . _ + - only")
    return text


def check_known_host(text: str) -> str:
    """A line of ssh's ``known_hosts``: hosts, kind, key."""
    hosts, _, key = text.partition(" ")
    if len(hosts) > _HOST_CHARACTERS_MAX or _HOSTS.fullmatch(hosts) is None:
        raise ValueError("a line of known_hosts begins with the host, as ssh-keyscan prints it")
    check_ssh_key(key)
    return text


def check_signer(text: str) -> str:
    """A line of ssh's ``allowed_signers``: principals, then a public key, no options."""
    principals, _, key = text.partition(" ")
    if _PRINCIPALS.fullmatch(principals) is None:
        raise ValueError("a line of allowed_signers begins with who signs, such as ann@example.org")
    check_ssh_key(key)
    return text


def check_token(text: str) -> str:
    """A join token: 8 to 4096 letters, digits and a few signs. Never shown in a problem."""
    if _TOKEN.fullmatch(text) is None:
        raise ValueError("a join token has 8 to 4096 letters, digits and . _ ~ : = / + - only")
    return text


def check_url(url: str) -> str:
    """Where a repository lies: https, ssh or file, without a password in it."""
    if len(url) > _URL_CHARACTERS_MAX or _URL.fullmatch(url) is None:
        raise ValueError("a URL has no blanks, quotes or control characters")
    parts = urlsplit(url)
    if parts.scheme not in _SCHEMES:
        raise ValueError(f"{url!r}: write https://, ssh:// or file://")
    if parts.password is not None or (parts.username is not None and parts.scheme != "ssh"):
        raise ValueError("a URL is shown in status and logs: keep name and password out of it")
    if parts.scheme != "file" and not parts.hostname:
        raise ValueError(f"{url!r} names no host")
    if (parts.username or "").startswith("-") or (parts.hostname or "").startswith("-"):
        raise ValueError("neither user nor host may start with -")
    return url


def check_branch(branch: str) -> str:
    """A branch of Git, somewhat narrower than Git itself has it."""
    if _BRANCH.fullmatch(branch) is None:
        raise ValueError(f"{branch!r} cannot name a branch")
    return branch


def _check_prefixed(text: str, family: type[IPv4Interface | IPv6Interface], example: str) -> str:
    try:
        parsed = family(text)
    except ValueError:
        parsed = None
    if parsed is None or "/" not in text or "%" in text or not text.rpartition("/")[2].isdigit():
        raise ValueError(f"{text!r} is no address with its length, such as {example}")
    return text


def _check_blob(kind: str, blob: str) -> None:
    """The key says its own kind once more, inside (RFC 4253, section 6.6)."""
    try:
        raw = base64.b64decode(blob, validate=True)
    except (binascii.Error, ValueError):
        raw = b""
    name = kind.encode()
    if len(blob) > _KEY_CHARACTERS_MAX or raw[: 4 + len(name)] != len(name).to_bytes(4) + name:
        raise ValueError(f"this is no public key of kind {kind}: copy the whole line of its .pub")
