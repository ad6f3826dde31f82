"""Where the things of one jail lie on the host, and what is on record of it.

    .macula-jail   the mark, as with every runtime
    record.json    what was started, and what was begun and may be left over
    jail.conf      for jail(8); fstab, its mounts; console.log, what its commands wrote
    root/          the jail's root folder, made anew at every start
    launch/        the scripts that keep and become the program, seen read-only in the jail
    keep/          the status that the one of them writes; new at every start, root's in the jail
    logs/          the jail's /var/log
    data/          the writable part: the only thing that outlives a start
    moved          whose folder this was, until its dataset has followed it

A record that is missing or damaged reads as None; nothing that runs is believed to be gone on
its word.
"""

from __future__ import annotations

import json
import os
import stat
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

from jails.freebsd.status import MOST_BYTES, Status, parse_status
from jails.keeper.records import JailDirectory
from jails.runtime import is_jail_name
from maculaos.host.files import write_atomically

if TYPE_CHECKING:
    from pathlib import Path

# Before the name of each of our jails in the kernel: there a name must not be a number, and a
# stranger's jail may have any name.
KERNEL_PREFIX = "macula-"
_MOST_TAIL = 256 * 1024
_MOST_NAME = 64
_FLAGS = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """What was started, and what was begun: ``record.json``."""

    program_digest: str
    # Paths under data/ that came from the spec.
    files: tuple[str, ...]
    stop_deadline_s: float
    user: str = ""
    # Seconds since the epoch, of the last start.
    started_at: float | None = None
    last_exit: str = ""
    # The address of the jail, with the length of its network; and where it is set, if shared.
    address: str = ""
    shared_interface: str = ""
    # The number of an epair that was asked for and may not have our names yet.
    epair: int | None = None
    # A bridge that was asked for and may not have our address yet.
    bridge: str = ""
    # How long each of its hooks may take.
    hook_timeout_s: float = 10.0

    def without_program(self) -> Record:
        """Nothing was started, but the files that were placed are still known."""
        return Record(program_digest="", files=self.files, stop_deadline_s=self.stop_deadline_s)


class Place:
    """The folder of one jail."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.name = path.name
        self.kernel_name = f"{KERNEL_PREFIX}{path.name}"
        self.directory = JailDirectory(path)
        self.root = path / "root"
        self.launch = path / "launch"
        self.keep = path / "keep"
        self.status_file = self.keep / "status"
        self.logs = path / "logs"
        self.conf = path / "jail.conf"
        self.fstab = path / "fstab"
        self.console = path / "console.log"
        self.log = self.logs / "program.log"
        # Where the log goes when it is full, and where that of an earlier start went.
        self.older_log = self.logs / "program.log.1"
        self.earlier_log = self.logs / "program.log.before"
        self.record_file = path / "record.json"
        self._moved = path / "moved"

    def beside(self, name: str) -> Place:
        """The place of another jail under the same root."""
        return Place(self.path.parent / name)

    def record(self) -> Record | None:
        """The last record, if there is a sound one."""
        try:
            said = json.loads(self.record_file.read_bytes())
            return Record(**{**said, "files": tuple(map(str, said["files"]))})
        except (OSError, ValueError, TypeError, KeyError):
            return None

    def write_record(self, record: Record) -> None:
        """Replace the record."""
        write_atomically(self.record_file, json.dumps(asdict(record), indent=1).encode(), 0o600)

    def moved_from(self) -> str:
        """The jail whose folder this was, if its dataset may still be to follow; else empty."""
        name = _tail(self._moved, _MOST_NAME).decode(errors="replace")
        return name if is_jail_name(name) and name != self.name else ""

    def note_move(self) -> None:
        """Put on record whose folder this is, before it moves; it counts only elsewhere."""
        write_atomically(self._moved, self.name.encode(), 0o600)

    def forget_move(self) -> None:
        """Everything has followed."""
        self._moved.unlink(missing_ok=True)

    def status(self) -> Status | None:
        """What the loop in the jail says, whatever the jail made of the file's place."""
        content = _tail(self.status_file, MOST_BYTES + 1)
        return parse_status(content) if len(content) <= MOST_BYTES else None

    def last_lines(self, lines: int) -> list[str]:
        """The end of what the program wrote since this start, whatever became of the files."""
        if lines <= 0:
            return []
        newer = _tail(self.log, _MOST_TAIL)
        older = _tail(self.older_log, _MOST_TAIL - len(newer))
        return (older + newer).decode(errors="replace").splitlines()[-lines:]


def _tail(path: Path, most: int) -> bytes:
    """The last ``most`` bytes of a plain file; nothing of a link or of anything else."""
    try:
        handle = os.open(path, _FLAGS)
    except OSError:
        return b""
    try:
        seen = os.fstat(handle)
        if not stat.S_ISREG(seen.st_mode):
            return b""
        return os.pread(handle, most, max(0, seen.st_size - most))
    finally:
        os.close(handle)
