"""The verbs that publish, subscribe, call and register, as processes at a real node."""

from __future__ import annotations

import asyncio
import json
import signal
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import psutil
import pytest

from node_process import DEADLINE_S, MACULA, Yard, eventually, free_port, yard

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    from maculaos.client import Mesh, Value


@pytest.fixture(scope="module")
def place() -> Iterator[Yard]:
    """One node for all: no verb changes it."""
    with yard() as made:
        made.configure("n1", free_port())
        node = made.start("n1")
        yield made
        assert node.poll() is None, made.log("n1")


def output_of(verb: subprocess.Popen[str]) -> list[str]:
    """What a verb in the background has printed at its end."""
    out, err = verb.communicate(timeout=DEADLINE_S)
    assert verb.returncode == 0, err
    return out.splitlines()


def complaint(done: subprocess.CompletedProcess[str], code: int) -> str:
    """The one line of a verb that failed."""
    assert done.returncode == code, done.stderr
    (line,) = done.stderr.splitlines()
    return line


def test_lines_of_standard_input_are_published_in_order(place: Yard) -> None:
    reader = place.background("n1", "subscribe", "lines", "--count", "1000")
    text = "".join(f"{number}\n" for number in range(999)) + "the end"
    told = place.macula("n1", "publish", "lines", "--lines", stdin=text)
    assert told.returncode == 0, told.stderr
    assert told.stderr == "1000 lines published\n"
    assert output_of(reader) == [f"lines {json.dumps(n)}" for n in [*range(999), "the end"]]


def test_acknowledged_values_are_taken_or_nobody_wants_them(place: Yard) -> None:
    alone = place.macula("n1", "publish", "taken", "1", "--acknowledge")
    assert (alone.returncode, alone.stderr) == (0, "nobody subscribes to taken\n")
    reader = place.background("n1", "subscribe", "taken", "--count", "4")
    told = place.macula("n1", "publish", "taken", "1", "-a")
    assert (told.returncode, told.stderr) == (0, "taken by every subscriber, on 1 node\n")
    told = place.macula("n1", "publish", "taken", "--lines", "-a", stdin="2\n3\n4\n")
    assert told.stderr == "3 lines published, and taken by every subscriber\n"
    assert output_of(reader) == ["taken 1", "taken 2", "taken 3", "taken 4"]


def test_what_a_subscriber_does_not_take_is_not_acknowledged(place: Yard) -> None:
    reader = place.background("n1", "subscribe", "stuck")
    reader.send_signal(signal.SIGSTOP)
    done = place.macula("n1", "publish", "stuck", "1", "--acknowledge", "--timeout", "1")
    assert "NOT_DELIVERED" in complaint(done, 4)
    reader.send_signal(signal.SIGCONT)
    told = place.macula("n1", "publish", "stuck", "1", "--acknowledge")
    assert told.returncode == 0, told.stderr


def test_a_pattern_takes_the_topics_that_it_fits(place: Yard) -> None:
    reader = place.background("n1", "subscribe", "sensor.*", "log.**", "--count", "3")
    for topic in ("sensor.a", "sensor.a.b", "log", "log.a.b", "sensor.b"):
        assert place.macula("n1", "publish", topic, "1").returncode == 0
    assert output_of(reader) == ["sensor.a 1", "log.a.b 1", "sensor.b 1"]


def test_a_retained_value_waits_for_who_comes_later(place: Yard) -> None:
    for value in ("1", "2"):
        assert place.macula("n1", "publish", "kept", value, "--retain", "1h").returncode == 0
    late = place.macula("n1", "subscribe", "kept", "--count", "1", "--timeout", "10", "--json")
    event = json.loads(late.stdout)
    assert (event["payload"], event["retained"]) == (2, True)


def test_a_group_shares_its_events(place: Yard) -> None:
    crew = [place.background("n1", "subscribe", "work", "--group", "crew") for _ in range(2)]
    text = "".join(f"{number}\n" for number in range(40))
    # Acknowledged: what is published has been taken when the verb ends.
    assert place.macula("n1", "publish", "work", "--lines", "-a", stdin=text).returncode == 0
    assert place.macula("n1", "publish", "work", "40", "-a").returncode == 0
    done = []
    for one in crew:
        one.send_signal(signal.SIGINT)
        done += one.communicate(timeout=DEADLINE_S)[0].splitlines()
    assert sorted(done) == sorted(f"work {number}" for number in range(41))


@pytest.mark.parametrize(
    ("words", "complaint_of"),
    [
        (("--retain", "soon"), "'soon' is no duration"),
        (("--priority", "top"), "'top' is not one of"),
        (("--ttl", "-1s"), "'-1s' is no duration"),
    ],
)
def test_words_that_make_no_sense_are_told(
    place: Yard, words: tuple[str, ...], complaint_of: str
) -> None:
    done = place.macula("n1", "publish", "t", "1", *words)
    assert done.returncode == 2
    assert complaint_of in " ".join(done.stderr.replace("│", " ").split())


def test_a_topic_that_is_none_is_one_line(place: Yard) -> None:
    assert "a..b" in complaint(place.macula("n1", "publish", "a..b", "1"), 2)
    assert "a.**.b" in complaint(place.macula("n1", "subscribe", "a.**.b"), 2)


def test_events_that_do_not_come_are_missed(place: Yard) -> None:
    done = place.macula("n1", "subscribe", "nothing", "--count", "2", "--timeout", "0.2")
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1] == "macula: 2 of 2 events did not come within 0.2 s"


def test_a_program_answers_calls_and_learns_who_asks(place: Yard) -> None:
    program = (
        "import json, os, sys; value = json.load(sys.stdin);"
        "print(json.dumps([sum(value), os.environ['MACULA_METHOD'], os.environ['MACULA_CALLER']]))"
    )
    place.background("n1", "register", "sum", "--", sys.executable, "-c", program)
    answer = place.macula("n1", "call", "sum", "[1, 2, 3]")
    assert answer.returncode == 0, answer.stderr
    (node_id,) = [one["node_id"] for one in place.ask("n1", lambda mesh: mesh.members())]
    assert json.loads(answer.stdout) == [6, "sum", node_id]


def test_what_a_program_complains_of_reaches_its_caller_on_one_line(place: Yard) -> None:
    place.background("n1", "register", "bad", "--", "sh", "-c", "echo no sensor >&2; exit 3")
    done = place.macula("n1", "call", "bad")
    assert complaint(done, 4) == "macula: HANDLER_FAILED: sh: exit status 3: no sensor"


def test_a_program_that_takes_too_long_is_ended(place: Yard) -> None:
    place.background("n1", "register", "slow", "--limit", "0.2", "--", "sleep", "600")
    done = place.macula("n1", "call", "slow")
    assert complaint(done, 4) == "macula: HANDLER_FAILED: sleep: cut off: stopped after 0.2 s"


def test_calls_go_to_each_in_turn_if_asked(place: Yard) -> None:
    for number in "12":
        place.background("n1", "register", "turn", "--reply", number)
    words = ("call", "turn", "--choice", "round-robin")
    said = {place.macula("n1", *words).stdout.strip() for _ in range(4)}
    # Each verb is a program of its own, but the node remembers whose turn it is.
    assert said == {"1", "2"}


def test_every_part_of_a_stream_is_a_line(place: Yard) -> None:
    async def count(value: Value) -> AsyncIterator[Value]:
        for number in range(int(str(value))):
            yield {"part": number}

    async def main(mesh: Mesh) -> subprocess.CompletedProcess[str]:
        async with mesh.register("count", count):
            return await asyncio.to_thread(place.macula, "n1", "call", "count", "3", "--stream")

    told = place.ask("n1", main)
    assert told.returncode == 0, told.stderr
    assert told.stdout.splitlines() == [f'{{"part": {number}}}' for number in range(3)]


def test_a_cast_waits_for_no_answer(place: Yard) -> None:
    async def main(mesh: Mesh) -> None:
        heard = asyncio.Event()
        async with mesh.register("ring", lambda _: heard.set()):
            done = await asyncio.to_thread(place.macula, "n1", "call", "ring", "--cast")
            assert (done.returncode, done.stdout) == (0, "")
            await heard.wait()

    place.ask("n1", main)
    assert place.macula("n1", "call", "nobody.there", "--cast").returncode == 0


def test_more_calls_than_may_run_are_refused_and_a_caller_that_leaves_ends_its_program(
    place: Yard,
) -> None:
    file = place.folder / "pid"
    script = f"echo $$ > {file}.new; mv {file}.new {file}; exec sleep 600"
    place.background("n1", "register", "busy", "--concurrency", "1", "--", "sh", "-c", script)
    words = (*MACULA, "call", "busy", "--timeout", "60", "--socket", str(place.socket("n1")))
    first = subprocess.Popen(words, stderr=subprocess.PIPE, text=True)
    place.running.append(first)
    eventually(file.exists, "the program runs")
    assert "OVERLOADED" in complaint(place.macula("n1", "call", "busy"), 4)
    first.send_signal(signal.SIGINT)
    pid = int(file.read_text())
    eventually(lambda: not psutil.pid_exists(pid), "the program is ended")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP, signal.SIGINT])
def test_a_register_that_is_ended_ends_its_programs(place: Yard, number: signal.Signals) -> None:
    file = place.folder / f"pid-{number.name}"
    script = f"echo $$ > {file}.new; mv {file}.new {file}; exec sleep 600"
    method = f"ended.{number.name.lower()}"
    provider = place.background("n1", "register", method, "--", "sh", "-c", script)
    words = (*MACULA, "call", method, "--timeout", "60", "--socket", str(place.socket("n1")))
    caller = subprocess.Popen(words, stderr=subprocess.PIPE, text=True)
    place.running.append(caller)
    eventually(file.exists, "the program runs")
    provider.send_signal(number)
    provider.communicate(timeout=DEADLINE_S)
    assert provider.returncode == 128 + number
    assert not psutil.pid_exists(int(file.read_text()))
    caller.communicate(timeout=DEADLINE_S)
    assert caller.returncode == 4


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="this system has no full device")
@pytest.mark.parametrize("verb", ["ping", "members", "stats"])
def test_an_output_that_takes_nothing_is_one_line(place: Yard, verb: str) -> None:
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(
            [*MACULA, verb, "--socket", str(place.socket("n1"))],
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            timeout=DEADLINE_S,
            check=False,
        )
    assert complaint(done, 1) == "macula: No space left on device"


def test_an_interrupted_register_answers_no_more(place: Yard) -> None:
    provider = place.background("n1", "register", "here", "--reply", "1")
    assert place.macula("n1", "call", "here").stdout == "1\n"
    provider.send_signal(signal.SIGINT)
    provider.communicate(timeout=DEADLINE_S)
    assert provider.returncode == 130
    eventually(lambda: place.macula("n1", "call", "here").returncode == 4, "nobody answers")
    assert "NO_PROVIDER" in complaint(place.macula("n1", "call", "here"), 4)
