"""An item: one node or app as this machine is to run it, complete in itself, with its digest.

What other files say of it is folded in: profiles, overlays, templates, the realm's defaults, the
addresses of peers on other machines. So an item that was good once can be kept and run again
without the commit that it came from; ``encode_item`` and ``decode_item`` are for that.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final, cast

from pydantic import TypeAdapter, ValidationError

from maculaos.errors import UsageError
from reconciler.secrets.reference import references_in
from reconciler.specs.layout import Kind, item_key
from reconciler.specs.spec import AnySpec, AppSpec, NodeSpec

if TYPE_CHECKING:
    from collections.abc import Mapping


ITEM_VERSION: Final = 1
ITEM_BYTES_MAX: Final = 4 * 1024 * 1024
_KEYS: Final = frozenset({"version", "kind", "name", "realm", "path", "digest", "spec"})
_OUTSIDE: Final = frozenset({"name", "instances", "strategy", "health", "depends_on"})
_ADAPTERS: Final[Mapping[str, TypeAdapter[Any]]] = {
    "node": TypeAdapter(NodeSpec),
    "app": TypeAdapter(AppSpec),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Item:
    """One node or app; ``digest`` changes when, and only when, what is to run does."""

    key: str
    kind: Kind
    name: str
    realm: str
    spec: AnySpec
    digest: str
    # The file in the repository that it is called by.
    path: str


def made_item(spec: AnySpec, realm: str) -> Item:
    """The item of a spec in which everything is folded in already.

    What only places or moves it is left out: that is settled once it is an item.
    """
    kind: Kind = "node" if isinstance(spec, NodeSpec) else "app"
    bare: AnySpec = replace(spec, targets=None, profiles=(), vars={}, moved_from=None)
    return Item(
        key=item_key(kind, spec.name),
        kind=kind,
        name=spec.name,
        realm=realm,
        spec=bare,
        digest=_digest(kind, realm, _plain(kind, bare)),
        path=f"{kind}s/{spec.name}.yaml",
    )


def ciphertexts_of(spec: AnySpec) -> frozenset[str]:
    """The SHA-256 of the encrypted files that a spec of an item needs."""
    if isinstance(spec, NodeSpec):
        return frozenset()
    found = references_in(spec.environment).values()
    return frozenset(each.sha256 for each in found if each.sha256 is not None)


def version_of(item: Item) -> str:
    """The digest of what an app's program is started with: its version.

    What the app is called, how many there are, and how it is replaced, ordered and judged is
    left out.
    """
    spec = {key: said for key, said in _plain(item.kind, item.spec).items() if key not in _OUTSIDE}
    return _digest(item.kind, item.realm, spec)


def encode_item(item: Item) -> bytes:
    """One line of canonical JSON: equal items give equal bytes."""
    said = {
        "version": ITEM_VERSION,
        "kind": item.kind,
        "name": item.name,
        "realm": item.realm,
        "path": item.path,
        "digest": item.digest,
        "spec": _plain(item.kind, item.spec),
    }
    return _canonical(said) + b"\n"


def decode_item(content: bytes) -> Item:
    """Read what ``encode_item`` wrote; raises ``UsageError`` for anything else."""
    try:
        return _decoded(content)
    except ValidationError as error:
        raise _unreadable(error.errors(include_url=False)[0]["msg"]) from error
    except (ValueError, RecursionError) as error:
        raise _unreadable(str(error)) from error


def _decoded(content: bytes) -> Item:
    if len(content) > ITEM_BYTES_MAX:
        raise ValueError(f"more than {ITEM_BYTES_MAX} bytes")
    said = json.loads(content)
    if not isinstance(said, dict) or said.keys() != _KEYS:
        raise ValueError("not the keys of an item")
    if said["version"] != ITEM_VERSION or said["kind"] not in _ADAPTERS:
        raise ValueError("of another version")
    spec = _ADAPTERS[said["kind"]].validate_json(json.dumps(said["spec"]))
    item = made_item(spec, str(said["realm"]))
    if encode_item(item) != _canonical(said) + b"\n":
        raise ValueError("it is not what its digest says")
    return item


def _unreadable(why: str) -> UsageError:
    return UsageError(f"a kept item cannot be read ({why})", "remove the file")


def _plain(kind: Kind, spec: AnySpec) -> dict[str, Any]:
    """What is not the default, so that a new key of the format changes no digest."""
    said = _ADAPTERS[kind].dump_python(spec, mode="json", exclude_defaults=True)
    return cast("dict[str, Any]", said)


def _digest(kind: Kind, realm: str, spec: dict[str, Any]) -> str:
    said = _canonical({"version": ITEM_VERSION, "kind": kind, "realm": realm, "spec": spec})
    return hashlib.sha256(said).hexdigest()


def _canonical(said: Any) -> bytes:
    return json.dumps(said, sort_keys=True, separators=(",", ":"), ensure_ascii=True).encode()
