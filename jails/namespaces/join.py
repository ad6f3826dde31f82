"""``python -m jails.namespaces.join GROUP COMMAND...``: enter a control group, become a command.

The process enters by itself, so everything that it starts is counted from its first moment on.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path


def main() -> None:
    """Never returns; raises ``OSError`` if the group or the command is not there."""
    group, command = Path(sys.argv[1]), sys.argv[2:]
    (group / "cgroup.procs").write_text(str(os.getpid()))
    # S606: no shell is wanted.
    os.execvp(command[0], command)  # noqa: S606


if __name__ == "__main__":
    main()
