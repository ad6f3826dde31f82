"""How each kind of Git host is told the status of a commit: one HTTP request each. Pure.

Forms as their public documentation states them: GitHub REST "Commit statuses", GitLab "Commits API,
Set commit pipeline status", Gitea "repoCreateStatus" of its API. What is shown beside a commit is
the context, which names this machine, and one line.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import quote

from reconciler.notices.ledger import NotTold
from reconciler.notices.notice import State, redacted_text

if TYPE_CHECKING:
    from reconciler.notices.notice import Notice
    from reconciler.notices.settings import StatusTarget

USER_AGENT: Final = "macula-reconciler"
# GitHub takes 140 characters, GitLab and Gitea 255.
LONGEST_LINE: Final = {"github": 140, "gitlab": 255, "gitea": 255, "generic": 1000}
_GITLAB_STATES: Final = {State.FAILURE: "failed"}
# What a server says of this notice alone: an unknown commit, a form that it does not take.
_ABOUT_IT: Final = frozenset({400, 404, 409, 410, 413, 414, 422})
_SAID_BEFORE: Final = b"Cannot transition status"
_LONGEST_QUOTE: Final = 120


@dataclass(frozen=True, slots=True, kw_only=True)
class Posting:
    """One request."""

    url: str
    headers: Mapping[str, str]
    body: bytes = b""
    method: str = "POST"


@dataclass(frozen=True, slots=True, kw_only=True)
class Speaker:
    """Who speaks: what the host shows beside each notice."""

    machine: str
    context: str
    # Of the repository that is followed, without any password.
    source: str = ""
    branch: str = ""


def posting(target: StatusTarget, notice: Notice, speaker: Speaker, token: str) -> Posting:
    """The request that tells ``notice`` to ``target``."""
    text = redacted_text(notice.text, (token,), LONGEST_LINE[target.provider])
    if target.provider == "generic":
        url, form = target.root, _generic(notice, speaker, text)
    else:
        url = f"{_repository(target)}/statuses/{notice.revision}"
        form = {"state": str(notice.state), "description": text, "context": speaker.context}
        if target.provider == "gitlab":
            form["state"] = _GITLAB_STATES.get(notice.state, form["state"])
            form["name"] = form.pop("context")
    if target.details_url is not None:
        form["target_url"] = target.details_url
    return Posting(
        url=url,
        headers={**_headers(target, token), "Content-Type": "application/json"},
        body=json.dumps(form).encode(),
    )


def enquiry(target: StatusTarget, token: str) -> Posting | None:
    """A question that changes nothing, and shows whether the host lets us in; None for none."""
    if target.provider == "generic":
        return None
    return Posting(url=_repository(target), headers=_headers(target, token), method="GET")


def check_answer(status: int, body: bytes, retry_after: str, token: str) -> None:
    """Raise ``NotTold`` unless the host took the notice."""
    if 200 <= status < 300 or (status == 400 and _SAID_BEFORE in body):
        return  # GitLab refuses what it was told before: it knows it
    quoted = redacted_text(body.decode("utf-8", "replace"), (token,), _LONGEST_QUOTE)
    said = f"it answers {status}" + (f": {quoted}" if quoted else "")
    if 300 <= status < 400:
        raise NotTold(f"{said}; it is elsewhere: see url in the settings")
    hint = "; see token_file in the settings" if status in {401, 403} else ""
    wait_s = float(retry_after) if retry_after.isdecimal() and len(retry_after) < 6 else 0.0
    raise NotTold(said + hint, is_about_it=status in _ABOUT_IT, wait_s=wait_s)


def _generic(notice: Notice, speaker: Speaker, text: str) -> dict[str, Any]:
    return {
        **notice.as_json(),
        "reason": text,
        "machine": speaker.machine,
        "context": speaker.context,
        "repository": speaker.source,
        "branch": speaker.branch,
    }


def _repository(target: StatusTarget) -> str:
    name = target.repository or ""
    if target.provider == "gitlab":
        return f"{target.root}/projects/{quote(name, safe='')}"
    return f"{target.root}/repos/{quote(name)}"


def _headers(target: StatusTarget, token: str) -> dict[str, str]:
    headers = {"User-Agent": USER_AGENT, "Accept": "application/json"}
    if target.provider == "github":
        headers["Accept"] = "application/vnd.github+json"
        headers["X-GitHub-Api-Version"] = "2022-11-28"
    if not token:
        return headers
    if target.provider == "gitlab":
        return {**headers, "PRIVATE-TOKEN": token}
    word = "token" if target.provider == "gitea" else "Bearer"
    return {**headers, "Authorization": f"{word} {token}"}
