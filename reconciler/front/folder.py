"""The folder of traffic files, looked at again and again: what is new is read, and nothing else.

The time of the folder tells that a file was replaced. Clocks of file systems tick slowly, so after
each change it is read a few times more.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Final

from reconciler.front.routes import MOST_BYTES, BadTraffic, read_routes

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from reconciler.front.routes import Place, Route

MOST_FILES: Final = 2000
_SUFFIX: Final = ".json"
_MORE_LOOKS: Final = 2


class Folder:
    """What its files say by now; a file that is wrong goes on saying what it said."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._stamp: tuple[int, int] | None = None
        self._looks_left = 0
        self._stamps: dict[str, tuple[int, int, int]] = {}
        self._routes: dict[str, Mapping[Place, Route]] = {}
        # By app: the SHA-256 of what was read, good or bad.
        self.seen: dict[str, str] = {}
        # By app: what is wrong with its file.
        self.problems: dict[str, str] = {}

    @property
    def routes(self) -> Mapping[str, Mapping[Place, Route]]:
        """By app, as read last."""
        return self._routes

    def glance(self, *, is_asked: bool = False) -> bool:
        """Read what is new; return whether anything is. ``is_asked``: look at every file."""
        stamp = self._folder_stamp()
        if stamp != self._stamp:
            self._stamp, self._looks_left = stamp, _MORE_LOOKS
        elif self._looks_left > 0:
            self._looks_left -= 1
        elif not is_asked:
            return False
        return self._read()

    def _folder_stamp(self) -> tuple[int, int] | None:
        try:
            found = self._path.stat()
        except OSError:
            return None
        return found.st_ino, found.st_mtime_ns

    def _read(self) -> bool:
        there = self._files()
        gone = self.seen.keys() - there.keys()
        for app in gone:
            for known in (self._stamps, self._routes, self.seen, self.problems):
                known.pop(app, None)
        is_new = bool(gone)
        for app, path in there.items():
            is_new = self._read_one(app, path) or is_new
        return is_new

    def _files(self) -> dict[str, Path]:
        try:
            found = sorted(self._path.iterdir())
        except OSError:
            return {}
        named = [path for path in found if path.suffix == _SUFFIX and path.name[0] != "."]
        return {path.name.removesuffix(_SUFFIX): path for path in named[:MOST_FILES]}

    def _read_one(self, app: str, path: Path) -> bool:
        try:
            found = path.stat()
            stamp = (found.st_ino, found.st_mtime_ns, found.st_size)
            if self._stamps.get(app) == stamp:
                return False
            with path.open("rb") as file:
                content = file.read(MOST_BYTES + 1)
        except OSError as error:
            self.problems[app] = error.strerror or str(error)
            return False
        self._stamps[app] = stamp
        self.seen[app] = hashlib.sha256(content).hexdigest()
        try:
            self._routes[app] = read_routes(content, app)
        except BadTraffic as error:
            self.problems[app] = str(error)
            return False
        self.problems.pop(app, None)
        return True
