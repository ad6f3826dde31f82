"""The builder: steps carried out once, outputs that appear whole, logs that say what happened."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from imagebuilder.builder import LOG_LINES_MAX, Builder, Job, Site
from imagebuilder.ledger import Ledger
from imagebuilder.plan import Step
from imagebuilder.screen import Silence
from maculaos.errors import LocalProtocolError, UsageError
from maculaos.host.clock import FakeClock
from maculaos.host.commands import CommandFailed, ScriptedRunner

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

ANSWERS: dict[tuple[str, ...], str | CommandFailed] = {
    ("true",): "well\n",
    ("false",): CommandFailed(("false",), 1, "no"),
}


class Witness(Silence):
    """Remembers which steps began, ended and failed."""

    def __init__(self) -> None:
        self.seen: list[str] = []

    def begin(self, step: Step) -> None:
        self.seen.append(f"begin {step.name}")

    def end(self, step: Step, seconds: float) -> None:
        self.seen.append(f"end {step.name} {seconds:g}")

    def fail(self, step: Step, log: Path) -> None:
        self.seen.append(f"fail {step.name} {log.name}")


def builder(folder: Path, screen: Silence | None = None) -> Builder:
    return Builder(
        ledger=Ledger(folder / "steps"),
        logs=folder / "logs",
        runner=ScriptedRunner(ANSWERS),
        clock=FakeClock(),
        screen=screen or Silence(),
    )


def writes(text: str) -> Callable[[Site], None]:
    def action(site: Site) -> None:
        (site.folder / "file").write_text(text)

    return action


def copies(site: Site) -> None:
    (site.folder / "copy").write_text((site.of("first") / "file").read_text())


FIRST = Step(name="first", title="the first")
SECOND = Step(name="second", title="the second", needs=("first",))


def jobs(text: str = "one", second: Callable[[Site], None] = copies) -> tuple[Job, ...]:
    first = Step(name="first", title="the first", facts={"text": text})
    return (Job(step=first, action=writes(text)), Job(step=SECOND, action=second))


def test_steps_are_done_once_and_their_outputs_lie_in_place(tmp_path: Path) -> None:
    screen = Witness()
    done = builder(tmp_path, screen).run(jobs())
    assert done.done == ("first", "second")
    assert (tmp_path / "steps/second/copy").read_text() == "one"
    assert screen.seen == ["begin first", "end first 0", "begin second", "end second 0"]
    assert builder(tmp_path).run(jobs()).done == ()
    assert builder(tmp_path).run(jobs("two")).done == ("first", "second")
    assert (tmp_path / "steps/second/copy").read_text() == "two"


def test_a_step_that_fails_keeps_what_was_there_and_what_came_before(tmp_path: Path) -> None:
    def fails(site: Site) -> None:
        (site.folder / "half").write_text("half")
        raise UsageError("no room", "make some")

    builder(tmp_path).run(jobs())
    screen = Witness()
    with pytest.raises(UsageError, match="no room"):
        builder(tmp_path, screen).run(jobs("two", fails))
    assert screen.seen[-1] == "fail second second.log"
    assert (tmp_path / "steps/second/copy").read_text() == "one"
    assert not (tmp_path / "steps/second/half").exists()
    assert "failed: UsageError: no room; make some" in (tmp_path / "logs/second.log").read_text()
    assert builder(tmp_path).run(jobs("two")).done == ("second",)
    assert not [path for path in (tmp_path / "steps").iterdir() if path.name.startswith(".")]


@pytest.mark.parametrize("left", [".new-first", ".old-first", ".new-other-step", "gone"])
def test_what_a_killed_build_left_is_swept(tmp_path: Path, left: str) -> None:
    builder(tmp_path).run(jobs())
    (tmp_path / "steps" / left).mkdir()
    (tmp_path / "steps" / left / "file").write_text("half")
    assert builder(tmp_path).run(jobs()).done == ()
    assert sorted(path.name for path in (tmp_path / "steps").iterdir()) == ["first", "second"]


def test_steps_of_another_family_stay_until_it_is_built(tmp_path: Path) -> None:
    builder(tmp_path).run(jobs())
    for name in ("other-gone", "gone"):
        (tmp_path / "steps" / name).mkdir()
    builder(tmp_path).run(jobs())
    assert sorted(path.name for path in (tmp_path / "steps").iterdir()) == [
        "first", "other-gone", "second",
    ]  # fmt: skip
    replace(builder(tmp_path), family="other").run(())
    assert sorted(path.name for path in (tmp_path / "steps").iterdir()) == ["first", "second"]


def test_killed_between_the_two_renames_of_a_step_it_is_done_again(tmp_path: Path) -> None:
    builder(tmp_path).run(jobs())
    (tmp_path / "steps/first").rename(tmp_path / "steps/.old-first")
    assert builder(tmp_path).run(jobs()).done == ("first",)


@pytest.mark.parametrize("page", ["", "{", '{"key":"x","outputs":{"file":3}}', "\udcff"])
def test_a_receipt_that_cannot_be_read_is_none(tmp_path: Path, page: str) -> None:
    builder(tmp_path).run(jobs())
    receipt = tmp_path / "steps/first/receipt.json"
    assert json.loads(receipt.read_bytes())["outputs"].keys() == {"file"}
    receipt.write_bytes(page.encode("utf-8", "surrogateescape"))
    assert builder(tmp_path).run(jobs()).done == ("first",)


def test_an_output_that_changed_or_went_is_made_again(tmp_path: Path) -> None:
    builder(tmp_path).run(jobs())
    (tmp_path / "steps/first/file").write_text("spoilt")
    assert builder(tmp_path).run(jobs()).done == ("first",)
    (tmp_path / "steps/second/copy").unlink()
    assert builder(tmp_path).run(jobs()).done == ("second",)


def test_outputs_that_point_at_what_is_gone_are_made_again(tmp_path: Path) -> None:
    whole = False

    def is_whole(folder: Path) -> bool:
        assert (folder / "file").exists()
        return whole

    job = Job(step=FIRST, action=writes("x"), is_whole=is_whole)
    assert builder(tmp_path).run([job]).done == ("first",)
    assert builder(tmp_path).run([job]).done == ("first",)
    whole = True
    assert builder(tmp_path).run([job]).done == ()


def test_a_step_reads_only_what_it_says(tmp_path: Path) -> None:
    stray = Job(step=Step(name="second", title=""), action=copies)
    with pytest.raises(LocalProtocolError, match="second reads first and does not say so"):
        builder(tmp_path).run([Job(step=FIRST, action=writes("x")), stray])


def test_digests_of_what_is_needed_are_those_of_its_files(tmp_path: Path) -> None:
    def tells(site: Site) -> None:
        site.note(json.dumps(dict(site.digests_of("first"))))

    builder(tmp_path).run(jobs("one", tells))
    digest = "7692c3ad3540bb803c020b3aee66cd8887123234ea0c6e7143c0add73ff431ed"
    assert digest in (tmp_path / "logs/second.log").read_text()


def test_the_log_has_facts_commands_and_outputs_and_is_bounded(tmp_path: Path) -> None:
    def talks(site: Site) -> None:
        site.runner.run("true")
        site.note("line\n" * (LOG_LINES_MAX * 2))
        with pytest.raises(CommandFailed):
            site.runner.run("false")

    builder(tmp_path).run(jobs("one", talks))
    lines = (tmp_path / "logs/second.log").read_text().splitlines()
    assert len(lines) == LOG_LINES_MAX
    assert "second: the second (from first)" in lines[0]
    assert [line[9:] for line in lines[2:5]] == ["run true", "well", "line"]
    first = (tmp_path / "logs/first.log").read_text()
    assert "fact text = one" in first
    assert "made file 7692c3ad" in first
