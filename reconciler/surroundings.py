"""Gathers what ``reconciler.doctor`` judges of what a reconciler leans on, if its settings say so.

Programs that decrypt, targets of notices, listeners. Nothing is told to anybody, nothing pushed,
and nothing is changed; each check is bounded in time by ``reconciler.examination``.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from cryptography import x509

from maculaos.errors import UsageError
from maculaos.host.commands import CommandFailed
from reconciler.doctor import (
    Finding,
    Verdict,
    judge_key,
    judge_listener,
    judge_program,
    judge_tls,
)
from reconciler.notices.ledger import NotTold
from reconciler.notices.opening import channels_of
from reconciler.secrets.decryption import check_key_file
from reconciler.secrets.reference import AGE_SUFFIX, references_in
from reconciler.specs.spec import AppSpec
from reconciler.web.listening import parse_endpoint
from reconciler.web.server import Offer, prepared
from reconciler.webhook.secretfile import SecretFile

if TYPE_CHECKING:
    from collections.abc import Iterator

    from maculaos.host.clock import Clock
    from maculaos.host.commands import CommandRunner
    from reconciler.notices.gitnotes import Annotator
    from reconciler.notices.posting import Poster
    from reconciler.settings import ReconcilerSettings
    from reconciler.sources.remotes import Remote
    from reconciler.specs.items import Item

Check: TypeAlias = tuple[str, Callable[[], Finding]]

COMMAND_TIMEOUT_S: Final = 10.0
CONNECT_TIMEOUT_S: Final = 3.0


class Surroundings:
    """The checks that follow from the settings of one machine."""

    def __init__(
        self,
        settings: ReconcilerSettings,
        remote: Remote,
        runner: CommandRunner,
        clock: Clock,
        *,
        is_running: Callable[[], bool],
    ) -> None:
        self._settings = settings
        self._remote = remote
        self._runner = runner
        self._clock = clock
        self._is_running = is_running

    def checks(self, items: Callable[[], list[Item]]) -> Iterator[Check]:
        """Every check by its name; ``items`` are the versions that are kept, of apps among them."""
        yield from self._secrets(items)
        yield from self._notices()
        yield from self._listeners()

    def _secrets(self, items: Callable[[], list[Item]]) -> Iterator[Check]:
        with_age, with_sops = 0, 0
        with suppress(UsageError, OSError):  # what cannot be read, other checks say
            for name in _secrets_of(items()):
                with_age += name.endswith(AGE_SUFFIX)
                with_sops += not name.endswith(AGE_SUFFIX)
        key_file = self._settings.secrets.key_file
        if key_file is None and not with_age + with_sops:
            return

        def key() -> Finding:
            if key_file is not None:
                check_key_file(key_file)
            return judge_key(str(key_file or ""), with_age + with_sops)

        yield "secrets", key
        yield "age", lambda: self._program("age", "secrets in age files", is_needed=with_age > 0)
        if with_sops:
            yield "sops", lambda: self._program("sops", "secrets in SOPS files", is_needed=True)

    def _program(self, name: str, what_for: str, *, is_needed: bool) -> Finding:
        try:
            said = self._runner.run(name, "--version", timeout_s=COMMAND_TIMEOUT_S)
        except CommandFailed:
            said = ""
        version = next(iter(said.splitlines()), "")
        return judge_program(name, version, is_needed=is_needed, what_for=what_for)

    def _notices(self) -> Iterator[Check]:
        if self._settings.notify is None:
            return
        for channel in channels_of(self._settings.notify, self._settings, self._remote):
            name = f"notify {channel.name}"
            yield name, _enquiry(name, channel)

    def _listeners(self) -> Iterator[Check]:
        settings = self._settings
        if settings.webhook is not None:
            for sender in settings.webhook.senders:
                name, file = f"secret of {sender.hook}", SecretFile(sender.secret_file)
                yield name, lambda name=name, file=file: _secret(name, file)  # type: ignore[misc]
        offers: tuple[tuple[str, Any], ...] = (
            ("webhook", settings.webhook),
            ("metrics", settings.metrics),
        )
        for label, offer in offers:
            if offer is not None:
                name = f"listener {label}"
                yield name, lambda name=name, offer=offer: self._listener(name, offer)  # type: ignore[misc]

    def _listener(self, name: str, offer: Offer) -> Finding:
        prepared(offer)  # raises what is wrong with it
        if offer.certificate is not None:
            chain = x509.load_pem_x509_certificates(offer.certificate.read_bytes())
            ends_at = min(one.not_valid_after_utc.timestamp() for one in chain)
            found = judge_tls(name, str(offer.certificate), ends_at, self._clock.now())
            if found is not None:
                return found
        endpoint, is_running = parse_endpoint(offer.listen), self._is_running()
        if endpoint.port == 0:
            return Finding(name, Verdict.OK, f"{endpoint}: the system chooses the port")
        answers = is_running and _answers(endpoint.host, endpoint.port)
        is_free = is_running or _is_free(endpoint.host, endpoint.port)
        return judge_listener(
            name, str(endpoint), answers=answers, is_free=is_free, is_running=is_running
        )


def _secrets_of(items: list[Item]) -> set[str]:
    """The encrypted files that apps name."""
    apps = (item.spec for item in items if isinstance(item.spec, AppSpec))
    return {each.secret for app in apps for each in references_in(app.environment).values()}


def _enquiry(name: str, channel: Poster | Annotator) -> Callable[[], Finding]:
    def check() -> Finding:
        try:
            asyncio.run(channel.enquire())
        except NotTold as error:
            return Finding(name, Verdict.FAIL, str(error), "see notify in the settings")
        finally:
            channel.close()
        return Finding(name, Verdict.OK, "answers, and lets us in")

    return check


def _secret(name: str, file: SecretFile) -> Finding:
    return Finding(name, Verdict.OK, f"{len(file.secrets())} in its file")


def _answers(host: str, port: int) -> bool:
    try:
        with socket.create_connection((host, port), CONNECT_TIMEOUT_S):
            return True
    except OSError:
        return False


def _is_free(host: str, port: int) -> bool:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError:
            return False
        return True
