"""What must be known of an update after any reboot or power cut, and the file that holds it.

Every change is on disk before the step that it speaks of is taken. The file is replaced by a
rename, and the content before it stays in a second file: whatever happens to one of them, the other
can be read. A state that cannot be read at all is a value too (``is_lost``), never an error. What
follows from a state is decided in ``appliance.decisions``.
"""

from __future__ import annotations

import hashlib
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, Final, Literal

import msgspec

from appliance.slots import Slot
from maculaos.host.files import make_private_directory, remove_leftovers, write_atomically

if TYPE_CHECKING:
    from pathlib import Path

FAILURES_MAX: Final = 32
REASON_CHARACTERS_MAX: Final = 400
_FILE_BYTES_MAX: Final = 256 << 10

_Reason = Annotated[str, msgspec.Meta(max_length=REASON_CHARACTERS_MAX)]


class Phase(StrEnum):
    """How far an update has come."""

    IDLE = "idle"
    # The spare slot is being filled; what it holds must not boot.
    WRITING = "writing"
    # The spare slot was read back and is what the manifest says.
    WRITTEN = "written"
    # The next boot tries the spare slot, once.
    ARMED = "armed"
    # The new slot runs and has to prove its health.
    TRIAL = "trial"
    # It did; the marks are being changed for good.
    COMMITTING = "committing"
    # It did not; the machine goes back.
    REVERTING = "reverting"


class Bundle(msgspec.Struct, frozen=True, kw_only=True):
    """What a slot was filled from; ``digest`` tells a bundle from all others."""

    digest: str
    name: str
    version: str
    created: str
    slot_bytes: int
    slot_sha256: str


class Failure(msgspec.Struct, frozen=True, kw_only=True):
    """A bundle that was tried and did not prove itself; ``at`` in seconds since the epoch."""

    digest: str
    version: str
    reason: _Reason
    at: float


class Ending(StrEnum):
    """What came of an update."""

    COMMITTED = "committed"
    FELL_BACK = "fell back"
    ABANDONED = "abandoned"


class Outcome(msgspec.Struct, frozen=True, kw_only=True):
    """How the last update ended, and why; ``at`` in seconds since the epoch."""

    ending: Ending
    slot: Slot
    version: str
    reason: _Reason
    at: float

    def describe(self) -> str:
        """One line for people."""
        what = self.version or "a system without a record"
        return f"{what} in slot {self.slot} {self.ending}: {self.reason}"


class State(msgspec.Struct, frozen=True, kw_only=True):
    """Everything at one moment; ``slot`` and ``bundle`` are those of the update under way."""

    format: Literal[1] = 1
    phase: Phase = Phase.IDLE
    slot: Slot | None = None
    # None for a system that was not written by an update.
    bundle: Bundle | None = None
    # How often this bundle was armed anew because a cut came while it was being committed.
    attempts: int = 0
    reason: _Reason = ""
    # What each slot holds, where an update wrote it.
    contents: dict[Slot, Bundle] = {}
    # Slots that hold half a system, or one that failed: nobody may boot them.
    spoiled: tuple[Slot, ...] = ()
    failed: tuple[Failure, ...] = ()
    last: Outcome | None = None
    # Both files were there and neither could be read.
    is_lost: bool = False

    def __post_init__(self) -> None:
        """Raise ``ValueError`` for what cannot be: an update under way has a slot."""
        if (self.phase is Phase.IDLE) != (self.slot is None):
            raise ValueError("an update has a slot, and no update has none")

    def describe(self) -> str:
        """One line for people."""
        if self.slot is None:
            return self.last.describe() if self.last else "no update under way"
        version = self.bundle.version if self.bundle else "a system without a record"
        because = f" ({self.reason})" if self.reason else ""
        return f"{self.phase} {version} in slot {self.slot}{because}"


LOST: Final = State(is_lost=True)


def encode(state: State) -> bytes:
    """As the file holds it: the state, and the sha256 of exactly its bytes."""
    body = msgspec.json.encode(state)
    check = hashlib.sha256(body).hexdigest().encode("ascii")
    return b'{"sha256":"' + check + b'","state":' + body + b"}\n"


class _File(msgspec.Struct, frozen=True, kw_only=True):
    sha256: str
    state: msgspec.Raw


def decode(content: bytes) -> State | None:
    """The state, or None if the content was cut, changed, or is of another format."""
    try:
        file = msgspec.json.decode(content, type=_File)
        body = bytes(file.state)
        if hashlib.sha256(body).hexdigest() != file.sha256:
            return None
        return msgspec.json.decode(body, type=State)
    except (msgspec.MsgspecError, ValueError):
        return None


def choose(current: bytes | None, previous: bytes | None) -> State:
    """The newest state that can be read; None stands for a file that is not there."""
    contents = [content for content in (current, previous) if content is not None]
    readable = [state for state in map(decode, contents) if state is not None]
    if readable:
        return readable[0]
    return LOST if contents else State()


class StateFile:
    """The state on the machine's ``cfg`` partition, beside the one before it."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._current = folder / "state.json"
        self._previous = folder / "state.previous.json"

    def load(self) -> State:
        """The newest readable state; never raises for what the files hold."""
        return choose(_content(self._current), _content(self._previous))

    def save(self, state: State) -> None:
        """Return when the state would survive a power cut; raises ``OSError``."""
        make_private_directory(self._folder)
        for file in (self._current, self._previous):
            remove_leftovers(file)
        before = _content(self._current)
        if before is not None and decode(before) is not None:
            write_atomically(self._previous, before, mode=0o600)
        write_atomically(self._current, encode(state), mode=0o600)


def _content(file: Path) -> bytes | None:
    try:
        with file.open("rb") as opened:
            return opened.read(_FILE_BYTES_MAX)
    except FileNotFoundError:
        return None
