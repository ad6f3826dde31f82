"""From the settings of a machine to its herald: where the parts are put together."""

from __future__ import annotations

from typing import TYPE_CHECKING

from reconciler.convergence import Backoff
from reconciler.machine import machine_facts
from reconciler.notices.forms import Speaker
from reconciler.notices.gitnotes import Annotator
from reconciler.notices.herald import FILE, Herald
from reconciler.notices.posting import Poster

if TYPE_CHECKING:
    from random import Random

    from maculaos.host.clock import Clock
    from reconciler.notices.settings import NotifySettings
    from reconciler.settings import ReconcilerSettings
    from reconciler.sources.remotes import Remote


def open_herald(
    settings: ReconcilerSettings, remote: Remote, clock: Clock, random: Random
) -> Herald | None:
    """Who tells what came of commits; None if nobody is to be told."""
    wanted = settings.notify
    if wanted is None:
        return None
    backoff = Backoff(base_s=wanted.backoff_base_s, max_s=wanted.backoff_max_s)
    channels = channels_of(wanted, settings, remote)
    return Herald(channels, settings.state_dir / FILE, backoff, random, clock)


def channels_of(
    wanted: NotifySettings, settings: ReconcilerSettings, remote: Remote
) -> tuple[Poster | Annotator, ...]:
    """A way to each target; ``remote`` is the repository that is followed."""
    machine = machine_facts(settings).name
    speaker = Speaker(
        machine=machine,
        context=wanted.context or f"macula/{machine}",
        source=remote.shown_url,
        branch=settings.repository.branch,
    )
    posters = tuple(Poster(one, speaker, wanted.timeout_s) for one in wanted.statuses)
    if not wanted.notes:
        return posters
    return (*posters, Annotator(remote, settings.state_dir, machine, wanted.timeout_s))
