"""jail(8) and jexec(8): what starts, ends and enters a jail, and what their refusals mean.

``jail -m`` has no builder: it crashed on a running jail with its own network stack. Who wants
another jail removes the old one and creates the new.
"""

from __future__ import annotations

import re

_NOT_FOUND = re.compile(r'^(?:jail:|jls: jail|jexec: jail) "([^"]+)" not found$', re.MULTILINE)
_EXISTS = re.compile(r'^jail: "([^"]+)" already exists$', re.MULTILINE)
_PS_NOT_FOUND = re.compile(r"^ps: Invalid jail id: (\S+)$", re.MULTILINE)


def create_argv(file: str, name: str) -> tuple[str, ...]:
    """Create jail ``name`` as its configuration ``file`` says."""
    return ("jail", "-f", file, "-c", name)


def remove_argv(file: str, name: str) -> tuple[str, ...]:
    """Stop and remove jail ``name`` with the hooks and mounts of its ``file``."""
    return ("jail", "-f", file, "-r", name)


def remove_without_file_argv(file: str, name: str) -> tuple[str, ...]:
    """Remove jail ``name`` by force, running none of the hooks of ``file``."""
    return ("jail", "-f", file, "-R", "-r", name)


def jexec_argv(name: str, *command: str) -> tuple[str, ...]:
    """Run ``command`` inside jail ``name``."""
    return ("jexec", name, *command)


def jexec_as_argv(name: str, user: str, *command: str) -> tuple[str, ...]:
    """Run ``command`` inside jail ``name`` as ``user`` of the jail; as root if that is empty."""
    return ("jexec", *(("-U", user) if user else ()), name, *command)


def is_unknown_jail(stderr: str, name: str) -> bool:
    """Whether jail, jls, jexec or ps refused because there is no jail ``name``."""
    return any(name in pattern.findall(stderr) for pattern in (_NOT_FOUND, _PS_NOT_FOUND))


def is_existing_jail(stderr: str, name: str) -> bool:
    """Whether jail(8) refused because there is a jail ``name`` already."""
    return name in _EXISTS.findall(stderr)
