"""How Git's own programs are started to serve a repository, and what ``http-backend`` answers.

Pure: environments out, a CGI answer in. Nothing of our own environment reaches them, no file
configures them but the repository's own, and what guards a repository wins over that too.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from reconciler.hosting.requests import GitRequest, Service

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from reconciler.web.exchange import Request

HEAD_BYTES: Final = 16 * 1024
HEAD_END: Final = b"\r\n\r\n"

_PROTOCOL: Final = re.compile(r"version=[0-2]")
_PASSED_BACK: Final = ("content-type", "content-length", "cache-control", "expires", "pragma")


@dataclass(frozen=True, slots=True, kw_only=True)
class HostingLimits:
    """Bounds of a Git host; times in seconds."""

    exchanges: int = 8
    """Git programs at once; more wait for nothing and are told to come back."""
    timeout_s: float = 600.0
    """One clone, fetch or push."""
    push_bytes: int = 256 * 1024 * 1024
    """What one push may bring."""
    question_bytes: int = 16 * 1024 * 1024
    """What a client may say while it fetches: what it wants and has."""

    def body_bytes(self, service: Service) -> int:
        """The longest body of a request."""
        # A push is its pack and a list of refs.
        extra = self.push_bytes if service is Service.WRITE else 0
        return self.question_bytes + extra


def git_environment(
    path: str, home: Path, limits: HostingLimits, *, may_write: bool
) -> dict[str, str]:
    """The environment of a Git program that serves others."""
    settings = {
        "core.hooksPath": "/dev/null",
        "core.fsmonitor": "false",
        "transfer.fsckObjects": "true",
        "receive.fsckObjects": "true",
        "receive.maxInputSize": str(limits.push_bytes),
        "receive.denyDeletes": "true",
        "receive.denyNonFastForwards": "true",
        "receive.autogc": "false",
        "uploadpack.allowFilter": "true",
        "http.receivepack": "true" if may_write else "false",
        "http.uploadpack": "true",
        "protocol.allow": "never",
        "gc.auto": "0",
    }
    said = {
        "PATH": path,
        "HOME": str(home),
        "LC_ALL": "C",
        "GIT_CONFIG_NOSYSTEM": "1",
        "GIT_CONFIG_GLOBAL": "/dev/null",
        "GIT_TERMINAL_PROMPT": "0",
        "GIT_CONFIG_COUNT": str(len(settings)),
    }
    for number, (key, value) in enumerate(settings.items()):
        said |= {f"GIT_CONFIG_KEY_{number}": key, f"GIT_CONFIG_VALUE_{number}": value}
    return said


def cgi_environment(root: Path, request: Request, asked: GitRequest, bearer: str) -> dict[str, str]:
    """What CGI (RFC 3875) and git-http-backend(1) tell the program of one request."""
    what = "info/refs" if asked.is_advertisement else asked.service.value
    said = {
        "GATEWAY_INTERFACE": "CGI/1.1",
        "GIT_PROJECT_ROOT": str(root),
        "GIT_HTTP_EXPORT_ALL": "1",
        "REQUEST_METHOD": request.method,
        "PATH_INFO": f"/{asked.repository}.git/{what}",
        "QUERY_STRING": f"service={asked.service}" if asked.is_advertisement else "",
        "CONTENT_TYPE": f"application/x-{asked.service}-request",
        "REMOTE_USER": bearer,
        "REMOTE_ADDR": request.peer,
        "SERVER_PROTOCOL": "HTTP/1.1",
    }
    if not asked.is_advertisement and request.headers.get("content-length"):
        said["CONTENT_LENGTH"] = str(request.announced_bytes)
    if request.headers.get("content-encoding") == "gzip":
        said["HTTP_CONTENT_ENCODING"] = "gzip"
    return said | protocol_environment(request.headers.get("git-protocol", ""))


def protocol_environment(said: str) -> dict[str, str]:
    """Which version of Git's protocol the client speaks, if it is one that there is."""
    fits = _PROTOCOL.fullmatch(said) is not None
    return {"HTTP_GIT_PROTOCOL": said, "GIT_PROTOCOL": said} if fits else {}


def parse_cgi(said: bytes) -> tuple[int, list[tuple[str, str]], bytes]:
    """Status, headers that are passed back, and the start of the body; raises ``ValueError``."""
    head, end, rest = said.partition(HEAD_END)
    if not end:
        raise ValueError("no end of the head")
    fields = [line.partition(":") for line in head.decode("latin-1").split("\r\n")]
    headers = {name.strip().lower(): text.strip() for name, _, text in fields}
    status = headers.get("status", "200").split()[0]
    if not status.isdigit() or not 200 <= int(status) <= 599:
        raise ValueError("no status")
    passed: Mapping[str, str] = {name: headers[name] for name in _PASSED_BACK if name in headers}
    return int(status), list(passed.items()), rest
