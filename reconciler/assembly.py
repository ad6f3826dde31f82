"""From a settings file to a worker with its tools: the one place where they are put together."""

from __future__ import annotations

import os
from contextlib import closing
from functools import partial
from random import Random
from typing import TYPE_CHECKING, Final

from maculaos.documents import read_document
from maculaos.errors import UsageError
from maculaos.host.clock import SystemClock
from maculaos.host.commands import SystemRunner
from maculaos.host.entropy import SystemEntropy
from maculaos.host.logbook import Level
from reconciler.choice import Choice
from reconciler.convergence import Backoff, Timing
from reconciler.deployments import Deployments
from reconciler.estate import Estate
from reconciler.inventory import Guard
from reconciler.journal import BoundedFile, Journal
from reconciler.machine import machine_facts, own_directory
from reconciler.names import app_jail
from reconciler.notices.token import read_token
from reconciler.passage import is_bad_news
from reconciler.planning import Planner
from reconciler.releases.opening import open_releases
from reconciler.rolling import Rolling
from reconciler.runtimes import Opened, open_runtime
from reconciler.secrets.custody import Custody
from reconciler.secrets.opening import open_places, open_vault
from reconciler.secrets.sealed import FOLDER as SEALED
from reconciler.secrets.sealed import SealedFiles
from reconciler.settings import ReconcilerSettings, located
from reconciler.sources.access import check_access
from reconciler.sources.following import Follower
from reconciler.sources.git import GitSource
from reconciler.sources.remotes import Access, Roster, remotes_of
from reconciler.sources.signatures import Trust, Verifier
from reconciler.sources.tree import TreeLimits
from reconciler.specs.compilation import Compiler
from reconciler.specs.filling import SandboxFiller
from reconciler.specs.targets import MachineFacts
from reconciler.specs.templates import AsWritten
from reconciler.store import Store
from reconciler.supply import Supply
from reconciler.worker import Tools, Worker

if TYPE_CHECKING:
    from contextlib import AbstractContextManager
    from pathlib import Path

    from jails.runtime import Runtime
    from maculaos.host.logbook import Lines
    from reconciler.settings import AccessSettings


LOG_NAME: Final = "reconciler.log"


def load_settings(path: Path | None) -> ReconcilerSettings:
    """Read the settings file; raises ``UsageError`` or ``InvalidDocument``."""
    if path is None:
        raise UsageError("no settings file is named", "give --config FILE")
    try:
        content = path.read_bytes()
    except OSError as error:
        raise UsageError(f"{path}: {error.strerror}", "name yours: --config FILE") from error
    return located(read_document(content, str(path), ReconcilerSettings).value, path.parent)


def assemble(settings: ReconcilerSettings, lines: Lines, runtime: Runtime | None = None) -> Worker:
    """A worker that logs to ``lines``, and what it runs jails by; the caller holds the lock.

    The settings choose the runtime, unless one is handed in. Raises ``UsageError`` if there is
    none to be had, or if a folder cannot be used.
    """
    own_directory("run_dir", settings.run_dir)
    clock = SystemClock()
    journal = Journal(lines, clock)
    opened = _given(runtime) if runtime else open_runtime(settings, clock)
    source, timing = source_of(settings, journal), _timing(settings)
    random = Random(SystemEntropy().draw(16))  # noqa: S311  # jitter, no secret
    why = opened.choice.why
    journal.note("runtime", why, name=opened.choice.name, why=why)
    planner = planner_of(settings, opened.runtime)
    planner.rolling.tell = partial(_tell_rollout, journal)
    planner.supply.tell = lambda why: journal.note("releases", why, Level.WARNING, why=why)
    tools = Tools(
        runtime=opened.runtime,
        choice=opened.choice,
        source=source,
        timing=timing,
        follower=Follower(source, Roster(source.remotes, timing.fetch, random)),
        verifier=verifier_of(settings, source),
        compiler=compiler_of(settings),
        planner=planner,
        store=store_of(settings),
        clock=clock,
        journal=journal,
        random=random,
    )
    return Worker(settings, tools, os.getpid())


def _tell_rollout(journal: Journal, app: str, event: str) -> None:
    level = Level.WARNING if is_bad_news(event) else Level.INFO
    journal.note("rollout", f"app {app}: {event}", level, jail=app_jail(app), what=event)


def _given(runtime: Runtime) -> Opened:
    return Opened(runtime, Choice(runtime.name, f"{runtime.name} is what was handed in"))


def compiler_of(settings: ReconcilerSettings) -> Compiler:
    """Makes desired states for this machine; templates are filled in a child process."""
    return Compiler(machine_facts(settings), SandboxFiller())


def checker_of(settings: ReconcilerSettings | None) -> Compiler:
    """The same for who checks a repository; without settings for no machine in particular."""
    return Compiler(MachineFacts(), AsWritten()) if settings is None else compiler_of(settings)


def planner_of(settings: ReconcilerSettings, runtime: Runtime, *, may_keep: bool = True) -> Planner:
    """Makes steps for this machine; each has its own memory of what is owned.

    Not ``may_keep``: it is only looked at what would be done, and no file is made.
    """
    wanted = settings.removal
    guard = Guard(items=wanted.items, share=wanted.share)
    estate = Estate(settings.state_dir, guard)
    rolling = Rolling(Deployments(settings.state_dir), estate, SystemClock())
    supply = supply_of(settings, may_keep=may_keep)
    return Planner(settings, runtime, estate, rolling, supply)


def supply_of(settings: ReconcilerSettings, *, may_keep: bool = True) -> Supply:
    """Brings releases and secrets to this machine; raises ``UsageError`` for bad certificates."""
    state_dir, run_dir = settings.state_dir, settings.run_dir
    custody = Custody(
        partial(open_vault, settings.secrets, state_dir, SystemEntropy(), may_keep=may_keep),
        open_places(settings.secrets, run_dir),
        SealedFiles(state_dir / SEALED),
        run_dir,
    )
    return Supply(open_releases(settings.releases, state_dir, SystemClock()), custody)


def log_file(settings: ReconcilerSettings) -> AbstractContextManager[Lines]:
    """The log where nobody reads lines: beside what else is remembered, and bounded."""
    return closing(BoundedFile(settings.state_dir / LOG_NAME))


def store_of(settings: ReconcilerSettings) -> Store:
    """The files in ``state_dir``."""
    return Store(settings.state_dir, settings.limits.history)


def source_of(settings: ReconcilerSettings, journal: Journal) -> GitSource:
    """The repository, with every remote of it."""
    repository = settings.repository
    fallbacks = ((one.url, _access(one.access)) for one in repository.fallbacks)
    return GitSource(
        remotes_of(repository.url, _access(repository.access), fallbacks),
        repository.branch,
        settings.state_dir,
        timeout_s=settings.poll.timeout_s,
        limits=TreeLimits(files=settings.limits.files, file_bytes=settings.limits.file_bytes),
        note=lambda text: journal.note("git", text, what=text),
    )


def verifier_of(settings: ReconcilerSettings, source: GitSource) -> Verifier:
    """What says which commits of ``source`` may be followed."""
    return Verifier(source.clone, trust_of(settings), SystemRunner())


def trust_of(settings: ReconcilerSettings) -> Trust:
    """Whom this machine trusts."""
    wanted = settings.trust
    return Trust(
        allowed_signers=wanted.allowed_signers,
        revoked_keys=wanted.revoked_keys,
        gpg_keyring=wanted.gpg_keyring,
        follows_rewrites=wanted.history == "follow",
    )


def check_files(settings: ReconcilerSettings) -> None:
    """Raise ``SourceUnreachable`` if a key, token or list that the settings name is of no use."""
    repository = settings.repository
    for access in (repository.access, *(one.access for one in repository.fallbacks)):
        check_access(_access(access))
    for target in () if settings.notify is None else settings.notify.statuses:
        read_token(target)
    trust_of(settings).check_files()


def _access(settings: AccessSettings) -> Access:
    return Access(
        token_file=settings.token_file,
        user=settings.user,
        ssh_key_file=settings.ssh_key_file,
        known_hosts_file=settings.known_hosts_file,
        ca_file=settings.ca_file,
    )


def _timing(settings: ReconcilerSettings) -> Timing:
    poll, retry = settings.poll, settings.retry
    return Timing(
        poll_interval_s=poll.interval_s,
        poll_jitter=poll.jitter,
        drift_interval_s=settings.drift_interval_s,
        fetch=Backoff(base_s=poll.backoff_base_s, max_s=poll.backoff_max_s),
        retry=Backoff(base_s=retry.base_s, max_s=retry.max_s),
    )
