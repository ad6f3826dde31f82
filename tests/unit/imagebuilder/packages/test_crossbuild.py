"""Building for FreeBSD: what is asked of the compiler, and what is refused before it runs."""

from __future__ import annotations

import gzip
import hashlib
import tarfile
import zipfile
from pathlib import Path

import pytest
from packaging.utils import canonicalize_name

from imagebuilder.packages.crossbuild import (
    CrossBuilder,
    CrossTarget,
    compile_argv,
    unpack_source,
)
from imagebuilder.packages.lockfile import Locked
from imagebuilder.packages.python import Extension, Native, parse_settings
from maculaos.errors import UsageError
from maculaos.host.commands import ScriptedRunner
from smallrepository import tar

TARGET = CrossTarget("amd64", "15.1", "3.12")
LIMITED = Extension(
    module="demo._c", sources=["src/c.c"], include=["inc"], limited_api="0x030B0000"
)


def test_target_is_the_major_release() -> None:
    assert TARGET.triple == "x86_64-freebsd.15.0"
    assert CrossTarget("aarch64", "14.3", "3.12").triple == "aarch64-freebsd.14.0"
    with pytest.raises(UsageError, match="riscv64"):
        _ = CrossTarget("riscv64", "15.1", "3.12").triple


def test_tags_say_python_abi_and_platform() -> None:
    assert TARGET.tags("0x030B0000") == "cp311-abi3-freebsd_15_0_amd64"
    assert TARGET.tags("") == "cp312-cp312-freebsd_15_0_amd64"


def test_compiler_is_asked_for_one_object_without_paths_of_this_host() -> None:
    argv = compile_argv("x86_64-freebsd.15.0", Path("/s"), LIMITED, Path("/h"), Path("/o.so"))
    assert argv[argv.index("-target") :][:2] == ("-target", "x86_64-freebsd.15.0")
    assert {"-shared", "-fPIC", "-DPy_LIMITED_API=0x030B0000", "-I/s/inc", "-I/h"} <= set(argv)
    assert "-ffile-prefix-map=/s=." in argv
    assert "/s/src/c.c" in argv


def source(folder: Path, *names: str) -> tuple[Path, Locked]:
    path = folder / "demo-1.0.tar.gz"
    path.write_bytes(gzip.compress(tar([(tarfile.TarInfo(name), b"x") for name in names])))
    sums = frozenset({hashlib.sha256(path.read_bytes()).hexdigest()})
    return path, Locked(canonicalize_name("demo"), "1.0", sums)


def test_source_loses_its_top_folder(tmp_path: Path) -> None:
    path, _ = source(tmp_path, "demo-1.0/PKG-INFO", "demo-1.0/src/demo/__init__.py")
    unpacked = unpack_source(path, tmp_path / "out")
    files = [file for file in unpacked.rglob("*") if file.is_file()]
    names = {file.relative_to(unpacked).as_posix() for file in files}
    assert names == {"PKG-INFO", "src/demo/__init__.py"}


@pytest.mark.parametrize("name", ["demo-1.0/../../x", "/etc/x", "demo-1.0//x"])
def test_source_that_leads_out_is_refused(name: str, tmp_path: Path) -> None:
    path, _ = source(tmp_path, name)
    with pytest.raises(UsageError, match="leads out"):
        unpack_source(path, tmp_path / "out")


def test_source_that_is_not_locked_never_meets_the_compiler(tmp_path: Path) -> None:
    pytest.importorskip("ziglang", reason="needs the Python package ziglang")
    path, _ = source(tmp_path, "demo-1.0/PKG-INFO")
    runner = ScriptedRunner({})
    builder = CrossBuilder(TARGET, tmp_path, tmp_path, runner)
    native = Native(name="demo", origin="crossbuild", why="C", folder="demo", extension=[LIMITED])
    other = Locked(canonicalize_name("demo"), "1.0", frozenset({"a" * 64}))
    with pytest.raises(UsageError, match="not the locked source"):
        builder.build(path, other, native, tmp_path / "wheels")
    assert not runner.asked


def test_source_without_extensions_is_a_pure_wheel_and_needs_no_compiler(tmp_path: Path) -> None:
    path, locked = source(tmp_path, "demo-1.0/PKG-INFO", "demo-1.0/src/demo/__init__.py")
    builder = CrossBuilder(TARGET, tmp_path, tmp_path, ScriptedRunner({}))
    native = Native(name="demo", origin="source", why="no pure wheel", folder="src/demo")
    wheel = builder.build(path, locked, native, tmp_path / "out")
    assert wheel.name == "demo-1.0-py3-none-any.whl"
    assert "demo/__init__.py" in zipfile.ZipFile(wheel).namelist()


def test_source_with_an_extension_is_refused_where_only_python_is_promised() -> None:
    text = """
version = "3.12"
flavour = "py312"
[[native]]
name = "demo"
from = "source"
why = "no pure wheel"
"""
    with pytest.raises(UsageError, match="say its folder, and no extension"):
        parse_settings(text)
