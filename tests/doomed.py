"""Reconcilers that are doomed: each is killed, or finds the disk full, at a change named before.

A nursery loads the reconciler once and forks it for every life, so that hundreds of lives are
cheap. In each of them the interpreter announces every change to an audit hook (PEP 578): a file
opened for writing, a rename, a deletion, a folder, a link, a program started, a signal. A change
is known by its label and by how often that label came before, so that two lives can be compared
although some of their threads run side by side. It judges nothing.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from dataclasses import asdict, dataclass
from pathlib import Path

_NURSERY = r"""
import json, os, re, signal, sys, threading
import git
from reconciler.cli import main

CHANGES = {"os.rename", "os.remove", "os.mkdir", "os.rmdir", "os.symlink", "os.link"}
WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT
VERBS = {"fetch", "cat-file", "ls-tree", "rev-parse", "merge-base", "log", "update-ref", "init"}
NAMELESS = re.compile(r"\.\d+\.(?:[0-9a-f]{8}|new)$|[0-9a-f]{16,}")

def shown(path, root):
    parts = os.fspath(path).replace(root, "here").split(os.sep)[-2:]
    return "/".join(NAMELESS.sub("*", os.fsdecode(each)) for each in parts)

def is_here(path, root):
    if not isinstance(path, (str, os.PathLike)):
        return False
    text = os.fspath(path)
    return isinstance(text, str) and (root in text or not text.startswith("/"))

def label_of(event, args, root):
    if event == "subprocess.Popen":
        words = [os.fsdecode(each) for each in args[1]]
        verb = next((each for each in words if each in VERBS), "")
        return f"start {os.path.basename(words[0])} {verb}".strip()
    if event in ("os.kill", "os.killpg"):
        return f"{event} {args[1]}" if args[1] else ""
    if event in CHANGES and is_here(args[0], root):
        # Both ends of a rename: its target says more.
        return f"{event} {shown(args[event == 'os.rename'], root)}"
    if event == "open" and (args[2] or 0) & WRITING and is_here(args[0], root):
        return f"open {shown(args[0], root)}"
    return ""

def doom(life):
    root, fate, counts = life["root"], life["fate"], {}
    guard = threading.RLock()
    trace = os.open(life["trace"], os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    left = fate["lasts"]
    is_full = False
    def heard(event, args):
        nonlocal left, is_full
        label = label_of(event, args, root)
        if not label:
            return
        with guard:
            counts[label] = count = counts.get(label, 0) + 1
            os.write(trace, f"{label}\n".encode())
            is_it = (label, count) == (fate["label"], fate["nth"])
            if is_it and fate["how"] == "killed":
                os.write(trace, b"fate\n")
                os.kill(os.getpid(), signal.SIGKILL)
            if is_it and fate["how"] == "full":
                is_full = True
            if is_full and event in ("open", "os.mkdir", "os.symlink", "os.link"):
                left -= 1
                is_full = left > 0
                os.write(trace, b"fate\n")
                raise OSError(28, "No space left on device")
    sys.addaudithook(heard)

def live(life):
    os.setsid()
    log = os.open(life["log"], os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    for handle in (1, 2):
        os.dup2(log, handle)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    sys.argv[:] = ["reconciler", *life["words"]]
    doom(life)
    try:
        main()
    except SystemExit as error:
        code = error.code if isinstance(error.code, int) else 1
    except BaseException:
        sys.excepthook(*sys.exc_info())
        code = 70
    else:
        code = 0
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)

answers = os.fdopen(os.dup(1), "w")
for line in sys.stdin:
    life = json.loads(line)
    if "words" in life:
        said = os.fork()
        if not said:
            live(life)
    else:
        pid, status = os.waitpid(life["pid"], 0 if life["is_patient"] else os.WNOHANG)
        said = os.waitstatus_to_exitcode(status) if pid else None
    print(json.dumps(said), file=answers, flush=True)
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Fate:
    """What happens right before the ``nth`` change with that label; nothing for no label."""

    how: str = "killed"
    label: str = ""
    nth: int = 0
    # So many attempts to write find no room, before there is some again.
    lasts: int = 8


@dataclass(slots=True)
class Life:
    """One reconciler, under way or over."""

    nursery: Nursery
    pid: int
    trace: Path
    status: int | None = None

    def poll(self) -> int | None:
        """Its exit status, or minus the signal that ended it; None while it lives."""
        if self.status is None:
            self.status = self.nursery.ask({"pid": self.pid, "is_patient": False})
        return self.status

    def wait(self) -> int:
        """Its end."""
        if self.status is None:
            self.status = self.nursery.ask({"pid": self.pid, "is_patient": True})
        assert self.status is not None
        return self.status

    def has_begun(self) -> bool:
        """Whether it works, and ends in order when it is told to."""
        return f" started pid={self.pid}\n" in self.nursery.log.read_text()

    def changes(self) -> list[str]:
        """The labels of all changes so far, in order."""
        return [each for each in self.trace.read_text().splitlines() if each != "fate"]

    def met_its_fate(self) -> bool:
        """Whether what was named came about."""
        return "fate" in self.trace.read_text().splitlines()


class Nursery:
    """Where doomed reconcilers come from; a context that ends with all of them ended."""

    def __init__(self, root: Path) -> None:
        """``root``: changes below it count, and logs and traces lie in it."""
        self._root = root
        self._lives: list[Life] = []
        self.log.touch()
        self._process = subprocess.Popen(
            [sys.executable, "-c", _NURSERY],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def __enter__(self) -> Nursery:
        return self

    def __exit__(self, *_: object) -> None:
        for life in self._lives:
            if life.poll() is None:
                self.signal(life, signal.SIGKILL)
                life.wait()
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.close()
        self._process.wait(30)
        self._process.stdout.close()

    @property
    def log(self) -> Path:
        """What all of them said."""
        return self._root / "doomed.log"

    def begin(self, config: Path, fate: Fate | None = None, verb: str = "run") -> Life:
        """Start a reconciler with that fate."""
        trace = self._root / f"trace-{len(self._lives)}"
        trace.touch()
        pid = self.ask(
            {
                "words": [verb, "--config", str(config)],
                "fate": asdict(fate or Fate()),
                "root": str(self._root),
                "log": str(self.log),
                "trace": str(trace),
            }
        )
        assert isinstance(pid, int)
        life = Life(self, pid, trace)
        self._lives.append(life)
        return life

    def signal(self, life: Life, number: int) -> None:
        """Send that signal to a reconciler that was not waited for yet."""
        if life.poll() is None:
            os.kill(life.pid, number)

    def ask(self, request: dict[str, object]) -> int | None:
        """Let the nursery do something; its answer."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps(request) + "\n")
        self._process.stdin.flush()
        answer = json.loads(self._process.stdout.readline())
        assert answer is None or isinstance(answer, int)
        return answer


def fates(changes: list[str], how: str = "killed", lasts: int = 8) -> list[Fate]:
    """A fate for each of the changes of a life that was watched."""
    counts: dict[str, int] = {}
    made = []
    for label in changes:
        counts[label] = counts.get(label, 0) + 1
        made.append(Fate(how=how, label=label, nth=counts[label], lasts=lasts))
    return made
