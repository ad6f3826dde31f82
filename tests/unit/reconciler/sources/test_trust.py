"""What is trusted, decided on facts alone."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reconciler.sources.keyring import primary_keys
from reconciler.sources.trust import (
    Signed,
    UnreadableSigners,
    Untrusted,
    judge_count,
    judge_history,
    judge_signatures,
    latest,
    parse_signers,
)
from signing import SshKey, needs_ssh_keygen

if TYPE_CHECKING:
    from pathlib import Path

KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAINJm3xA1yXg7RLTbGOk8Au6DaHLtjL4dzHLC3hm22+v+"


def signed(verdict: str = "G", key: str = "A", *, is_verified: bool = True) -> Signed:
    return Signed(revision="1" * 40, verdict=verdict, key=key, is_verified=is_verified)


@given(
    st.lists(
        st.builds(
            signed,
            st.sampled_from("GBUXYREN?"),
            st.sampled_from("ABC"),
            is_verified=st.booleans(),
        ),
        max_size=6,
    )
)
def test_nothing_passes_but_good_verified_signatures_of_keys_that_count(
    commits: list[Signed],
) -> None:
    keys = {"A": None, "B": 100.0}
    is_good = all(c.verdict == "G" and c.is_verified and c.key == "A" for c in commits)
    if is_good:
        judge_signatures(commits, keys, 200.0)
    else:
        with pytest.raises(Untrusted):
            judge_signatures(commits, keys, 200.0)


def test_key_counts_until_it_expires() -> None:
    judge_signatures([signed()], {"A": 100.0}, 99.0)
    with pytest.raises(Untrusted, match="expired"):
        judge_signatures([signed()], {"A": 100.0}, 100.0)


def test_refusal_names_some_commits_and_counts_the_rest() -> None:
    with pytest.raises(Untrusted) as refused:
        judge_signatures([signed("N")] * 25, {}, 0.0)
    assert len(refused.value.lines) == 12
    assert "and 15 more" in refused.value.lines[-2]


def test_history_needs_descent_or_the_very_consent() -> None:
    judge_history(None, "b", descends=False, consented=None)
    judge_history("a", "b", descends=True, consented=None)
    judge_history("a", "b", descends=False, consented="b")
    for consented in (None, "a", ""):
        with pytest.raises(Untrusted, match="reconciler consent b"):
            judge_history("a", "b", descends=False, consented=consented)


def test_count_is_bounded() -> None:
    judge_count("b", 5, 5)
    with pytest.raises(Untrusted, match="more than 5 commits"):
        judge_count("b", 6, 5)


@needs_ssh_keygen
def test_fingerprint_is_that_of_ssh_keygen(tmp_path: Path) -> None:
    key = SshKey(tmp_path, "ann")
    (signer,) = parse_signers(key.allowed().encode())
    assert (signer.fingerprint, signer.valid_before) == (key.fingerprint, None)


@pytest.mark.parametrize(
    "line",
    [
        f"ann@example.test {KEY}",
        f"ann@example.test,bob {KEY} a comment",
        f'"ann smith" {KEY} comment',
        f'* namespaces="git,file" {KEY}',
        f'ann namespaces="git",valid-after="20200101" {KEY} a b c',
    ],
)
def test_every_form_of_a_line_is_read(line: str) -> None:
    (signer,) = parse_signers(f"# us\n\n{line}\n".encode())
    assert signer.fingerprint.startswith("SHA256:")
    assert signer.valid_before is None


@pytest.mark.parametrize(
    ("text", "at"),
    [
        ("20210101Z", 1609459200.0),
        ("202101010130Z", 1609464600.0),
        ("20210101013005Z", 1609464605.0),
    ],
)
def test_expiry_is_read_to_the_second(text: str, at: float) -> None:
    (signer,) = parse_signers(f'ann valid-before="{text}" {KEY}'.encode())
    assert signer.valid_before == at


def test_expiry_without_a_zone_is_local_time() -> None:
    (signer,) = parse_signers(f'ann valid-before="20210101" {KEY}'.encode())
    assert signer.valid_before == time.mktime((2021, 1, 1, 0, 0, 0, 0, 0, -1))


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("", "holds no key"),
        ("ann", "line 1 is no signer"),
        (f"ann cert-authority {KEY}", "not a certificate authority"),
        (f'ann valid-before="soon" {KEY}', "is no date"),
        (f'ann valid-before="20211399Z" {KEY}', "is no date"),
        (f"ann {KEY[:-4]}!", "no public key"),
        (f"ann ssh-rsa {KEY.split()[1]}", "no public key of kind ssh-rsa"),
    ],
)
def test_line_that_cannot_be_read_spoils_the_list(line: str, said: str) -> None:
    with pytest.raises(UnreadableSigners, match=said):
        parse_signers(line.encode())


@given(st.text(max_size=200))
def test_any_text_is_read_or_refused(text: str) -> None:
    try:
        parse_signers(text.encode())
    except UnreadableSigners:
        return


def test_key_in_several_lines_counts_as_long_as_the_longest() -> None:
    lines = [f'ann valid-before="{year}0101Z" {KEY}' for year in (2021, 2030, 2025)]
    (until,) = latest(parse_signers("\n".join(lines).encode())).values()
    assert until == 1893456000.0
    (until,) = latest(parse_signers("\n".join([*lines, f"ann {KEY}"]).encode())).values()
    assert until is None


def test_unusable_openpgp_keys_are_left_out() -> None:
    listed = (
        "tru::1:1:0:3:1:5\n"
        "pub:u:255:22:A:1:::u:::scESC:::::ed25519:::0:\nfpr:::::::::AAAA:\nuid:u::::1::B::x:\n"
        "sub:u:255:18:C:1::::::e:::::cv25519::\nfpr:::::::::SUBKEY:\n"
        "pub:r:255:22:D:1:::u:::sc:::::ed25519:::0:\nfpr:::::::::REVOKED:\n"
        "pub:e:255:22:E:1:2::u:::sc:::::ed25519:::0:\nfpr:::::::::EXPIRED:\n"
    )
    assert primary_keys(listed) == {"AAAA"}
