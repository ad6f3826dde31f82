"""Which commits are followed: real signatures by ssh-keygen and gpg, checked by real git."""

from __future__ import annotations

import shutil
import tempfile
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from maculaos.host.commands import SystemRunner
from reconciler.sources.git import GitSource, Revision
from reconciler.sources.signatures import Trust, Verifier
from reconciler.sources.trust import Doubt, Untrusted
from reconciler.sources.unreachable import SourceUnreachable
from signing import GpgKey, SshKey, merge, needs_gpg, needs_ssh_keygen, run, sign
from upstream import Upstream

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = needs_ssh_keygen


@dataclass
class Yard:
    """A repository, two keys of which one is allowed, and a machine that follows it."""

    root: Path
    upstream: Upstream
    ann: SshKey
    bob: SshKey

    @property
    def trust(self) -> Trust:
        return Trust(allowed_signers=self.root / "allowed_signers")

    def allow(self, *lines: str) -> None:
        (self.root / "allowed_signers").write_text("".join(lines))

    def check(
        self,
        anchor: str | None,
        trust: Trust | None = None,
        *,
        consented: str | None = None,
        commits_max: int = 1000,
    ) -> None:
        """Fetch, and see whether the tip may be followed."""
        source = GitSource(str(self.upstream.path), "main", self.root)
        tip = source.fetch()
        verifier = Verifier(source.clone, trust or self.trust, SystemRunner(), commits_max)
        verifier.check(tip, anchor, time.time(), consented=consented)

    def refusal(self, anchor: str | None, trust: Trust | None = None, **how: object) -> str:
        """Why the tip may not be followed."""
        with pytest.raises(Untrusted) as refused:
            self.check(anchor, trust, **how)  # type: ignore[arg-type]
        return str(refused.value)


@pytest.fixture
def yard(tmp_path: Path) -> Yard:
    yard = Yard(tmp_path, Upstream(tmp_path), SshKey(tmp_path, "ann"), SshKey(tmp_path, "bob"))
    yard.allow("# who may sign\n\n", yard.ann.allowed())
    return yard


def test_commits_of_an_allowed_key_are_followed(yard: Yard) -> None:
    anchor = sign(yard.upstream, yard.ann)
    for _ in range(3):
        sign(yard.upstream, yard.ann)
    yard.check(anchor)


def test_first_commit_of_all_must_be_signed_itself(yard: Yard) -> None:
    sign(yard.upstream, None)
    assert "is not signed" in yard.refusal(None)
    sign(yard.upstream, yard.ann)
    yard.check(None)


def test_unsigned_commit_in_the_middle_is_found(yard: Yard) -> None:
    anchor = sign(yard.upstream, yard.ann)
    unsigned = sign(yard.upstream, None)
    sign(yard.upstream, yard.ann)
    said = yard.refusal(anchor)
    assert f"{unsigned[:10]} is not signed" in said
    assert said.count("signed by a key of trust.allowed_signers") == 1


def test_unknown_key_is_refused_though_git_calls_it_good(yard: Yard) -> None:
    anchor = sign(yard.upstream, yard.ann)
    tip = sign(yard.upstream, yard.bob)
    assert f"{tip[:10]} is signed by a key that is not on the list" in yard.refusal(anchor)


def test_revoked_key_is_refused_at_any_date(yard: Yard) -> None:
    anchor = sign(yard.upstream, yard.ann)
    sign(yard.upstream, yard.bob, "2020-01-01T00:00:00Z")
    yard.allow(yard.ann.allowed(), yard.bob.allowed())
    yard.check(anchor)
    revoked = yard.root / "revoked"
    revoked.write_text(yard.bob.public + "\n")
    assert "bad signature" in yard.refusal(anchor, replace(yard.trust, revoked_keys=revoked))


def test_revoked_key_in_a_binary_list_is_refused(yard: Yard) -> None:
    anchor = sign(yard.upstream, yard.ann)
    sign(yard.upstream, yard.ann)
    revoked = yard.root / "revoked.krl"
    run("ssh-keygen", "-q", "-k", "-f", str(revoked), f"{yard.ann.path}.pub")
    assert "bad signature" in yard.refusal(anchor, replace(yard.trust, revoked_keys=revoked))


def test_expired_key_signs_nothing_however_it_dates_its_commits(yard: Yard) -> None:
    anchor = sign(yard.upstream, yard.ann)
    sign(yard.upstream, yard.bob, "2020-01-01T00:00:00Z")
    yard.allow(yard.ann.allowed(), yard.bob.allowed('valid-before="20210101Z"'))
    assert "a key that has expired" in yard.refusal(anchor)
    yard.allow(yard.ann.allowed(), yard.bob.allowed('valid-before="20990101Z"'))
    yard.check(anchor)


def test_key_that_is_not_valid_yet_is_refused(yard: Yard) -> None:
    anchor = sign(yard.upstream, yard.ann)
    sign(yard.upstream, yard.bob)
    yard.allow(yard.ann.allowed(), yard.bob.allowed('valid-after="20990101Z"'))
    assert "not on the list" in yard.refusal(anchor)


def test_key_allowed_for_files_only_signs_no_commit(yard: Yard) -> None:
    anchor = sign(yard.upstream, yard.ann)
    sign(yard.upstream, yard.bob)
    yard.allow(yard.ann.allowed(), yard.bob.allowed('namespaces="file"'))
    yard.refusal(anchor)
    yard.allow(yard.ann.allowed(), yard.bob.allowed('namespaces="file,git"'))
    yard.check(anchor)


def test_unsigned_second_parent_of_a_signed_merge_is_found(yard: Yard) -> None:
    anchor = sign(yard.upstream, yard.ann)
    work = yard.upstream.work
    yard.upstream.git("checkout", "--quiet", "-b", "side", cwd=work)
    yard.upstream.git("commit", "--quiet", "--allow-empty", "-m", "side", cwd=work)
    side = yard.upstream.git("rev-parse", "HEAD", cwd=work)
    yard.upstream.git("checkout", "--quiet", "main", cwd=work)
    merge(yard.upstream, "side", yard.ann)
    assert f"{side[:10]} is not signed" in yard.refusal(anchor)


def test_changed_commit_keeps_no_signature(yard: Yard) -> None:
    anchor = sign(yard.upstream, yard.ann)
    sign(yard.upstream, yard.ann)
    raw = yard.upstream.git("cat-file", "commit", "HEAD", cwd=yard.upstream.work)
    forged = yard.root / "forged"
    forged.write_text(raw.replace("\n\nsigned", "\n\nforged") + "\n")
    words = ("hash-object", "-w", "-t", "commit", str(forged))
    revision = yard.upstream.git(*words, cwd=yard.upstream.work)
    yard.upstream.git("reset", "--quiet", "--hard", revision, cwd=yard.upstream.work)
    yard.upstream.push()
    assert f"{revision[:10]} has a bad signature" in yard.refusal(anchor)


def test_more_commits_than_the_bound_wait_for_a_consent(yard: Yard) -> None:
    anchor = sign(yard.upstream, yard.ann)
    tips = [sign(yard.upstream, yard.ann) for _ in range(3)]
    yard.check(anchor, commits_max=3)
    said = yard.refusal(anchor, commits_max=2)
    assert f"reconciler consent {tips[-1]}" in said
    yard.check(anchor, commits_max=2, consented=tips[-1])


def test_consent_to_a_rewrite_does_not_replace_a_signature(yard: Yard) -> None:
    anchor = sign(yard.upstream, yard.ann)
    tip = yard.upstream.rewrite({"realm.yaml": "x"})
    assert "does not descend" in yard.refusal(anchor)
    assert "is not signed" in yard.refusal(anchor, consented=tip)
    assert "does not descend" in yard.refusal(anchor, consented=anchor)


@pytest.mark.parametrize("trust", ["plain", "signed"])
def test_rewound_branch_is_refused_until_that_very_commit_has_a_consent(
    yard: Yard, trust: str
) -> None:
    wanted = Trust() if trust == "plain" else yard.trust
    old = sign(yard.upstream, yard.ann)
    anchor = sign(yard.upstream, yard.ann)
    yard.check(old, wanted)
    yard.upstream.git("reset", "--quiet", "--hard", old, cwd=yard.upstream.work)
    yard.upstream.push()
    said = yard.refusal(anchor, wanted)
    assert f"{old[:10]} does not descend from {anchor[:10]}" in said
    assert said.endswith(f"reconciler consent {old}")
    yard.check(anchor, wanted, consented=old)
    yard.check(anchor, replace(wanted, follows_rewrites=True))


def test_lost_clone_does_not_lose_the_anchor(yard: Yard) -> None:
    anchor = sign(yard.upstream, yard.ann)
    yard.check(None)
    yard.upstream.rewrite({"realm.yaml": "x"})
    sign(yard.upstream, yard.ann)
    shutil.rmtree(yard.root / "repository.git")
    assert "does not descend" in yard.refusal(anchor)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (None, "No such file"),
        ("", "is empty"),
        ("# nobody\n", "holds no key"),
        ("ann ssh-ed25519 AAAA\n", "line 1 holds no public key"),
        ("ann\n", "line 1 is no signer"),
    ],
)
def test_list_that_cannot_be_read_allows_nobody(yard: Yard, content: str | None, said: str) -> None:
    sign(yard.upstream, yard.ann)
    yard.allow(content or "")
    if content is None:
        (yard.root / "allowed_signers").unlink()
    with pytest.raises(SourceUnreachable, match=said):
        yard.check(None)


def test_missing_revocation_list_is_not_taken_for_an_empty_one(yard: Yard) -> None:
    sign(yard.upstream, yard.ann)
    gone = replace(yard.trust, revoked_keys=yard.root / "gone")
    with pytest.raises(SourceUnreachable, match=r"revoked_keys .*No such file"):
        yard.check(None, gone)


def test_list_that_others_may_change_is_not_used(yard: Yard) -> None:
    sign(yard.upstream, yard.ann)
    (yard.root / "allowed_signers").chmod(0o666)
    with pytest.raises(SourceUnreachable, match="others may change it; chmod 0644"):
        yard.check(None)


@pytest.fixture
def gpg_key() -> Iterator[GpgKey]:
    root = Path(tempfile.mkdtemp(prefix="gpg-", dir="/tmp"))
    key = GpgKey(root / "home")
    yield key
    key.close()
    shutil.rmtree(root)


@needs_gpg
def test_openpgp_signature_counts_only_with_a_keyring(yard: Yard, gpg_key: GpgKey) -> None:
    anchor = sign(yard.upstream, yard.ann)
    sign(yard.upstream, gpg_key)
    # The operator's own keys play no part, whatever format is wanted.
    assert "is not signed in a way that this machine checks" in yard.refusal(anchor)
    keyring = yard.root / "keyring.gpg"
    keyring.write_bytes(gpg_key.keyring)
    yard.check(anchor, replace(yard.trust, gpg_keyring=keyring))
    yard.check(anchor, Trust(gpg_keyring=keyring))
    sign(yard.upstream, yard.ann)
    yard.check(anchor, replace(yard.trust, gpg_keyring=keyring))
    yard.refusal(anchor, Trust(gpg_keyring=keyring))


@needs_gpg
def test_openpgp_key_outside_of_the_keyring_is_refused(yard: Yard, gpg_key: GpgKey) -> None:
    anchor = sign(yard.upstream, gpg_key)
    keyring = yard.root / "keyring.gpg"
    keyring.write_bytes(gpg_key.keyring)
    other = GpgKey(gpg_key.home.parent / "other")
    try:
        sign(yard.upstream, other)
        yard.refusal(anchor, Trust(gpg_keyring=keyring))
    finally:
        other.close()


@needs_gpg
def test_keyring_that_is_none_is_told(yard: Yard) -> None:
    sign(yard.upstream, yard.ann)
    keyring = yard.root / "keyring.gpg"
    keyring.write_text("nothing of the kind")
    with pytest.raises(SourceUnreachable, match="gpg_keyring"):
        yard.check(None, Trust(gpg_keyring=keyring))


def test_doubts_have_their_own_words(yard: Yard) -> None:
    anchor = sign(yard.upstream, yard.ann)
    sign(yard.upstream, None)
    with pytest.raises(Untrusted) as refused:
        yard.check(anchor)
    assert refused.value.doubt is Doubt.SIGNATURES
    yard.upstream.rewrite({"realm.yaml": "x"})
    with pytest.raises(Untrusted) as refused:
        yard.check(Revision(anchor))
    assert refused.value.doubt is Doubt.HISTORY
