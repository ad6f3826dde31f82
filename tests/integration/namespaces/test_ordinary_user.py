"""Without root: a jail of its own files and processes, and one message about what is missing."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import sysconfig
import tempfile
from pathlib import Path

import pytest

import namespaceyard
from jails.namespaces.abilities import SEARCH_PATH

_NOBODY = 65534
_SCRIPT = """
import os, sys, tempfile
from pathlib import Path
import namespaceyard, jailyard
from jails.runtime import JailError
from jails.spec import Isolation
if namespaceyard.abilities().obstacle:
    print("SKIP", namespaceyard.abilities().statement()); raise SystemExit
assert not namespaceyard.abilities().is_root
assert "not as root" in namespaceyard.abilities().statement()
with namespaceyard.yard() as root:
    runtime = namespaceyard.runtime_at(root)
    code = ("import os, signal; pids = [n for n in os.listdir('/proc') if n.isdigit()];"
            "print(len(pids), os.getuid() != 0, os.listdir('/data'), flush=True);"
            "add_key = 248 if os.uname().machine == 'x86_64' else 217; import ctypes;"
            "print(ctypes.CDLL(None).syscall(add_key, b'user', b'x', b'x', 1, -4), flush=True);"
            "signal.pause()")
    runtime.ensure(namespaceyard.jail("n1", code))
    assert namespaceyard.said(root, "n1", 2) == ["2 True []", "-1"], runtime.logs("n1", 9)
    usage = runtime.usage("n1")
    assert usage.processes == 1 and usage.open_files and usage.memory_bytes, usage
    assert usage.received_bytes is None, usage
    try:
        runtime.ensure(jailyard.idle("n2", isolation=Isolation(network=namespaceyard.vnet(11))))
        raise AssertionError("let through")
    except JailError as refused:
        assert "a network of its own needs root" in str(refused)
    os.kill(jailyard.keeper_of(root), 9)
    runtime.remove("n1")
    jailyard.check_nothing_left(root)
print("OK")
"""


def become_ordinary() -> tuple[str, ...]:
    """Words before a command of an ordinary user."""
    if os.geteuid() != 0:
        return ()
    setpriv = shutil.which("setpriv", path=SEARCH_PATH)
    if setpriv is None:
        pytest.skip("setpriv is not installed, so root cannot become an ordinary user")
    return (setpriv, f"--reuid={_NOBODY}", f"--regid={_NOBODY}", "--clear-groups", "--")


def interpreter(folder: Path) -> str:
    """A Python like this one, but where everybody may use it, with the same packages."""
    version = f"{sys.version_info.major}.{sys.version_info.minor}"
    found = shutil.which(f"python{version}", path=SEARCH_PATH)
    if found is None:
        pytest.skip(f"there is no python{version} that an ordinary user may use")
    make = (found, "-m", "venv", "--without-pip", "--symlinks", str(folder / "env"))
    subprocess.run(make, check=True, timeout=30)
    tests, packages = Path(namespaceyard.__file__).parent, sysconfig.get_path("purelib")
    site = folder / "env" / "lib" / f"python{version}" / "site-packages"
    (site / "here.pth").write_text(f"{tests.parent}\n{tests}\n{packages}\n")
    return str(folder / "env" / "bin" / "python")


def test_an_ordinary_user_has_jails_too() -> None:
    namespaceyard.need_namespaces()
    with tempfile.TemporaryDirectory(prefix="user", dir="/tmp") as folder:
        Path(folder).chmod(0o755)
        done = subprocess.run(
            (*become_ordinary(), interpreter(Path(folder)), "-c", _SCRIPT),
            env={"PATH": SEARCH_PATH, "HOME": "/"},
            capture_output=True,
            text=True,
            timeout=50,
            check=False,
        )
    if done.stdout.startswith("SKIP"):
        pytest.skip(done.stdout)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == "OK"
