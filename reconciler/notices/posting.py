"""Notices over HTTP: to a Git host that shows them beside the commit, or to any program."""

from __future__ import annotations

from typing import TYPE_CHECKING

from maculaos.host.threads import in_thread
from reconciler.notices.forms import Posting, check_answer, enquiry, posting
from reconciler.notices.ledger import NotTold
from reconciler.notices.token import read_token
from reconciler.sources.unreachable import SourceUnreachable
from reconciler.web.client import NoAnswer, Question, ask

if TYPE_CHECKING:
    from reconciler.notices.forms import Speaker
    from reconciler.notices.notice import Notice
    from reconciler.notices.settings import StatusTarget
    from reconciler.web.client import Answer


class Poster:
    """Tells one target."""

    def __init__(self, target: StatusTarget, speaker: Speaker, timeout_s: float) -> None:
        self.name = target.label
        self._target = target
        self._speaker = speaker
        self._timeout_s = timeout_s

    @property
    def identity(self) -> str:
        """What it was told counts for exactly this."""
        target = self._target
        return f"{target.provider} {target.root} {target.repository} {self._speaker.context}"

    def speaks_of(self, _: Notice) -> bool:
        """Whether that is for this target: every notice is."""
        return True

    async def tell(self, notice: Notice) -> None:
        """Tell it; raises ``NotTold``."""
        token = await self._token()
        answer = await self._asked(posting(self._target, notice, self._speaker, token))
        retry_after = answer.headers.get("retry-after", "")
        check_answer(answer.status, answer.body, retry_after, token)

    async def enquire(self) -> None:
        """Whether it lets us in, without telling anything; raises ``NotTold``."""
        token = await self._token()
        asked = enquiry(self._target, token)
        if asked is None:
            # Nobody but its owner knows what it answers; that it answers is all that counts.
            await self._asked(_glance(self._target))
            return
        answer = await self._asked(asked)
        check_answer(answer.status, answer.body, "", token)

    def close(self) -> None:
        """Nothing is kept open."""

    async def _token(self) -> str:
        """Read anew each time: a new token takes effect at once."""
        try:
            return await in_thread(read_token, self._target)
        except SourceUnreachable as error:
            raise NotTold(str(error)) from error

    async def _asked(self, posting: Posting) -> Answer:
        question = Question(
            url=posting.url, method=posting.method, headers=posting.headers, body=posting.body
        )
        try:
            return await ask(question, self._timeout_s, self._target.ca_file)
        except NoAnswer as error:
            raise NotTold(str(error)) from error


def _glance(target: StatusTarget) -> Posting:
    return Posting(url=target.root, headers={}, method="HEAD")
