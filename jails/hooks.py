"""Running a hook of a program, with bounds that hold whoever is killed meanwhile.

Whoever runs it ends it with all that it started. If that one is killed first, timeout(1) ends it
where there is one, and its jail's end does in any case. What it says is cut off and told only if it
fails; it is kept nowhere.
"""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING, Final

from jails.runtime import JailError
from maculaos.host.filters import Bound, SystemFilter

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from jails.spec import HookKind

MOST_OUTPUT_BYTES: Final = 1024 * 1024
_MOST_TOLD: Final = 300
# So much later timeout(1) ends what nobody ended.
_LATE_S: Final = 1.0


class HookFailed(JailError):
    """A hook of the jail ended badly, or was ended."""

    def __init__(self, jail: str, kind: HookKind, why: str) -> None:
        super().__init__(jail, f"its {kind} hook: {why}")


def run_hook(
    where: tuple[str, HookKind, float],
    command: tuple[str, ...],
    environment: Mapping[str, str],
    directory: Path | None = None,
) -> None:
    """Run ``command`` to its end; raises ``HookFailed``.

    ``where``: the jail, which of its hooks it is, and how many seconds it may take.
    """
    jail, kind, timeout_s = where
    tool = shutil.which("timeout")
    lasting = (tool, "-s", "KILL", f"{timeout_s + _LATE_S:.3f}") if tool else ()
    bound = Bound(output_bytes=MOST_OUTPUT_BYTES, timeout_s=timeout_s)
    done = SystemFilter(environment, directory).run((*lasting, *command), b"", bound)
    if done.is_ok:
        return
    how = done.said if done.status is None else f"exit status {done.status}"
    said = " ".join(done.said.split())[:_MOST_TOLD] if done.status is not None else ""
    raise HookFailed(jail, kind, f"{how}: {said}" if said else how)
