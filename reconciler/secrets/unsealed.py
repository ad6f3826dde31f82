"""What is known of the secrets of apps without knowing them: a keyed digest each, or an obstacle.

A value for rendering, which is pure. The plain text stays where it was decrypted.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Final, TypeAlias

from jails.spec import SecretEnvironment
from reconciler.secrets.reference import references_in

if TYPE_CHECKING:
    from reconciler.secrets.reference import SecretReference
    from reconciler.specs.spec import AppSpec

# Which environment of which app: equal ones have the same secrets.
Sealed: TypeAlias = tuple[str, str, tuple[tuple[str, "str | SecretReference"], ...]]

UNKNOWN_DIGEST: Final = "sealed"


def sealed_environment(app: AppSpec) -> Sealed | None:
    """By what the secrets of an app are known; None for an app without any."""
    if not references_in(app.environment):
        return None
    identity = "" if app.release is None else app.release.identity
    return app.node, identity, tuple(sorted(app.environment.items()))


@dataclass(frozen=True, slots=True, kw_only=True)
class Unsealed:
    """What became of the secrets of apps; ``folder`` is where plain text is placed, by jail."""

    folder: Path = Path("/nonexistent")
    digests: Mapping[Sealed, str] = field(default_factory=lambda: MappingProxyType({}))
    obstacles: Mapping[Sealed, str] = field(default_factory=lambda: MappingProxyType({}))

    def wanted(self, jail: str, app: AppSpec) -> SecretEnvironment | None:
        """What a ``JailSpec`` says of the secrets of that app; None for an app without any."""
        known = sealed_environment(app)
        if known is None:
            return None
        digest = self.digests.get(known, UNKNOWN_DIGEST)
        return SecretEnvironment(path=str(self.folder / jail), digest=digest)

    def obstacle(self, app: AppSpec) -> str:
        """Why that app cannot have its secrets; empty if it can, or needs none."""
        known = sealed_environment(app)
        return "" if known is None else self.obstacles.get(known, "")
