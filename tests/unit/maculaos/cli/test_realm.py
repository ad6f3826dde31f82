"""Laws of ``macula realm`` and ``macula cert``: paths on stdout, words on stderr, keys nowhere."""

from __future__ import annotations

import json
import shlex
from typing import TYPE_CHECKING, Any

import pytest
import typer
from typer.testing import CliRunner

from maculaos.cli import cert, realm
from maculaos.errors import UsageError
from maculaos.host.clock import SystemClock
from maculaos.host.entropy import SystemEntropy
from maculaos.security.authority import Request, issue

if TYPE_CHECKING:
    from pathlib import Path


def run(*words: str) -> Any:
    app = typer.Typer()
    app.add_typer(realm.app, name="realm")
    app.add_typer(cert.app, name="cert")
    result = CliRunner().invoke(app, words, catch_exceptions=False)
    assert "PRIVATE" not in result.output
    return result


@pytest.fixture
def node(tmp_path: Path) -> Path:
    """The folder of a fresh identity n1 in a fresh realm home."""
    run("realm", "init", "home", "--out", f"{tmp_path}/r")
    run("realm", "issue", "n1", "--realm-dir", f"{tmp_path}/r", "--out", f"{tmp_path}/i")
    return tmp_path / "i" / "n1"


def test_init_and_issue_print_where_the_certificate_is(tmp_path: Path) -> None:
    made = run("realm", "init", "home", "--out", f"{tmp_path}/r", "--days", "100")
    assert (made.exit_code, made.stdout) == (0, f"{tmp_path}/r/realm.crt\n")
    issued = run(
        "realm", "issue", "n1", "--realm-dir", f"{tmp_path}/r", "--out", f"{tmp_path}/i",
        "--days", "10",
    )  # fmt: skip
    assert (issued.exit_code, issued.stdout) == (0, f"{tmp_path}/i/n1/node.crt\n")
    assert "n1" in issued.stderr


def test_second_issue_needs_renew(node: Path, tmp_path: Path) -> None:
    words = ("realm", "issue", "n1", "--realm-dir", f"{tmp_path}/r", "--out", f"{tmp_path}/i")
    with pytest.raises(UsageError) as caught:
        run(*words)
    # What it says to do works, word for word.
    hint = caught.value.hint.partition("; ")[0].replace("DIR", f"{tmp_path}/r")
    named = shlex.split(hint[hint.index("macula ") :])[1:]
    key = (node / "node.key").read_bytes()
    assert named == [*words, "--renew"]
    assert run(*named).exit_code == 0
    assert (node / "node.key").read_bytes() == key


def test_join_keeps_an_identity_and_the_key_of_a_certificate_that_was_deleted(
    node: Path, tmp_path: Path
) -> None:
    request, answer = f"{tmp_path}/n1.csr", f"{tmp_path}/n1.pem"
    joins = ("realm", "join", "--name", "n1", "--out", f"{tmp_path}/i")
    before = json.loads(run("cert", "show", str(node / "node.crt"), "--json").stdout)
    with pytest.raises(UsageError, match=f"macula cert renew {node} --at HOST:PORT; .*delete it"):
        run(*joins, "--request", request)
    (node / "node.crt").unlink()
    run(*joins, "--request", request)
    run("realm", "sign", request, "--realm-dir", f"{tmp_path}/r", "--out", answer)
    run(*joins, "--answer", answer)
    after = json.loads(run("cert", "show", str(node / "node.crt"), "--json").stdout)
    assert after["node_id"] == before["node_id"]
    assert after["serial"] != before["serial"]


def test_show_json_tells_who_and_how_long(node: Path) -> None:
    shown = json.loads(run("cert", "show", str(node / "node.crt"), "--json").stdout)
    assert (shown["kind"], shown["realm"], shown["name"]) == ("node", "home", "n1")
    assert shown["state"] == "valid"
    assert shown["uri"] == f"macula://home/{shown['node_id']}"
    assert shown["not_after"].endswith("Z")
    assert len(shown["sha256"]) == 64


def test_show_text_keeps_the_node_id_whole(node: Path) -> None:
    shown = json.loads(run("cert", "show", str(node / "node.crt"), "--json").stdout)
    text = run("cert", "show", str(node / "node.crt")).stdout
    assert shown["node_id"] in text
    assert shown["uri"] in text
    assert shown["sha256"] in text


def test_show_knows_an_authority(node: Path) -> None:
    shown = json.loads(run("cert", "show", str(node / "realm.crt"), "--json").stdout)
    assert (shown["kind"], shown["realm"], shown["name"]) == ("realm authority", "home", None)


def test_show_says_expired(node: Path, tmp_path: Path) -> None:
    past = SystemClock().now() - 3 * 86_400
    request = Request(name="n2", days=1)
    files = issue(tmp_path / "r", tmp_path / "i", request, now=past, entropy=SystemEntropy())
    assert "EXPIRED" in run("cert", "show", str(files.certificate)).stdout
    assert "EXPIRED" not in run("cert", "show", str(node / "node.crt")).stdout


def test_show_refuses_a_key_file(node: Path) -> None:
    with pytest.raises(UsageError, match="holds a private key"):
        run("cert", "show", str(node / "node.key"))


def test_show_refuses_a_missing_file(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="does not exist"):
        run("cert", "show", f"{tmp_path}/gone.crt")
