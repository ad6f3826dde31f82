"""Work on what is not trusted: a child process with hard bounds on memory, time and output.

The child runs Python code of ours that calls ``confine`` before it looks at anything; the kernel
holds it to the bounds from then on. Input and output are files without names, so that neither
side can block the other. What the child is to do is not known here.
"""

from __future__ import annotations

import resource
import signal
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from typing import Final

_KIB: Final = 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class Bounds:
    """What one child may use; ``wall_s`` is real time, whatever the child waits for."""

    memory_bytes: int = 256 * _KIB * _KIB
    cpu_s: int = 5
    output_bytes: int = 16 * _KIB * _KIB
    wall_s: float = 15.0

    def words(self) -> tuple[str, ...]:
        """As the child takes them, see ``confine``."""
        return (str(self.memory_bytes), str(self.cpu_s), str(self.output_bytes))


@dataclass(frozen=True, slots=True)
class Ended:
    """How a child ended and what it wrote until then; ``why`` is empty if it ended well."""

    output: bytes
    why: str


def confine(memory_bytes: int, cpu_s: int, output_bytes: int) -> None:
    """Bound this very process, for good: it cannot take the bounds back."""
    for what, most in (
        (resource.RLIMIT_AS, memory_bytes),
        (resource.RLIMIT_CPU, cpu_s),
        (resource.RLIMIT_FSIZE, output_bytes),
        (resource.RLIMIT_CORE, 0),
    ):
        _, hardest = resource.getrlimit(what)
        bound = most if hardest == resource.RLIM_INFINITY else min(most, hardest)
        resource.setrlimit(what, (bound, bound))


def run_confined(module: str, stdin: bytes, bounds: Bounds) -> Ended:
    """Run ``python -m module`` with the words of ``bounds``, and wait for its end.

    The module calls ``confine`` with these words first. It sees no environment and no files of
    ours but its input and output. Raises ``OSError`` if it cannot be started.
    """
    argv = (sys.executable, "-I", "-m", module, *bounds.words())
    with tempfile.TemporaryFile() as given, tempfile.TemporaryFile() as taken:
        given.write(stdin)
        given.seek(0)
        child = subprocess.Popen(
            argv,
            stdin=given,
            stdout=taken,
            stderr=subprocess.DEVNULL,
            env={},
            start_new_session=True,
        )
        try:
            why = _said(child.wait(bounds.wall_s))
        except subprocess.TimeoutExpired:
            why = f"it took more than {bounds.wall_s:g} s"
        finally:
            child.kill()
            child.wait()
        taken.seek(0)
        return Ended(taken.read(bounds.output_bytes), why)


def _said(status: int) -> str:
    """What an exit status means; killed by SIGXCPU or SIGKILL is most often the bound on time."""
    if status == 0:
        return ""
    if status in {-signal.SIGXCPU, -signal.SIGKILL}:
        return "it took too much time"
    return f"it ended with status {status}"
