"""Deliveries as Git hosts send them, made from their public documentation, and a raw client."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import ssl

SECRET = "0123456789abcdef0123456789abcdef"  # noqa: S105  # of these tests alone
REVISION = "a" * 40
NOTHING = "0" * 40


def digest(body: bytes, secret: str = SECRET) -> str:
    return hmac.new(secret.encode(), body, hashlib.sha256).hexdigest()


@dataclass
class Delivery:
    """One request to a listener."""

    hook: str
    headers: dict[str, str]
    body: bytes
    method: str = "POST"
    extra: dict[str, str] = field(default_factory=dict)

    @property
    def path(self) -> str:
        return f"/hooks/{self.hook}"

    def raw(self) -> bytes:
        headers = {"Content-Length": str(len(self.body)), **self.headers, **self.extra}
        head = "".join(f"{name}: {text}\r\n" for name, text in headers.items())
        first = f"{self.method} {self.path} HTTP/1.1\r\nHost: box\r\nConnection: close\r\n"
        return (first + head + "\r\n").encode() + self.body


def _body(payload: dict[str, Any]) -> bytes:
    return json.dumps(payload).encode()


def github(
    ref: str = "refs/heads/main",
    *,
    name: str = "upstream",
    after: str = REVISION,
    delivery: str = "72d3162e-cc78-11e3-81ab-4c9367dc0958",
    event: str = "push",
    secret: str = SECRET,
) -> Delivery:
    body = _body(
        {
            "ref": ref,
            "before": "b" * 40,
            "after": after,
            "created": False,
            "deleted": after == NOTHING,
            "forced": False,
            "repository": {
                "id": 1,
                "full_name": name,
                "clone_url": f"https://github.example/{name}.git",
                "ssh_url": f"git@github.example:{name}.git",
                "pushed_at": delivery,
            },
            "pusher": {"name": "ada", "email": "ada@example.test"},
            "commits": [],
        }
    )
    headers = {
        "Content-Type": "application/json",
        "User-Agent": "GitHub-Hookshot/044aadd",
        "X-GitHub-Delivery": delivery,
        "X-GitHub-Event": event,
        "X-GitHub-Hook-ID": "292430182",
        "X-Hub-Signature": "sha1=" + "0" * 40,
        "X-Hub-Signature-256": f"sha256={digest(body, secret)}",
    }
    return Delivery("github", headers, body)


def gitlab(
    ref: str = "refs/heads/main", *, delivery: str = "13792a34-cac6-4fda-95a8-c58e00a3954e"
) -> Delivery:
    body = _body(
        {
            "object_kind": "push",
            "event_name": "push",
            "before": "b" * 40,
            "after": REVISION,
            "ref": ref,
            "checkout_sha": REVISION,
            "project": {
                "id": 15,
                "name": "upstream",
                "path_with_namespace": "upstream",
                "git_http_url": "https://gitlab.example/upstream.git",
            },
            "commits": [],
        }
    )
    headers = {
        "Content-Type": "application/json",
        "User-Agent": "GitLab/17.4.0",
        "Idempotency-Key": delivery,
        "X-Gitlab-Event": "Push Hook",
        "X-Gitlab-Event-UUID": delivery,
        "X-Gitlab-Webhook-UUID": "6c5f9c1c-7e5f-4a4e-8d55-f5e3e5b0a1c2",
        "X-Gitlab-Instance": "https://gitlab.example",
        "X-Gitlab-Token": SECRET,
    }
    return Delivery("gitlab", headers, body)


def gitlab_signed(
    ref: str = "refs/heads/main",
    *,
    delivery: str = "13792a34-cac6-4fda-95a8-c58e00a3954e",
    at: float = 0.0,
    key: bytes = SECRET.encode(),
) -> Delivery:
    """As GitLab sends where a signing token is set: after Standard Webhooks, version 1."""
    one = gitlab(ref, delivery=delivery)
    del one.headers["X-Gitlab-Token"]
    content = b".".join((delivery.encode(), str(int(at)).encode(), one.body))
    made = base64.b64encode(hmac.new(key, content, hashlib.sha256).digest()).decode()
    one.headers["webhook-id"] = delivery
    one.headers["webhook-timestamp"] = str(int(at))
    one.headers["webhook-signature"] = f"v1,{made}"
    return one


def gitea(
    ref: str = "refs/heads/main", *, delivery: str = "f6266f16-1bf3-46a5-9ea4-602e06ead473"
) -> Delivery:
    body = _body(
        {
            "ref": ref,
            "before": digest(delivery.encode())[:40],
            "after": REVISION,
            "compare_url": "",
            "commits": [],
            "repository": {
                "id": 140,
                "full_name": "upstream",
                "clone_url": "http://gitea.example/upstream.git",
            },
            "pusher": {"id": 1, "login": "ada"},
        }
    )
    headers = {
        "Content-Type": "application/json",
        "X-Gitea-Delivery": delivery,
        "X-Gitea-Event": "push",
        "X-Gitea-Event-Type": "push",
        "X-Gitea-Signature": digest(body),
        "X-GitHub-Event": "push",
        "X-Hub-Signature-256": f"sha256={digest(body)}",
    }
    return Delivery("gitea", headers, body)


def generic(ref: str = "refs/heads/main", *, delivery: str = "1") -> Delivery:
    body = _body({"delivery": delivery, "ref": ref, "revision": REVISION})
    headers = {"X-Macula-Signature-256": f"sha256={digest(body)}"}
    return Delivery("generic", headers, body)


ALL = (github, gitlab, gitea, generic)


async def raw(address: str, sent: bytes, tls: ssl.SSLContext | None = None) -> bytes:
    """Everything that the server says to ``sent``."""
    host, _, port = address.rpartition(":")
    reader, writer = await asyncio.open_connection(host, int(port), ssl=tls)
    try:
        writer.write(sent)
        await writer.drain()
        return await reader.read()
    except ConnectionError:
        return b""
    finally:
        writer.transport.abort()


async def deliver(address: str, one: Delivery, tls: ssl.SSLContext | None = None) -> int:
    """The status of the answer; 0 for none."""
    said = await raw(address, one.raw(), tls)
    return int(said.split()[1]) if said else 0
