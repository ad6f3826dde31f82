"""The names of jails: which node or app each of them runs, and what people call it.

A node ``n1`` runs in the jail ``node-n1``, which programs and files know; people read ``node n1``.
An app may run in several jails, one for each of its instances: ``reconciler.rollouts.instances``.
"""

from __future__ import annotations

from typing import Final, Literal

from reconciler.rollouts.instances import FIRST, Colour, Instance, instance_jail, instance_of

_NODE: Final = "node-"
_APP: Final = "app-"


def node_jail(node: str) -> str:
    """The name of the jail that runs that node."""
    return f"{_NODE}{node}"


def app_jail(app: str) -> str:
    """The name of the jail that runs that app."""
    return f"{_APP}{app}"


def jail_of(key: str) -> str:
    """The first jail of an item by its key, such as ``app/echo``."""
    kind, _, name = key.partition("/")
    return node_jail(name) if kind == "node" else app_jail(name)


def kind_and_name(jail: str) -> tuple[Literal["node", "app"], str]:
    """Which node or app a jail runs."""
    if jail.startswith(_NODE):
        return "node", jail.removeprefix(_NODE)
    found = instance_of(jail)
    return "app", found[0] if found is not None else jail.removeprefix(_APP)


def instance_in(jail: str) -> str:
    """Which instance of an app runs there, ``blue 2``; empty for the first, and for nodes."""
    found = None if jail.startswith(_NODE) else instance_of(jail)
    return "" if found is None or found[1] == FIRST else str(found[1])


def jail_named(kind: str, name: str, instance: str = "") -> str:
    """The jail of that node, or of that app's instance as ``instance_in`` says it."""
    if kind == "node":
        return node_jail(name)
    if not instance:
        return app_jail(name)
    colour, _, index = instance.partition(" ")
    return instance_jail(name, Instance(Colour(colour), int(index)))


def item_key(jail: str) -> str:
    """The key of what a jail runs: ``node/n1``, ``app/echo``."""
    return "/".join(kind_and_name(jail))


def spoken(jail: str) -> str:
    """The jail in words: ``node n1``, ``app echo``, ``app echo (blue 2)``.

    A name of neither form stays as it is.
    """
    kind, name = kind_and_name(jail)
    instance = instance_in(jail)
    said = f"{kind} {name}" + (f" ({instance})" if instance else "")
    return jail if name == jail else said
