"""A folder of wheels: the right file for each locked distribution, fetched or made beforehand.

Fetching is pip's work and only done when asked for; a wheel counts only if the lock has its hash,
or if it was made here from this checkout.
"""

from __future__ import annotations

import hashlib
import re
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Final

from imagebuilder.packages.wheel import BadWheel, is_pure, name_of
from maculaos.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from imagebuilder.packages.lockfile import Locked
    from maculaos.host.commands import CommandRunner

WHEELS_MAX: Final = 2_000
DOWNLOAD_TIMEOUT_S: Final = 900.0
BUILD_TIMEOUT_S: Final = 300.0


def pick(locked: Iterable[Locked], folder: Path) -> tuple[Path, ...]:
    """The pure wheel of each locked distribution in ``folder``, its hash checked.

    Raises ``UsageError`` naming everything that is missing at once.
    """
    by_name = _wheels(folder)
    picked, missing = [], []
    for one in locked:
        found = [
            path
            for path in by_name.get((one.name, one.version), ())
            if is_pure(path) and _sha256(path) in one.sha256s
        ]
        if found:
            picked.append(found[0])
        else:
            missing.append(f"{one.name}-{one.version}")
    if missing:
        raise UsageError(
            f"{folder}: no pure wheel with a locked hash for {', '.join(missing)}",
            "fetch them there, or name in image/python.toml where they come from on FreeBSD",
        )
    return tuple(picked)


def pick_source(locked: Locked, folder: Path) -> Path:
    """The source distribution of ``locked`` in ``folder``; raises ``UsageError`` without it."""
    stem = re.compile(re.escape(f"{locked.name}-{locked.version}").replace(r"\-", "[-_.]"), re.I)
    files = sorted(folder.glob("*.tar.gz"))[:WHEELS_MAX] if folder.is_dir() else []
    for file in files:
        if stem.fullmatch(file.name.removesuffix(".tar.gz")) and _sha256(file) in locked.sha256s:
            return file
    raise UsageError(
        f"{folder}: no source of {locked.name} {locked.version} with a locked hash",
        f"put {locked.name}-{locked.version}.tar.gz there",
    )


def fetch(locked: Sequence[Locked], folder: Path, runner: CommandRunner) -> None:
    """Fetch pure wheels into ``folder`` by pip, from wherever this host is set up to fetch.

    Raises ``CommandFailed`` with pip's own words.
    """
    pure = (
        "--only-binary",
        ":all:",
        "--platform",
        "any",
        "--implementation",
        "py",
        "--abi",
        "none",
    )
    _download(locked, folder, runner, pure)


def fetch_sources(locked: Sequence[Locked], folder: Path, runner: CommandRunner) -> None:
    """Fetch source distributions into ``folder`` by pip, which asks each for its metadata.

    Raises ``CommandFailed`` with pip's own words.
    """
    _download(locked, folder, runner, ("--no-binary", ":all:"))


def _download(
    locked: Sequence[Locked], folder: Path, runner: CommandRunner, kind: tuple[str, ...]
) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    if not locked:
        return
    with tempfile.NamedTemporaryFile("w", suffix=".txt") as wanted:
        wanted.write("".join(f"{one.line()}\n" for one in locked))
        wanted.flush()
        runner.run(
            *(sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check"),
            *("--no-deps", "--require-hashes", *kind),
            *("--requirement", wanted.name, "--dest", str(folder)),
            timeout_s=DOWNLOAD_TIMEOUT_S,
        )


def make_own(checkout: Path, folder: Path, runner: CommandRunner) -> Path:
    """The wheel of our own packages, made from ``checkout``; where it lies in ``folder``."""
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder, prefix=".own-") as made:
        # Without isolation: the build must not reach for an index.
        argv = (sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", made)
        runner.run(*argv, str(checkout), timeout_s=BUILD_TIMEOUT_S)
        wheels = sorted(Path(made).glob("*.whl"))
        if len(wheels) != 1 or not is_pure(wheels[0]):
            raise UsageError(f"{checkout}: its build made {len(wheels)} wheels, one pure was due")
        return wheels[0].replace(folder / wheels[0].name)


def _wheels(folder: Path) -> dict[tuple[str, str], list[Path]]:
    files = sorted(folder.glob("*.whl")) if folder.is_dir() else []
    if len(files) > WHEELS_MAX:
        raise UsageError(f"{folder}: more than {WHEELS_MAX} wheels")
    found: dict[tuple[str, str], list[Path]] = {}
    for file in files:
        try:
            found.setdefault(name_of(file), []).append(file)
        except BadWheel:
            # Somebody else's file; what is missing because of it is told by its name.
            continue
    return found


def _sha256(path: Path) -> str:
    with path.open("rb") as opened:
        return hashlib.file_digest(opened, "sha256").hexdigest()
