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
from typing import TYPE_CHECKING, Final

from jails.runtime import JailError, Runtime
from maculaos.errors import MaculaError, UsageError
from maculaos.host.clock import Clock
from maculaos.host.logbook import Level
from maculaos.host.threads import in_thread
from reconciler.activity import Moment
from reconciler.apply import Applier, Observer, StepRecord
from reconciler.choice import Choice
from reconciler.chronicle import Chronicle
from reconciler.convergence import (
    Action,
    Convergence,
    Evaluate,
    Fetch,
    Repair,
    Timing,
    Wait,
)
from reconciler.generations import Generation, Outcome, bounded, not_awaited
from reconciler.journal import Journal
from reconciler.machine import remove_socket_folder
from reconciler.names import kind_and_name, spoken
from reconciler.planning import Planner, Prepared
from reconciler.reloading import reload_node
from reconciler.sources.following import Follower, with_git
from reconciler.sources.git import Commit, GitSource, Revision
from reconciler.sources.signatures import Verifier
from reconciler.sources.trust import Untrusted
from reconciler.sources.unreachable import (
    DamagedClone,
    EmptyRepository,
    SourceUnreachable,
)
from reconciler.specs.compilation import Compiler
from reconciler.specs.desired import Desired, Refused
from reconciler.standing import About, Standing
from reconciler.status import FetchStatus, counted, short_revision
from reconciler.steps import RemoveJail
from reconciler.store import Store
from reconciler.survey import look

if TYPE_CHECKING:
    from jails.spec import HookKind
    from reconciler.activity import Snapshot
    from reconciler.settings import ReconcilerSettings
    from reconciler.steps import Step

PROBLEMS_LOGGED: Final = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class Tools:
    """What the worker works with."""

    runtime: Runtime
    # Which runtime that is, and why.
    choice: Choice
    source: GitSource
    timing: Timing
    # Asks the remotes of the source.
    follower: Follower
    # Which commits may be followed.
    verifier: Verifier
    # Commits become desired states by it; it remembers the files of the last one.
    compiler: Compiler
    # Desired states become steps by it.
    planner: Planner
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
        url, now = tools.source.shown_url, tools.clock.now()
        about = About.of(settings, tools.choice, url, pid=pid, started_at=now)
        self.standing = Standing(about=about)
        self.chronicle = Chronicle(tools.store, tools.journal, self.standing)
        self.convergence = Convergence(
            tools.timing, tools.random, self.chronicle.recalled(), tools.clock.monotonic()
        )
        # While this holds, what is found on the machine changes by our own hand.
        self.is_repairing = False
        self._compiled: tuple[str, Desired] | None = None
        self._commits: dict[str, Commit] = {}
        reload = partial(reload_node, settings.run_dir, tools.journal)
        hand_over = tools.planner.supply.hand_over
        self.standing.hopeless = tools.planner.supply.hopeless
        self._applier = Applier(
            tools.runtime, reload, tools.clock, hand_over=hand_over, tell=self.hook_failed
        )

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
        self.chronicle.save_progress(self.convergence.progress)

    async def fetch(self) -> None:
        """Ask Git for the tip of the branch."""
        text, began = f"asking {self.tools.source.shown_url}", self._monotonic
        self.standing.begin(text, self._now)
        try:
            tip, notice = await with_git(self._fetch)
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
            is_ok = not self.standing.fetch.error
            self.chronicle.tally.fetched(self._monotonic - began, self._now, is_ok=is_ok)

    def hook_failed(self, jail: str, kind: HookKind, why: str) -> None:
        """Tell that a hook of that jail failed: nothing waits for it but a start."""
        said = f"{spoken(jail)}: {why}"
        self._note("hook_failed", said, Level.WARNING, jail=jail, hook=str(kind), reason=why)

    def consent(self, revision: str) -> None:
        """An operator takes the history of that commit as it is; raises ``UsageError``."""
        convergence, now = self.convergence, self._monotonic
        if not convergence.consent(revision, now) and not (
            self.standing.waiting and convergence.consent_to_removals(revision, now)
        ):
            raise UsageError(*not_awaited(convergence.progress))
        self.chronicle.save_progress(self.convergence.progress)
        said = f"an operator consents to {short_revision(revision)}"
        self._note("consented", said, revision=revision)

    async def evaluate(self, revision: str) -> None:
        """Read and compile that commit: it becomes the goal, or is refused."""
        attempted_at = self._now
        text = f"reading {short_revision(revision)}"
        self.standing.begin(text, attempted_at)
        try:
            await with_git(partial(self._verify, revision))
            desired = await with_git(partial(self._compile, revision))
            await with_git(partial(self.tools.source.keep, Revision(revision)))
        except Refused as refused:
            self._refused(revision, refused, attempted_at)
        except Untrusted as error:
            self._distrusted(revision, error, attempted_at)
        except SourceUnreachable as error:
            known = self.convergence.evaluate_failure
            self.convergence.evaluate_failed(str(error), self._monotonic)
            if known is None or known.reason != str(error):
                self._cannot(f"read {short_revision(revision)}", error, revision=revision)
        else:
            self._compiled = (revision, desired)
            self.standing.refusal = ()
            self.convergence.compiled(revision, self._monotonic)
            if self.convergence.goal == revision:  # else an operator held the branch meanwhile
                said, subject = f"accepted {short_revision(revision)}", self._subject(revision)
                self._note("commit_accepted", said, revision=revision, subject=subject)
                self._tell_broken(desired)
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
            prepared = await self._prepare(revision)
        except Refused as refused:
            # It was accepted once, by an older version of this program: repeating cannot help.
            self._refused(revision, refused, attempted_at)
            return
        except (JailError, MaculaError, OSError) as error:
            self.chronicle.cannot_look(str(error), self.convergence.look_failure)
            self.convergence.repair_failed(str(error), self._monotonic)
            return
        steps = prepared.steps
        postponed = self.convergence.postponed(self._monotonic)
        due = [step for step in steps if step.name not in postponed]
        self.standing.hold(steps)
        if self.convergence.progress.suspended is not None:
            self.convergence.inspected(self._monotonic)
            return
        records = await self._apply(revision, due)
        if len(records) < len(due):
            # Ended at the border of a step: nothing is known about the rest.
            if not self.stopping.is_set():
                self.convergence.interrupted(self._monotonic)
            return
        self._settled(revision, prepared, began)
        self._record(revision, attempted_at, records)
        if records:
            await self._look()
        await self._release(prepared)

    def _settled(self, revision: str, prepared: Prepared, began: float) -> None:
        """That repair was carried out to its end, well or not."""
        steps, now = prepared.steps, self._monotonic
        names = frozenset(step.name for step in steps)
        self.convergence.repaired(revision, names, now, is_whole=prepared.is_whole)
        self.convergence.look_by(prepared.look_at(now))
        failures = self.convergence.step_failures
        self.standing.is_settled = not failures
        self.standing.hold(step for step in steps if step.name in failures)
        self.standing.reconciled_at = self._now
        self.standing.reconcile_s = self._monotonic - began
        self.chronicle.tally.repaired(self.standing.reconcile_s, self._now, is_ok=not failures)

    async def _look(self) -> None:
        try:
            found = await look(self.tools.runtime)
        except (JailError, MaculaError, OSError) as error:
            self.chronicle.cannot_look(str(error), self.convergence.look_failure)
            return
        self.standing.world = replace(self.standing.world, found=found)

    async def _prepare(self, revision: str) -> Prepared:
        """The steps to that commit, with all that they will make claimed as ours."""
        desired = await self._desired(revision)
        has_consent = self.convergence.progress.consented_removals == revision
        prepare = partial(self.tools.planner.prepare, desired, has_consent=has_consent)
        prepared = await in_thread(prepare)
        self.standing.world = replace(
            self.standing.world,
            desired=prepared.desired,
            rendered=prepared.rendered,
            found=prepared.found,
            passage=prepared.passage,
        )
        self.standing.is_settled = not prepared.steps
        self._tell_waiting(prepared.waiting)
        if self.convergence.progress.suspended is None:
            await in_thread(self.tools.planner.claim, prepared)
        return prepared

    async def _release(self, prepared: Prepared) -> None:
        try:
            await in_thread(self.tools.planner.release, prepared, self.standing.world.found)
        except OSError as error:
            self.chronicle.wrote("inventory.json", error)
        else:
            self.chronicle.wrote("inventory.json")

    async def _desired(self, revision: str) -> Desired:
        """What that accepted commit wants; read again after a restart."""
        if self._compiled is None or self._compiled[0] != revision:
            desired = await in_thread(self._compile, revision)
            self._compiled = (revision, desired)
            self._subject(revision)
        return self._compiled[1]

    async def _apply(self, revision: str, steps: list[Step]) -> tuple[StepRecord, ...]:
        """Take ``steps``, as long as that revision is what they may lead to."""
        observer = Observer(began=self._step_began, ended=self._step_ended)
        records: list[StepRecord] = []
        supply, is_over = self.tools.planner.supply, partial(self._is_over, revision)
        async for step in supply.in_turn(steps, is_over):
            records += await self._applier.apply((step,), self.stopping, observer)
        return tuple(records)

    def _is_over(self, revision: str) -> bool:
        convergence, stopping = self.convergence, self.stopping.is_set()
        is_overtaken = convergence.is_overtaken(self._monotonic)
        return stopping or is_overtaken or not convergence.may_apply(revision)

    # In a thread.

    def _fetch(self) -> tuple[Revision, str]:
        convergence = self.convergence
        tip, notice = self.tools.follower.fetch(
            convergence.tip, self._now, is_forced=convergence.is_forced
        )
        if tip not in self._commits:
            self._commits[tip] = self.tools.source.commit(tip)
        return tip, notice

    def _verify(self, revision: str) -> None:
        """Raise ``Untrusted`` if that commit may not be followed; the anchor moves later."""
        progress = self.convergence.progress
        self.tools.verifier.check(
            Revision(revision), progress.anchor, self._now, consented=progress.consented
        )

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
        return self.tools.compiler.compile(tree.files, tree.unreadable, tree.secrets)

    # What came of it.

    async def _fetched(self, tip: Revision, notice: str) -> None:
        moved = tip != self.convergence.tip
        self.standing.fetch = FetchStatus(ok_at=self._now, remotes=self.tools.follower.statuses)
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
        remotes = self.tools.follower.statuses
        self.standing.fetch = replace(
            self.standing.fetch, failed_at=self._now, error=str(error), remotes=remotes
        )

    def _refused(self, revision: str, refused: Refused, attempted_at: float) -> None:
        self.standing.refusal = bounded(tuple(map(str, refused.problems)))
        self.convergence.refused(revision, self._monotonic)
        count = len(refused.problems)
        said = f"refused {short_revision(revision)}: {counted(count, 'problem')}"
        self._note("commit_refused", said, Level.WARNING, revision=revision, problems=count)
        self._remember_refusal(revision, attempted_at)

    def _tell_broken(self, desired: Desired) -> None:
        """Say what of an accepted commit cannot be done; the rest of it is."""
        for key in desired.broken:
            said = f"{key.replace('/', ' ')} is broken, and stays as it is"
            self._note("item_broken", said, Level.WARNING, item=key)
        for problem in desired.told()[:PROBLEMS_LOGGED]:
            self._note("problem", "", Level.WARNING, at=str(problem))

    def _tell_waiting(self, waiting: tuple[str, ...]) -> None:
        """Say once which removals wait for an operator."""
        if waiting and waiting != self.standing.waiting:
            said = f"{counted(len(waiting), 'item')} would be removed: that waits for consent"
            self._note("removal_waits", said, Level.WARNING, items=",".join(waiting)[:500])
        self.standing.waiting = waiting

    def _distrusted(self, revision: str, error: Untrusted, attempted_at: float) -> None:
        self.standing.refusal = bounded(error.lines)
        self.convergence.refused(revision, self._monotonic, error.doubt)
        said = f"refused {short_revision(revision)}: its {error.doubt} cannot be trusted"
        self._note("commit_refused", said, Level.WARNING, revision=revision, doubt=error.doubt)
        self._remember_refusal(revision, attempted_at)

    def _remember_refusal(self, revision: str, attempted_at: float) -> None:
        for line in self.standing.refusal[:PROBLEMS_LOGGED]:
            self._note("problem", "", Level.WARNING, at=line)
        self._remember(revision, Outcome.REFUSED, attempted_at, problems=self.standing.refusal)

    def _step_began(self, step: Step) -> None:
        self.standing.begin(step.describe(), self._now)

    def _step_ended(self, record: StepRecord) -> None:
        step = record.step
        self.standing.end(step.describe())
        is_ok, seconds = record.is_ok, record.duration_s
        self.chronicle.tally.stepped(step.verb, seconds, self._now, is_ok=is_ok)
        said, took = record.describe(), f"{seconds:.2f}"
        if is_ok:
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
        if self.standing.is_lagging:
            return
        failures = self.convergence.step_failures
        desired = self.standing.world.desired
        told = () if desired is None else desired.told()
        reached = Outcome.PARTIAL if told or self.standing.waiting else Outcome.APPLIED
        if self.convergence.progress.is_rollback(revision, self.convergence.tip):
            reached = Outcome.ROLLED_BACK
        rolled_back = self.standing.rolled_back
        outcome = Outcome.FAILED if failures or rolled_back else reached
        # A commit that was refused meanwhile changed nothing about the one that is repaired.
        done = [one for one in self.chronicle.history() if one.outcome is not Outcome.REFUSED]
        if not done or (done[-1].revision, done[-1].outcome) != (revision, outcome):
            steps = tuple(record.describe() for record in records)
            problems = (
                *(f"{spoken(jail)}: {failure.reason}" for jail, failure in failures.items()),
                *rolled_back,
                *map(str, told),
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
        commit = self._commits.get(revision)
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
        self.chronicle.record(generation)

    def subject_of(self, revision: str | None) -> str:
        """The first line of that commit's message, if it is known."""
        commit = self._commits.get(revision or "")
        return commit.subject if commit is not None else ""

    def _subject(self, revision: str) -> str:
        commit = self._commits.get(revision)
        if commit is None:
            return ""
        self.standing.subject, self.standing.author = commit.subject, commit.author
        return commit.subject

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
