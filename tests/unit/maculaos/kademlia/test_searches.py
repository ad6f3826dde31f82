"""What was found: of each publisher the newest genuine record, each checked once."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kademlia_parts import record_of
from maculaos.kademlia.searches import Findings
from maculaos.kademlia.store import Verdict

if TYPE_CHECKING:
    from maculaos.kademlia.record import Record

KEY = (1).to_bytes(32)


def believed(_: Record) -> Verdict:
    return Verdict.STORED


def test_copies_of_one_record_are_checked_once() -> None:
    checks: list[Record] = []

    def check(record: Record) -> Verdict:
        checks.append(record)
        return Verdict.STORED

    findings = Findings(KEY, 10)
    for _ in range(5):
        findings.take_in([record_of(1), record_of(2)], check)
    assert len(checks) == 2
    assert findings.living() == (record_of(1), record_of(2))


def test_a_withdrawal_hides_what_was_said_before_in_any_order() -> None:
    said, withdrawn = record_of(1, sequence=1), record_of(1, value=b"", sequence=2)
    for order in ([said, withdrawn], [withdrawn, said]):
        findings = Findings(KEY, 10)
        findings.take_in(order, believed)
        assert findings.living() == ()


def test_what_is_not_genuine_or_under_another_key_or_too_much_is_refused() -> None:
    findings = Findings(KEY, 1)
    findings.take_in([record_of(1, key=2)], believed)
    findings.take_in([record_of(1)], lambda _: Verdict.BAD_SIGNATURE)
    assert findings.living() == ()
    findings.take_in([record_of(1), record_of(2)], believed)
    assert findings.living() == (record_of(1),)
    assert findings.refused == 3
