"""The porter: keeps the front running while any app has ports, and has it switch before steps.

The front is kept by a keeper of its own, like a program of the process runtime, under
``state_dir/front``: so it outlives the reconciler, the next one finds it, and whoever takes
everything down ends it. A switch is waited for, but never for long: a front that does not answer
holds up no rollout.
"""

from __future__ import annotations

import hashlib
import json
import socket
import sys
import threading
from contextlib import suppress
from importlib import metadata
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final

from jails.process import ProcessRuntime
from jails.runtime import JailError
from jails.spec import JailSpec, JailState, Restart
from maculaos.errors import MaculaError
from maculaos.host.files import make_private_directory
from reconciler.front.standing import FrontState, FrontStatus, front_status
from reconciler.traffic import TRAFFIC

if TYPE_CHECKING:
    from collections.abc import Mapping

    from jails.spec import JailFacts
    from maculaos.host.clock import Clock
    from reconciler.settings import ReconcilerSettings

# What we are installed as.
DISTRIBUTION: Final = "maculaos"
FOLDER: Final = "front"
JAIL: Final = "front"
# The folders beside it are named like nodes, and no node has a dot in its name.
SOCKET_NAME: Final = "front.control"
ANSWER_BYTES: Final = 16 * 1024 * 1024
ANSWER_S: Final = 1.0
# How long a switch may take, with the start of a front where there is none.
SWITCH_S: Final = 3.0
AGAIN_S: Final = 0.02
STOP_S: Final = 3.0
# How long a front that runs may not answer before it is taken for stuck.
SILENT_S: Final = 8.0
# How often what keeps the front is looked at while it answers.
LOOK_S: Final = 10.0


class Porter:
    """Keeps one machine's front; every call blocks, and they may come from several threads."""

    def __init__(self, settings: ReconcilerSettings, clock: Clock) -> None:
        self._front = settings.front
        self._traffic = settings.run_dir / TRAFFIC
        self._control = settings.run_dir / SOCKET_NAME
        self._root = settings.state_dir / FOLDER
        self._runtime = ProcessRuntime(self._root, clock)
        self._clock = clock
        # One that was left behind is needed until a plan says that it is not.
        self._is_needed = self._root.exists()
        self._failure = ""
        self._ensured_at: float | None = None
        # Since when nobody answers; None: somebody did.
        self._silent_since: float | None = None
        # By app, the SHA-256 of what the front read when it was waited for last.
        self._switched: dict[str, str] = {}
        # Who tends and who switches are in threads of their own.
        self._lock = threading.Lock()

    def switch(self, files: Mapping[str, bytes], *, is_needed: bool) -> None:
        """Have the front read ``files``, by app, before this returns; without need, end it."""
        with self._lock:
            self._switch(files, is_needed=is_needed)

    def _switch(self, files: Mapping[str, bytes], *, is_needed: bool) -> None:
        self._is_needed = is_needed
        if not is_needed:
            self._remove_quietly()
            return
        self._ensure()
        if self._failure:
            return
        wanted = {app: hashlib.sha256(content).hexdigest() for app, content in files.items()}
        if wanted == self._switched:
            return
        give_up_at = self._clock.monotonic() + SWITCH_S
        while self._clock.monotonic() < give_up_at:
            said = self._ask(b"look")
            if said is not None and said.get("seen") == wanted:
                self._switched = wanted
                return
            self._clock.sleep(AGAIN_S)

    def tend(self) -> FrontStatus | None:
        """See that it runs, and how it stands; None while none is needed."""
        with self._lock:
            if not self._is_needed:
                return None
            said = self._ask(b"tell")
            now = self._clock.monotonic()
            self._end_if_stuck(is_silent=said is None, now=now)
            if said is None or self._ensured_at is None or now - self._ensured_at > LOOK_S:
                self._ensure()
            return self._stands(said)

    def _end_if_stuck(self, *, is_silent: bool, now: float) -> None:
        """A front that runs and does not answer for long is ended, to be started anew."""
        if not is_silent:
            self._silent_since = None
        elif self._silent_since is None:
            self._silent_since = now
        elif now - self._silent_since > SILENT_S:
            self._silent_since = None
            with suppress(JailError, MaculaError, OSError):
                self._runtime.stop(JAIL)

    def stop(self) -> None:
        """End it, and keep its files; raises ``JailError``."""
        with self._lock:
            self._is_needed = False
            if self._root.exists():
                self._runtime.stop(JAIL)

    def remove(self) -> None:
        """End it, and delete its files; raises ``JailError`` or ``OSError``."""
        with self._lock:
            self._remove()

    def _remove(self) -> None:
        self._is_needed, self._failure, self._ensured_at = False, "", None
        self._switched = {}
        if self._root.exists():
            self._runtime.remove(JAIL)
            self._root.rmdir()
        self._control.unlink(missing_ok=True)

    def _remove_quietly(self) -> None:
        """What stays is tried again with the next switch, and harms nobody meanwhile."""
        with suppress(JailError, MaculaError, OSError):
            self._remove()

    def _ensure(self) -> None:
        make_private_directory(self._control.parent)
        try:
            self._runtime.ensure(self._spec())
        except (JailError, MaculaError, OSError) as error:
            self._failure = str(error)
        else:
            self._failure = ""
            self._ensured_at = self._clock.monotonic()

    def _spec(self) -> JailSpec:
        front = self._front
        privileged = ("--privileged",) if front.privileged else ()
        return JailSpec(
            name=JAIL,
            command=(
                *(sys.executable, "-I", "-m", "reconciler.front"),
                *("--traffic", str(self._traffic)),
                *("--control", str(self._control)),
                *("--listen", front.listen),
                *("--connections", str(front.connections)),
                *("--idle-s", str(front.idle_s)),
                *privileged,
            ),
            environment=MappingProxyType({"LANG": "C.UTF-8"}),
            restart=Restart(base_s=0.1, max_s=5.0),
            stop_deadline_s=STOP_S,
            # Another version of the program is started anew.
            generation=metadata.version(DISTRIBUTION),
        )

    def _stands(self, said: dict[str, Any] | None) -> FrontStatus:
        if said is not None:
            try:
                return front_status(said)
            except ValueError as error:
                return FrontStatus(state=FrontState.STALLED, reason=str(error))
        if self._failure:
            return FrontStatus(state=FrontState.STALLED, reason=self._failure)
        facts = self._facts()
        if facts is None or facts.state is JailState.RUNNING:
            return FrontStatus(state=FrontState.RECONCILING, reason="it does not answer yet")
        wrote = self._runtime.logs(JAIL, 1)
        reason = ": ".join((facts.last_exit or str(facts.state), *wrote))
        return FrontStatus(state=FrontState.STALLED, reason=reason)

    def _facts(self) -> JailFacts | None:
        try:
            return self._runtime.look().get(JAIL)
        except (JailError, OSError):
            return None

    def _ask(self, word: bytes) -> dict[str, Any] | None:
        """What the front reports; None if it does not answer."""
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as asked:
                asked.settimeout(ANSWER_S)
                asked.connect(str(self._control))
                asked.sendall(word + b"\n")
                with asked.makefile("rb") as answer:
                    said = json.loads(answer.readline(ANSWER_BYTES))
        except (OSError, ValueError):
            return None
        return said if isinstance(said, dict) else None
