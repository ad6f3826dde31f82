"""The reconciler as a daemon: works, watches, shows, and answers on its control socket.

One task for each, in one group. Programs go on running when it ends: the next one adopts them.
What to do next is decided in ``reconciler.convergence`` and done in ``reconciler.worker``.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

from jails.runtime import JailError
from jails.spec import JailState
from maculaos.errors import MaculaError, UsageError
from maculaos.host.logbook import Level
from maculaos.host.threads import in_thread
from reconciler.control import SOCKET_NAME, serving
from reconciler.convergence import Fetch, Repair, Wait
from reconciler.hooks.attendant import Attendant
from reconciler.hooks.record import HookRecord
from reconciler.names import kind_and_name, spoken
from reconciler.orders import Orders
from reconciler.placement import socket_path
from reconciler.probing import Probing
from reconciler.survey import ask_nodes, last_words, look

if TYPE_CHECKING:
    from collections.abc import Coroutine, Mapping
    from pathlib import Path

    from jails.spec import JailFacts
    from reconciler.activity import Snapshot
    from reconciler.hooks.record import Ended
    from reconciler.observed import NodeHealth
    from reconciler.passage import Opinion
    from reconciler.rolling import Ordered
    from reconciler.status import Status
    from reconciler.worker import Worker

SYNC_TIMEOUT_S: Final = 60.0
SYNC_TIMEOUT_MAX_S: Final = 3600.0
ORDER_TIMEOUT_S: Final = 30.0
# The status is looked at after every action and every look at the machine; not more often than
# the first, and, while an action takes its time, not more seldom than the second.
PUBLISH_GAP_S: Final = 0.1
# Times as long as the last telling took.
_QUIET: Final = 4
PUBLISH_INTERVAL_S: Final = 1.0
# A status that says the same again is written this often, so that its time shows it is alive.
HEARTBEAT_S: Final = 10.0
# While a repair takes its time, whether Git is to be asked is looked at this often at the least.
FETCH_CHECK_S: Final = 1.0
# How long the work may take to come to the border of a step once it is to stop. What hangs beyond
# is left behind: the next start finds the machine as after a kill, and mends it.
STOP_GRACE_S: Final = 60.0
# The last status may take as long to be written.
LAST_WORDS_S: Final = 5.0


class Daemon:
    """Runs one worker until it is told to stop."""

    def __init__(
        self, worker: Worker, settings_file: Path | None = None, grace_s: float = STOP_GRACE_S
    ) -> None:
        """``settings_file`` is followed for changes of the listeners, if it is named."""
        # Loaded with a daemon only: a single pass listens to nobody, and starts sooner so.
        from reconciler.listeners import Listeners

        self._worker = worker
        self._grace_s = grace_s
        self._clock = worker.tools.clock
        self._wake = asyncio.Event()
        self._orders = Orders(worker)
        # Something may have changed that the status says.
        self._news = asyncio.Event()
        self._progressed = asyncio.Condition()
        self._is_fetching = False
        self._shown: Snapshot | None = None
        self._shown_at = 0.0
        self._listeners = Listeners(worker, self.sync_soon, self._last_shown, settings_file)
        # What the watch saw last; the work looks by itself.
        self._seen: Mapping[str, JailFacts] = {}

    def stop(self) -> None:
        """End soon: at the border of a step, and in the middle of a fetch."""
        self._worker.stopping.set()
        self._worker.tools.source.abort()
        self._wake.set()

    async def run(self) -> None:
        """Work until ``stop``; the caller holds the lock."""
        socket = self._worker.settings.run_dir / SOCKET_NAME
        journal = self._worker.tools.journal
        async with (
            serving(socket, self.answer),
            self._listeners.open(),
            asyncio.TaskGroup() as group,
        ):
            journal.note("started", "the reconciler started", pid=self._worker.standing.about.pid)
            working = group.create_task(self._work())
            others = [group.create_task(one) for one in self._beside()]
            await self._see_out(working)
            for task in others:
                task.cancel()
        self._worker.tools.planner.supply.end()
        with suppress(TimeoutError):
            async with asyncio.timeout(LAST_WORDS_S):
                await self._show()
        journal.note("stopped", "the reconciler stopped")

    def _beside(self) -> list[Coroutine[Any, Any, None]]:
        """What goes on beside the work, until that ends."""
        worker, tools = self._worker, self._worker.tools
        beside = [self._watch(), self._publish(), self._probe(), self._listeners.follow()]
        beside.append(self._tend())
        if worker.settings.notify is not None:
            # Loaded where somebody is to be told: the start is most of a short command.
            from reconciler.notices.opening import open_herald

            remote = tools.source.remotes[0]
            herald = open_herald(worker.settings, remote, tools.clock, tools.random)
            if herald is not None:
                worker.standing.untold = lambda: herald.untold
                chronicle, journal = worker.chronicle, tools.journal
                told = herald.run(chronicle.history, self._status, journal, chronicle.tally)
                beside.append(told)
        return beside

    async def _see_out(self, working: asyncio.Task[None]) -> None:
        """Wait for the end of the work; once it is to stop, not for what hangs."""
        stopping = asyncio.create_task(self._worker.stopping.wait())
        await asyncio.wait({working, stopping}, return_when=asyncio.FIRST_COMPLETED)
        stopping.cancel()
        await asyncio.wait({working}, timeout=self._grace_s)
        if not working.done():
            said = f"something hangs for {self._grace_s:g} s: it is left behind"
            self._worker.tools.journal.note("left_behind", said, Level.WARNING)
            working.cancel()

    def sync_soon(self) -> None:
        """Fetch, evaluate and repair soon, for somebody who does not wait for the outcome."""
        self._worker.convergence.sync_requested(self._clock.monotonic())
        self._wake.set()

    def _last_shown(self) -> float | None:
        return None if self._shown is None else self._shown.status.at

    def _status(self) -> Status:
        """How things stand, as it was shown a moment ago; else as it is now, which costs more."""
        is_late = self._clock.monotonic() - self._shown_at > 2 * HEARTBEAT_S
        if self._shown is None or is_late:
            return self._worker.snapshot().status
        return self._shown.status

    async def answer(self, request: dict[str, Any]) -> dict[str, Any]:
        """What the control socket answers; raises ``UsageError`` for an unknown request."""
        match request.get("do"):
            case "status":
                return self._worker.snapshot().as_json()
            case "sync" if request.get("wait") is False:
                self.sync_soon()
                return {"outcome": "asked", "revision": None, "problems": []}
            case "sync":
                return await self._sync(request.get("timeout_s", SYNC_TIMEOUT_S))
            case "consent":
                self._worker.consent(str(request.get("revision")))
                self._wake.set()
                return {"consented": request.get("revision")}
            case "rollout":
                ordered = self._orders.roll(request)
                self._wake.set()
                return await self._taken(ordered)
            case "stop":
                self.stop()
                return {"stopping": True, "pid": self._worker.standing.about.pid}
            case _:
                answer = await self._orders.answer(request)
                self._wake.set()
                await self._show()
                return answer

    async def _work(self) -> None:
        worker = self._worker
        while not worker.stopping.is_set():
            self._orders.end_suspension()
            action = worker.convergence.next_action(self._clock.monotonic())
            match action:
                case Wait(until):
                    await self._pause(until - self._clock.monotonic())
                case Fetch():
                    await self._attend(asyncio.create_task(worker.take(action)))
                case Repair():
                    await self._repair(action)
                case _:
                    await worker.take(action)
            await self._tell()

    async def _attend(self, fetching: asyncio.Task[None]) -> None:
        """See a fetch to its end, and keep the machine repaired however long the server takes."""
        worker = self._worker
        self._is_fetching = True
        try:
            while not await self._ended(fetching, worker.settings.drift_interval_s):
                if worker.convergence.goal is not None and not worker.stopping.is_set():
                    await worker.repair(worker.convergence.goal)
            fetching.result()
        finally:
            self._is_fetching = False
            fetching.cancel()

    async def _repair(self, repair: Repair) -> None:
        """See a repair to its end, and ask Git when that is due: a newer commit overtakes it."""
        worker, convergence = self._worker, self._worker.convergence
        repairing = asyncio.create_task(worker.take(repair))
        fetching: asyncio.Task[None] | None = None
        try:
            while not repairing.done():
                now = self._clock.monotonic()
                if fetching is None and convergence.fetch_due <= now:
                    fetching = asyncio.create_task(worker.take(convergence.begin_fetch()))
                    self._is_fetching = True
                next_s = max(0.0, min(convergence.fetch_due - now, FETCH_CHECK_S))
                if await self._ended(fetching or repairing, next_s) and fetching is not None:
                    fetching.result()
                    fetching, self._is_fetching = None, False
                    await self._tell()
            repairing.result()
            if fetching is not None:
                await self._attend(fetching)
        finally:
            self._is_fetching = False
            for task in filter(None, (repairing, fetching)):
                task.cancel()

    async def _ended(self, task: asyncio.Task[None], within_s: float) -> bool:
        """Wait for ``task``, a hint, or so many seconds; return whether the task ended."""
        waking = asyncio.create_task(self._wake.wait())
        await asyncio.wait({task, waking}, timeout=within_s, return_when=asyncio.FIRST_COMPLETED)
        waking.cancel()
        self._wake.clear()
        return task.done()

    async def _tell(self) -> None:
        """Let those look who wait for something to happen."""
        self._news.set()
        async with self._progressed:
            self._progressed.notify_all()

    async def _pause(self, seconds: float) -> None:
        try:
            async with asyncio.timeout(max(seconds, 0.0)):
                await self._wake.wait()
        except TimeoutError:
            return
        self._wake.clear()

    async def _sync(self, timeout_s: Any) -> dict[str, Any]:
        if not isinstance(timeout_s, int | float) or not 0 < timeout_s <= SYNC_TIMEOUT_MAX_S:
            raise UsageError("timeout_s must be a number of seconds", "at most an hour")
        began = self._clock.monotonic()
        try:
            async with asyncio.timeout(timeout_s):
                await self._serve_sync()
        except TimeoutError:
            raise UsageError(f"not done within {timeout_s:g} s", "see reconciler status") from None
        await self._show()
        return {**outcome(self._worker), "took_s": self._clock.monotonic() - began}

    async def _taken(self, ordered: Ordered) -> dict[str, Any]:
        """What came of an order about a rollout: it is part of the next decision."""
        try:
            async with asyncio.timeout(ORDER_TIMEOUT_S), self._progressed:
                await self._progressed.wait_for(lambda: ordered.said is not None)
        except TimeoutError:
            what = f"not taken within {ORDER_TIMEOUT_S:g} s, and not forgotten"
            raise UsageError(what, "see reconciler status") from None
        await self._show()
        return {"app": ordered.app, "said": list(ordered.said or ())}

    async def _serve_sync(self) -> None:
        convergence = self._worker.convergence
        async with self._progressed:
            # A fetch under way may have asked Git before the push that this is about.
            await self._progressed.wait_for(lambda: not self._is_fetching)
            ticket = convergence.sync_requested(self._clock.monotonic())
            self._wake.set()
            await self._progressed.wait_for(
                lambda: (
                    self._worker.stopping.is_set()
                    or convergence.is_served(ticket, self._clock.monotonic())
                )
            )

    async def _watch(self) -> None:
        """Look at the programs and ask the nodes; a change that is not ours wakes the work."""
        worker = self._worker
        runtime, standing = worker.tools.runtime, worker.standing
        while True:
            try:
                found = await look(runtime)
                said = await last_words(runtime, found)
            except (JailError, MaculaError, OSError) as error:
                worker.chronicle.cannot_look(str(error), worker.convergence.look_failure)
            else:
                worker.chronicle.cannot_look("")
                self._saw(found)
                standing.world = replace(standing.world, last_words=said)
                await self._ask(found)
            self._news.set()
            await asyncio.sleep(worker.settings.health.interval_s)

    async def _probe(self) -> None:
        """Ask the probes of apps; what they say anew wakes the work."""
        worker = self._worker
        record, tools = HookRecord(worker.settings.state_dir), worker.tools
        attendant = Attendant(tools.runtime, self._clock, record, worker.hook_failed)
        probing = Probing(worker.settings, tools.runtime, self._clock, attendant)
        rolling = tools.planner.rolling
        await probing.run(lambda: worker.standing.world, lambda: rolling.claimed, self._heard)

    async def _tend(self) -> None:
        """See that the front runs, and how it stands."""
        worker, said = self._worker, ""
        while True:
            front = await in_thread(worker.tools.planner.porter.tend)
            worker.standing.front = front
            line = "" if front is None or not front.reason else front.line()
            if line != said:
                level = Level.WARNING if line else Level.INFO
                line_or_ready = line or "Ready"
                worker.tools.journal.note(
                    "front", f"front: {line_or_ready}", level, what=line_or_ready
                )
                said = line
            self._news.set()
            await asyncio.sleep(worker.settings.health.interval_s)

    def _heard(self, opinions: Mapping[str, Opinion], drained: Mapping[str, Ended]) -> None:
        worker, rolling = self._worker, self._worker.tools.planner.rolling
        before, has_drained = rolling.opinions, drained != rolling.drained
        rolling.opinions, rolling.drained = opinions, drained
        worker.standing.world = replace(worker.standing.world, opinions=opinions)
        self._news.set()
        if has_drained or _verdicts(opinions) != _verdicts(before):
            worker.convergence.look_by(self._clock.monotonic())
            self._wake.set()

    def _saw(self, found: Mapping[str, JailFacts]) -> None:
        for jail, facts in found.items():
            if jail in self._seen and facts.restarts > self._seen[jail].restarts:
                self._note_restart(jail, facts.last_exit)
        self._seen = found
        standing = self._worker.standing
        before = standing.world.found
        if not self._worker.is_repairing:
            standing.world = replace(standing.world, found=found)
            if _essence(found) != _essence(before):
                self._worker.convergence.exit_hinted(self._clock.monotonic())
                self._wake.set()

    async def _ask(self, found: Mapping[str, JailFacts]) -> None:
        settings, standing = self._worker.settings, self._worker.standing
        running = [jail for jail, facts in found.items() if facts.state is JailState.RUNNING]
        nodes = [name for kind, name in map(kind_and_name, running) if kind == "node"]
        sockets = {name: socket_path(settings.run_dir, name) for name in nodes}
        health = await ask_nodes(sockets, settings.health.timeout_s)
        for name, one in health.items():
            known = standing.world.health.get(name)
            # A node that has just started and is silent yet is no news.
            if one.answers != (known is not None and known.answers):
                self._note_answer(name, one)
        standing.world = replace(standing.world, health=health)

    def _note_restart(self, jail: str, last_exit: str) -> None:
        said = f"{spoken(jail)} was restarted" + (f": {last_exit}" if last_exit else "")
        journal = self._worker.tools.journal
        journal.note("restarted", said, Level.WARNING, jail=jail, after=last_exit)

    def _note_answer(self, node: str, health: NodeHealth) -> None:
        journal = self._worker.tools.journal
        if health.answers:
            journal.note("answers", f"node {node} answers", node=node)
            return
        said = f"node {node} does not answer: {health.reason}"
        journal.note("silent", said, Level.WARNING, node=node, reason=health.reason)

    async def _publish(self) -> None:
        while True:
            began = self._clock.monotonic()
            await self._show()
            # Of many items, telling of them must not become most of the work.
            took = self._clock.monotonic() - began
            await asyncio.sleep(max(PUBLISH_GAP_S, _QUIET * took))
            with suppress(TimeoutError):
                async with asyncio.timeout(PUBLISH_INTERVAL_S):
                    await self._news.wait()
            self._news.clear()

    async def _show(self) -> None:
        """Write the status down if it says something new."""
        snapshot, shown, now = self._worker.snapshot(), self._shown, self._clock.monotonic()
        if shown is not None and now - self._shown_at < HEARTBEAT_S:
            status = replace(snapshot.status, at=shown.status.at)
            if replace(snapshot, status=status) == shown:
                return
        try:
            await in_thread(self._worker.tools.store.save_snapshot, snapshot)
        except OSError as error:
            self._worker.chronicle.wrote("status.json", error)
        else:
            self._worker.chronicle.wrote("status.json")
            await in_thread(self._worker.chronicle.publish, snapshot.status)
            self._shown, self._shown_at = snapshot, now


async def pass_once(worker: Worker) -> dict[str, Any]:
    """One pass without a daemon: fetch, evaluate, repair; the caller holds the lock."""
    clock, convergence = worker.tools.clock, worker.convergence
    ticket = convergence.sync_requested(clock.monotonic())
    Orders(worker).end_suspension()
    while not convergence.is_served(ticket, clock.monotonic()):
        await worker.take(convergence.next_action(clock.monotonic()))
    worker.tools.planner.supply.end()
    snapshot = worker.snapshot()
    await in_thread(worker.tools.store.save_snapshot, snapshot)
    await in_thread(worker.chronicle.publish, snapshot.status)
    return outcome(worker)


def outcome(worker: Worker) -> dict[str, Any]:
    """What became of the tip of the branch, as ``reconciler sync`` answers it."""
    convergence = worker.convergence
    progress, tip = convergence.progress, convergence.tip
    status = worker.snapshot().status
    problems = list(status.problems)
    desired = worker.standing.world.desired
    is_whole = desired is None or desired.is_whole
    if status.suspended is not None:
        held = f"suspended {dict(status.withheld())['suspended']}"
        word, problems = "suspended", [held, "nothing is applied until: reconciler resume"]
    elif status.is_rolled_back and progress.last_applied == convergence.goal:
        word, tip = "rolled back", convergence.goal
    elif status.fetch.error:
        word, problems = "unreachable", [status.fetch.error, *problems]
    elif tip is not None and tip == progress.refused:
        word = "refused"
    elif tip == progress.last_applied and status.converged:
        word = "applied" if is_whole else "partial"
    elif tip == progress.last_applied and worker.standing.waiting:
        word = "partial"
    elif worker.standing.is_lagging and tip == convergence.goal and not convergence.step_failures:
        word, problems = "progressing", [*worker.standing.rollouts(), *problems]
    else:
        word = "failed"
    return {"outcome": word, "revision": tip, "problems": problems}


def _essence(found: Mapping[str, JailFacts]) -> dict[str, tuple[JailState, str, str]]:
    """What a plan looks at: a program that its supervisor started again is no drift."""
    return {n: (f.state, f.program_digest, f.files_digest) for n, f in sorted(found.items())}


def _verdicts(opinions: Mapping[str, Opinion]) -> dict[str, tuple[str, bool]]:
    """What a rollout looks at: another reason for the same verdict is no news to it."""
    return {jail: (said.run, said.is_healthy) for jail, said in opinions.items()}
