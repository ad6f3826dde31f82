"""The environment that a program is started with, and that its hooks are run with. Secrets too.

Made anew from the records each time, and kept nowhere.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Final

from jails.keeper.records import JAIL_VARIABLE
from jails.spec import decode_secret_environment

if TYPE_CHECKING:
    from jails.keeper.records import Assignment, JailDirectory

_SYSTEM_PATH: Final = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


def surroundings_of(directory: JailDirectory, assignment: Assignment) -> dict[str, str]:
    """All variables of the program of that jail; raises ``OSError`` if its secrets are not there.

    The spec may replace all but the mark by which a lost program is found.
    """
    data = str(directory.data)
    given = assignment.environment.items()
    return (
        {"PATH": f"{Path(sys.executable).parent}:{_SYSTEM_PATH}", "HOME": data, "LANG": "C.UTF-8"}
        | {key: text.replace("{data}", data) for key, text in given}
        | _secrets(assignment.secrets)
        | {JAIL_VARIABLE: str(directory.path)}
    )


def _secrets(path: str) -> dict[str, str]:
    if not path:
        return {}
    try:
        handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
        with os.fdopen(handle, "rb") as file:
            return decode_secret_environment(file.read())
    except OSError as error:
        what = f"its secrets in {path} cannot be read: {error.strerror}"
        raise OSError(error.errno, what) from error
