"""The names of jails: which node or app each of them runs, and what people call it.

A node ``n1`` runs in the jail ``node-n1``, which programs and files know; people read ``node n1``.
"""

from __future__ import annotations

from typing import Final, Literal

_NODE: Final = "node-"
_APP: Final = "app-"


def node_jail(node: str) -> str:
    """The name of the jail that runs that node."""
    return f"{_NODE}{node}"


def app_jail(app: str) -> str:
    """The name of the jail that runs that app."""
    return f"{_APP}{app}"


def jail_of(key: str) -> str:
    """The jail of an item by its key, such as ``app/echo``."""
    kind, _, name = key.partition("/")
    return node_jail(name) if kind == "node" else app_jail(name)


def kind_and_name(jail: str) -> tuple[Literal["node", "app"], str]:
    """Which node or app a jail runs."""
    if jail.startswith(_NODE):
        return "node", jail.removeprefix(_NODE)
    return "app", jail.removeprefix(_APP)


def item_key(jail: str) -> str:
    """The key of what a jail runs: ``node/n1``, ``app/echo``."""
    return "/".join(kind_and_name(jail))


def spoken(jail: str) -> str:
    """The jail in words: ``node n1``, ``app echo``; a name of neither form stays as it is."""
    kind, name = kind_and_name(jail)
    return jail if name == jail else f"{kind} {name}"
