"""Identity: keys that OpenSSH reads, host ids as FreeBSD derives them, damage that is noticed."""

from __future__ import annotations

import shutil
import subprocess
from typing import TYPE_CHECKING

import pytest

from appliance import identity
from appliance.identity import Damaged
from maculaos.host.entropy import SeededEntropy

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.skipif(shutil.which("ssh-keygen") is None, reason="ssh-keygen is not installed")
def test_key_and_fingerprint_are_those_of_openssh(tmp_path: Path) -> None:
    file = tmp_path / "key"
    file.touch(mode=0o600)
    file.write_bytes(identity.make_key(SeededEntropy(1).draw))
    line = identity.public_line(file.read_bytes())
    for argv, said in ((("-y",), line), (("-l",), identity.fingerprint(line))):
        done = subprocess.run(
            ["ssh-keygen", *argv, "-f", str(file)], capture_output=True, text=True, check=True
        )
        assert said in done.stdout


def test_host_id_is_what_rc_d_hostid_derives() -> None:
    # Recorded on FreeBSD 13.1: "Setting hostuuid", "Setting hostid".
    assert identity.host_id("399b2a4b-e55c-11f1-971f-79d035443f9a") == 0xF9EEA451


def test_uuid_is_random_and_reads_back() -> None:
    made = identity.make_uuid(SeededEntropy(1).draw)
    uuid = identity.read_uuid(made)
    assert uuid[14] == "4"
    assert identity.default_name(uuid) == f"macula-{uuid[:8]}"
    assert identity.make_uuid(SeededEntropy(2).draw) != made


@pytest.mark.parametrize("part", identity.PARTS, ids=lambda part: part.what)
@pytest.mark.parametrize("content", [b"", b"torn", b"\0" * 400, b"\xff"])
def test_damage_is_noticed(part: identity.Part, content: bytes) -> None:
    with pytest.raises(Damaged):
        part.check(content)


@pytest.mark.parametrize("part", identity.PARTS, ids=lambda part: part.what)
def test_torn_part_is_damaged_and_whole_part_is_not(part: identity.Part) -> None:
    content = part.make(SeededEntropy(3).draw)
    part.check(content)
    with pytest.raises(Damaged):
        part.check(content[: len(content) // 2])
