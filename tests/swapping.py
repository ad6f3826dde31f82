"""An enemy inside of a folder: what is a folder there now is a link to elsewhere in a moment."""

from __future__ import annotations

import threading
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@contextmanager
def swapped(place: Path, victim: Path) -> Iterator[None]:
    """All the while ``place`` is a folder, a link to ``victim``, a folder, a link..."""
    is_over = threading.Event()
    aside, link = place.with_name("aside"), place.with_name("link")
    link.symlink_to(victim)

    def swap() -> None:
        while not is_over.is_set():
            # A folder that is there is moved away; then the link comes, and goes again.
            for source, target in ((place, aside), (link, place), (place, link), (aside, place)):
                with suppress(OSError):
                    source.rename(target)

    enemy = threading.Thread(target=swap)
    enemy.start()
    try:
        yield
    finally:
        is_over.set()
        enemy.join()
