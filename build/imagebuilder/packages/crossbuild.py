"""C modules of Python for FreeBSD, built on any host by the compiler in the ``ziglang`` package.

From a locked source distribution it makes a wheel for FreeBSD, which is then read as any other.
Modules that keep to Python's limited API need the headers of any CPython that has it; others need
those of the image's own Python. Nothing of a source distribution is run, and modules that need more
than C (Rust, assembler, generated code) are left to the repository's packages.
"""

from __future__ import annotations

import base64
import hashlib
import importlib.util
import sys
import tempfile
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from imagebuilder.elf import parse_shared_object
from imagebuilder.packages.archive import open_archive, read_member
from maculaos.errors import UsageError
from maculaos.host.commands import CommandRunner

if TYPE_CHECKING:
    from imagebuilder.packages.lockfile import Locked
    from imagebuilder.packages.python import Extension, Native

SOURCE_BYTES_MAX: Final = 128 * 1024 * 1024
SOURCE_FILES_MAX: Final = 20_000
COMPILE_TIMEOUT_S: Final = 600.0
_ZIG_MACHINES: Final = {"amd64": "x86_64", "aarch64": "aarch64"}
_PYTHON_FILES: Final = {".py", ".pyi", ".typed"}
# The oldest time that a zip file can hold; the same in every build.
_ZIP_TIME: Final = (1980, 1, 1, 0, 0, 0)


# The tags of a wheel that runs anywhere.
_PURE: Final = "py3-none-any"


@dataclass(frozen=True, slots=True)
class CrossTarget:
    """What to build for."""

    # amd64 or aarch64.
    machine: str
    # As in 15.1; objects for N.0 run on all of N.
    release: str
    # As in 3.12.
    python: str

    @property
    def triple(self) -> str:
        """The target as the compiler wants it named."""
        if self.machine not in _ZIG_MACHINES:
            raise UsageError(
                f"no compiler for {self.machine}", f"one of {', '.join(_ZIG_MACHINES)}"
            )
        return f"{_ZIG_MACHINES[self.machine]}-freebsd.{self.release.partition('.')[0]}.0"

    def tags(self, limited_api: str) -> str:
        """Python, ABI and platform of a wheel."""
        platform = f"freebsd_{self.release.partition('.')[0]}_0_{self.machine}"
        if limited_api:
            number = int(limited_api, 16)
            return f"cp{number >> 24 & 0xFF}{number >> 16 & 0xFF}-abi3-{platform}"
        own = "cp" + self.python.replace(".", "")
        return f"{own}-{own}-{platform}"


@dataclass(frozen=True, slots=True)
class CrossBuilder:
    """A compiler at work: for one target, with the headers of one Python, in one folder."""

    target: CrossTarget
    # The folder of Python.h: the image's own, or any for modules of the limited API.
    headers: Path
    # Where the compiler keeps what it builds once (its libc, some 50 MB).
    cache: Path
    runner: CommandRunner

    def build(self, sdist: Path, locked: Locked, native: Native, folder: Path) -> Path:
        """Make the wheel of ``native`` from ``sdist``; where it lies in ``folder``.

        Without extensions it is the Python files alone, and needs no compiler.

        Raises ``UsageError`` if ``sdist`` is not the locked one or an object is not for FreeBSD,
        and ``CommandFailed`` with the compiler's words.
        """
        if native.extension and importlib.util.find_spec("ziglang") is None:
            raise UsageError(
                f"{native.name} is built from source, and the compiler is not there",
                "install the Python package ziglang",
            )
        _check_source(sdist, locked)
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix="crossbuild-", dir=folder) as work:
            source = unpack_source(sdist, Path(work) / "source")
            files = _python_files(source, native)
            for extension in native.extension:
                content = self._compiled(source, extension, Path(work))
                files[_object_path(extension)] = content
            tags = _PURE
            if native.extension:
                tags = self.target.tags(native.extension[0].limited_api)
            return _write_wheel(folder, locked, tags, files, source)

    def _compiled(self, source: Path, extension: Extension, work: Path) -> bytes:
        output = work / "object.so"
        argv = compile_argv(self.target.triple, source, extension, self.headers, output)
        caches = ("ZIG_GLOBAL_CACHE_DIR", "ZIG_LOCAL_CACHE_DIR")
        settings = (f"{name}={self.cache}" for name in caches)
        self.runner.run("env", *settings, *argv, timeout_s=COMPILE_TIMEOUT_S)
        content = output.read_bytes()
        made = parse_shared_object(content, extension.module)
        if not made.is_for_freebsd or made.machine != self.target.machine:
            raise UsageError(
                f"{extension.module}: not for FreeBSD on {self.target.machine}: {made}"
            )
        return content


def compile_argv(
    triple: str, source: Path, extension: Extension, headers: Path, output: Path
) -> tuple[str, ...]:
    """The compiler, asked for one shared object without anything of this host in it."""
    limited = (f"-DPy_LIMITED_API={extension.limited_api}",) if extension.limited_api else ()
    return (
        *(sys.executable, "-m", "ziglang", "cc", "-target", triple),
        *("-shared", "-fPIC", "-O2", "-g0", "-s", "-DNDEBUG", "-std=c99"),
        f"-ffile-prefix-map={source}=.",
        *limited,
        *(f"-I{source / include}" for include in extension.include),
        f"-I{headers}",
        *("-o", str(output)),
        *(str(source / path) for path in extension.sources),
        *(f"-l{library}" for library in extension.libraries),
    )


def _check_source(sdist: Path, locked: Locked) -> None:
    with sdist.open("rb") as opened:
        if hashlib.file_digest(opened, "sha256").hexdigest() not in locked.sha256s:
            raise UsageError(f"{sdist}: not the locked source of {locked.name}", "fetch it again")


def unpack_source(sdist: Path, folder: Path) -> Path:
    """The regular files of a source distribution below ``folder``; links are left out.

    Raises ``UsageError`` for a path that leads out, and for more than an extension needs.
    """
    folder.mkdir(parents=True)
    count = 0
    with open_archive(sdist, SOURCE_BYTES_MAX) as members:
        for member, stream in members:
            parts = member.name.split("/")
            if any(part in {"", ".", ".."} for part in parts):
                raise UsageError(f"{sdist}: {member.name!r} leads out of it")
            count += 1
            if count > SOURCE_FILES_MAX:
                raise UsageError(f"{sdist}: more than {SOURCE_FILES_MAX} files")
            if member.isreg() and len(parts) > 1:
                path = folder.joinpath(*parts[1:])
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(read_member(stream, SOURCE_BYTES_MAX, str(sdist)))
    return folder


def _python_files(source: Path, native: Native) -> dict[str, bytes]:
    """Path in the wheel -> content of everything that is Python in the folder of the package."""
    top = source / native.folder
    files = {
        path.relative_to(top.parent).as_posix(): path.read_bytes()
        for path in sorted(top.rglob("*"))
        if path.is_file() and path.suffix in _PYTHON_FILES
    }
    if not files:
        raise UsageError(f"{native.name}: no Python file in {native.folder} of its source")
    return files


def _object_path(extension: Extension) -> str:
    suffix = ".abi3.so" if extension.limited_api else ".so"
    return extension.module.replace(".", "/") + suffix


def _write_wheel(
    folder: Path, locked: Locked, tags: str, files: dict[str, bytes], source: Path
) -> Path:
    """A wheel of ``files``: the same bytes for the same content."""
    stem = f"{locked.name.replace('-', '_')}-{locked.version}"
    info = f"{stem}.dist-info"
    content = {
        **files,
        f"{info}/METADATA": (source / "PKG-INFO").read_bytes(),
        f"{info}/WHEEL": _wheel_text(tags).encode(),
    }
    content[f"{info}/RECORD"] = _record(content, info)
    path = folder / f"{stem}-{tags}.whl"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as wheel:
        for name in sorted(content):
            member = zipfile.ZipInfo(name, _ZIP_TIME)
            member.compress_type = zipfile.ZIP_DEFLATED
            member.external_attr = (0o100755 if name.endswith(".so") else 0o100644) << 16
            wheel.writestr(member, content[name])
    return path


def _wheel_text(tags: str) -> str:
    return f"Wheel-Version: 1.0\nGenerator: imagebuilder\nRoot-Is-Purelib: false\nTag: {tags}\n"


def _record(content: dict[str, bytes], info: str) -> bytes:
    lines = []
    for name in sorted(content):
        digest = base64.urlsafe_b64encode(hashlib.sha256(content[name]).digest()).decode()
        lines.append(f"{name},sha256={digest.rstrip('=')},{len(content[name])}\n")
    return "".join([*lines, f"{info}/RECORD,,\n"]).encode()
