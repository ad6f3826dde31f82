"""What becomes of a delivery, for every provider."""

from __future__ import annotations

import base64
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Final
from urllib.parse import urlencode

import pytest
from hypothesis import given
from hypothesis import strategies as st

import webhooks
from reconciler.webhook.receiver import Head, Outcome, Receiver, Verdict, names
from reconciler.webhook.settings import SenderSettings, WebhookSettings

SECRETS = (b"another-secret-of-enough-length", webhooks.SECRET.encode())
SENDERS = tuple(
    SenderSettings(provider=provider, secret_file=Path("/secret"))
    for provider in ("github", "gitlab", "gitea", "generic")
)
SETTINGS = WebhookSettings(listen="127.0.0.1:0", senders=SENDERS)
Make = Callable[..., webhooks.Delivery]


def receiver(settings: WebhookSettings = SETTINGS) -> Receiver:
    return Receiver(settings, "main", ("https://git.example/upstream.git",), 0.0)


def head_of(one: webhooks.Delivery) -> Head:
    headers = {name.lower(): text for name, text in {**one.headers, **one.extra}.items()}
    return Head(method=one.method, path=one.path, headers=headers, announced_bytes=len(one.body))


def judged(
    one: webhooks.Delivery,
    by: Receiver | None = None,
    secrets: tuple[bytes, ...] = SECRETS,
    now: float = 0.0,
    at: float = 0.0,
) -> Verdict:
    by = by or receiver()
    head = replace(head_of(one), at=at)
    admitted = by.admit(head, now)
    return admitted if isinstance(admitted, Verdict) else by.judge(head, one.body, secrets, now)


@pytest.mark.parametrize("make", webhooks.ALL)
def test_authentic_push_to_the_branch_is_accepted(make: Make) -> None:
    verdict = judged(make())
    assert verdict.outcome is Outcome.ACCEPTED
    assert verdict.status == 202
    assert verdict.push is not None
    assert verdict.push.revision == webhooks.REVISION
    assert verdict.delivery


@pytest.mark.parametrize("make", webhooks.ALL)
def test_other_branches_are_acknowledged_and_ignored(make: Make) -> None:
    assert judged(make("refs/heads/other")).outcome is Outcome.IGNORED
    assert judged(make("refs/tags/main")).outcome is Outcome.IGNORED


@pytest.mark.parametrize("make", webhooks.ALL)
def test_a_delivery_counts_once(make: Make) -> None:
    by = receiver()
    assert judged(make(), by).outcome is Outcome.ACCEPTED
    assert judged(make(), by).outcome is Outcome.REPLAYED
    assert judged(make(delivery="another"), by).outcome is Outcome.ACCEPTED


@pytest.mark.parametrize("make", [webhooks.github, webhooks.gitea])
def test_a_signed_body_under_another_name_is_a_replay(make: Make) -> None:
    by, one = receiver(), make()
    assert judged(one, by).outcome is Outcome.ACCEPTED
    named = "X-GitHub-Delivery" if one.hook == "github" else "X-Gitea-Delivery"
    assert judged(replace(one, extra={named: "new"}), by).outcome is Outcome.REPLAYED


def test_memory_is_bounded() -> None:
    by = receiver(replace(SETTINGS, remembered=16, deliveries_per_minute=60_000))
    for number in range(40):
        assert judged(webhooks.gitlab(delivery=str(number)), by).outcome is Outcome.ACCEPTED
    assert judged(webhooks.gitlab(delivery="39"), by).outcome is Outcome.REPLAYED
    assert judged(webhooks.gitlab(delivery="0"), by).outcome is Outcome.ACCEPTED


@pytest.mark.parametrize("make", webhooks.ALL)
def test_without_a_proof_nothing_is_read(make: Make) -> None:
    one = make()
    proofs = {"x-hub-signature-256", "x-gitlab-token", "x-gitea-signature"}
    proofs.add("x-macula-signature-256")
    one.headers = {name: text for name, text in one.headers.items() if name.lower() not in proofs}
    verdict = receiver().admit(head_of(one), 0.0)
    assert isinstance(verdict, Verdict)
    assert verdict.status == 401


@pytest.mark.parametrize("make", webhooks.ALL)
def test_wrong_secrets_are_forgeries(make: Make) -> None:
    assert judged(make(), secrets=(b"x" * 32,)).status == 403
    assert judged(make(), secrets=()).status == 403


@pytest.mark.parametrize("make", [webhooks.github, webhooks.gitea, webhooks.generic])
@given(at=st.integers(0, 60), byte=st.integers(1, 255))
def test_a_changed_body_is_a_forgery(make: Make, at: int, byte: int) -> None:
    one = make()
    body = bytearray(one.body)
    body[at] ^= byte
    assert judged(replace(one, body=bytes(body))).outcome is Outcome.FORGED


@given(proof=st.text(st.characters(min_codepoint=32, max_codepoint=255), min_size=1, max_size=80))
def test_no_guessed_proof_passes(proof: str) -> None:
    one = webhooks.github()
    one.extra["X-Hub-Signature-256"] = proof
    assert judged(one).outcome is Outcome.FORGED


def test_too_large_is_refused_by_its_announcement_and_by_its_body() -> None:
    by, one = receiver(), webhooks.github()
    large = replace(head_of(one), announced_bytes=SETTINGS.body_bytes + 1)
    verdict = by.admit(large, 0.0)
    assert isinstance(verdict, Verdict)
    assert verdict.status == 413
    assert by.judge(head_of(one), None, SECRETS, 0.0).status == 413


@pytest.mark.parametrize(("method", "path"), [("GET", "/hooks/github"), ("POST", "/github")])
def test_everything_else_is_not_found(method: str, path: str) -> None:
    head = replace(head_of(webhooks.github()), method=method, path=path)
    verdict = receiver().admit(head, 0.0)
    assert isinstance(verdict, Verdict)
    assert verdict.status == 404


@given(body=st.binary(max_size=200) | st.just(b"[" * 100_000) | st.just(b'{"ref": 1}'))
def test_authentic_nonsense_is_malformed_or_ignored(body: bytes) -> None:
    headers = {**webhooks.github().headers}
    headers["X-Hub-Signature-256"] = f"sha256={webhooks.digest(body)}"
    verdict = judged(webhooks.Delivery("github", headers, body))
    assert verdict.outcome is Outcome.MALFORMED


def test_a_ping_a_deletion_and_another_repository_are_ignored() -> None:
    assert judged(webhooks.github(event="ping")).why == "no push"
    assert judged(webhooks.github(after=webhooks.NOTHING)).why == "the branch was deleted"
    assert judged(webhooks.github(name="ada/else")).why == "another repository"
    assert judged(webhooks.github(name="")).why == "another repository"


def test_named_repositories_stand_above_the_url() -> None:
    mine = replace(SENDERS[0], repositories=("ada/site",))
    by = receiver(replace(SETTINGS, senders=(mine,)))
    assert judged(webhooks.github(name="ada/site"), by).outcome is Outcome.ACCEPTED
    assert judged(webhooks.github(delivery="2"), by).outcome is Outcome.IGNORED


def test_forgeries_do_not_use_up_what_a_sender_may_send() -> None:
    by = receiver(replace(SETTINGS, deliveries_per_minute=2))
    for _ in range(20):
        assert judged(webhooks.github(), by, secrets=(b"x" * 32,)).outcome is Outcome.FORGED
    assert judged(webhooks.github(delivery="1"), by).outcome is Outcome.ACCEPTED
    assert judged(webhooks.github(delivery="2"), by).outcome is Outcome.ACCEPTED
    assert judged(webhooks.github(delivery="3"), by).status == 429
    assert judged(webhooks.github(delivery="4"), by, now=60.0).outcome is Outcome.ACCEPTED
    assert by.counts == {"accepted": 3, "forged": 20, "limited": 1}


def test_all_requests_together_are_limited() -> None:
    by = receiver(replace(SETTINGS, requests_per_minute=5))
    outcomes = [judged(webhooks.github(delivery=str(n)), by).outcome for n in range(7)]
    assert outcomes.count(Outcome.LIMITED) == 2


def test_a_form_is_read_like_its_payload() -> None:
    body = urlencode({"payload": webhooks.github().body.decode()}).encode()
    one = webhooks.github()
    one.headers["Content-Type"] = "application/x-www-form-urlencoded"
    one.headers["X-Hub-Signature-256"] = f"sha256={webhooks.digest(body)}"
    assert judged(replace(one, body=body)).outcome is Outcome.ACCEPTED


@pytest.mark.parametrize(
    ("url", "name", "is_it"),
    [
        ("https://git.example/ada/site.git", "ada/site", True),
        ("ssh://git@git.example/Ada/Site", "ada/site", True),
        ("/srv/git/site.git", "site", True),
        ("https://git.example/ada/site", "site-2", False),
        ("https://git.example/bada/site", "ada/site", False),
        ("https://git.example/ada/site", "", False),
    ],
)
def test_the_end_of_a_url_names_the_repository(url: str, name: str, is_it: bool) -> None:
    assert names(url, name) is is_it


NOON: Final = 1_800_000_000.0
KEY: Final = bytes(range(32))
SIGNING_TOKEN: Final = b"whsec_" + base64.b64encode(KEY)


def test_signed_delivery_of_gitlab_is_accepted_once() -> None:
    by = receiver()
    for key, secret in ((KEY, SIGNING_TOKEN), (webhooks.SECRET.encode(), SECRETS[1])):
        one = webhooks.gitlab_signed(at=NOON, key=key, delivery=f"d{len(secret)}")
        assert judged(one, by, (secret,), at=NOON + 60).outcome is Outcome.ACCEPTED
        # Another name in a header that is not signed makes no other delivery of it.
        one.extra["Idempotency-Key"] = "new"
        assert judged(one, by, (secret,), at=NOON + 60).outcome is Outcome.REPLAYED


@pytest.mark.parametrize("late_s", [-301, 301, 1e9])
def test_signature_of_another_time_is_no_proof(late_s: float) -> None:
    one = webhooks.gitlab_signed(at=NOON, key=KEY)
    assert judged(one, None, (SIGNING_TOKEN,), at=NOON + late_s).outcome is Outcome.FORGED


@pytest.mark.parametrize(
    "header",
    [
        {"webhook-id": "another"},
        {"webhook-timestamp": str(int(NOON) + 1)},
        {"webhook-timestamp": "\u00b2"},
        {"webhook-timestamp": ""},
        {"webhook-signature": "v1,AAAA"},
        {"webhook-signature": "v1a,AAAA v2,BBBB"},
        {"webhook-signature": "v1,\u00e9"},
    ],
)
def test_whatever_is_changed_of_a_signed_delivery_makes_it_forged(header: dict[str, str]) -> None:
    one = webhooks.gitlab_signed(at=NOON, key=KEY)
    one.headers.update(header)
    assert judged(one, None, (SIGNING_TOKEN,), at=NOON).outcome is Outcome.FORGED
    assert judged(one, None, (), at=NOON).outcome is Outcome.FORGED


def test_token_in_plain_does_not_help_a_wrong_signature() -> None:
    one = webhooks.gitlab_signed(at=NOON, key=b"wrong")
    one.headers["X-Gitlab-Token"] = webhooks.SECRET
    assert judged(one, at=NOON).outcome is Outcome.FORGED


def test_one_of_several_signatures_is_enough() -> None:
    one = webhooks.gitlab_signed(at=NOON, key=KEY)
    one.headers["webhook-signature"] = f"v1,AAAA {one.headers['webhook-signature']}"
    assert judged(one, None, (SIGNING_TOKEN,), at=NOON).outcome is Outcome.ACCEPTED


def test_others_are_not_believed_by_such_a_signature() -> None:
    signed = webhooks.gitlab_signed(at=NOON, key=KEY)
    one = webhooks.github()
    del one.headers["X-Hub-Signature-256"]
    one.headers |= {name: text for name, text in signed.headers.items() if "webhook" in name}
    assert judged(one, None, (SIGNING_TOKEN,), at=NOON).outcome is Outcome.UNSIGNED
