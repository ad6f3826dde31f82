"""Programs in namespaces: what they cannot see, write or do, and that they come back."""

from __future__ import annotations

import errno
import os
import signal
import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

import jails
import jailyard
import namespaceyard
from jails.namespaces.enclosure import EnclosureSettings
from jails.namespaces.inside import first_inside
from jails.namespaces.runtime import NamespaceRuntime, NamespaceSettings
from jails.runtime import JailError
from jails.spec import (
    Hooks,
    Isolation,
    JailFile,
    JailState,
    Limits,
    Root,
    RootKind,
    SharedFolder,
)
from maculaos.host.clock import SystemClock

if TYPE_CHECKING:
    from collections.abc import Iterator

WAIT = "import signal; signal.pause()"
SCRATCH = ("/tmp", "/run", "/var/tmp")  # noqa: S108  # what the jail has of its own
SHARED_MEMORY = "/dev/shm"  # noqa: S108  # likewise
# add_key(2) of something, and then keyctl(2) to search the keyring of the user for it.
KEYS = (
    "import ctypes, platform\n"
    "add, search = (248, 250) if platform.machine() == 'x86_64' else (217, 219)\n"
    "call = ctypes.CDLL(None, use_errno=True).syscall\n"
    "added = call(add, b'user', b'macula-test', b'x', 1, -4)\n"
    "found = call(search, 10, -4, b'user', b'macula-test', 0)\n"
    "print(added, found, ctypes.get_errno(), flush=True)\n"
)


@pytest.fixture
def root() -> Iterator[Path]:
    namespaceyard.need_namespaces()
    with namespaceyard.yard() as root:
        yield root


def run(root: Path, code: str, isolation: Isolation | None = None) -> list[str]:
    """What some Python that prints one line says inside of a jail."""
    spec = namespaceyard.jail("n1", f"{code}\n{WAIT}", isolation)
    namespaceyard.runtime_at(root).ensure(replace(spec, environment={"PYTHONUNBUFFERED": "1"}))
    return namespaceyard.said(root, "n1")


def test_a_jail_does_not_see_the_processes_of_others(root: Path) -> None:
    namespaceyard.runtime_at(root).ensure(jailyard.idle("other"))
    (line,) = run(
        root,
        "import os; print(sorted(int(n) for n in os.listdir('/proc') if n.isdigit()), flush=True)",
    )
    assert line == "[1, 2]"


def test_a_jail_does_not_see_the_files_of_others(root: Path) -> None:
    secret = JailFile(path="secret", content=b"of the other\n")
    runtime = namespaceyard.runtime_at(root)
    runtime.ensure(jailyard.idle("other", files=(secret,)))
    path = str(runtime.data_path("other") / "secret")
    assert Path(path).exists()
    (line,) = run(root, f"import os; print(os.path.exists({path!r}), flush=True)")
    assert line == "False"


def test_a_jail_sees_its_own_files_and_has_them_as_home(root: Path) -> None:
    spec = namespaceyard.jail(
        "n1",
        f"import os; print(os.getcwd(), os.environ['HOME'], open('{{data}}/mine').read(),"
        f" os.uname().nodename, flush=True); {WAIT}",
        files=(JailFile(path="mine", content=b"hello"),),
    )
    namespaceyard.runtime_at(root).ensure(spec)
    assert namespaceyard.said(root, "n1") == ["/data /data hello n1"]


@pytest.mark.parametrize("folder", ["/", "/usr", "/etc", "/proc/sys/kernel", "/newfolder"])
def test_a_jail_cannot_write_the_base(root: Path, folder: str) -> None:
    code = (
        "import os\n"
        "try:\n"
        f"    os.makedirs({folder!r}, exist_ok=True); open({folder!r} + '/x', 'w')\n"
        "    print('wrote', flush=True)\n"
        "except OSError as e: print('refused', e.errno, flush=True)"
    )
    (line,) = run(root, code)
    assert line.startswith("refused"), line
    assert not Path(folder, "x").exists()


def test_a_jail_cannot_change_the_kernel_that_it_shares(root: Path) -> None:
    code = (
        "import os\n"
        "found = []\n"
        "for top, folders, files in os.walk('/proc'):\n"
        "    folders[:] = [] if top.split('/')[2:3] and top.split('/')[2].isdigit() else folders\n"
        "    for file in files:\n"
        "        try: os.close(os.open(os.path.join(top, file), os.O_WRONLY | os.O_NONBLOCK))\n"
        "        except OSError: continue\n"
        "        found.append(file)\n"
        "print('writable:', sorted(set(found))[:9], flush=True)"
    )
    assert run(root, code) == ["writable: []"]


def test_what_a_jail_keeps_in_memory_is_bounded(root: Path) -> None:
    code = (
        "import os\n"
        f"sizes = [os.statvfs(d) for d in {(*SCRATCH, SHARED_MEMORY)!r}]\n"
        "sizes = {s.f_blocks * s.f_frsize for s in sizes}\n"
        "try: open('/dev/file', 'w'); how = 'wrote'\n"
        "except OSError: how = 'refused'\n"
        "print(sizes, how, flush=True)"
    )
    assert run(root, code) == [f"{{{EnclosureSettings().scratch_bytes}}} refused"]


def test_a_jail_has_no_keyring_of_the_host(root: Path) -> None:
    refused = f"-1 -1 {errno.ENOSYS}"
    assert run(root, KEYS) == [refused]
    if os.geteuid() == 0:
        command = (sys.executable, "-I", "-S", "-c", KEYS)
        assert namespaceyard.runtime_at(root).exec("n1", command).strip() == refused


def test_a_jail_sees_no_folder_that_is_private_wherever_it_lies(root: Path) -> None:
    # What is shown of the machine's system is shown from the folder of this package, too.
    shown = Path(jails.__file__).parent / "freebsd"
    wanted = NamespaceSettings(
        keeping=jailyard.SETTINGS, enclosure=EnclosureSettings(private=(shown,))
    )
    runtime = NamespaceRuntime(root, SystemClock(), wanted, abilities=namespaceyard.abilities())
    mount = SharedFolder(source=str(shown), target="/given")
    code = (
        f"import os; print(os.listdir({str(shown)!r}), len(os.listdir('/given')) > 1,"
        f" flush=True)\n{WAIT}"
    )
    runtime.ensure(namespaceyard.jail("n1", code, Isolation(mounts=(mount,))))
    assert namespaceyard.said(root, "n1") == ["[] True"]


def test_a_jail_writes_its_data_and_its_own_scratch_only(root: Path) -> None:
    mark = f"mark-{os.getpid()}"
    code = f"for d in {('/data', *SCRATCH)}: open(d + '/{mark}', 'w')\nprint('ok', flush=True)"
    assert run(root, code) == ["ok"]
    assert (namespaceyard.runtime_at(root).data_path("n1") / mark).exists()
    assert not any(Path(folder, mark).exists() for folder in SCRATCH)


def test_a_jail_has_no_capability_and_no_secrets_of_the_host(root: Path) -> None:
    code = (
        "lines = [line.split() for line in open('/proc/self/status')]\n"
        "caps = [words[1] for words in lines if words[0] in ('CapEff:', 'CapPrm:')]\n"
        "try: shadow = len(open('/etc/shadow').read())\n"
        "except OSError: shadow = 0\n"
        "print({int(c, 16) for c in caps}, shadow, flush=True)"
    )
    assert run(root, code) == ["{0} 0"]


def test_a_shared_folder_is_seen_at_its_target(root: Path, tmp_path: Path) -> None:
    (tmp_path / "here").write_text("shared")
    mounts = (
        SharedFolder(source=str(tmp_path), target="/srv/in"),
        SharedFolder(source=str(tmp_path), target="/srv/out", is_writable=True),
    )
    code = (
        "print(open('/srv/in/here').read(), end=' ')\n"
        "open('/srv/out/there', 'w').write('back')\n"
        "try: open('/srv/in/x', 'w')\n"
        "except OSError: print('refused', flush=True)"
    )
    assert run(root, code, Isolation(mounts=mounts)) == ["shared refused"]
    assert (tmp_path / "there").read_text() == "back"


def test_a_thick_root_is_the_jails_own(root: Path, tmp_path: Path) -> None:
    base = tmp_path / "base"
    for folder in ("bin", "tmp", "run", "var/tmp", "proc", "dev", "data"):
        (base / folder).mkdir(parents=True)
    mounts = tuple(
        SharedFolder(source=part, target=part)
        for part in ("/usr", "/lib", "/lib64")
        if Path(part).exists()
    )
    thick = Isolation(root=Root(kind=RootKind.THICK, base=str(base)), mounts=mounts)
    spec = jailyard.idle(isolation=thick)
    spec = replace(spec, command=("/usr/bin/sh", "-c", "echo mine > /made; echo ok; sleep 1000"))
    namespaceyard.runtime_at(root).ensure(spec)
    assert namespaceyard.said(root, "n1") == ["ok"]
    assert (base / "made").read_text() == "mine\n"


def test_a_thin_root_is_shared_and_read_only(root: Path, tmp_path: Path) -> None:
    base = tmp_path / "base"
    (base / "etc").mkdir(parents=True)
    (base / "etc" / "only-here").write_text("thin")
    for part in ("bin", "lib", "lib64", "usr"):
        if Path("/", part).exists():
            (base / part).mkdir()
    mounts = tuple(
        SharedFolder(source=f"/{part}", target=f"/{part}")
        for part in ("bin", "lib", "lib64", "usr")
        if Path("/", part).exists()
    )
    thin = Isolation(root=Root(kind=RootKind.THIN, base=str(base)), mounts=mounts)
    script = "cat /etc/only-here; echo; echo no > /etc/x || echo refused; sleep 1000"
    spec = replace(jailyard.idle(isolation=thin), command=("/usr/bin/sh", "-c", script))
    namespaceyard.runtime_at(root).ensure(spec)
    lines = namespaceyard.said(root, "n1", 3)
    assert lines[0] == "thin"
    assert lines[-1] == "refused"
    assert not (base / "etc" / "x").exists()


def test_an_account_of_its_own_owns_the_data_and_nothing_else(root: Path) -> None:
    if not namespaceyard.abilities().is_root:
        pytest.skip("another account needs root")
    spec = namespaceyard.jail(
        "n1",
        "import os\n"
        "print(os.getuid(), os.getgroups(), open('mine').read(), flush=True)\n"
        f"open('made', 'w').close()\n{WAIT}",
        Isolation(user="nobody"),
        files=(JailFile(path="mine", content=b"hello"),),
    )
    runtime = namespaceyard.runtime_at(root)
    runtime.ensure(spec)
    assert namespaceyard.said(root, "n1") == ["65534 [] hello"]
    made = runtime.data_path("n1") / "made"
    jailyard.eventually("it writes", made.exists)
    assert made.stat().st_uid == 65534
    inside = runtime.exec("n1", ("sh", "-c", "id -u; grep CapEff /proc/self/status"))
    assert inside.split() == ["65534", "CapEff:", "0000000000000000"]
    runtime.stop("n1")
    assert runtime.look()["n1"].last_exit == "killed by SIGTERM"


def test_a_killed_program_comes_back(root: Path) -> None:
    runtime = namespaceyard.runtime_at(root)
    runtime.ensure(jailyard.idle())
    before = jailyard.pid_of(root)
    os.kill(before, signal.SIGKILL)
    jailyard.eventually("it is back", lambda: runtime.look()["n1"].restarts == 1)
    assert jailyard.pid_of(root) != before


def test_nothing_outlives_the_program_even_if_it_left_its_session(root: Path) -> None:
    stray = f"stray{namespaceyard.WORKER}"
    code = (
        "import os, signal, sys\n"
        "if os.fork() == 0:\n"
        "    os.setsid(); signal.signal(signal.SIGTERM, signal.SIG_IGN)\n"
        "    os.environ.clear()\n"
        f"    argv = ['{stray}', '-I', '-S', '-c', 'import time; time.sleep(999)']\n"
        "    os.execve(sys.executable, argv, {})\n"
        f"print('ready', flush=True); {WAIT}"
    )
    runtime = namespaceyard.runtime_at(root)
    runtime.ensure(namespaceyard.jail("n1", code, stop_deadline_s=1.0))
    namespaceyard.said(root, "n1")
    inside = runtime.usage("n1").processes
    assert inside == 2
    os.kill(jailyard.keeper_of(root), signal.SIGKILL)
    runtime.stop("n1")
    strays = [p for p in Path("/proc").glob("[0-9]*/cmdline") if _begins(p, stray.encode() + b"\0")]
    assert strays == []
    runtime.remove("n1")
    namespaceyard.check_nothing_left(root)


def _begins(path: Path, what: bytes) -> bool:
    try:
        return path.read_bytes().startswith(what)
    except OSError:
        return False


@pytest.mark.parametrize("whom", ["keeper", "program", "both"])
def test_ensure_repairs_what_kill_9_left(root: Path, whom: str) -> None:
    runtime = namespaceyard.runtime_at(root)
    runtime.ensure(jailyard.LONELY_SPEC)
    jailyard.check_starts(root, 1)  # a kill before that would leave a start uncounted
    pid, keeper = jailyard.pid_of(root), jailyard.keeper_of(root)
    for each in {"keeper": [keeper], "program": [pid], "both": [keeper, pid]}[whom]:
        os.kill(each, signal.SIGKILL)
    jailyard.eventually("that is seen", lambda: runtime.look()["n1"].pid != pid or whom == "keeper")
    runtime.ensure(jailyard.LONELY_SPEC)
    # A living keeper has its own pace, and ensure leaves it that.
    jailyard.eventually("it runs", lambda: runtime.look()["n1"].state is JailState.RUNNING)
    jailyard.check_starts(root, 2)
    jailyard.check_alone(root)
    runtime.remove("n1")
    namespaceyard.check_nothing_left(root)


def test_a_command_is_run_inside(root: Path) -> None:
    runtime = namespaceyard.runtime_at(root)
    runtime.ensure(jailyard.idle())
    if not namespaceyard.abilities().is_root:
        with pytest.raises(JailError, match="only root"):
            runtime.exec("n1", ("hostname",))
        return
    assert runtime.exec("n1", ("sh", "-c", "hostname; pwd; ls /proc | grep -c '^[0-9]'")).split()[
        :2
    ] == ["n1", "/data"]
    with pytest.raises(JailError, match="exit status"):
        runtime.exec("n1", ("sh", "-c", "echo > /usr/x"))
    with pytest.raises(JailError, match="did not end in time"):
        runtime.exec("n1", ("sleep", "60"), timeout_s=0.3)


def test_a_command_that_is_run_inside_has_the_bounds_of_the_jail(root: Path) -> None:
    runtime = namespaceyard.runtime_at(root)
    limits = Limits(open_files=40)
    code = f"print('ready', flush=True); {WAIT}"
    runtime.ensure(namespaceyard.jail("n1", code, Isolation(limits=limits)))
    # Until then it may have only begun to start.
    namespaceyard.said(root, "n1")
    assert runtime.exec("n1", ("sh", "-c", "ulimit -n")).split() == ["40"]
    assert runtime.exec("n1", ("sh", "-c", "ulimit -v")).split() == ["unlimited"]


def test_a_program_that_is_not_there_is_told_with_its_name(root: Path) -> None:
    spec = replace(jailyard.idle(), command=("/no/such/program",))
    patient = replace(jailyard.SETTINGS, settle_s=jailyard.PATIENCE_S / 2)
    with pytest.raises(JailError, match="/no/such/program"):
        namespaceyard.runtime_at(root, patient).ensure(spec)


def test_hooks_run_before_and_after(root: Path, tmp_path: Path) -> None:
    made = tmp_path / "made"
    hooks = Hooks(prepare=(("mkdir", str(made)),), release=(("rmdir", str(made)),))
    runtime = namespaceyard.runtime_at(root)
    runtime.ensure(jailyard.idle(isolation=Isolation(hooks=hooks)))
    assert made.is_dir()
    runtime.stop("n1")
    assert not made.exists()


def test_a_shared_folder_that_was_made_anew_is_seen_after_a_repair(
    root: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "shared"
    folder.mkdir()
    mount = SharedFolder(source=str(folder), target="/shared")
    spec = jailyard.idle(isolation=Isolation(mounts=(mount,)))
    runtime = namespaceyard.runtime_at(root)
    runtime.ensure(spec)
    before = runtime.look()["n1"]
    assert before.program_digest == spec.program_digest()
    folder.rename(tmp_path / "former")
    folder.mkdir()
    (folder / "new").touch()
    assert runtime.look()["n1"].program_digest == ""
    runtime.ensure(spec)
    after = runtime.look()["n1"]
    assert after.program_digest == spec.program_digest()
    assert after.pid != before.pid
    assert list(Path(f"/proc/{_first(after.pid)}/root/shared").iterdir()) != []


def _first(pid: int | None) -> int:
    assert pid is not None
    return first_inside("n1", pid)
