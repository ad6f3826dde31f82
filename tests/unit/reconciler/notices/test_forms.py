"""Each Git host is told in its own form, and its answer is understood."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from reconciler.notices.forms import Speaker, check_answer, enquiry, posting
from reconciler.notices.gitnotes import notes_ref
from reconciler.notices.ledger import NotTold
from reconciler.notices.notice import Notice, State
from reconciler.notices.settings import NotifySettings, StatusTarget, check_web_url

TOKEN = "glpat-0123456789"  # noqa: S105  # of these tests alone
SPEAKER = Speaker(machine="edge-7", context="macula/edge-7", source="u", branch="main")
NOTICE = Notice(revision="a" * 40, state=State.FAILURE, text=f"failed: {TOKEN} {'x' * 400}")


def target(provider: str) -> StatusTarget:
    if provider == "generic":
        return StatusTarget(provider="generic", url="https://hook.example/x?y=1")
    return StatusTarget(
        provider=provider,  # type: ignore[arg-type]
        url=None if provider == "github" else "https://git.example/api",
        repository="group/sub/site",
        token_file=Path("/token"),
        details_url="https://box.example",
    )


@pytest.mark.parametrize(
    ("provider", "url", "state"),
    [
        ("github", f"https://api.github.com/repos/group/sub/site/statuses/{'a' * 40}", "failure"),
        ("gitlab", f"https://git.example/api/projects/group%2Fsub%2Fsite/statuses/{'a' * 40}",
         "failed"),
        ("gitea", f"https://git.example/api/repos/group/sub/site/statuses/{'a' * 40}", "failure"),
        ("generic", "https://hook.example/x?y=1", "failure"),
    ],
)  # fmt: skip
def test_form_is_that_of_the_provider(provider: str, url: str, state: str) -> None:
    made = posting(target(provider), NOTICE, SPEAKER, TOKEN)
    form = json.loads(made.body)
    assert made.url == url
    assert form["state"] == state
    assert TOKEN not in made.body.decode()
    assert TOKEN not in made.url
    text = form.get("description", form.get("reason"))
    assert len(text) <= {"github": 140, "generic": 1000}.get(provider, 255)
    if provider != "generic":
        assert form["target_url"] == "https://box.example"
        assert form["name" if provider == "gitlab" else "context"] == "macula/edge-7"


def test_enquiry_changes_nothing() -> None:
    assert enquiry(target("generic"), TOKEN) is None
    for provider in ("github", "gitlab", "gitea"):
        asked = enquiry(target(provider), TOKEN)
        assert asked is not None
        assert asked.method == "GET"


@pytest.mark.parametrize(
    ("status", "is_about_it"),
    [(422, True), (404, True), (503, False), (401, False), (302, False), (429, False)],
)
def test_answers_are_understood(status: int, is_about_it: bool) -> None:
    with pytest.raises(NotTold) as error:
        check_answer(status, f"no {TOKEN}".encode(), "7", TOKEN)
    assert error.value.is_about_it is is_about_it
    assert TOKEN not in str(error.value)
    if status != 302:
        assert error.value.wait_s == 7.0


def test_what_gitlab_was_told_before_counts_as_told() -> None:
    check_answer(400, b'{"message":"Cannot transition status via :run from :running"}', "", "")
    check_answer(201, b"", "", "")


@pytest.mark.parametrize(
    "url",
    ["http://git.example", "ftp://git.example", "https://ada:x@git.example", "https://", "x",
     "https://a b", "http://localhost", "https://git.example:99999", "https://h/#x"],
)  # fmt: skip
def test_urls_that_are_not_safe_are_refused(url: str) -> None:
    with pytest.raises(ValueError, match=r"URL|https"):
        check_web_url(url)


def test_loopback_may_be_plain() -> None:
    assert check_web_url("http://127.0.0.1:8080/") == "http://127.0.0.1:8080"
    assert check_web_url("http://[::1]:1") == "http://[::1]:1"


def test_settings_that_tell_nobody_or_two_by_one_name_are_refused() -> None:
    with pytest.raises(ValueError, match="nobody"):
        NotifySettings()
    with pytest.raises(ValueError, match="one name"):
        NotifySettings(statuses=(target("github"), target("github")))
    with pytest.raises(ValueError, match="token_file"):
        StatusTarget(provider="gitea", url="https://git.example/api/v1", repository="a/b")


@pytest.mark.parametrize(
    ("machine", "ref"),
    [
        ("edge-7.plant.example", "edge-7.plant.example"),
        ("..a..b.", "a.b"),
        ("a~b^c:d", "a-b-c-d"),
        ("box.lock", "box"),
        ("é", "machine"),
        ("x" * 300, "x" * 100),
    ],
)
def test_every_machine_has_a_ref_that_git_takes(machine: str, ref: str) -> None:
    assert notes_ref(machine) == f"refs/notes/reconciler/{ref}"
