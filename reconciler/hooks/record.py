"""What became of hooks: which of them ended for which start of which program, on disk.

``state_dir/hooks.json``, replaced atomically after a hook ended. So the next reconciler runs none
again that ended; one that was under way when a reconciler was killed is run once more. What cannot
be read is as good as nothing: hooks are written to be run again.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Final

from jails.spec import HookKind
from maculaos.host.files import write_atomically

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

HOOKS: Final = "hooks.json"
MOST_BYTES: Final = 4 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Ended:
    """One hook that ended; ``run`` is which start of the program it was for."""

    run: str
    is_ok: bool
    reason: str = ""


# By jail and kind.
Endings = dict[tuple[str, HookKind], Ended]


class HookRecord:
    """The file of one reconciler; only the holder of the lock writes."""

    def __init__(self, state_dir: Path) -> None:
        self._path = state_dir / HOOKS
        self._kept: Endings = {}

    def read(self) -> Endings:
        """What was kept last."""
        try:
            with self._path.open("rb") as file:
                self._kept = _decoded(json.loads(file.read(MOST_BYTES)))
        except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
            self._kept = {}
        return dict(self._kept)

    def keep(self, endings: Mapping[tuple[str, HookKind], Ended]) -> None:
        """Remember exactly these; raises ``OSError`` if they cannot be written."""
        if endings == self._kept:
            return
        said = [
            {"jail": jail, "hook": str(kind), **asdict(ended)}
            for (jail, kind), ended in sorted(endings.items())
        ]
        content = json.dumps({"version": 1, "ended": said}, indent=1).encode() + b"\n"
        write_atomically(self._path, content, 0o600)
        self._kept = dict(endings)


def _decoded(said: dict[str, Any]) -> Endings:
    return {
        (str(each["jail"]), HookKind(each["hook"])): Ended(
            str(each["run"]), bool(each["is_ok"]), str(each["reason"])
        )
        for each in said["ended"]
    }
