"""The report: one well-formed file that needs nothing else and says what came of the run."""

from __future__ import annotations

import random
import re
import xml.etree.ElementTree as ET
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from maculaos.loadtest.charts import charts_of
from maculaos.loadtest.faults import read_fault
from maculaos.loadtest.load import Load
from maculaos.loadtest.outcome import NOBODY, outcome_of
from maculaos.loadtest.report import Provenance, report_of, verdict_of, written_time
from maculaos.loadtest.scenario import Scenario
from maculaos.loadtest.stamps import Stamper

if TYPE_CHECKING:
    from maculaos.loadtest.outcome import Outcome

PROVENANCE = Provenance(
    command="macula loadtest --fault '<b>&'",
    moment="2026-01-02 03:04 UTC",
    versions={"maculaos": "1.2.3"},
    machine="a machine",
)


def outcome(times_us: list[int], lost: int = 0, *faults: str, acknowledge: bool = False) -> Outcome:
    scenario = Scenario(faults=tuple(map(read_fault, faults)), acknowledge=acknowledge)
    load = Load(scenario, 1)
    stamper = Stamper(1, 0, 100, random.Random(1))
    for number, took_us in enumerate([*times_us, *([-1] * lost)]):
        due_s = number % 10
        load.publish(0, due_s, due_s)
        load.confirm(0, number)
        if took_us >= 0:
            load.take(0, stamper.stamped(number, due_s), due_s + took_us / 1e6)
    return outcome_of(load, 10.0, 10.0)


@settings(max_examples=30)
@given(st.lists(st.integers(0, 2**31), max_size=40), st.integers(0, 5))
def test_every_chart_is_well_formed(times_us: list[int], lost: int) -> None:
    for chart in charts_of(outcome(times_us, lost, "kill:n2@1", "pause:n1@3+1")):
        picture = ET.fromstring(chart)  # noqa: S314  # our own
        assert "nan" not in chart
        assert picture.attrib["role"] == "img"


def test_report_asks_for_nothing_from_elsewhere() -> None:
    page = report_of(outcome([1000, 2000], 1, "kill:n2@5+1"), PROVENANCE)
    addresses = set(re.findall(r"\b\w+://[^\"' <]+", page))
    assert addresses <= {"http://www.w3.org/2000/svg"}
    assert not re.search(r"<(script|link|img|iframe)|@import|url\(", page)


def test_report_says_how_it_was_made_and_escapes_it() -> None:
    page = report_of(outcome([1000]), PROVENANCE)
    assert "macula loadtest --fault &#x27;&lt;b&gt;&amp;&#x27;" in page
    assert "1.2.3" in page
    assert "2026-01-02 03:04 UTC" in page


def test_losses_are_put_down_to_the_fault_that_they_fell_into() -> None:
    # Due in seconds 2 to 9, then 0.
    found = outcome([1000, 1000], 9, "kill:n2@9+1")
    assert found.losses == {"kill:n2@9+1": 9, NOBODY: 0}
    assert outcome([1000], 3).losses == {NOBODY: 3}


@pytest.mark.parametrize(("lost", "acknowledge", "kept"), [(0, True, True), (1, True, False),
                                                           (1, False, True)])  # fmt: skip
def test_only_an_acknowledged_event_that_is_lost_breaks_a_word(
    lost: int, acknowledge: bool, kept: bool
) -> None:
    found = outcome([1000], lost, acknowledge=acknowledge)
    assert found.keeps_its_word is kept
    assert verdict_of(found)[0] is (lost == 0)


def test_times_are_written_in_the_unit_that_fits() -> None:
    assert [written_time(each) for each in (335, 1740, 831_000, 1_010_000)] == [
        "0.335 ms", "1.74 ms", "831 ms", "1.01 s",
    ]  # fmt: skip
