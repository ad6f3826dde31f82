"""The releases of one app and their states, after OTP's release_handler. Pure, with its codec.

unpacked -> current -> permanent; what was either is old. There is at most one permanent, and it
is what a start of the machine goes back to: a release that was installed and never made
permanent is undone by any crash, by itself. Files and links are ``reconciler.releases.store``'s.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

from annotated_types import Len
from pydantic import TypeAdapter, ValidationError

from maculaos.errors import UsageError
from reconciler.releases.spec import is_identity
from reconciler.values import STRICT

if TYPE_CHECKING:
    from collections.abc import Collection

MOST_RELEASES = 1000


class ReleaseState(StrEnum):
    """How far a release of an app came."""

    UNPACKED = "unpacked"  # whole and on the disk; it never ran
    CURRENT = "current"  # it runs, and has to prove itself
    PERMANENT = "permanent"  # it proved itself: what every start goes back to
    OLD = "old"  # it ran once


class WrongState(UsageError):
    """A release is not in the state that was asked to go on from."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Shelved:
    """One release and its state."""

    __pydantic_config__: ClassVar[dict[str, Any]] = STRICT

    identity: str
    state: ReleaseState


@dataclass(frozen=True, slots=True, kw_only=True)
class Shelf:
    """The releases of one app, those that changed last at the end."""

    __pydantic_config__: ClassVar[dict[str, Any]] = STRICT

    version: Literal[1] = 1
    releases: Annotated[tuple[Shelved, ...], Len(0, MOST_RELEASES)] = ()

    def __post_init__(self) -> None:
        names = [each.identity for each in self.releases]
        if len(set(names)) < len(names) or not all(map(is_identity, names)):
            raise ValueError("every release has one name, that of its digest")
        for state in (ReleaseState.CURRENT, ReleaseState.PERMANENT):
            if sum(each.state is state for each in self.releases) > 1:
                raise ValueError(f"two releases are {state}")

    def state(self, identity: str) -> ReleaseState | None:
        """The state of that release; None if it is not here."""
        found = (each.state for each in self.releases if each.identity == identity)
        return next(found, None)

    @property
    def current(self) -> str | None:
        """The release that has to prove itself; None for none."""
        return self._in(ReleaseState.CURRENT)

    @property
    def permanent(self) -> str | None:
        """The release that proved itself; None for none yet."""
        return self._in(ReleaseState.PERMANENT)

    @property
    def running(self) -> str | None:
        """The release that the link leads to."""
        return self.current or self.permanent

    def unpack(self, identity: str) -> Shelf:
        """With one more release; one that is here already stays what it is."""
        if self.state(identity) is not None:
            return self
        return self._with(identity, ReleaseState.UNPACKED)

    def install(self, identity: str) -> Shelf:
        """That release runs; whichever was current is old. Raises ``WrongState``.

        The permanent one stays it: to install it again is to fall back.
        """
        self._require(identity)
        left = self._without_current()
        if identity == self.permanent:
            return left
        return left._with(identity, ReleaseState.CURRENT)

    def make_permanent(self, identity: str) -> Shelf:
        """The current release proved itself; the one before it is old. Raises ``WrongState``."""
        state = self.state(identity)
        if state is ReleaseState.PERMANENT and self.current is None:
            return self
        if state is not ReleaseState.CURRENT:
            raise WrongState(f"release {identity[:12]} is {state}, not current", "install it first")
        former = self.permanent
        shelf = self if former is None else self._with(former, ReleaseState.OLD)
        return shelf._with(identity, ReleaseState.PERMANENT)

    def fall_back(self) -> Shelf:
        """The permanent release runs again, or none if there never was one."""
        return self._without_current()

    def forget(self, identity: str) -> Shelf:
        """Without that release; raises ``WrongState`` if it runs."""
        if identity == self.running or identity == self.permanent:
            raise WrongState(f"release {identity[:12]} is in use", "install another one first")
        left = tuple(each for each in self.releases if each.identity != identity)
        return replace(self, releases=left)

    def without(self, lost: Collection[str]) -> Shelf:
        """Without releases that are no longer on the disk, whatever they were."""
        left = tuple(each for each in self.releases if each.identity not in lost)
        return replace(self, releases=left)

    def surplus(self, keep_old: int) -> tuple[str, ...]:
        """What retention lets go: all that does not run, but the last ``keep_old`` of them."""
        idle = (ReleaseState.OLD, ReleaseState.UNPACKED)
        unused = [each.identity for each in self.releases if each.state in idle]
        return tuple(unused[: max(0, len(unused) - keep_old)])

    def _in(self, state: ReleaseState) -> str | None:
        return next((each.identity for each in self.releases if each.state is state), None)

    def _require(self, identity: str) -> None:
        if self.state(identity) is None:
            raise WrongState(f"release {identity[:12]} is not on this machine", "unpack it first")

    def _without_current(self) -> Shelf:
        current = self.current
        return self if current is None else self._with(current, ReleaseState.OLD)

    def _with(self, identity: str, state: ReleaseState) -> Shelf:
        others = tuple(each for each in self.releases if each.identity != identity)
        return replace(self, releases=(*others, Shelved(identity=identity, state=state)))


def encode_shelf(shelf: Shelf) -> bytes:
    """As bytes of a file."""
    return _SHELF.dump_json(shelf, indent=1) + b"\n"


def decode_shelf(content: bytes) -> Shelf:
    """What ``encode_shelf`` wrote; raises ``UsageError`` for anything else."""
    try:
        return _SHELF.validate_json(content)
    except ValidationError as error:
        cause = error.errors()[0]["msg"]
        raise UsageError(f"the states of its releases cannot be read: {cause}") from error


_SHELF: TypeAdapter[Shelf] = TypeAdapter(Shelf)
