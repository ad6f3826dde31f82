"""Entropy: the machine's, or a seed's."""

from __future__ import annotations

import os
import random
from typing import Protocol


class Entropy(Protocol):
    """Where unpredictable bytes come from."""

    def draw(self, size: int) -> bytes:
        """That many bytes."""
        ...


class SystemEntropy:
    """The machine's own source: for keys, tokens and the seeds of ``random.Random``."""

    def draw(self, size: int) -> bytes:
        """See ``Entropy.draw``."""
        return os.urandom(size)


class SeededEntropy:
    """Bytes that a seed replays. For tests only: never for a key that protects anything."""

    def __init__(self, seed: int) -> None:
        self._random = random.Random(seed)  # noqa: S311  # a fake: being predictable is its use

    def draw(self, size: int) -> bytes:
        """See ``Entropy.draw``."""
        return self._random.randbytes(size)
