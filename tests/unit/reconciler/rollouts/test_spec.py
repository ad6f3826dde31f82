"""The strategy in a spec: bounds that make sense together, and slips that are named."""

from __future__ import annotations

import pytest

from maculaos.documents import InvalidDocument, read_document
from reconciler.rollouts.spec import Strategy


def test_the_defaults_are_those_of_nomad_but_for_what_nobody_watches() -> None:
    strategy = read_document(b"kind: canary\n", "apps/a.yaml", Strategy).value
    assert (strategy.max_parallel, strategy.min_healthy_time_s) == (1, 10.0)
    assert (strategy.healthy_deadline_s, strategy.progress_deadline_s) == (300.0, 600.0)
    assert strategy.auto_revert
    assert strategy.auto_promote


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("kind: bluegreen", "'blue-green'"),
        ("max_parallel: 0", "1 or more"),
        ("max_parallel: 101", "100 or less"),
        ("healthy_deadline_s: 10", "above min_healthy_time_s"),
        ("progress_deadline_s: 300", "above healthy_deadline_s"),
        ("drain_s: 600", "above drain_s"),
        ("drain_s: -1", "0 or more"),
        ("autorevert: true", "did you mean 'auto_revert'"),
    ],
)
def test_what_makes_no_sense_is_refused(text: str, said: str) -> None:
    with pytest.raises(InvalidDocument, match=said):
        read_document(text.encode(), "apps/a.yaml", Strategy)
