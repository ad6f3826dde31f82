"""The ledger of a build: which steps were done, and the folders with what they made.

Each step has a folder, which appears whole, its receipt inside, by one rename. A build that is
killed leaves drafts and nothing half done; ``sweep`` clears them. Which step is due is decided by
``plan``.
"""

from __future__ import annotations

import hashlib
import os
import shutil
from typing import TYPE_CHECKING, Final

import msgspec

from imagebuilder.plan import Receipt
from maculaos.host.files import sync_directory, write_atomically

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

_RECEIPT: Final = "receipt.json"
_NEW: Final = ".new-"
_OLD: Final = ".old-"


class _Output(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    sha256: str
    # Both tell a changed file without reading it again.
    size: int
    changed_ns: int


class _Page(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    key: str
    outputs: dict[str, _Output]


class Ledger:
    """The steps of one build folder; used by one build at a time."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        folder.mkdir(parents=True, exist_ok=True)

    def folder_of(self, step: str) -> Path:
        """Where the outputs of a step lie once it is done."""
        return self._folder / step

    def receipts(self, steps: Iterable[str]) -> dict[str, Receipt]:
        """The receipts of the steps that were done and whose files are still as they were made."""
        pages = {step: self._page(step) for step in steps}
        return {
            step: Receipt(
                key=page.key,
                outputs={name: output.sha256 for name, output in page.outputs.items()},
            )
            for step, page in pages.items()
            if page is not None and self._is_untouched(step, page)
        }

    def sweep(self, steps: Iterable[str], family: str = "") -> None:
        """Delete what a killed build left, and folders of steps that there are no more.

        Steps of another family are those of another image, which is built in the same folder.
        """
        known = set(steps)
        for path in self._folder.iterdir():
            is_draft = path.name.startswith((_NEW, _OLD))
            if is_draft or (path.name not in known and family_of(path.name) == family):
                shutil.rmtree(path)

    def begin(self, step: str) -> Path:
        """An empty folder for what the step is going to make."""
        draft = self._folder / f"{_NEW}{step}"
        shutil.rmtree(draft, ignore_errors=True)
        draft.mkdir()
        return draft

    def finish(self, step: str, key: str) -> Receipt:
        """What was made becomes the outputs of ``step``, in place of what was there."""
        draft, final = self._folder / f"{_NEW}{step}", self.folder_of(step)
        outputs = {path.name: _measured(path) for path in sorted(draft.iterdir())}
        page = _Page(key, outputs)
        write_atomically(draft / _RECEIPT, msgspec.json.encode(page, order="sorted"))
        old = self._folder / f"{_OLD}{step}"
        shutil.rmtree(old, ignore_errors=True)
        if final.exists():
            final.rename(old)
        draft.rename(final)
        sync_directory(self._folder)
        shutil.rmtree(old, ignore_errors=True)
        return Receipt(key=key, outputs={name: one.sha256 for name, one in outputs.items()})

    def _page(self, step: str) -> _Page | None:
        """What the receipt says; None if there is none that can be read."""
        try:
            return msgspec.json.decode((self.folder_of(step) / _RECEIPT).read_bytes(), type=_Page)
        except (OSError, msgspec.MsgspecError, UnicodeDecodeError):
            return None

    def _is_untouched(self, step: str, page: _Page) -> bool:
        folder = self.folder_of(step)
        for name, output in page.outputs.items():
            try:
                seen = (folder / name).stat()
            except OSError:
                return False
            if (seen.st_size, seen.st_mtime_ns) != (output.size, output.changed_ns):
                return False
        return True


def family_of(step: str) -> str:
    """What the name of a step begins with, before a dash; empty for most."""
    return step.rpartition("-")[0]


def _measured(path: Path) -> _Output:
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
        os.fsync(file.fileno())
        seen = os.fstat(file.fileno())
    return _Output(digest, seen.st_size, seen.st_mtime_ns)
