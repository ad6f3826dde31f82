"""The files of the model: folders and contents by absolute path; no owners, no links.

A folder of this machine can be shown in the model at its own path, so that who drives the model
may write real files, and jail(8) of the model reads them.
"""

from __future__ import annotations

from pathlib import Path, PurePosixPath

from jails.freebsd.model.answer import Answer, refused

_PROGRAMS = (
    "/bin/sh",
    "/bin/sleep",
    "/bin/cat",
    "/sbin/ifconfig",
    "/sbin/route",
    "/sbin/sysctl",
    "/usr/bin/true",
    "/usr/bin/false",
    "/usr/sbin/daemon",
)
# S108: folders of the model; nothing of this machine is written.
_FOLDERS = ("/lib", "/libexec", "/dev", "/tmp", "/root", "/data", "/var/log", "/var/run")  # noqa: S108
_ACCOUNTS = ("passwd", "master.passwd", "group", "pwd.db", "spwd.db")


class Files:
    """A tree: ``None`` is a folder, bytes are a file."""

    def __init__(self) -> None:
        self._nodes: dict[str, bytes | None] = {"/": None}
        self._shown: list[Path] = []
        for path in (*_PROGRAMS, *(f"/etc/{name}" for name in _ACCOUNTS)):
            self.write(path, b"")
        for folder in _FOLDERS:
            self.make_folder(folder)

    def show(self, folder: Path) -> None:
        """Let the model see, and write, what really lies in ``folder``."""
        self._shown.append(folder)

    def make_folder(self, path: str) -> None:
        """``mkdir -p``; raises ``NotADirectoryError`` where a file is in the way."""
        for each in (*reversed(PurePosixPath(path).parents), PurePosixPath(path)):
            if self._nodes.setdefault(str(each), None) is not None:
                raise NotADirectoryError(str(each))

    def write(self, path: str, content: bytes) -> None:
        """Put a file there, with the folders above it; whatever was there is replaced."""
        real = self._real(path)
        if real is not None:
            real.write_bytes(content)
            return
        self.make_folder(str(PurePosixPath(path).parent))
        self._nodes[path] = content

    def read(self, path: str) -> bytes | None:
        """The content of a file; None if there is no file."""
        real = self._real(path)
        if real is not None:
            return real.read_bytes() if real.is_file() else None
        return self._nodes.get(path)

    def exists(self, path: str) -> bool:
        """Whether a file or folder is there."""
        real = self._real(path)
        return path in self._nodes if real is None else real.exists()

    def mkdir(self, *paths: str) -> Answer:
        """mkdir(1) with ``-p``."""
        for path in paths:
            self.make_folder(path)
        return Answer()

    def copy(self, *sources: str, folder: str) -> Answer:
        """cp(1) of files into a folder."""
        for source in sources:
            name = source.rpartition("/")[2]
            self.write(f"{folder.rstrip('/')}/{name}", self.read(source) or b"")
        return Answer()

    def cat(self, path: str) -> Answer:
        """cat(1) of one file."""
        content = self.read(path)
        if content is None:
            return refused(f"cat: {path}: No such file or directory")
        return Answer(content.decode())

    def _real(self, path: str) -> Path | None:
        """The path itself where it lies in a folder that is shown."""
        is_shown = any(Path(path).is_relative_to(folder) for folder in self._shown)
        return Path(path) if is_shown else None
