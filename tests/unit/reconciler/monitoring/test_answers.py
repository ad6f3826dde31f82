"""What the metrics listener answers follows from the status, in words of ours only."""

from __future__ import annotations

from dataclasses import replace

import pytest

from reconciler.metrics import Tally
from reconciler.monitoring.answers import LATE_S, PATHS, reply
from reconciler.monitoring.settings import MetricsSettings
from reconciler.status import Status

NOW = 1_800_000_000.0
SECRET = "hunter2"  # noqa: S105  # of these tests alone
STATUS = Status(
    at=NOW, pid=1, started_at=NOW - 5, runtime="process", url="u", branch="main", converged=True
)


def test_ready_is_what_the_status_says() -> None:
    assert reply("GET", "/readyz", STATUS, Tally(), NOW).status == 200
    said = reply("GET", "/readyz", replace(STATUS, problems=(f"a: {SECRET}",)), Tally(), NOW)
    assert (said.status, said.text) == (503, "not ready: NotReady\n")


@pytest.mark.parametrize(
    ("shown_at", "started_at", "status"),
    [
        (NOW - LATE_S, NOW - 999, 200),
        (NOW - LATE_S - 1, NOW - 999, 503),
        (None, NOW - 1, 200),
        (None, NOW - LATE_S - 1, 503),
        (NOW + 999, NOW - 1, 200),
    ],
)
def test_health_is_that_the_status_is_written(
    shown_at: float | None, started_at: float, status: int
) -> None:
    told = replace(STATUS, started_at=started_at, problems=("wrong",))
    assert reply("GET", "/healthz", told, Tally(), shown_at).status == status


@pytest.mark.parametrize("path", ["/", "/metrics/", "/healthz/../metrics", "/status", ""])
def test_other_paths_are_not_found(path: str) -> None:
    assert reply("GET", path, STATUS, Tally(), NOW).status == 404


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "OPTIONS"])
def test_nothing_can_be_changed(path: str, method: str) -> None:
    assert reply(method, path, STATUS, Tally(), NOW).status == 405


def test_certificate_and_key_belong_together() -> None:
    with pytest.raises(ValueError, match="belong together"):
        MetricsSettings(listen="127.0.0.1:1", certificate=__file__)  # type: ignore[arg-type]
