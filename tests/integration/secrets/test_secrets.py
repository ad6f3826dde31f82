"""Secrets with the real age, in real processes; and a search for the plain text everywhere."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

import namespaceyard
from jails.freebsd.abilities import Abilities
from jails.freebsd.admission import refuse_unsupported
from jails.process import ProcessRuntime
from jails.runtime import JailError
from jails.spec import JailSpec, JailState, SecretEnvironment, decode_secret_environment
from maculaos.errors import UsageError
from maculaos.host.clock import SystemClock
from maculaos.host.entropy import SeededEntropy, SystemEntropy
from maculaos.host.filters import Bound, Filtered
from maculaos.host.mounts import is_in_memory
from reconciler.secrets.decryption import Decryption, SecretUnavailable
from reconciler.secrets.expansion import Template, expand
from reconciler.secrets.opening import open_places, open_vault
from reconciler.secrets.placing import SecretPlaces
from reconciler.secrets.reference import SecretReference
from reconciler.secrets.vault import KEY_BYTES, Vault, machine_key
from reconciler.settings import SecretSettings

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import IO

    from reconciler.secrets.expansion import Expanded

needs_age = pytest.mark.skipif(shutil.which("age") is None, reason="there is no age program")
PLAIN = "correct-horse-battery-staple"


def named(path: str, **key: str) -> SecretReference:
    return SecretReference(**{"secret": path, **key})


REFERENCE = named("s/shop.age")


class AgeKeys:
    """A file of keys, and encryption to the first of them."""

    def __init__(self, folder: Path, name: str = "keys.txt") -> None:
        self.file = folder / name
        subprocess.run(["age-keygen", "-o", str(self.file)], check=True, capture_output=True)
        self.file.chmod(0o600)
        said = subprocess.run(["age-keygen", "-y", str(self.file)], check=True, capture_output=True)
        self.recipient = said.stdout.decode().strip()

    def encrypt(self, plain: bytes, *words: str) -> bytes:
        argv = ["age", "--encrypt", *words, "--recipient", self.recipient]
        return subprocess.run(argv, input=plain, check=True, capture_output=True).stdout


def decryption(key_file: Path, **more: Any) -> Decryption:
    return Decryption(key_file=key_file, **{"secret_bytes": 4096, "timeout_s": 20, **more})


@pytest.fixture
def memory() -> Iterator[Path]:
    """A folder in memory, or a skip."""
    if not (os.path.isdir("/dev/shm") and is_in_memory(Path("/dev/shm"))):  # noqa: S108
        pytest.skip("there is no /dev/shm in memory")
    with tempfile.TemporaryDirectory(dir="/dev/shm", prefix="macula-") as name:
        yield Path(name)


@needs_age
@pytest.mark.parametrize("words", [(), ("--armor",)])
def test_age_files_of_both_forms_are_decrypted(tmp_path: Path, words: tuple[str, ...]) -> None:
    keys = AgeKeys(tmp_path)
    plain = bytes(range(256))
    found = decryption(keys.file).decrypt("x.age", keys.encrypt(plain, *words))
    assert bytes(found) == plain


@needs_age
def test_what_cannot_be_decrypted_is_named_with_its_cause_and_not_quoted(tmp_path: Path) -> None:
    keys, other = AgeKeys(tmp_path), AgeKeys(tmp_path, "other.txt")
    good = keys.encrypt(PLAIN.encode())
    flipped = good[:-1] + bytes([good[-1] ^ 1])
    causes = {
        other.encrypt(PLAIN.encode()): "not encrypted to a key of this machine",
        flipped: "changed or damaged",
        PLAIN.encode(): "no age file",
        good[:50]: "cut short|no age file",
        keys.encrypt(b"x" * 5000): "more than 4096 bytes",
        bytes(2 << 20): "larger than",
    }
    for ciphertext, cause in causes.items():
        with pytest.raises(SecretUnavailable, match=f"^s/x.age: .*({cause})") as caught:
            decryption(keys.file).decrypt("s/x.age", ciphertext)
        assert PLAIN not in str(caught.value)


@needs_age
def test_a_file_of_keys_that_others_may_read_is_refused(tmp_path: Path) -> None:
    keys = AgeKeys(tmp_path)
    ciphertext = keys.encrypt(b"x")
    link = tmp_path / "link"
    link.symlink_to(keys.file)
    with pytest.raises(SecretUnavailable, match="no plain file"):
        decryption(link).decrypt("x.age", ciphertext)
    with pytest.raises(SecretUnavailable, match="No such file"):
        decryption(tmp_path / "none").decrypt("x.age", ciphertext)
    keys.file.chmod(0o640)
    with pytest.raises(SecretUnavailable, match="mode 0640"):
        decryption(keys.file).decrypt("x.age", ciphertext)


class Recorded:
    """Stands for a program: remembers what it was given, answers what it was told."""

    def __init__(self, answer: bytes) -> None:
        self.answer = answer
        self.asked: list[tuple[tuple[str, ...], object]] = []

    def run(self, argv: tuple[str, ...], stdin: bytes | IO[bytes], bound: Bound) -> Filtered:
        del bound
        self.asked.append((argv, stdin))
        return Filtered(0, bytearray(self.answer), "")


RECIPIENT = "age1ql3z7hjy54pw3hyww5ayyfg7zqgvc7w3j2elw8zmrj2kg5sfn9aqmcac8p"
SOPS = f"""db:
    password: ENC[AES256_GCM,data:c2VjcmV0,iv:aXY=,tag:dGFn,type:str]
sops:
    kms: []
    age:
        - recipient: {RECIPIENT}
          enc: |
            -----BEGIN AGE ENCRYPTED FILE-----
            -----END AGE ENCRYPTED FILE-----
    lastmodified: "2026-01-01T00:00:00Z"
    mac: ENC[AES256_GCM,data:bWFj,iv:aXY=,tag:dGFn,type:str]
    version: 3.9.0
"""


def key_file_in(folder: Path) -> Path:
    path = folder / "keys.txt"
    path.write_text("# none\n")
    path.chmod(0o600)
    return path


def test_sops_gets_the_ciphertext_by_a_pipe_and_answers_json(tmp_path: Path) -> None:
    program = Recorded(json.dumps({"db": {"password": PLAIN, "port": 1}}).encode())
    vault = Vault(decryption(key_file_in(tmp_path), sops=program), b"k" * 32)

    def fill(key: str) -> bytearray:
        reference = named("s.sops.yaml", key=key)
        return vault.fill({"P": Template((reference,))}, {"s.sops.yaml": SOPS.encode()}.get)["P"]

    assert fill("db.password") == PLAIN.encode()
    for key, words in {"db.none": "there is no db.none", "db.port": "no text"}.items():
        with pytest.raises(SecretUnavailable, match=words):
            fill(key)
    ((argv, stdin),) = program.asked
    assert argv == (
        *("sops", "--decrypt", "--input-type", "yaml", "--output-type", "json", "/dev/stdin"),
    )
    assert stdin == SOPS.encode()


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (SOPS.replace("kms: []", "kms: [{arn: 'arn:x'}]"), "kms"),
        (SOPS.replace("kms: []", "hc_vault: [{vault_address: 'http://x'}]"), "hc_vault"),
        (SOPS.replace(RECIPIENT, "ssh-ed25519 AAAA"), "not encrypted by SOPS"),
        ("a: 1", "not encrypted by SOPS"),
        ("a: [", "no YAML"),
        ("[" * 5000, "no YAML"),
        ("a: &a [x]\nb: *a", "aliases"),
        ("a: !!python/object:os.system {}", "no YAML"),
    ],
)
def test_a_sops_file_that_asks_for_other_services_never_reaches_the_program(
    tmp_path: Path, content: str, words: str
) -> None:
    program = Recorded(b"{}")
    with pytest.raises(SecretUnavailable, match=words):
        decryption(key_file_in(tmp_path), sops=program).decrypt("s.sops.yaml", content.encode())
    assert program.asked == []


@pytest.mark.skipif(shutil.which("sops") is None, reason="there is no sops program")
@needs_age
def test_the_real_sops_decrypts_what_it_encrypted(tmp_path: Path) -> None:
    keys = AgeKeys(tmp_path)
    argv = ["sops", "--encrypt", "--age", keys.recipient, "--input-type", "yaml"]
    said = f"db: {{password: {PLAIN}}}".encode()
    done = subprocess.run(
        [*argv, "--output-type", "yaml", "/dev/stdin"], input=said, check=True, capture_output=True
    )
    found = decryption(keys.file).decrypt("s.sops.yaml", done.stdout)
    assert json.loads(found) == {"db": {"password": PLAIN}}


@needs_age
def test_a_secret_is_decrypted_once_and_forgotten_when_unused(tmp_path: Path) -> None:
    keys = AgeKeys(tmp_path)
    program = Recorded(f"{PLAIN}\n".encode())
    vault = Vault(decryption(keys.file, age=program), b"k" * 32)
    files = {"s/shop.age": b"one"}
    environment: dict[str, Expanded] = {"P": Template(("u:", REFERENCE)), "X": "plain"}
    for _ in range(2):
        assert vault.fill(environment, files.get) == {"P": bytearray(f"u:{PLAIN}".encode())}
        vault.wipe_unused()
    assert len(program.asked) == 1
    vault.wipe_unused()
    vault.fill(environment, files.get)
    files["s/shop.age"] = b"two"
    vault.fill(environment, files.get)
    assert len(program.asked) == 3
    assert PLAIN not in repr(vault)
    with pytest.raises(SecretUnavailable, match="no such file"):
        vault.fill(environment, lambda _: None)
    with pytest.raises(SecretUnavailable, match="no key"):
        Vault(None, b"k" * 32).fill(environment, files.get)


def test_the_digest_changes_with_the_secret_and_with_the_machine() -> None:
    one, other = Vault(None, b"1" * 32), Vault(None, b"2" * 32)
    digests = {
        one.digest({"A": b"x"}),
        one.digest({"A": b"y"}),
        one.digest({"B": b"x"}),
        one.digest({"A": b"x", "B": b""}),
        one.digest({"AB": b"x"}),
        other.digest({"A": b"x"}),
    }
    assert len(digests) == 6
    assert one.digest({"A": b"x"}) in digests


def test_the_key_of_the_machine_is_made_once_and_private(tmp_path: Path) -> None:
    path = tmp_path / "key"
    key = machine_key(path, SeededEntropy(1))
    assert machine_key(path, SeededEntropy(2)) == key
    assert path.stat().st_mode & 0o777 == 0o600
    path.write_bytes(b"short")
    assert machine_key(path, SeededEntropy(2)) != key
    path.chmod(0o644)
    with pytest.raises(SecretUnavailable, match="mode 0644"):
        machine_key(path, SeededEntropy(3))


def test_who_only_looks_makes_no_key_and_takes_none_away(tmp_path: Path) -> None:
    path = tmp_path / "key"
    assert len(machine_key(path, SeededEntropy(1), may_keep=False)) == KEY_BYTES
    assert not path.exists()
    key = machine_key(path, SeededEntropy(2))
    assert machine_key(path, SeededEntropy(3), may_keep=False) == key
    path.write_bytes(b"short")
    machine_key(path, SeededEntropy(4), may_keep=False)
    assert path.read_bytes() == b"short"


def test_plain_text_is_placed_in_memory_and_nowhere_else(memory: Path) -> None:
    places = SecretPlaces(memory, allow_disk=False)
    for value in (b"one", b"two=\n2"):
        places.place("app-a", {"P": value, "Q": b""})
        path = places.path("app-a")
        assert path.stat().st_mode & 0o777 == 0o600
        assert decode_secret_environment(path.read_bytes()) == {"P": value.decode(), "Q": ""}
    places.place("app-b", {"P": b"x"})
    places.keep_only({"app-b"})
    assert [each.name for each in (memory / ".secrets").iterdir()] == ["app-b"]
    with pytest.raises(UsageError):
        places.path("../x")


def test_a_disk_is_refused_unless_settings_say_otherwise(tmp_path: Path) -> None:
    if is_in_memory(tmp_path):
        pytest.skip("temporary files are in memory here")
    with pytest.raises(UsageError, match="does not lie in memory"):
        SecretPlaces(tmp_path, allow_disk=False).place("app-a", {"P": b"x"})
    assert list((tmp_path / ".secrets").iterdir()) == []
    SecretPlaces(tmp_path, allow_disk=True).place("app-a", {"P": b"x"})


PROGRAM = (
    "import os, hashlib, time\n"
    "print(hashlib.sha256(os.environ['URL'].encode()).hexdigest(), flush=True)\n"
    "time.sleep(600)\n"
)


def eventually(holds: Callable[[], bool]) -> bool:
    clock = SystemClock()
    deadline = clock.monotonic() + 20
    while not holds() and clock.monotonic() < deadline:
        clock.sleep(0.02)
    return holds()


def found_in(plain: str, *folders: Path) -> list[str]:
    """Files below ``folders`` that hold the plain text, and processes whose arguments do."""
    needle = plain.encode()
    files = [path for folder in folders for path in folder.rglob("*") if path.is_file()]
    hits = [str(path) for path in files if needle in path.read_bytes()]
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            if needle in path.read_bytes():
                hits.append(str(path))
        except OSError:
            continue
    return hits


@needs_age
@pytest.mark.parametrize("kind", ["process", "namespaces"])
def test_a_program_has_its_secret_and_nothing_else_shows_it(memory: Path, kind: str) -> None:
    with tempfile.TemporaryDirectory(dir="/tmp", prefix="macula-secret-") as name:
        folder = Path(name)
        folder.chmod(0o755)
        runtime: ProcessRuntime = ProcessRuntime(folder / "jails", SystemClock())
        if kind == "namespaces":
            if namespaceyard.abilities().obstacle:
                pytest.skip(namespaceyard.abilities().obstacle)
            runtime = namespaceyard.runtime_at(folder / "jails")
        _use_and_search(runtime, folder, memory)


def test_a_runtime_that_would_show_secrets_refuses_them() -> None:
    secrets = SecretEnvironment(path="/x", digest="d")
    spec = JailSpec(name="a", command=("true",), secrets=secrets)
    with pytest.raises(JailError, match=r"ps\(1\)"):
        refuse_unsupported(spec, Abilities(), {})


def _use_and_search(runtime: ProcessRuntime, folder: Path, memory: Path) -> None:
    keys = AgeKeys(folder)
    plain = f"{PLAIN}-{os.getpid()}"
    ciphertext = keys.encrypt(plain.encode())
    settings = SecretSettings(key_file=keys.file)
    vault = open_vault(settings, folder, SystemEntropy())
    places = open_places(settings, memory)

    def spec_of(secret: bytes) -> JailSpec:
        expanded = expand({"PASSWORD": REFERENCE, "URL": "db://u:${PASSWORD}@h"}, {})
        values = vault.fill(expanded, {"s/shop.age": secret}.get)
        places.place("app-shop", values)
        return JailSpec(
            name="app-shop",
            command=(sys.executable, "-c", PROGRAM),
            secrets=places.wanted("app-shop", vault.digest(values)),
        )

    spec = spec_of(ciphertext)
    try:
        runtime.ensure(spec)
        assert runtime.look()["app-shop"].program_digest == spec.program_digest()
        shown = repr((spec, vault, places, runtime.look(), runtime.logs("app-shop", 50)))
        assert plain not in shown
        expected = hashlib.sha256(f"db://u:{plain}@h".encode()).hexdigest()
        assert eventually(lambda: expected in runtime.logs("app-shop", 50))
        # Only here, in memory: the search does find what is there.
        assert found_in(plain, folder, memory) == [str(places.path("app-shop"))]
        changed = spec_of(keys.encrypt(b"another"))
        assert changed.program_digest() != spec.program_digest()
        assert spec_of(ciphertext) == spec
        assert spec_of(keys.encrypt(plain.encode())) == spec
    finally:
        runtime.remove("app-shop")
    places.keep_only(())
    assert found_in(plain, folder, memory) == []


def test_a_program_whose_secrets_are_gone_is_not_started(tmp_path: Path) -> None:
    with tempfile.TemporaryDirectory(dir="/tmp", prefix="macula-secret-") as name:
        runtime = ProcessRuntime(Path(name), SystemClock())
        gone = SecretEnvironment(path=str(tmp_path / "gone"), digest="d")
        try:
            with pytest.raises(JailError, match=r"its secrets in .* cannot be read"):
                runtime.ensure(JailSpec(name="a", command=("true",), secrets=gone))
            assert runtime.look()["a"].state is JailState.BACKING_OFF
        finally:
            runtime.remove("a")
