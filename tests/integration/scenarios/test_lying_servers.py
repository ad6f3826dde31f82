"""A release server that lies, cuts, stalls or leads astray, and a real reconciler that asks it.

Whatever it answers, the version that runs goes on untouched, in the same process; nothing of the
answer is ever run, or stays where releases lie; and as soon as the server is honest, its release
runs. Judged by processes, files, and what was asked of which server.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from operated import operated
from releasehouse import serving
from supplied import PLAIN, a_supplied_bench, app, archive, programs, published, sha256

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from http.server import BaseHTTPRequestHandler

    from reconciling import Bench
    from releasehouse import Server

# Real servers and programs, on a machine that may be busy.
pytestmark = pytest.mark.timeout(300)
APP = "apps/shop.yaml"
PATH = "/2.tar"
HTML = b"<!doctype html><html><title>Sign in</title></html>"


@pytest.fixture
def bench() -> Iterator[Bench]:
    with a_supplied_bench() as bench:
        bench.upstream.commit(PLAIN)
        yield bench


@pytest.fixture
def server() -> Iterator[Server]:
    with serving() as server:
        yield server


def says(
    status: int, content: bytes, length: int | None = None
) -> Callable[[BaseHTTPRequestHandler], None]:
    """Answers with ``content``, and says that it is ``length`` bytes long."""

    def answer(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(status)
        handler.send_header("Content-Length", str(len(content) if length is None else length))
        handler.end_headers()
        handler.wfile.write(content)
        handler.close_connection = True

    return answer


def another_archive(server: Server, good: bytes, elsewhere: Server) -> None:
    del good, elsewhere
    server.answers[PATH] = says(200, archive("evil"))


def longer_than_it_says(server: Server, good: bytes, elsewhere: Server) -> None:
    del elsewhere
    server.answers[PATH] = says(200, good, len(good) - 512)


def shorter_than_it_says(server: Server, good: bytes, elsewhere: Server) -> None:
    del elsewhere
    server.answers[PATH] = says(200, good[:-512], len(good))


def cut_in_the_middle(server: Server, good: bytes, elsewhere: Server) -> None:
    del elsewhere
    server.answers[PATH] = says(200, good[: len(good) // 2])


def silent_in_the_middle(server: Server, good: bytes, elsewhere: Server) -> None:
    del elsewhere
    server.stall(PATH, good, len(good) // 2)


def a_page_to_sign_in(server: Server, good: bytes, elsewhere: Server) -> None:
    del good, elsewhere
    server.answers[PATH] = says(200, HTML)


def a_file_of_this_machine(server: Server, good: bytes, elsewhere: Server) -> None:
    del good, elsewhere
    server.redirect(PATH, "file:///etc/passwd")


def another_host(server: Server, good: bytes, elsewhere: Server) -> None:
    elsewhere.files[PATH] = good
    server.redirect(PATH, f"http://127.0.0.1:{elsewhere.port}{PATH}")


LIES = [
    another_archive,
    longer_than_it_says,
    shorter_than_it_says,
    cut_in_the_middle,
    silent_in_the_middle,
    a_page_to_sign_in,
    a_file_of_this_machine,
    another_host,
]


def pids(bench: Bench) -> list[int]:
    """The programs that run from releases, by their process."""
    root, found = os.fsencode(bench.root / "state/releases"), []
    for file in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            words = file.read_bytes().split(b"\0")
        except OSError:
            continue
        if any(word.startswith(root) for word in words) and b"jails.keeper" not in words:
            found.append(int(file.parent.name))
    return sorted(found)


@pytest.mark.skipif(not Path("/proc/self/cmdline").exists(), reason="looks at processes in /proc")
def test_whatever_a_release_server_answers_only_the_right_release_ever_runs(
    bench: Bench, server: Server
) -> None:
    first = published(server, "1")
    with serving() as elsewhere, operated(bench) as running:
        bench.upstream.commit({APP: app("shop", release=first)})
        running.until("1 runs", lambda: programs(bench) == {f"shop/{first['sha256']}": 1})
        running.until("1 is stable", lambda: " is stable" in running.log())
        before, place = pids(bench), bench.root / "state/releases/shop"
        for number, lie in enumerate(LIES):
            good = archive(f"2.{number}", 50_000)
            wanted: dict[str, Any] = {"url": server.url(PATH), "sha256": sha256(good)}
            lie(server, good, elsewhere)
            asked, told = len(server.asked), running.log().count(" cannot_replace ")
            bench.upstream.commit({APP: app("shop", release=wanted)})
            running.until(f"{lie.__name__}: it asks", lambda: len(server.asked) > asked)  # noqa: B023  # awaited here
            running.until(
                f"{lie.__name__}: it is told",
                lambda: running.log().count(" cannot_replace ") > told,  # noqa: B023  # as above
            )
            assert pids(bench) == before, lie.__name__
            assert (place / "current").readlink().name == first["sha256"], lie.__name__
            assert not (place / wanted["sha256"]).exists(), lie.__name__
        assert elsewhere.asked == []
        # Honest at last.
        server.answers.clear()
        server.files[PATH] = good
        bench.upstream.commit({APP: app("shop", release=wanted)})
        running.until("2 runs", lambda: programs(bench) == {f"shop/{wanted['sha256']}": 1})
        running.until("no part is left", lambda: not list(place.glob("*.part")))
