"""The worker: does what ``Convergence`` says next, and tells it what came of it.

Three actions: ask Git, read and compile a commit, bring the machine to a commit. Whatever may
block runs in a thread. What fails is reported, remembered and shown; it never ends the worker.
When to act is not decided here.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, replace
from functools import partial
from random import Random
from typing import TYPE_CHECKING, Final, TypeVar

from jails.runtime import JailError, Runtime
from maculaos.client import connect
from maculaos.errors import MaculaError
from maculaos.host.clock import Clock
from maculaos.host.logbook import Level
from reconciler.activity import Moment
from reconciler.apply import Applier, Observer, StepRecord
from reconciler.choice import Choice
from reconciler.convergence import (
    Action,
    Backoff,
    Convergence,
    Evaluate,
    Fetch,
    Repair,
    Timing,
    Wait,
)
from reconciler.desired import Desired, Refused, compile_tree
from reconciler.generations import Generation, Outcome, Progress, bounded
from reconciler.git import Commit, GitSource, Revision
from reconciler.journal import Journal
from reconciler.machine import machine_paths, make_socket_folders, remove_socket_folder
from reconciler.names import kind_and_name, spoken
from reconciler.placement import socket_path
from reconciler.plan import plan
from reconciler.render import render
from reconciler.standing import About, Standing
from reconciler.status import FetchStatus, counted, short_revision
from reconciler.steps import RemoveJail
from reconciler.store import Store
from reconciler.survey import look
from reconciler.unreachable import DamagedClone, EmptyRepository, SourceUnreachable, hindered

if TYPE_CHECKING:
    from collections.abc import Callable

    from reconciler.activity import Snapshot
    from reconciler.settings import ReconcilerSettings
    from reconciler.steps import Step

T = TypeVar("T")

RELOAD_TIMEOUT_S: Final = 5.0
PROBLEMS_LOGGED: Final = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class Tools:
    """What the worker works with."""

    runtime: Runtime
    # Which runtime that is, and why.
    choice: Choice
    source: GitSource
    store: Store
    clock: Clock
    journal: Journal
    random: Random


class Worker:
    """Works for one reconciler; belongs to one event loop."""

    def __init__(self, settings: ReconcilerSettings, tools: Tools, pid: int) -> None:
        """Begin where the last worker ended; raises ``UsageError`` if that cannot be read."""
        self.settings = settings
        self.tools = tools
        # Set to end the work at the next border of a step.
        self.stopping = asyncio.Event()
        self.standing = Standing(about=self._about(pid))
        self.convergence = Convergence(
            _timing(settings), tools.random, self._recalled(), tools.clock.monotonic()
        )
        # While this holds, what is found on the machine changes by our own hand.
        self.is_repairing = False
        self._saved = self.convergence.progress
        self._compiled: tuple[str, Desired] | None = None
        self._commits: dict[str, Commit] = {}
        self._applier = Applier(tools.runtime, self._reload, tools.clock)

    def snapshot(self) -> Snapshot:
        """How things stand now."""
        last = [Moment(at=event.at, text=event.text) for event in self.tools.journal.last]
        return self.standing.snapshot(self.convergence, last, self.tools.clock.now())

    async def take(self, action: Action) -> None:
        """Do ``action`` and report what came of it."""
        match action:
            case Fetch():
                await self.fetch()
            case Evaluate(revision):
                await self.evaluate(revision)
            case Repair(revision):
                await self.repair(revision)
            case Wait():
                return
        self._save_progress()

    async def fetch(self) -> None:
        """Ask Git for the tip of the branch."""
        text = f"asking {self.tools.source.shown_url}"
        self.standing.begin(text, self._now)
        try:
            tip, notice = await _with_git(self._fetch)
        except EmptyRepository as error:
            self._fetch_failed(error)
            self.convergence.fetched(None, self._monotonic)
        except SourceUnreachable as error:
            if self.stopping.is_set():
                return  # we ended it ourselves, which says nothing about the repository
            self._fetch_failed(error)
            self.convergence.fetch_failed(str(error), self._monotonic)
        else:
            await self._fetched(tip, notice)
        finally:
            self.standing.end(text)

    async def evaluate(self, revision: str) -> None:
        """Read and compile that commit: it becomes the goal, or is refused."""
        attempted_at = self._now
        text = f"reading {short_revision(revision)}"
        self.standing.begin(text, attempted_at)
        try:
            desired = await _with_git(partial(self._compile, revision))
            await _with_git(partial(self.tools.source.keep, Revision(revision)))
        except Refused as refused:
            self._refused(revision, refused, attempted_at)
        except SourceUnreachable as error:
            known = self.convergence.evaluate_failure
            self.convergence.evaluate_failed(str(error), self._monotonic)
            if known is None or known.reason != str(error):
                self._cannot(f"read {short_revision(revision)}", error, revision=revision)
        else:
            self._compiled = (revision, desired)
            self.standing.refusal = ()
            self.convergence.compiled(revision, self._monotonic)
            said = f"accepted {short_revision(revision)}"
            self._note("commit_accepted", said, revision=revision, subject=self._subject(revision))
        finally:
            self.standing.end(text)

    async def repair(self, revision: str) -> None:
        """Look, plan, and take the steps that bring the machine to that commit."""
        self.is_repairing = True
        try:
            await self._repair(revision)
        finally:
            self.is_repairing = False

    async def _repair(self, revision: str) -> None:
        attempted_at, began = self._now, self._monotonic
        try:
            steps = await self._plan(revision)
        except Refused as refused:
            # It was accepted once, by an older version of this program: repeating cannot help.
            self._refused(revision, refused, attempted_at)
            return
        except (JailError, MaculaError, OSError) as error:
            known = self.convergence.look_failure
            self.convergence.repair_failed(str(error), self._monotonic)
            if known is None or known.reason != str(error):
                self._cannot("look at the machine", error)
            return
        postponed = self.convergence.postponed(self._monotonic)
        due = [step for step in steps if step.name not in postponed]
        self.standing.is_settled = not steps
        records = await self._apply(due)
        if len(records) < len(due):
            return  # stopped at the border of a step: nothing is known about the rest
        self.convergence.repaired(revision, frozenset(s.name for s in steps), self._monotonic)
        self.standing.is_settled = not self.convergence.step_failures
        self.standing.reconciled_at = self._now
        self.standing.reconcile_s = self._monotonic - began
        if records:
            await self._look()
        self._record(revision, attempted_at, records)

    async def _look(self) -> None:
        try:
            found = await look(self.tools.runtime)
        except (JailError, MaculaError, OSError) as error:
            self._cannot("look at the machine", error)
            return
        self.standing.world = replace(self.standing.world, found=found)

    async def _plan(self, revision: str) -> tuple[Step, ...]:
        desired = await self._desired(revision)
        runtime = self.tools.runtime.name
        paths = await asyncio.to_thread(machine_paths, self.settings, tuple(desired.nodes), runtime)
        rendered = render(desired, paths)
        await asyncio.to_thread(make_socket_folders, self.settings, tuple(desired.nodes))
        found = await look(self.tools.runtime)
        self.standing.world = replace(
            self.standing.world, desired=desired, rendered=rendered, found=found
        )
        return plan(rendered.jails, found, rendered.kept)

    async def _desired(self, revision: str) -> Desired:
        """What that accepted commit wants; read again after a restart."""
        if self._compiled is None or self._compiled[0] != revision:
            desired = await asyncio.to_thread(self._compile, revision)
            self._compiled = (revision, desired)
            self._subject(revision)
        return self._compiled[1]

    async def _apply(self, steps: list[Step]) -> tuple[StepRecord, ...]:
        if not steps:
            return ()
        observer = Observer(began=self._step_began, ended=self._step_ended)
        return await self._applier.apply(steps, self.stopping, observer)

    async def _reload(self, jail: str) -> str:
        kind, name = kind_and_name(jail)
        if kind != "node":
            return "only nodes can be told to reload"
        socket = socket_path(self.settings.run_dir, name)
        try:
            async with (
                asyncio.timeout(RELOAD_TIMEOUT_S),
                connect(socket, name="reconciler") as mesh,
            ):
                await mesh.reload()
        except (MaculaError, OSError, TimeoutError) as error:
            reason = str(error) or f"no answer within {RELOAD_TIMEOUT_S:g} s"
            said = f"{spoken(jail)} does not reload and is restarted: {reason}"
            self._note("reload_failed", said, Level.WARNING, jail=jail, reason=reason)
            return reason
        return ""

    # In a thread.

    def _fetch(self) -> tuple[Revision, str]:
        source = self.tools.source
        known = self.convergence.tip
        before = source.tip() if known is None else Revision(known)
        tip = source.fetch()
        if tip not in self._commits:
            self._commits[tip] = source.commit(tip)
        # Most fetches bring nothing new: they end here, and start no more git than they must.
        if before in {None, tip}:
            return tip, ""
        if not source.holds(before) or source.is_ancestor(before, tip):
            return tip, ""
        gone = short_revision(before)
        return tip, f"the history of {source.branch} was rewritten: {gone} is no part of it now"

    def _compile(self, revision: str) -> Desired:
        try:
            return self._compile_once(revision)
        except DamagedClone:
            self.tools.source.repair()
            return self._compile_once(revision)

    def _compile_once(self, revision: str) -> Desired:
        source = self.tools.source
        tree = source.tree(Revision(revision))
        if revision not in self._commits:
            self._commits[revision] = source.commit(Revision(revision))
        if tree.problems:
            raise Refused(tree.problems)
        return compile_tree(tree.files)

    # What came of it.

    async def _fetched(self, tip: Revision, notice: str) -> None:
        moved = tip != self.convergence.tip
        self.standing.fetch = FetchStatus(ok_at=self._now)
        if moved:
            self.standing.notice = notice
            # Only the tip and the goal are still spoken of.
            spoken_of = {tip, self.convergence.goal}
            self._commits = {one: self._commits[one] for one in self._commits if one in spoken_of}
            subject = self._subject(tip)
            said = f"fetched {short_revision(tip)}: {subject}"
            self._note("fetched", said, tip=tip, subject=subject)
        if notice:
            self._note("history_rewritten", notice, Level.WARNING, tip=tip)
        self.convergence.fetched(tip, self._monotonic)

    def _fetch_failed(self, error: SourceUnreachable) -> None:
        if self.standing.fetch.error != str(error):
            self._cannot("fetch", error)
        self.standing.fetch = replace(self.standing.fetch, failed_at=self._now, error=str(error))

    def _refused(self, revision: str, refused: Refused, attempted_at: float) -> None:
        self.standing.refusal = bounded(tuple(map(str, refused.problems)))
        self.convergence.refused(revision, self._monotonic)
        said = f"refused {short_revision(revision)}: {counted(len(refused.problems), 'problem')}"
        count = len(refused.problems)
        self._note("commit_refused", said, Level.WARNING, revision=revision, problems=count)
        for line in self.standing.refusal[:PROBLEMS_LOGGED]:
            self._note("problem", "", Level.WARNING, at=line)
        self._remember(revision, Outcome.REFUSED, attempted_at, problems=self.standing.refusal)

    def _step_began(self, step: Step) -> None:
        self.standing.begin(step.describe(), self._now)

    def _step_ended(self, record: StepRecord) -> None:
        step = record.step
        self.standing.end(step.describe())
        said, took = record.describe(), f"{record.duration_s:.2f}"
        if record.is_ok:
            self.convergence.step_done(step.name)
            self._forget_socket(step)
            self._note(step.verb, said, jail=step.name, why=step.reason, took_s=took)
        else:
            self.convergence.step_failed(step.name, record.failure, self._monotonic)
            facts = {"jail": step.name, "reason": record.failure, "took_s": took}
            self._note(f"cannot_{step.verb}", said, Level.WARNING, **facts)

    def _forget_socket(self, step: Step) -> None:
        kind, name = kind_and_name(step.name)
        if isinstance(step, RemoveJail) and kind == "node":
            remove_socket_folder(self.settings.run_dir, name)

    def _record(self, revision: str, attempted_at: float, records: tuple[StepRecord, ...]) -> None:
        """Put this repair into the history if it says anything new about the commit."""
        failures = self.convergence.step_failures
        outcome = Outcome.FAILED if failures else Outcome.APPLIED
        # A commit that was refused meanwhile changed nothing about the one that is repaired.
        done = [one for one in self._history() if one.outcome is not Outcome.REFUSED]
        if not done or (done[-1].revision, done[-1].outcome) != (revision, outcome):
            steps = tuple(record.describe() for record in records)
            problems = tuple(
                f"{spoken(jail)}: {failure.reason}" for jail, failure in failures.items()
            )
            self._remember(revision, outcome, attempted_at, problems=problems, steps=steps)

    def _remember(
        self,
        revision: str,
        outcome: Outcome,
        attempted_at: float,
        *,
        problems: tuple[str, ...] = (),
        steps: tuple[str, ...] = (),
    ) -> None:
        last, commit = self._last_generation(), self._commits.get(revision)
        if last is not None and last.revision == revision:
            attempted_at, steps = last.attempted_at, (*last.steps, *steps)
        generation = Generation(
            revision=revision,
            subject=commit.subject if commit else "",
            author=commit.author if commit else "",
            attempted_at=attempted_at,
            finished_at=self._now,
            outcome=outcome,
            problems=problems,
            steps=steps,
        )
        try:
            self.tools.store.record(generation)
        except OSError as error:
            self.wrote("history.jsonl", error)
        else:
            self.wrote("history.jsonl")

    def wrote(self, file: str, error: OSError | None = None) -> None:
        """Remember why ``file`` could not be written, or that it could; say each reason once."""
        reason = "" if error is None else error.strerror or str(error)
        if reason and reason != self.standing.unwritten.get(file):
            self.tools.journal.cannot(f"write {file}", reason, file=file)
        self.standing.unwritten[file] = reason

    def _last_generation(self) -> Generation | None:
        history = self._history()
        return history[-1] if history else None

    def _history(self) -> tuple[Generation, ...]:
        try:
            return self.tools.store.history()
        except OSError:
            return ()  # writing it will say why

    def _save_progress(self) -> None:
        progress = self.convergence.progress
        if progress == self._saved:
            return
        try:
            self.tools.store.save_progress(progress)
        except OSError as error:
            self.wrote("state.json", error)
        else:
            self._saved = progress
            self.wrote("state.json")

    def _recalled(self) -> Progress:
        """How far the last worker came.

        A refused commit is not evaluated again, so recall what was wrong with it; if that was
        never written down, forget the refusal, and the next look at the commit says it.
        """
        progress = self.tools.store.progress()
        for generation in self._history():
            if generation.revision == progress.refused and generation.outcome is Outcome.REFUSED:
                self.standing.refusal = generation.problems
                return progress
        return progress.without_refusal()

    def _subject(self, revision: str) -> str:
        commit = self._commits.get(revision)
        if commit is None:
            return ""
        self.standing.subject, self.standing.author = commit.subject, commit.author
        return commit.subject

    def _about(self, pid: int) -> About:
        return About(
            pid=pid,
            started_at=self._now,
            runtime=self.tools.choice.name,
            runtime_why=self.tools.choice.why,
            url=self.tools.source.shown_url,
            branch=self.tools.source.branch,
            deadline_s=self.settings.health.deadline_s,
        )

    def _note(
        self, event: str, sentence: str, level: Level = Level.INFO, /, **facts: object
    ) -> None:
        self.tools.journal.note(event, sentence, level, **facts)

    def _cannot(self, what: str, why: Exception, /, **facts: object) -> None:
        self.tools.journal.cannot(what, why, **facts)

    @property
    def _now(self) -> float:
        return self.tools.clock.now()

    @property
    def _monotonic(self) -> float:
        return self.tools.clock.monotonic()


async def _with_git(work: Callable[[], T]) -> T:
    """Do ``work`` in a thread; a machine that has no room for it is no end of the daemon."""
    try:
        return await asyncio.to_thread(work)
    except OSError as error:
        raise hindered(error) from error


def _timing(settings: ReconcilerSettings) -> Timing:
    poll, retry = settings.poll, settings.retry
    return Timing(
        poll_interval_s=poll.interval_s,
        poll_jitter=poll.jitter,
        drift_interval_s=settings.drift_interval_s,
        fetch=Backoff(base_s=poll.backoff_base_s, max_s=poll.backoff_max_s),
        retry=Backoff(base_s=retry.base_s, max_s=retry.max_s),
    )
