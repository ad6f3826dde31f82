"""What ``doctor`` finds of the things that a reconciler leans on; ``plan`` makes none of them."""

from __future__ import annotations

import socket
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

import certificates
import webhooks
from maculaos.host.clock import SystemClock
from maculaos.host.commands import CommandFailed, ScriptedRunner
from noticeboard import TOKEN, Board
from reconciler.assembly import load_settings, source_of
from reconciler.doctor import Verdict
from reconciler.examination import in_time
from reconciler.journal import Journal
from reconciler.secrets.reference import SecretReference
from reconciler.specs.items import Item, made_item
from reconciler.specs.spec import AppSpec
from reconciler.surroundings import Surroundings
from reconciling import REALM, Bench, a_bench, app, node
from supplied import HAS_AGE, AgeKeys

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

OK, WARN, FAIL = Verdict.OK, Verdict.WARN, Verdict.FAIL


@pytest.fixture
def bench() -> Iterator[Bench]:
    with a_bench() as bench:
        private(bench.root / "token", TOKEN)
        private(bench.root / "secret", webhooks.SECRET)
        private(bench.root / "keys", "AGE-SECRET-KEY-1")
        yield bench


def private(path: Path, text: str) -> None:
    path.write_text(f"{text}\n")
    path.chmod(0o600)


def app_with(secret: str, key: str | None = None) -> Item:
    reference = SecretReference(secret=secret, key=key, sha256="0" * 64)
    app = AppSpec(
        version=1, name="web", node="n1", command=("web",), environment={"KEY": reference}
    )
    return made_item(app, "demo")


def findings(
    bench: Bench,
    programs: dict[str, str] | None = None,
    items: Sequence[Item] = (),
    *,
    is_running: bool = False,
) -> dict[str, Verdict]:
    settings = load_settings(bench.config)
    source = source_of(settings, Journal(bench.log, SystemClock()))
    said = programs or {}
    answers: dict[tuple[str, ...], str | CommandFailed] = {
        (name, "--version"): said.get(name, CommandFailed((name,), 127, "not found"))
        for name in ("age", "sops")
    }
    looked = Surroundings(
        settings,
        source.remotes[0],
        ScriptedRunner(answers),
        SystemClock(),
        is_running=lambda: is_running,
    )
    found = (in_time(name, check) for name, check in looked.checks(lambda: list(items)))
    return {one.check: one.verdict for one in found}


def test_nothing_is_asked_for_what_is_not_used(bench: Bench) -> None:
    assert findings(bench) == {}


def test_programs_are_wanted_by_the_secrets_of_apps(bench: Bench) -> None:
    age, sops = app_with("db.age"), app_with("db.sops.yaml", "password")
    assert findings(bench, items=[age]) == {"secrets": FAIL, "age": FAIL}
    bench.configure(secrets={"key_file": "keys"})
    assert findings(bench) == {"secrets": OK, "age": WARN}
    both = {"age": "v1.1.1\n", "sops": "sops 3.9.0\nand more\n"}
    assert findings(bench, both, [age]) == {"secrets": OK, "age": OK}
    assert findings(bench, both, [sops]) == {"secrets": OK, "age": OK, "sops": OK}
    assert findings(bench, {"age": "v1"}, [sops])["sops"] is FAIL
    (bench.root / "keys").chmod(0o644)
    assert findings(bench, both)["secrets"] is FAIL


def test_targets_of_notices_are_asked_and_told_nothing(bench: Bench) -> None:
    board = Board(bench.root)
    try:
        target = {
            "provider": "gitea",
            "url": board.url,
            "repository": "plant/site",
            "token_file": "token",
            "ca_file": str(board.ca_file),
        }
        hook = {"provider": "generic", "url": board.url, "ca_file": str(board.ca_file)}
        bench.configure(notify={"statuses": [target, hook], "notes": True})
        bench.upstream.commit({"realm.yaml": "version: 1\nname: demo\n"})
        (bench.root / "state").mkdir(mode=0o700)
        well = {"notify gitea": OK, "notify generic": OK, "notify notes": OK}
        assert findings(bench) == well
        assert not bench.upstream.git("for-each-ref", "refs/notes", cwd=bench.upstream.path)
        board.answers = [(401, b""), (404, b"")]
        bench.upstream.hide()
        assert findings(bench) == {**well, "notify gitea": FAIL, "notify notes": FAIL}
        assert board.posts == []
    finally:
        board.close()


def test_listeners_are_looked_at_without_being_heard(bench: Bench) -> None:
    senders = [{"provider": "github", "secret_file": "secret"}]
    with socket.create_server(("127.0.0.1", 0)) as taken:
        at = f"127.0.0.1:{taken.getsockname()[1]}"
        bench.configure(webhook={"listen": at, "senders": senders}, metrics={"listen": at})
        assert findings(bench) == {
            "secret of github": OK,
            "listener webhook": FAIL,
            "listener metrics": FAIL,
        }
        assert set(findings(bench, is_running=True).values()) == {OK}
    assert set(findings(bench).values()) == {OK}
    assert findings(bench, is_running=True)["listener metrics"] is FAIL
    (bench.root / "secret").chmod(0o644)
    assert findings(bench)["secret of github"] is FAIL


def test_certificates_of_listeners_are_looked_at(bench: Bench) -> None:
    certificates.for_loopback(bench.root)  # good for a day
    metrics = {"listen": "127.0.0.1:0", "certificate": "server.crt", "key": "server.key"}
    bench.configure(metrics=metrics)
    assert findings(bench) == {"listener metrics": WARN}
    (bench.root / "server.key").write_text("no key")
    assert findings(bench) == {"listener metrics": FAIL}


@pytest.mark.skipif(not HAS_AGE, reason="there is no age program")
def test_plan_makes_no_key_for_digests(bench: Bench) -> None:
    keys = AgeKeys(bench.root / "keys.txt")
    bench.configure(secrets={"key_file": "keys.txt", "allow_disk": True})
    bench.pretend_credentials("n1")
    spec = f"{app('web')}environment:\n  KEY: {{secret: db.age}}\n"
    bench.upstream.commit({"realm.yaml": REALM, "nodes/n1.yaml": node("n1", 4701)})
    bench.upstream.commit({"apps/web.yaml": spec, "db.age": keys.encrypt("hunter2")})
    words = [sys.executable, "-m", "reconciler.cli", "plan", "--config", str(bench.config)]
    done = subprocess.run(words, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0, done.stderr
    assert "app web" in done.stdout
    assert not list((bench.root / "state").rglob("secrets.key"))
    assert "hunter2" not in done.stdout + done.stderr
