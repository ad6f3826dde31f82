"""The supply: what a jail needs before its step, its release on the disk and its secrets in memory.

Releases are fetched beside the steps of a pass, a few at once, one at a time for each app: what has
to be waited for comes last, and a newer commit takes over meanwhile. A failure is the failure of
the step that waited. A release that runs for a while is made permanent; an app that is gone loses
its releases. What is wanted, and when, is decided elsewhere.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Final

from maculaos.errors import MaculaError, UsageError
from maculaos.host.threads import in_thread
from reconciler.releases.members import BadArchive
from reconciler.releases.signature import BadSignature
from reconciler.releases.spec import ReleaseSpec
from reconciler.releases.transport import ReleaseUnavailable
from reconciler.steps import RemoveJail

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterable, Sequence

    from reconciler.fleet import Fleet
    from reconciler.passage import Passage
    from reconciler.releases.store import ReleaseStore
    from reconciler.render import MachinePaths
    from reconciler.secrets.custody import Custody
    from reconciler.specs.desired import Desired
    from reconciler.specs.spec import AppSpec
    from reconciler.steps import Step

FETCHED_AT_ONCE: Final = 2
# How often somebody who waits for a release looks whether it is still wanted.
GLANCE_S: Final = 0.25


@dataclass(slots=True)
class _Delivery:
    """One release of one app on its way, or there, or not to be had."""

    release: ReleaseSpec
    done: asyncio.Event = field(default_factory=asyncio.Event)
    failure: Exception | None = None
    is_given_up: bool = False
    task: asyncio.Task[None] | None = None


class Supply:
    """The releases and secrets of one machine; belongs to one event loop."""

    def __init__(self, releases: ReleaseStore, custody: Custody) -> None:
        self.releases = releases
        self.custody = custody
        # By jail, what it is to run.
        self._members: Fleet = {}
        self._deliveries: dict[str, _Delivery] = {}
        self._arrival = asyncio.Event()
        self._at_once = asyncio.Semaphore(FETCHED_AT_ONCE)
        self._has_recovered = False
        self._hopeless: set[str] = set()
        self._complaint = ""
        # Hears what is wrong with releases and is nobody's step.
        self.tell: Callable[[str], None] = lambda _: None

    # In a thread.

    def unseal(
        self, apps: Iterable[AppSpec], desired: Desired, machine: MachinePaths
    ) -> MachinePaths:
        """``machine`` with what can be told of the secrets of ``apps``, whatever their version."""
        found = self.custody.unseal(apps, desired.secrets, desired.realm.name, machine)
        return replace(machine, secrets=found)

    def lost(self, members: Fleet) -> frozenset[str]:
        """The jails whose release is not on the disk, running or not."""
        return frozenset(
            jail
            for jail, member in members.items()
            if member.app.release is not None and not self._is_here(member.app)
        )

    def expect(self, apps: Iterable[AppSpec], members: Fleet) -> None:
        """These jails are about to be brought about; the first time, mend what a crash left.

        ``apps`` are those whose ciphertext is kept. Raises ``OSError``.
        """
        if not self._has_recovered:
            for error in self.releases.recover().problems.values():
                self._complain(error)
            self._has_recovered = True
        self._members = members
        self.custody.keep(apps, members)

    def settle(self, passage: Passage, is_gone: Callable[[str], bool]) -> None:
        """At the end of a pass: keep what proved itself, delete what is of no use any more.

        ``is_gone`` says of an app that nothing is left of it.
        """
        for app in self.releases.apps():
            try:
                if not is_gone(app):
                    self._make_permanent(app, passage)
                elif (known := self._deliveries.get(app)) is None or known.done.is_set():
                    self.releases.forget_app(app)
            except UsageError as error:
                self._complain(error)

    def _make_permanent(self, app: str, passage: Passage) -> None:
        """What all instances run, once that version is the stable one."""
        decision = passage.decisions.get(app)
        if decision is None or decision.deployment.stable != passage.goals[app]:
            return
        members = (each.app for each in self._members.values() if each.app.name == app)
        run = {"" if each.release is None else each.release.identity for each in members}
        if len(run) == 1 and (identity := run.pop()) and self.releases.holds(app, identity):
            shelf = self.releases.shelf(app)
            if shelf.permanent != identity or shelf.current is not None:
                self.releases.install(app, identity)
                self.releases.make_permanent(app, identity)
                self.releases.retain(app)

    def _complain(self, error: UsageError) -> None:
        """Once for the same cause, however often it comes."""
        if str(error) != self._complaint:
            self._complaint = str(error)
            self.tell(str(error))

    # On the loop.

    async def in_turn(
        self, steps: Sequence[Step], is_over: Callable[[], bool]
    ) -> AsyncIterator[Step]:
        """``steps`` in their order, and then, as it comes, what has to be waited for.

        Ends before the next one as soon as ``is_over``.
        """
        self._sort_out()
        waiting = {step.name for step in steps if not self._send_for(step)}
        left = sorted(steps, key=lambda step: step.name in waiting)
        while left and not is_over():
            step = next((one for one in left if self._has_arrived(one)), None)
            if step is not None:
                left.remove(step)
                yield step
                continue
            with suppress(TimeoutError):
                async with asyncio.timeout(GLANCE_S):
                    await self._arrival.wait()
            self._arrival.clear()

    def _sort_out(self) -> None:
        """Forget what came, or did not, and give up what nobody wants any more."""
        under_way = self._deliveries.items()
        self._deliveries = {app: each for app, each in under_way if not each.done.is_set()}
        for app, delivery in self._deliveries.items():
            wanted = {m.app.release for m in self._members.values() if m.app.name == app}
            delivery.is_given_up = delivery.release not in wanted

    def _has_arrived(self, step: Step) -> bool:
        """Whether nothing has to be waited for any more, well or not."""
        delivery = self._delivery_of(step)
        return delivery is None or delivery.done.is_set()

    async def hand_over(self, step: Step) -> None:
        """Right before ``step``: its release is the app's current one, its secrets are placed.

        Raises ``UsageError`` for what cannot be had.
        """
        if isinstance(step, RemoveJail):
            return
        delivery = self._delivery_of(step)
        if delivery is not None and delivery.done.is_set():
            self._hopeless.discard(step.name)
            if delivery.failure is not None:
                if not may_pass(delivery.failure):
                    self._hopeless.add(step.name)
                raise delivery.failure
        await in_thread(self._hand_over, step.name)

    def hopeless(self) -> frozenset[str]:
        """The jails whose release cannot come until somebody changes something."""
        return frozenset(self._hopeless)

    def end(self) -> None:
        """The reconciler ends: give up what is on its way; what came of it stays."""
        for delivery in self._deliveries.values():
            delivery.is_given_up = True
        self.custody.end()

    def _hand_over(self, jail: str) -> None:
        member = self._members.get(jail)
        if member is not None and member.app.release is not None:
            self.releases.install(member.app.name, member.app.release.identity)
        self.custody.place(jail)

    def _delivery_of(self, step: Step) -> _Delivery | None:
        member = self._members.get(step.name)
        if isinstance(step, RemoveJail) or member is None or member.app.release is None:
            return None
        delivery = self._deliveries.get(member.app.name)
        is_it = delivery is not None and delivery.release == member.app.release
        return delivery if is_it else None

    def _send_for(self, step: Step) -> bool:
        """Whether all that ``step`` needs is here; what is not is on its way after this."""
        member = self._members.get(step.name)
        if isinstance(step, RemoveJail) or member is None or member.app.release is None:
            return True
        app, release = member.app.name, member.app.release
        known = self._deliveries.get(app)
        if known is not None and known.release == release and not known.done.is_set():
            known.is_given_up = False
            return False
        if self._is_here(member.app):
            return True
        if known is not None and known.release == release:
            return True  # it failed, and the step says so
        delivery = _Delivery(release)
        delivery.task = asyncio.create_task(self._deliver(app, delivery, known))
        self._deliveries[app] = delivery
        return False

    def _is_here(self, app: AppSpec) -> bool:
        try:
            return app.release is None or self.releases.holds(app.name, app.release.identity)
        except UsageError:
            return False  # which the delivery finds, too, and says

    async def _deliver(self, app: str, delivery: _Delivery, before: _Delivery | None) -> None:
        try:
            if before is not None:
                before.is_given_up = True
                await before.done.wait()
            async with self._at_once:
                await in_thread(self._bring, app, delivery)
        finally:
            delivery.done.set()
            self._arrival.set()

    def _bring(self, app: str, delivery: _Delivery) -> None:
        try:
            self.releases.prepare(app, delivery.release, lambda: delivery.is_given_up)
        except (MaculaError, OSError) as error:
            delivery.failure = error


def may_pass(failure: Exception) -> bool:
    """Whether asking again may bring the release, with nothing changed."""
    if isinstance(failure, ReleaseUnavailable):
        return not failure.is_final
    return not isinstance(failure, (BadArchive, BadSignature))
