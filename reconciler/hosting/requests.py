"""What may be asked of a Git host: two services on named repositories, and nothing else. Pure.

Names are checked by what they may be, not by what they may not. Percent signs, dots that climb
and anything else that a path could hide behind have no place in them, so nothing is decoded.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

LONGEST_NAME: Final = 200

_SEGMENT: Final = r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}"
_NAME: Final = re.compile(rf"{_SEGMENT}(/{_SEGMENT}){{0,2}}")
_ENDINGS: Final = (".git", ".lock", ".")
_TARGET: Final = re.compile(
    r"/(?P<name>[A-Za-z0-9._/-]{1,200})\.git/"
    r"(?P<what>info/refs|git-upload-pack|git-receive-pack)"
)
# What ssh hands over for `git clone`, `git push` and `git ls-remote`: one word in single quotes.
_COMMAND: Final = re.compile(
    r"git[- ](?P<service>upload-pack|receive-pack) '(?P<path>[^']{1,210})'"
)


class Service(StrEnum):
    """What is done to a repository."""

    READ = "git-upload-pack"
    WRITE = "git-receive-pack"


@dataclass(frozen=True, slots=True)
class GitRequest:
    """One request: which service on which repository; an advertisement only lists its refs."""

    repository: str
    service: Service
    is_advertisement: bool = False


class NotServed(ValueError):
    """No request that is served here; ``status`` is what HTTP answers."""

    def __init__(self, status: int, what: str) -> None:
        super().__init__(what)
        self.status = status


def check_name(name: str) -> str:
    """Return ``name`` if it can be a repository's; raises ``ValueError`` in words."""
    segments = name.split("/")
    fits = len(name) <= LONGEST_NAME and _NAME.fullmatch(name) is not None and ".." not in name
    if not fits or any(segment.endswith(_ENDINGS) for segment in segments):
        raise ValueError(
            f"{name!r} cannot name a repository: up to three parts of letters, digits, . _ and -"
        )
    return name


def parse_http(method: str, path: str, query: str) -> GitRequest:
    """What an HTTP request asks for; raises ``NotServed``."""
    found = _TARGET.fullmatch(path)
    if found is None:
        raise NotServed(404, "no such path")
    repository, what = _served_name(found["name"]), found["what"]
    if what == "info/refs":
        if method != "GET":
            raise NotServed(405, "refs are read with GET")
        return GitRequest(repository, _service(query.removeprefix("service=")), True)
    if method != "POST":
        raise NotServed(405, "services are called with POST")
    return GitRequest(repository, _service(what))


def parse_ssh(command: str) -> GitRequest:
    """What ``SSH_ORIGINAL_COMMAND`` asks for; raises ``NotServed``."""
    found = _COMMAND.fullmatch(command)
    if found is None:
        raise NotServed(404, "only git clone, fetch and push are served here")
    path = found["path"].removeprefix("/").removesuffix(".git")
    return GitRequest(_served_name(path), Service(f"git-{found['service']}"))


def _served_name(name: str) -> str:
    try:
        return check_name(name)
    except ValueError as error:
        raise NotServed(404, "no such repository") from error


def _service(name: str) -> Service:
    try:
        return Service(name)
    except ValueError as error:
        # The dumb protocol, which reads files one by one, is not served.
        raise NotServed(403, "only the smart protocol is served") from error
