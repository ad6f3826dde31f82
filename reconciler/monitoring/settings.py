"""The settings of the metrics listener: where it listens, and how it may."""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any, ClassVar

from annotated_types import Ge, Le
from pydantic import AfterValidator

from reconciler.values import STRICT, Maybe
from reconciler.web.listening import parse_endpoint


@dataclass(frozen=True, slots=True, kw_only=True)
class MetricsSettings:
    """A listener that answers /metrics, /healthz and /readyz."""

    __pydantic_config__: ClassVar[dict[str, Any]] = STRICT

    listen: Annotated[str, AfterValidator(lambda text: str(parse_endpoint(text)))]
    """IP address and TCP port."""
    certificate: Maybe[Path] = None
    """The chain that the listener shows, in PEM; with it, it speaks TLS only."""
    key: Maybe[Path] = None
    """The key of that certificate, mode 0600."""
    behind_proxy: bool = False
    """Whether plain text is fine beyond loopback, since a proxy in front adds TLS."""
    timeout_s: Annotated[float, Ge(0.1), Le(60)] = 10.0
    """How long a request may take in all; slower ones are cut off."""
    requests_per_minute: Annotated[int, Ge(1), Le(60_000)] = 600
    """Requests of everybody together; beyond them 429."""

    def __post_init__(self) -> None:
        if (self.certificate is None) != (self.key is None):
            raise ValueError("certificate and key belong together: name both or none")


def located_metrics(settings: MetricsSettings, folder: Path) -> MetricsSettings:
    """``settings`` with every path absolute: relative ones start at ``folder``."""

    def absolute(path: Path | None) -> Path | None:
        return None if path is None else Path(os.path.normpath(folder.absolute() / path))

    return replace(settings, certificate=absolute(settings.certificate), key=absolute(settings.key))
