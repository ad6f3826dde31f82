"""Who adopts orphans is their parent, and lets go of all that end but of its own."""

from __future__ import annotations

import subprocess
import sys

import pytest

pytestmark = pytest.mark.skipif(
    sys.platform == "darwin", reason="nobody can adopt orphans on macOS"
)

_CODE = """
import os, time
from maculaos.host.processes import system_processes
from maculaos.host.reaper import adopt_orphans, reap_adopted
me = os.getpid()
assert adopt_orphans()
out, into = os.pipe()
own = os.fork()
if own == 0:
    if os.fork() == 0:
        os.setsid()
        while os.getppid() != me: time.sleep(.001)
        os.write(into, str(os.getpid()).encode())
        while True: time.sleep(1)
    os._exit(7)
orphan = int(os.read(out, 20))
assert [each.pid for each in system_processes().descendants(me)] == [orphan]
reap_adopted(own, 9)
os.kill(orphan, 9)
while system_processes().descendants(me): time.sleep(.001)
reap_adopted(own, 9)
assert os.waitstatus_to_exitcode(os.waitpid(own, 0)[1]) == 7
reap_adopted(None, 9)
try: os.waitpid(-1, 0)
except ChildProcessError: print("OK")
reap_adopted(None, 9)
"""


def test_an_orphan_in_a_session_of_its_own_is_adopted_and_reaped() -> None:
    done = subprocess.run(
        [sys.executable, "-c", _CODE], capture_output=True, text=True, timeout=30, check=False
    )
    assert (done.stdout.strip(), done.stderr) == ("OK", "")
