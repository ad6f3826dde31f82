"""The releases on this machine: ``<folder>/<app>/<digest>/``, their states, and one link per app.

    <app>/releases.json     the states (``reconciler.releases.shelf``), replaced atomically
    <app>/current           a link to the release that runs; it is switched last
    <app>/<digest>/         a release, whole
    <app>/.<digest>.*       an archive on its way, an unpacked tree on its way in or out

States are written before the link, and a tree has its name only when it is whole. So whatever cuts
a change short, ``recover`` finds the old or the new. Only who holds the reconciler's lock calls.
"""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from maculaos.errors import UsageError
from maculaos.host.files import make_private_directory, sync_directory, write_atomically
from reconciler.releases.shelf import Shelf, WrongState, decode_shelf, encode_shelf
from reconciler.releases.spec import is_identity
from reconciler.releases.unpacking import unpack
from reconciler.values import LONGEST_NAME

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from reconciler.releases.fetch import Fetch
    from reconciler.releases.members import ArchiveBudget
    from reconciler.releases.spec import ReleaseSpec

STATES: Final = "releases.json"
LINK: Final = "current"
_NEW_LINK: Final = ".current.new"
_APP: Final = re.compile(rf"[a-z0-9]([a-z0-9-]{{0,{LONGEST_NAME - 2}}}[a-z0-9])?")
_MOST_STATES_BYTES: Final = 1 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Recovery:
    """What a start found: by app, the release that runs, or why nothing could be done."""

    running: Mapping[str, str | None]
    problems: Mapping[str, UsageError]


class ReleaseStore:
    """The releases of every app below ``folder``, which is made private."""

    def __init__(self, folder: Path, fetch: Fetch, budget: ArchiveBudget, keep_old: int) -> None:
        self._folder = folder
        self._fetch = fetch
        self._budget = budget
        self._keep_old = keep_old

    def apps(self) -> tuple[str, ...]:
        """The apps that have a folder here."""
        with suppress(FileNotFoundError):
            found = (each.name for each in self._folder.iterdir() if each.is_dir())
            return tuple(sorted(name for name in found if _APP.fullmatch(name)))
        return ()

    def shelf(self, app: str) -> Shelf:
        """The releases of ``app``; raises ``UsageError`` if their states cannot be read."""
        path = self._place(app) / STATES
        try:
            with path.open("rb") as file:
                return decode_shelf(file.read(_MOST_STATES_BYTES))
        except FileNotFoundError:
            return Shelf()
        except UsageError as error:
            hint = f"put {path.parent} away: it is made anew, and every release fetched again"
            raise UsageError(f"{path}: {error.what}", hint) from error

    def path(self, app: str, identity: str) -> Path:
        """Where that release lies, or would."""
        if not is_identity(identity):
            raise UsageError(f"{identity!r} is no name of a release")
        return self._place(app) / identity

    def link(self, app: str) -> Path:
        """The link to the release that runs; there is none before the first."""
        return self._place(app) / LINK

    def holds(self, app: str, identity: str) -> bool:
        """Whether that release is whole on the disk; raises as ``shelf`` does."""
        return self.shelf(app).state(identity) is not None and self.path(app, identity).is_dir()

    def prepare(
        self, app: str, spec: ReleaseSpec, is_given_up: Callable[[], bool] = lambda: False
    ) -> Path:
        """Have the release whole on the disk, and say where; it runs no sooner for that.

        What is here already is not fetched again. A download ends soon once ``is_given_up``.
        Raises ``ReleaseUnavailable``, ``BadArchive``, ``BadSignature``, or another
        ``UsageError``; the rest is as it was then.
        """
        place = self._place(app)
        final = self.path(app, spec.identity)
        with _in_words(app):
            make_private_directory(place)
            if self.holds(app, spec.identity):
                return final
            self._bring(spec, place, final, is_given_up)
            self._save(app, self.shelf(app).unpack(spec.identity))
        return final

    def install(self, app: str, identity: str) -> None:
        """That release runs from now on, until a crash or ``fall_back``; raises ``WrongState``."""
        if not self.path(app, identity).is_dir():
            raise WrongState(f"{app}: release {identity[:12]} is not here", "prepare it first")
        self._change(app, self.shelf(app).install(identity))

    def make_permanent(self, app: str, identity: str) -> None:
        """It proved itself: every start goes back to it. Raises ``WrongState``."""
        self._change(app, self.shelf(app).make_permanent(identity))

    def fall_back(self, app: str) -> str | None:
        """The permanent release runs again; its name, or None if there never was one."""
        shelf = self.shelf(app).fall_back()
        self._change(app, shelf)
        return shelf.running

    def forget(self, app: str, identity: str) -> None:
        """Delete a release that is not in use; raises ``WrongState``."""
        shelf = self.shelf(app).forget(identity)
        with _in_words(app):
            self._save(app, shelf)
            self._delete(self.path(app, identity))

    def retain(self, app: str) -> tuple[str, ...]:
        """Delete what retention lets go; the names of what went."""
        surplus = self.shelf(app).surplus(self._keep_old)
        for identity in surplus:
            self.forget(app, identity)
        return surplus

    def forget_app(self, app: str) -> None:
        """Delete all of an app that is gone."""
        place = self._place(app)
        gone = self._folder / f".{app}.gone"
        with _in_words(app):
            _delete_tree(gone)
            with suppress(FileNotFoundError):
                os.rename(place, gone)
                sync_directory(self._folder)
            _delete_tree(gone)

    def recover(self) -> Recovery:
        """At a start: every app back on its permanent release, and nothing half done left.

        An app whose states cannot be read, or whose folder cannot be changed, is left as it is.
        """
        with suppress(FileNotFoundError):
            for path in self._folder.glob(".*.gone"):
                _delete_tree(path)
        running: dict[str, str | None] = {}
        problems: dict[str, UsageError] = {}
        for app in self.apps():
            try:
                running[app] = self._recover(app)
            except UsageError as error:
                problems[app] = error
        return Recovery(running=running, problems=problems)

    def _recover(self, app: str) -> str | None:
        shelf = self.shelf(app)
        lost = [r.identity for r in shelf.releases if not self.path(app, r.identity).is_dir()]
        shelf = shelf.without(lost).fall_back()
        with _in_words(app):
            for path in self._place(app).iterdir():
                if not self._belongs(path, shelf):
                    _delete_tree(path)
        self._change(app, shelf)
        return shelf.running

    def _belongs(self, path: Path, shelf: Shelf) -> bool:
        """Archives on their way stay: they are resumed. Trees are only whole by their name."""
        if path.name in (STATES, LINK) or path.name.endswith((".part", ".etag")):
            return True
        return is_identity(path.name) and shelf.state(path.name) is not None

    def _place(self, app: str) -> Path:
        if _APP.fullmatch(app) is None:
            raise UsageError(f"{app!r} cannot name an app")
        return self._folder / app

    def _bring(
        self, spec: ReleaseSpec, place: Path, final: Path, is_given_up: Callable[[], bool]
    ) -> None:
        archive = place / f".{spec.sha256}.archive"
        staging = place / f".{spec.identity}.staging"
        _delete_tree(staging)
        _delete_parts(place, archive.name)
        try:
            self._fetch.bring(spec, archive, is_given_up)
            staging.mkdir(mode=0o700)
            with archive.open("rb") as file:
                unpack(file, staging, self._budget, spec.strip)
            # Left by a crash before it was on record.
            self._delete(final)
            os.rename(staging, final)
            sync_directory(place)
        finally:
            _delete_tree(staging)
            _delete_tree(archive)

    def _change(self, app: str, shelf: Shelf) -> None:
        """States first, the link last."""
        with _in_words(app):
            if shelf != self.shelf(app):
                self._save(app, shelf)
            self._switch(app, shelf.running)

    def _save(self, app: str, shelf: Shelf) -> None:
        write_atomically(self._place(app) / STATES, encode_shelf(shelf), 0o600)

    def _switch(self, app: str, identity: str | None) -> None:
        link = self.link(app)
        if (os.readlink(link) if link.is_symlink() else None) == identity:
            return
        if identity is None:
            link.unlink()
        else:
            new = link.with_name(_NEW_LINK)
            _delete_tree(new)
            new.symlink_to(identity)
            os.replace(new, link)
        sync_directory(link.parent)

    def _delete(self, path: Path) -> None:
        """Under another name first, so that no part of it ever stands for the whole."""
        gone = path.with_name(f".{path.name}.gone")
        _delete_tree(gone)
        with suppress(FileNotFoundError):
            os.rename(path, gone)
            sync_directory(path.parent)
        _delete_tree(gone)


def _delete_parts(place: Path, archive: str) -> None:
    """Of archives that nobody waits for any more: what came of them would stay for ever."""
    for suffix in ("part", "etag"):
        for path in place.glob(f".*.{suffix}"):
            if path.name != f".{archive}.{suffix}":
                path.unlink()


def _delete_tree(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


@contextmanager
def _in_words(app: str) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        what = f"the releases of {app} cannot be changed: {error.strerror or error}"
        raise UsageError(what, "make room in state_dir, and see who owns it") from error
