"""The table of methods: every module in ``maculaos.discovery.methods``, by its name.

A module is loaded when its method starts, so that a library that nobody needs costs nothing.
"""

from __future__ import annotations

import importlib
import pkgutil
from typing import TYPE_CHECKING

from maculaos.discovery import methods

if TYPE_CHECKING:
    from maculaos.discovery.method import DiscoveryMethod
    from maculaos.discovery.settings import DiscoverySettings


def names() -> tuple[str, ...]:
    """The names of all methods, sorted."""
    return tuple(sorted(module.name for module in pkgutil.iter_modules(methods.__path__)))


def load(name: str) -> type[DiscoveryMethod]:
    """The method of that name; raises ``ImportError`` if a library is missing."""
    found: type[DiscoveryMethod] = importlib.import_module(f"{methods.__name__}.{name}").Method
    return found


def off_because(name: str, settings: DiscoverySettings, listening: str) -> str | None:
    """Why that method is not started, if so; one without settings always is."""
    section = getattr(settings, name, None)
    if section is None:
        return None
    why: str | None = section.off_because(listening)
    return why
