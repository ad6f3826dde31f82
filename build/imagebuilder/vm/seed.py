"""A seed disk: a small FAT volume that tells a machine at its first boot who it is.

The files lie in its top folder; the first boot looks for ``seed.toml``. The volume is the whole
disk, without a partition table, as on many USB sticks. What a seed may say is the appliance's
matter.
"""

from __future__ import annotations

import os
import re
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Final

from imagebuilder.disk.tools import run_tool
from maculaos.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from maculaos.host.commands import CommandRunner

SEED_NAME: Final = "seed.toml"
LABEL: Final = "SEED"
# FAT16, and room for a few certificates.
SIZE_BYTES: Final = 16 << 20
FILES_MAX: Final = 64
_ROOM_BYTES: Final = 8 << 20
_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")


def write_seed_disk(runner: CommandRunner, files: Mapping[str, Path], target: Path) -> Path:
    """Write a disk with these files, by name, to ``target``; only the owner may read it.

    Raises ``UsageError`` for names or sizes that do not fit, or when a tool is not installed.
    """
    _check(files)
    # The folder is ours alone, and the file keeps its mode: a seed holds join tokens.
    with tempfile.TemporaryDirectory(prefix=".seed.", dir=target.parent) as folder:
        path = Path(folder, target.name)
        path.touch(mode=0o600)
        os.truncate(path, SIZE_BYTES)
        run_tool(runner, "mkfs.vfat", "-F", "16", "-n", LABEL, str(path))
        for name, source in sorted(files.items()):
            words = ("-i", str(path), str(source), f"::/{name}")
            run_tool(runner, "mcopy", *words, environment=(f"MTOOLSRC={os.devnull}",))
        path.replace(target)
    return target


def _check(files: Mapping[str, Path]) -> None:
    if len(files) > FILES_MAX:
        raise UsageError(f"{len(files)} files are too many for a seed", f"at most {FILES_MAX}")
    for name, source in files.items():
        if not _NAME.fullmatch(name):
            raise UsageError(f"{name!r} cannot lie on a seed disk", "use letters, digits, . _ -")
        if not source.is_file():
            raise UsageError(f"{source} is no file", "name the seed to give, such as seed.toml")
    if sum(source.stat().st_size for source in files.values()) > _ROOM_BYTES:
        raise UsageError("the seed is larger than 8 MiB", "keep big files out of it")
