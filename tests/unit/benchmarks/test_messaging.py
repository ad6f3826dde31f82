"""A contender that fails costs its own figures only, and what was measured is kept."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING

import pytest

from bench import __main__ as program
from bench import growth, messaging, sites
from bench.contest import Result
from bench.figures import Figure
from bench.parts import PartFailed

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from bench.contest import Contender, Work

FOUND = Result(sent=10, done=10, rate=9.0, p50_us=1.0, p99_us=2.0, cpu_s=1.0)
DRIVEN = "the driver said this last [1]"


def names_but(failing: Contender | None, monkeypatch: pytest.MonkeyPatch) -> tuple[set[str], str]:
    """The names of all figures if that one fails in its second round, and how the suite ends."""
    turns: dict[Work, int] = {}

    async def measure(contender: Contender, work: Work) -> Result:
        if contender is failing:
            turns[work] = turns.get(work, 0) + 1
            if turns[work] == 2:
                raise PartFailed(DRIVEN)
        return FOUND

    monkeypatch.setattr(messaging, "measure", measure)
    monkeypatch.setattr(growth, "figures", lambda: ())
    names = set()
    try:
        for figure in messaging.figures(3):
            assert len(figure.runs) == 3
            names.add(figure.name)
    except PartFailed as error:
        return names, str(error)
    return names, ""


@pytest.mark.parametrize(
    ("failing", "word"), [(sites.DAEMONS, "two daemons"), (sites.PLAIN, "plain aioquic")]
)
def test_a_contender_that_fails_costs_its_own_figures_only(
    failing: Contender,
    word: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    every, ending = names_but(None, monkeypatch)
    assert ending == ""
    left, ending = names_but(failing, monkeypatch)
    assert every - left == {name for name in every if word in name} != set()
    assert f"{failing.name} at Work(role='publish'" in ending
    assert DRIVEN in capsys.readouterr().err


def test_if_we_fail_the_others_are_measured_all_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    every, _ = names_but(None, monkeypatch)
    left, _ = names_but(sites.EMBEDDED, monkeypatch)
    assert {name for name in every if name.endswith((": plain aioquic", ": ours, two daemons"))}
    assert {name for name in every if ": plain aioquic" in name} <= left
    assert not {name for name in left if name.endswith(": ours") or "ours /" in name}


def figure(name: str) -> Figure:
    return Figure(name=name, unit="s", runs=(1.0,))


def fails_late(runs: int) -> Iterator[Figure]:
    yield figure("first")
    raise PartFailed(f"no more than {runs}")


def breaks(runs: int) -> Iterator[Figure]:
    yield figure("second")
    raise ZeroDivisionError(runs)


def run(monkeypatch: pytest.MonkeyPatch, *words: str) -> None:
    suites = {"late": fails_late, "whole": lambda _: iter([figure("third")]), "broken": breaks}
    monkeypatch.setattr(program, "SUITES", suites)
    monkeypatch.setattr("sys.argv", ["bench", *words])
    program.main()


def kept(path: Path) -> list[str]:
    return [each["name"] for each in json.loads(path.read_text())["figures"]]


def test_a_suite_that_fails_costs_the_status_and_no_figure(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "deep" / "bench.json"
    with pytest.raises(SystemExit) as ended:
        run(monkeypatch, "late", "whole", "--out", str(out))
    assert ended.value.code == 1
    assert kept(out) == ["first", "third"]


def test_what_was_measured_is_kept_however_it_ends(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "bench.json"
    with pytest.raises(ZeroDivisionError):
        run(monkeypatch, "whole", "broken", "--out", str(out))
    assert kept(out) == ["third", "second"]


def test_a_file_that_cannot_be_written_is_refused_before_anything_is_measured(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(SystemExit) as ended:
        run(monkeypatch, "broken", "--out", str(tmp_path))
    assert ended.value.code == 2


def test_the_chart_leaves_no_import_hook_behind_that_others_are_warned_of() -> None:
    assert [each for each in sys.meta_path if not hasattr(each, "find_spec")] == []
