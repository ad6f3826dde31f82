"""Why a Git repository could not be read, in words for people.

Git answers in prose for people at a terminal; here that prose becomes one line with the next
move. It deliberately starts nothing: ``reconciler.sources.git`` hands in what Git said.
"""

from __future__ import annotations

import re
from typing import Final

from maculaos.errors import UsageError

LONGEST_QUOTE = 300

# The first fragment found in what Git said decides; more exact ones stand first.
_CAUSES: Final[tuple[tuple[str, str, str], ...]] = (
    (
        "REMOTE HOST IDENTIFICATION HAS CHANGED",
        "the host key of the Git server has changed",
        "check the new one with the server's owner, then put it into the known_hosts file",
    ),
    (
        "Host key verification failed",
        "the host key of the Git server is not known",
        "check it with the server's owner, then add it to the known_hosts file",
    ),
    (
        "Permission denied (publickey",
        "the Git server refused the SSH key",
        "add the public key of this machine to the repository's readers",
    ),
    ("could not read Username", "the Git server asks for a token", "name one: access.token_file"),
    (
        "Authentication failed",
        "the Git server refused the token",
        "write a valid one into the file that access.token_file names",
    ),
    (
        "returned error: 403",
        "the Git server does not let us read the repository",
        "give the token the right to read it",
    ),
    (
        "returned error: 30",
        "the Git server says that the repository is elsewhere",
        "write its new address into repository.url",
    ),
    (
        "certificate",
        "the certificate of the Git server is not trusted",
        "name the authority that signed it: access.ca_file",
    ),
    (
        "dubious ownership",
        "the repository belongs to another user, so Git refuses to read it",
        "change the owner of its folder, or read it over ssh",
    ),
    ("Could not resolve host", "the Git server's name is unknown", "check the URL and DNS"),
    ("Connection refused", "nobody answers at the Git server's port", "check the URL and port"),
    ("timed out", "the Git server does not answer", "check the network and the URL"),
    ("transport '", "this kind of URL is not allowed", "use https, ssh or a local path"),
    ("does not appear to be a git repository", "there is no repository", "check repository.url"),
    ("not found", "there is no repository", "check repository.url"),
    ("does not exist", "there is no repository", "check repository.url"),
    ("No space left", "the disk is full", "free some space under state_dir"),
    ("fsck error", "the repository holds damaged objects", "run git fsck where it is hosted"),
)


class SourceUnreachable(UsageError):
    """The repository gave no commit this time; what was read before is still there."""


class EmptyRepository(SourceUnreachable):
    """The repository is there and holds no commit at all."""


class CannotVerify(SourceUnreachable):
    """This machine cannot tell whether commits are signed as it wants them to be."""


class DamagedClone(SourceUnreachable):
    """Our own copy of the repository cannot be read any more."""


def unreachable(url: str, said: str) -> SourceUnreachable:
    """The error for ``url``, from what Git said on standard error."""
    shown = redacted(url)
    for fragment, what, hint in _CAUSES:
        if fragment in said:
            return SourceUnreachable(f"{shown}: {what}", hint)
    return SourceUnreachable(f"{shown}: git says: {one_line(redacted_in(said, url))}", "")


def hindered(error: OSError) -> SourceUnreachable:
    """The error for what this machine could not do: its disk is full, or it runs too much."""
    what = f"{error.filename}: {error.strerror}" if error.filename else error.strerror or str(error)
    return SourceUnreachable(
        f"git cannot work on this machine: {what}", "free some space under state_dir, or memory"
    )


def redacted(url: str) -> str:
    """``url`` without a password, for logs, status and errors."""
    return re.sub(r"^([a-z+]+://[^:/@]*):[^@/]*@", r"\1:***@", url)


def redacted_in(text: str, url: str) -> str:
    """``text`` with every mention of ``url`` redacted."""
    return text.replace(url, redacted(url))


def one_line(text: str, longest: int = LONGEST_QUOTE) -> str:
    """``text`` as one printable line of at most ``longest`` characters.

    A commit subject or a server's answer may hold control sequences for terminals; they become
    spaces, so that no log and no screen obeys them.
    """
    printable = "".join(c if c.isprintable() else " " for c in text)
    joined = " ".join(printable.split())
    return joined if len(joined) <= longest else joined[: longest - 1] + "…"
