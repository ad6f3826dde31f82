"""What operators ask of a running reconciler beside looking: suspend, resume, roll back, explain.

Each order is kept on disk before it is answered, so that it holds over a restart; where none runs
the verbs write the same values themselves (``reconciler.cli.steering``). What an order means for
the work is decided in ``reconciler.convergence``.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Final

from jails.runtime import JailError
from maculaos.errors import MaculaError, UsageError
from maculaos.host.logbook import Level
from maculaos.host.threads import in_thread
from reconciler.events import about
from reconciler.explain import WORDS_TOLD, Evidence, Origin, explain, find_item
from reconciler.generations import Suspension, named_revision, rollback_target
from reconciler.rollouts.decision import Order
from reconciler.rollouts.decision import Word as RolloutWord
from reconciler.sources.git import Revision
from reconciler.sources.unreachable import one_line
from reconciler.status import short_revision

if TYPE_CHECKING:
    from reconciler.rolling import Ordered
    from reconciler.status import ItemStatus
    from reconciler.worker import Worker

LONGEST_WORDS: Final = 300
LOGS_TIMEOUT_S: Final = 3.0


class Orders:
    """Takes the orders for one worker."""

    def __init__(self, worker: Worker) -> None:
        self._worker = worker

    async def answer(self, request: dict[str, Any]) -> dict[str, Any]:
        """What the control socket answers to an order; raises ``UsageError``."""
        match request.get("do"):
            case "suspend":
                return self.suspend(request)
            case "resume":
                return self.resume(forgives=request.get("forgives") is True)
            case "rollback":
                return await self.roll_back(request.get("revision"))
            case "explain":
                return await self.explain(str(request.get("item", "")))
            case _:
                verbs = "status, sync, stop, consent, suspend, resume, rollback, rollout, explain"
                raise UsageError("unknown request", f"do one of: {verbs}")

    def roll(self, request: dict[str, Any]) -> Ordered:
        """Hand a word about an app's rollout on; raises ``UsageError``."""
        worker, app = self._worker, str(request.get("app", "")).removeprefix("app/")
        passage = worker.standing.world.passage
        words = ", ".join(RolloutWord)
        if request.get("word") not in tuple(RolloutWord):
            raise UsageError("a rollout is told one word", f"say one of: {words}")
        if passage is None or app not in passage.goals:
            raise UsageError(f"there is no app {app!r} here", "reconciler status lists them")
        if worker.convergence.progress.suspended is not None:
            raise UsageError("the work is suspended", "go on with: reconciler resume")
        word = RolloutWord(request["word"])
        self._note("rollout_order", f"an operator says of app {app}: {word}", app=app, word=word)
        worker.convergence.look_by(worker.tools.clock.monotonic())
        return worker.tools.planner.rolling.order(app, Order(word))

    def suspend(self, request: dict[str, Any]) -> dict[str, Any]:
        """Apply nothing from the next border of a step on."""
        until, now = request.get("until"), self._worker.tools.clock.now()
        if until is not None and (not isinstance(until, int | float) or until <= now):
            raise UsageError("until must be a time that is to come", "in seconds since the epoch")
        reason = one_line(str(request.get("reason", "")), LONGEST_WORDS)
        held = Suspension(since=now, reason=reason, until=until)
        self._worker.convergence.suspend(held)
        self._note("suspended", f"suspended: {reason}" if reason else "suspended", why=reason)
        self._keep()
        return {"suspended": True, "since": now, "until": until, "reason": reason}

    def resume(self, *, forgives: bool) -> dict[str, Any]:
        """Follow the branch again."""
        convergence = self._worker.convergence
        was_held = convergence.progress.is_held
        convergence.resume(self._worker.tools.clock.monotonic(), forgives=forgives)
        self._worker.standing.hold(())
        self._note("resumed", "resumed")
        self._keep()
        return {"resumed": was_held, "left_alone": convergence.tip in convergence.progress.bad}

    def end_suspension(self) -> None:
        """End a suspension whose time is over; to be called before each action."""
        convergence, tools = self._worker.convergence, self._worker.tools
        held = convergence.progress.suspended
        if held is not None and held.has_ended(tools.clock.now()):
            convergence.unsuspend(tools.clock.monotonic())
            self._worker.standing.hold(())
            self._note("resumed", "resumed: the time of the suspension is over")
            self._worker.chronicle.save_progress(convergence.progress)

    async def roll_back(self, named: Any) -> dict[str, Any]:
        """Bring the machine to an earlier revision, and keep it there until it is resumed."""
        worker, convergence = self._worker, self._worker.convergence
        history, source = worker.chronicle.history(), worker.tools.source
        left = convergence.goal
        wanted = None if named is None else named_revision(history, str(named))
        target = rollback_target(history, convergence.progress, wanted)
        try:
            if not await in_thread(source.holds, Revision(target)):
                what = f"{short_revision(target)} is no longer in the clone"
                raise UsageError(what, "name another one: reconciler history")
            await in_thread(source.keep, Revision(target))
        except OSError as error:
            raise UsageError(
                f"git cannot be asked: {error.strerror}", "reconciler doctor"
            ) from error
        convergence.rolled_back(target, worker.tools.clock.monotonic())
        said = f"rolled back from {short_revision(left)} to {short_revision(target)}"
        self._note("rolled_back", said, revision=target, left=left)
        self._keep()
        return {"revision": target, "left": left}

    async def explain(self, named: str) -> dict[str, Any]:
        """Why that item is as it is."""
        status = self._worker.snapshot().status
        item = find_item(status, named)
        jail = item.jail
        return explain(status, item, await self._evidence(item, jail)).as_json()

    async def _evidence(self, item: ItemStatus, jail: str) -> Evidence:
        worker = self._worker
        standing, convergence = worker.standing, worker.convergence
        failure = convergence.step_failures.get(jail)
        now = worker.tools.clock.monotonic()
        desired = standing.world.desired
        made = None if desired is None else desired.items.get(item.key)
        broken = () if desired is None else desired.broken.get(item.key, ())
        return Evidence(
            origin=Origin(
                revision=convergence.goal or "",
                subject=worker.subject_of(convergence.goal),
                file="" if made is None else made.path,
            ),
            step=standing.held.get(jail, ""),
            retry_in_s=None if failure is None else failure.retry_at - now,
            problems=tuple(map(str, broken)),
            events=about(worker.tools.journal.ring.all(), item.key),
            words=await self._words(jail),
        )

    async def _words(self, jail: str) -> tuple[str, ...]:
        try:
            async with asyncio.timeout(LOGS_TIMEOUT_S):
                logs = self._worker.tools.runtime.logs
                lines = await in_thread(logs, jail, WORDS_TOLD)
        except (JailError, MaculaError, OSError, TimeoutError):
            return ()
        return tuple(one_line(line, LONGEST_WORDS) for line in lines)

    def _keep(self) -> None:
        """Write the order down; raises ``UsageError`` if it holds only until the next start."""
        self._worker.chronicle.save_progress(self._worker.convergence.progress)
        if why := self._worker.standing.unwritten.get("state.json"):
            what = f"it is done, but lost at the next start: state.json cannot be written: {why}"
            raise UsageError(what, "make room in state_dir, then repeat it")

    def _note(self, event: str, sentence: str, /, **facts: object) -> None:
        self._worker.tools.journal.note(event, sentence, Level.WARNING, **facts)
