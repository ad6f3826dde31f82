"""How a remote is reached: with which token, key, host keys and authorities.

Secrets stay in their files. Git asks our own askpass program for the token, and that program reads
the file: the token is in no argument, no variable, no URL and no file of Git's, is sent only to a
server that asks for it, and a new one takes effect at the next fetch. ssh is told where the key
lies. The files are checked before each use; what is wrong with one is said in one line.
"""

from __future__ import annotations

import os
import re
import shlex
import stat
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

from maculaos.host.files import write_atomically
from reconciler.sources.command import Reach
from reconciler.sources.remotes import scheme_of
from reconciler.sources.unreachable import SourceUnreachable

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from reconciler.sources.remotes import Access

SECRET_BYTES: Final = 64 * 1024
TOKEN_BYTES: Final = 4096
GUARDED_BYTES: Final = 1 << 24
CONNECT_TIMEOUT_S: Final = 10

_TOKEN: Final = re.compile(rb"[\x21-\x7e]{1,4096}\r?\n?")
# ssh reads ~, % and ${} in paths, and its own kind of quotes.
_PLAIN_PATH: Final = re.compile(r"/[A-Za-z0-9._/+@:,=-]*")
_ASKPASS: Final = """#!/bin/sh
# Answers Git's question for a name or a token; only for the server that it was started for.
case $1 in
Username*"'$MACULA_ORIGIN'"*) printf '%s\\n' "$MACULA_USER" ;;
Password*"'$MACULA_ASKER'"*) IFS= read -r token <"$MACULA_TOKEN_FILE"; printf '%s\\n' "$token" ;;
*) exit 1 ;;
esac
"""


def check_access(access: Access) -> None:
    """Raise ``SourceUnreachable`` if one of the files cannot be used as it lies there."""
    if access.token_file is not None:
        content = read_secret(access.token_file, "token_file", TOKEN_BYTES)
        check_token(access.token_file, content)
    if access.ssh_key_file is not None:
        read_secret(access.ssh_key_file, "ssh_key_file", SECRET_BYTES)
    for key, path in (
        ("known_hosts_file", access.known_hosts_file),
        ("ca_file", access.ca_file),
    ):
        if path is not None:
            read_guarded(path, key)


def check_token(path: Path, content: bytes) -> None:
    """Raise ``SourceUnreachable`` unless ``content`` of that file is one token in one line."""
    if _TOKEN.fullmatch(content) is None:
        raise SourceUnreachable(
            f"token_file {path} does not hold one token in one line",
            "write the token into it, and nothing else",
        )


def reach_of(url: str, access: Access, home: Path) -> Reach:
    """What a run of Git needs to talk to ``url``; writes the askpass program into ``home``.

    Raises ``SourceUnreachable`` if a file that ``access`` names cannot be used.
    """
    check_access(access)
    scheme = scheme_of(url)
    environment = {}
    if scheme == "ssh":
        environment["GIT_SSH_COMMAND"] = shlex.join(ssh_words(access))
    if scheme == "https" and access.token_file is not None:
        environment |= _asking(url, access, access.token_file, _askpass(home))
    configuration = [f"protocol.{scheme}.allow=always"]
    if access.ca_file is not None:
        configuration.append(f"http.sslCAInfo={access.ca_file}")
    return Reach(configuration=tuple(configuration), environment=environment)


def ssh_words(access: Access) -> tuple[str, ...]:
    """The ssh command for ``access``: without a terminal, and for known hosts only. Pure.

    Raises ``SourceUnreachable`` for a path that ssh would not take as it stands.
    """
    options = ["BatchMode=yes", "StrictHostKeyChecking=yes", f"ConnectTimeout={CONNECT_TIMEOUT_S}"]
    if not access.is_pinned:
        return ("ssh", *_as_options(options))
    # Nothing else decides which host is the right one.
    options += ["UpdateHostKeys=no", "VerifyHostKeyDNS=no", "KnownHostsCommand=none"]
    if access.known_hosts_file is not None:
        options += [
            f"UserKnownHostsFile={_plain(access.known_hosts_file)}",
            "GlobalKnownHostsFile=/dev/null",
        ]
    if access.ssh_key_file is not None:
        options += [
            f"IdentityFile={_plain(access.ssh_key_file)}",
            "IdentitiesOnly=yes",
            "IdentityAgent=none",
        ]
    return ("ssh", "-F", "none", *_as_options(options))


def read_secret(path: Path, key: str, most: int) -> bytes:
    """The content of a file that only we and root may read; raises ``SourceUnreachable``."""
    content = _read(path, key, most, 0o077, "0600")
    if not content:
        raise SourceUnreachable(f"{key} {path} is empty", "put the right file there")
    return content


def read_guarded(path: Path, key: str, *, may_be_empty: bool = False) -> bytes:
    """The content of a file that only we and root may change; raises ``SourceUnreachable``."""
    content = _read(path, key, GUARDED_BYTES, 0o022, "0644")
    if not content and not may_be_empty:
        raise SourceUnreachable(f"{key} {path} is empty", "put the right file there")
    return content


def _read(path: Path, key: str, most: int, unwanted: int, mode: str) -> bytes:
    try:
        with path.open("rb") as file:
            found = os.fstat(file.fileno())
            content = file.read(most + 1) if stat.S_ISREG(found.st_mode) else b""
    except OSError as error:
        hint = "put it there, or mend the settings"
        raise SourceUnreachable(f"{key} {path}: {error.strerror}", hint) from error
    if not stat.S_ISREG(found.st_mode):
        raise SourceUnreachable(f"{key} {path} is no regular file", "put a file there")
    if found.st_uid not in {0, os.geteuid()}:
        raise SourceUnreachable(f"{key} {path} belongs to another user", f"chown root {path}")
    if found.st_mode & unwanted:
        what = "read" if mode == "0600" else "change"
        raise SourceUnreachable(f"{key} {path}: others may {what} it", f"chmod {mode} {path}")
    if len(content) > most:
        what = f"{key} {path} has more than {most} bytes"
        raise SourceUnreachable(what, "put the right file there")
    return content


def _asking(url: str, access: Access, token_file: Path, askpass: Path) -> dict[str, str]:
    parts = urlsplit(url)
    return {
        "GIT_ASKPASS": str(askpass),
        # As Git names them in its two questions.
        "MACULA_ORIGIN": f"https://{parts.netloc}",
        "MACULA_ASKER": f"https://{access.user}@{parts.netloc}",
        "MACULA_USER": access.user,
        "MACULA_TOKEN_FILE": str(token_file),
    }


def _askpass(home: Path) -> Path:
    path = home / "askpass"
    if not path.is_file() or path.read_text() != _ASKPASS:
        write_atomically(path, _ASKPASS.encode(), 0o700)
    return path


def _as_options(options: list[str]) -> Iterator[str]:
    return (word for option in options for word in ("-o", option))


def _plain(path: Path) -> str:
    if _PLAIN_PATH.fullmatch(str(path)) is None:
        raise SourceUnreachable(
            f"{path} has letters that ssh reads otherwise", "use a path of letters, digits and ._-"
        )
    return str(path)
