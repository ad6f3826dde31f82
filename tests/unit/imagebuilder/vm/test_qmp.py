"""QEMU's protocol: messages from any chunks, and a client against a scripted QEMU."""

from __future__ import annotations

import itertools
import json
import socket
import threading
from contextlib import closing
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from imagebuilder.vm import qmp
from imagebuilder.vm.qmp import Greeting, QmpClient, QmpError, QmpEvent, Reply, Session
from maculaos.host.clock import SystemClock

if TYPE_CHECKING:
    from collections.abc import Iterator

GREETING = b'{"QMP": {"version": {"qemu": {"major": 7, "minor": 2, "micro": 22}}}}\r\n'
EVENT = b'{"event": "RESET", "data": {"guest": true}, "timestamp": {}}\r\n'
DONE = b'{"return": {}, "id": 1}\r\n'
REFUSED = b'{"id": 2, "error": {"class": "CommandNotFound", "desc": "no such command"}}\r\n'


def test_messages_are_what_the_specification_says() -> None:
    assert Session().feed(GREETING + EVENT + DONE + REFUSED) == (
        Greeting("7.2.22"),
        QmpEvent("RESET", {"guest": True}),
        Reply(1, {}),
        Reply(2, None, "no such command"),
    )


@given(st.lists(st.integers(0, 300), max_size=6))
def test_chunks_make_no_difference(cuts: list[int]) -> None:
    data = GREETING + EVENT + DONE + REFUSED
    session, places = Session(), [0, *sorted(cuts), len(data)]
    found = [
        message
        for start, end in itertools.pairwise(places)
        for message in session.feed(data[start:end])
    ]
    assert tuple(found) == Session().feed(data)


@pytest.mark.parametrize("wrong", [b"hello\n", b"[]\n", b'{"return": 1}\n', b'{"QMP": 3}\n'])
def test_what_is_not_qmp_is_refused(wrong: bytes) -> None:
    with pytest.raises(QmpError, match="not QMP"):
        Session().feed(wrong)


def test_endless_line_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(qmp, "LINE_BYTES_MAX", 100)
    with pytest.raises(QmpError, match="more than 100 bytes"):
        Session().feed(b"x" * 101)


@pytest.fixture
def ends() -> Iterator[tuple[socket.socket, socket.socket]]:
    """Our end, and that of a scripted QEMU."""
    ours, theirs = socket.socketpair()
    with closing(ours), closing(theirs):
        yield ours, theirs


def _play(theirs: socket.socket, answers: list[bytes]) -> threading.Thread:
    """Greet, then answer each command with the next of ``answers``; %d is its number."""

    def talk() -> None:
        theirs.sendall(GREETING)
        with theirs.makefile("rb") as lines:
            for answer, line in zip(answers, lines, strict=False):
                theirs.sendall(answer.replace(b"%d", str(json.loads(line)["id"]).encode()))

    thread = threading.Thread(target=talk)
    thread.start()
    return thread


def test_client_shakes_hands_and_waits_for_its_own_answer(
    ends: tuple[socket.socket, socket.socket],
) -> None:
    ours, theirs = ends
    answers = [b'{"return": {}, "id": %d}\n', EVENT + b'{"return": {"status": "ok"}, "id": %d}\n']
    thread = _play(theirs, answers)
    client = QmpClient(ours, SystemClock(), 5)
    assert client.version == "7.2.22"
    assert client.execute("query-status") == {"status": "ok"}
    assert client.wait_event("RESET", 5).data == {"guest": True}
    thread.join()


def test_refusal_is_told_in_qemus_words(ends: tuple[socket.socket, socket.socket]) -> None:
    ours, theirs = ends
    answers = [b'{"return": {}, "id": %d}\n', b'{"error": {"desc": "cannot"}, "id": %d}\n']
    thread = _play(theirs, answers)
    client = QmpClient(ours, SystemClock(), 5)
    with pytest.raises(QmpError, match="system_reset: cannot"):
        client.execute("system_reset")
    thread.join()


def test_qemu_that_ends_or_is_silent_is_told(ends: tuple[socket.socket, socket.socket]) -> None:
    ours, theirs = ends
    with pytest.raises(QmpError, match="did not answer in time"):
        QmpClient(ours, SystemClock(), 0.01)
    assert ours.fileno() == -1, "a client that failed closes its socket"
    theirs.close()


def test_something_else_than_a_greeting_is_refused(
    ends: tuple[socket.socket, socket.socket],
) -> None:
    ours, theirs = ends
    theirs.sendall(EVENT)
    with pytest.raises(QmpError, match="instead of a greeting"):
        QmpClient(ours, SystemClock(), 5)


def test_answer_to_an_older_command_is_not_taken_for_this_one(
    ends: tuple[socket.socket, socket.socket],
) -> None:
    ours, theirs = ends
    late = b'{"return": "late", "id": 99}\n'
    thread = _play(theirs, [b'{"return": {}, "id": %d}\n', late + b'{"return": "own", "id": %d}\n'])
    assert QmpClient(ours, SystemClock(), 5).execute("query-name") == "own"
    thread.join()
