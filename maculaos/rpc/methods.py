"""Method names: segments of visible ASCII joined by dots, at most 255 bytes."""

from __future__ import annotations

import re
from typing import Final

from maculaos.errors import MaculaError

MAX_METHOD_BYTES: Final = 255
# Answered by the node itself: no client and no peer may offer or shadow them.
OWN_PREFIX: Final = "macula."
_WRITTEN: Final = re.compile(r"[!-\-/-~]+(\.[!-\-/-~]+)*")


class InvalidMethod(MaculaError, ValueError):
    """Text that cannot name a method, or one that is the node's own."""


def check_method(method: str) -> str:
    """Return ``method`` if an application may offer it; raise ``InvalidMethod`` if not."""
    if len(method) > MAX_METHOD_BYTES:
        raise InvalidMethod(f"a method name has at most {MAX_METHOD_BYTES} bytes")
    if _WRITTEN.fullmatch(method) is None:
        raise InvalidMethod(f"{method!r} is no method: use visible ASCII, with dots between words")
    if method.startswith(OWN_PREFIX):
        raise InvalidMethod(f"{method!r} belongs to the node: leave out {OWN_PREFIX!r}")
    return method
