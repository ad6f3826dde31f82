"""Drafts: a file takes its name only when it is whole; until then it lies in a folder beside.

The folder is on the file system of the target, so the last step is one rename. A build that is
killed leaves a folder ``.NAME.*.draft``; whoever owns the folder of the targets sweeps it.
"""

from __future__ import annotations

import os
import shutil
from contextlib import contextmanager
from pathlib import Path
from tempfile import mkdtemp
from typing import TYPE_CHECKING

from maculaos.host.files import sync_directory

if TYPE_CHECKING:
    from collections.abc import Iterator

_MODE = 0o644


@contextmanager
def draft(target: Path) -> Iterator[Path]:
    """A path to write ``target`` to, under the same name: tools write names into what they make.

    When the block ends well, the file is synced and replaces ``target``, with mode 0644. When it
    fails, ``target`` stays as it was, and nothing else is left.
    """
    folder = Path(mkdtemp(prefix=f".{target.name}.", suffix=".draft", dir=target.parent))
    try:
        path = folder / target.name
        yield path
        with path.open("rb") as file:
            os.fchmod(file.fileno(), _MODE)
            os.fsync(file.fileno())
        path.replace(target)
    finally:
        shutil.rmtree(folder)
    sync_directory(target.parent)
