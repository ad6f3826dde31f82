"""A C module built for FreeBSD by the real compiler, on this host and twice."""

from __future__ import annotations

import gzip
import hashlib
import sysconfig
import tarfile
from pathlib import Path

import pytest
from packaging.utils import canonicalize_name

from imagebuilder.elf import parse_shared_object
from imagebuilder.packages.crossbuild import CrossBuilder, CrossTarget
from imagebuilder.packages.lockfile import Locked
from imagebuilder.packages.python import Extension, Native
from imagebuilder.packages.store import ContentStore
from imagebuilder.packages.wheel import PythonTarget, is_pure, read_wheel
from maculaos.errors import UsageError
from maculaos.host.commands import CommandFailed, SystemRunner
from smallrepository import tar

pytest.importorskip("ziglang", reason="needs the Python package ziglang (compiler, 90 MB)")
HEADERS = Path(sysconfig.get_paths()["include"])
pytestmark = [
    # The first run builds FreeBSD's start files and libraries for linking.
    pytest.mark.timeout(300),
    pytest.mark.skipif(not (HEADERS / "Python.h").is_file(), reason="needs Python's C headers"),
]

MODULE = b"""
#include <Python.h>
#include <string.h>
static PyObject *length(PyObject *self, PyObject *text) {
    const char *bytes = PyBytes_AsString(text);
    return bytes ? PyLong_FromSize_t(strlen(bytes)) : NULL;
}
static PyMethodDef methods[] = {{"length", length, METH_O, NULL}, {NULL, NULL, 0, NULL}};
static struct PyModuleDef module = {PyModuleDef_HEAD_INIT, "_c", NULL, -1, methods};
PyMODINIT_FUNC PyInit__c(void) { return PyModule_Create(&module); }
"""
NATIVE = Native(
    name="demo",
    origin="crossbuild",
    why="C",
    folder="src/demo",
    extension=[
        Extension(module="demo._c", sources=["src/demo/c.c"], limited_api="0x030B0000"),
    ],
)


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("compiler")


def source(folder: Path, code: bytes = MODULE) -> tuple[Path, Locked]:
    files = {"PKG-INFO": b"Name: demo\n", "src/demo/__init__.py": b"", "src/demo/c.c": code}
    path = folder / "demo-1.0.tar.gz"
    members = [(tarfile.TarInfo(f"demo-1.0/{name}"), content) for name, content in files.items()]
    path.write_bytes(gzip.compress(tar(members), mtime=0))
    sums = frozenset({hashlib.sha256(path.read_bytes()).hexdigest()})
    return path, Locked(canonicalize_name("demo"), "1.0", sums)


def builder(cache: Path) -> CrossBuilder:
    return CrossBuilder(CrossTarget("amd64", "15.1", "3.12"), HEADERS, cache, SystemRunner())


def test_module_is_for_freebsd_and_installs_as_a_wheel(cache: Path, tmp_path: Path) -> None:
    made = builder(cache).build(*source(tmp_path), NATIVE, tmp_path / "wheels")
    assert made.name == "demo-1.0-cp311-abi3-freebsd_15_0_amd64.whl"
    assert not is_pure(made)
    unpacked = read_wheel(made, ContentStore(tmp_path / "store"), PythonTarget("3.12"))
    (module,) = [entry for entry in unpacked.entries if entry.path.endswith("/demo/_c.abi3.so")]
    assert module.source is not None
    found = parse_shared_object(module.source.read_bytes(), "_c")
    assert (found.machine, found.needed) == ("amd64", ("libc.so.7",))
    assert found.is_for_freebsd
    assert [path.name for path in (tmp_path / "wheels").iterdir()] == [made.name]


def test_two_builds_in_two_places_are_the_same_bytes(cache: Path, tmp_path: Path) -> None:
    path, one = source(tmp_path)
    first = builder(cache).build(path, one, NATIVE, tmp_path / "a").read_bytes()
    assert builder(cache).build(path, one, NATIVE, tmp_path / "b/c").read_bytes() == first


def test_code_that_does_not_compile_says_why(cache: Path, tmp_path: Path) -> None:
    path, one = source(tmp_path, b"#error not this\n")
    with pytest.raises(CommandFailed, match="not this"):
        builder(cache).build(path, one, NATIVE, tmp_path / "wheels")


def test_source_without_python_files_is_refused(cache: Path, tmp_path: Path) -> None:
    native = Native(
        name="demo", origin="crossbuild", why="C", folder="src/gone", extension=NATIVE.extension
    )
    with pytest.raises(UsageError, match="no Python file in src/gone"):
        builder(cache).build(*source(tmp_path), native, tmp_path / "wheels")
